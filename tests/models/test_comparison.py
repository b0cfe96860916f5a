"""Every row of the papers' tables: exact integers, stated figures under their rules, reasons."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest

from edgekit_models import comparison
from edgekit_models.comparison import compare, gives, recount, reference, shorten
from edgekit_models.counting import Totals

ROWS = reference()
COUNTED = [row for row in ROWS if row["network"]]
RULES = {
    "params": ("weights", "weights+bias", "trainable"),
    "madds": ("conv", "conv+fc", "flops(2x)"),
    "size": ("4*trainable/1e6", "4*trainable/2^20"),
}


@pytest.mark.parametrize("row", COUNTED, ids=lambda row: row["id"])
def test_a_row_counts_to_its_integers_and_gives_its_figures(row: dict[str, str]) -> None:
    totals = recount(row["network"], row["options"], int(row["input"]))

    assert totals.trainable == int(row["parameters"])
    assert totals.under("conv+fc") == int(row["multiply_adds"])
    assert totals.weights == int(row["weights"])
    assert totals.biases == int(row["biases"])
    assert totals.conv == int(row["conv_multiply_adds"])
    for column, names in RULES.items():
        stated = row[f"{column}_stated"]
        if not stated:
            continue
        size = int((column == "madds" and row["madds_input"]) or row["input"])
        counted = recount(row["network"], row["options"], size)
        claimed = row[f"{column}_rule"].split()
        assert all(gives(counted, rule, stated) for rule in claimed)
        if not claimed:
            # A row that can't match must say why, and must really match under no rule.
            assert row["reason"]
            assert not any(
                gives(counted, f"{name}:{how}", stated)
                for name in names
                for how in ("round", "trunc")
            )


def test_rows_counted_elsewhere_give_their_figures_where_they_claim_to() -> None:
    elsewhere = [row for row in ROWS if row["parameters"] and not row["network"]]

    assert [row["id"] for row in elsewhere] == ["A17", "A18", "A90"]
    for row in elsewhere:
        totals = Totals(
            int(row["weights"]),
            int(row["biases"]),
            int(row["parameters"]),
            int(row["conv_multiply_adds"]),
            int(row["multiply_adds"]) - int(row["conv_multiply_adds"]),
        )
        for column in ("params", "madds"):
            for rule in row[f"{column}_rule"].split():
                assert gives(totals, rule, row[f"{column}_stated"])


def test_all_rows_are_there_and_those_that_are_not_counted_say_why() -> None:
    assert [row["id"] for row in ROWS] == [f"A{number:02}" for number in range(1, 98)]
    assert all(row["reason"] for row in ROWS if not row["network"])


def test_the_verdicts_are_as_many_as_they_were() -> None:
    verdicts = Counter(figure.verdict for figure in compare().rows)

    assert verdicts == {
        comparison.MATCHES: 76,
        comparison.DIFFERS: 18,
        comparison.SLIP: 2,
        comparison.COUNTED: 64,
        comparison.ELSEWHERE: 5,
        comparison.UNCHECKED: 12,
    }


def test_every_figure_that_differs_has_a_reason() -> None:
    unlike = {comparison.DIFFERS, comparison.SLIP, comparison.ELSEWHERE, comparison.UNCHECKED}

    assert [f for f in compare().rows if f.verdict in unlike and not f.reason] == []


@pytest.mark.parametrize(
    ("name", "slip"),
    [("MobileNet", "1.19 % should be 1.91 %"), ("PyramidNet", "299 should be 229")],
)
def test_a_misprint_is_named(name: str, slip: str) -> None:
    (found,) = [f for f in compare().rows if f.verdict == comparison.SLIP and f.name == name]

    assert found.reason.startswith(slip)


@pytest.mark.parametrize(
    ("value", "stated", "how", "short"),
    [
        (4_231_976, "4.2M", "round", 4_200_000),
        (3_469_760, "3.4M", "trunc", 3_400_000),
        (3_469_760, "3.4M", "round", 3_500_000),
        (724_406_816, "720M", "round_to_10M", 720_000_000),
        (22_855_952, "22855952", "exact", 22_855_952),
    ],
)
def test_a_count_is_cut_to_the_digits_of_a_figure(
    value: int, stated: str, how: str, short: int
) -> None:
    assert shorten(Fraction(value), stated, how) == short


def test_an_unknown_shortening_is_refused() -> None:
    with pytest.raises(ValueError, match="no shortening named 'up'"):
        shorten(Fraction(1), "1M", "up")
