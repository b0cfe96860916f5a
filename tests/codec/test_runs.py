"""The run-length form of code tables."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.codec.runs import read_levels, write_levels
from edgekit.errors import CorruptError, FormatError, TruncatedError

levels_of_runs = st.lists(
    st.tuples(st.integers(0, 12), st.integers(1, 40)), min_size=1, max_size=60
).map(lambda runs: [level for level, count in runs for _ in range(count)][:256])


@given(levels_of_runs.filter(any))
@settings(deadline=None)
def test_levels_come_back_and_nothing_behind_them_is_read(levels: list[int]) -> None:
    table = np.zeros(256, np.uint8)
    table[: len(levels)] = levels

    stored = write_levels(table)
    back, end = read_levels(b"\x77" + stored + b"\x99", 1)

    assert np.array_equal(back, table)
    assert end == 1 + len(stored)


@pytest.mark.parametrize("zeros", [1, 2, 3, 18, 19, 20, 34, 35, 254])
def test_zero_runs_of_every_form_come_back(zeros: int) -> None:
    table = np.zeros(256, np.uint8)
    table[[0, zeros + 1]] = 1

    back, _ = read_levels(write_levels(table), 0)

    assert np.array_equal(back, table)


@pytest.mark.parametrize("repeats", [3, 4, 17, 18, 19, 20, 21, 256])
def test_repetitions_of_every_length_come_back(repeats: int) -> None:
    table = np.zeros(256, np.uint8)
    table[:repeats] = 8

    back, _ = read_levels(write_levels(table), 0)

    assert np.array_equal(back, table)


@given(st.binary(max_size=40))
@settings(deadline=None, max_examples=300)
def test_any_bytes_are_a_table_or_a_format_error(data: bytes) -> None:
    try:
        levels, end = read_levels(data, 0)
    except FormatError:
        return

    assert end <= len(data)
    assert levels[data[0]] > 0
    assert not levels[data[0] + 1 :].any()


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"", TruncatedError, "missing"),
        (b"\x05\x11", TruncatedError, "ends before"),
        (b"\x02\x0d", CorruptError, "begins with a repetition"),
        (b"\x02\x1e\x01", CorruptError, "passes the largest"),
        (b"\x02\x11\x00", CorruptError, "doesn't occur"),
        (b"\x02\x21\x12", CorruptError, "isn't 0"),
    ],
)
def test_each_broken_rule_of_a_table_has_its_message(
    data: bytes, error: type[FormatError], message: str
) -> None:
    with pytest.raises(error, match=message):
        read_levels(data, 0)
