"""Parts of pictures: round ticks, places inside the frame, text that stays text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.report.svg import Scale, cut, line, picture, plain, tag, ticks, width, words


@pytest.mark.parametrize(
    ("low", "high", "count", "expected"),
    [
        (0, 10, 5, [0, 2, 4, 6, 8, 10]),
        (0, 1, 4, [0, 0.5, 1]),
        (0.3, 2.2, 4, [0.5, 1.0, 1.5, 2.0]),
        (92.4, 92.9, 3, [92.4, 92.6, 92.8]),
        (5, 5, 4, [5]),
    ],
)
def test_ticks_are_round_and_inside(
    low: float, high: float, count: int, expected: list[float]
) -> None:
    assert ticks(low, high, count) == pytest.approx(expected)


@given(
    st.floats(1e-9, 1e9),
    st.floats(1.001, 1e3),
    st.integers(1, 10),
    st.booleans(),
    st.floats(0, 1e9),
)
def test_every_value_and_tick_has_a_place_between_the_ends(
    low: float, factor: float, count: int, log: bool, value: float
) -> None:
    scale = Scale(low, low * factor, 10, 390, log=log)

    assert 10 <= scale(value) <= 390
    assert len(scale.ticks(count)) <= 30
    for tick in scale.ticks(count):
        assert low * (1 - 1e-6) <= tick <= low * factor * (1 + 1e-6)


def test_a_scale_without_width_puts_all_in_the_middle() -> None:
    assert Scale(3, 3, 0, 100)(3) == 50


def test_attributes_and_text_are_escaped() -> None:
    assert (
        tag("text", words("<b>&"), class_='a"b') == '<text class="a&quot;b">&lt;b&gt;&amp;</text>'
    )


def test_names_keep_their_dashes_and_numbers_their_two_decimals() -> None:
    assert tag("line", x1=1.23456, text_anchor="end", y1=None) == (
        '<line x1="1.23" text-anchor="end"/>'
    )


def test_a_line_of_one_point_is_a_dot() -> None:
    assert line([(1.0, 2.0)], class_="s0").startswith('<circle cx="1" cy="2"')
    assert 'points="1,2 3,4"' in line([(1.0, 2.0), (3.0, 4.0)])


def test_a_picture_says_what_it_shows() -> None:
    shown = picture(10, 20, "a & b")

    assert 'role="img"' in shown
    assert "<title>a &amp; b</title>" in shown


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, "0.5"), (2.0, "2"), (0.0, "0"), (-0.0, "0"), (1500.0, "1500")]
)
def test_a_tick_is_written_plainly(value: float, text: str) -> None:
    assert plain(value) == text


@given(st.text("abcWilm_-.0", min_size=1, max_size=80), st.floats(30, 400))
def test_a_long_name_is_cut_in_its_middle_until_it_fits(name: str, room: float) -> None:
    shown = cut(name, room)

    assert width(shown) <= room
    if shown != name:
        head, tail = shown.split("…")
        assert name.startswith(head)
        assert name.endswith(tail)
        assert abs(len(head) - len(tail)) <= 1
