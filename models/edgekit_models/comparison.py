"""The papers' tables again: each figure stated, counted, under which rule, and whether they agree.

`reference.csv` holds the rows. Its columns are the figures as printed (M = 10^6), the rules under
which our count gives that figure (`rule:shortening`, several where the figure can't tell them
apart, none where no rule gives it), the integers that the network must count to, and the reason
where a row can't match.
"""

from __future__ import annotations

import csv
import math
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import torch

from edgekit_models.counting import Totals, count_shares, count_totals
from edgekit_models.registry import build, spec
from edgekit_models.resnet_small import COLUMNS

REFERENCE = Path(__file__).parent / "reference.csv"

MATCHES = "matches"
DIFFERS = "differs"
SLIP = "misprint"
COUNTED = "counted only"
ELSEWHERE = "counted elsewhere"
UNCHECKED = "not checkable"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure.

    stated: as printed, or None. counted: our integer or figure, or None. rule: the rules that
    give the stated figure, or the one that comes nearest with its distance. verdict: matches,
    differs, misprint, counted only, counted elsewhere or not checkable.
    """

    row: str
    table: str
    name: str
    variant: str
    quantity: str
    stated: str | None
    counted: int | str | None
    rule: str
    verdict: str
    reason: str


@dataclass(frozen=True, slots=True)
class ComparisonReport:
    """All figures in the order of the reference."""

    rows: tuple[Comparison, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def compare() -> ComparisonReport:
    """Recount every row of the reference on the meta device; no weights are made."""
    rows = [figure for row in reference() for figure in _figures(row)]
    return ComparisonReport((*rows, *_shares(), *_widths(), *_ratios()))


def reference() -> tuple[dict[str, str], ...]:
    """The rows of `reference.csv`."""
    with REFERENCE.open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


@cache
def recount(network: str, options: str, size: int) -> Totals:
    """The counts of a network of the zoo.

    options: arguments of its factory, `key=value` with blanks between. size: side of the input.
    """
    arguments = dict(option.split("=") for option in options.split())
    with torch.device("meta"):
        module = build(network, **{key: _value(text) for key, text in arguments.items()})
    return count_totals(module, (spec(network).input_shape[0], size, size))


def shorten(value: Fraction, stated: str, how: str) -> Fraction:
    """A value cut to the digits of a printed figure such as 4.2M, 240MB or 22855952.

    how: round (half up), trunc, exact, or round_to_10M where the figure ends in zeros that say
    nothing. Raises ValueError for any other.
    """
    if how == "exact":
        return value
    quantum = _quantum(stated)
    if how.startswith("round_to_"):
        quantum = _amount(how.removeprefix("round_to_"))
    elif how not in {"round", "trunc"}:
        raise ValueError(f"no shortening named {how!r}; choose round, trunc, exact, round_to_<N>M")
    return math.floor(value / quantum + (0 if how == "trunc" else Fraction(1, 2))) * quantum


def gives(totals: Totals, rule: str, stated: str) -> bool:
    """Whether a count gives a printed figure under a rule such as `conv+fc:round`."""
    name, _, how = rule.rpartition(":")
    return shorten(under(totals, name), stated, how) == _amount(stated)


def under(totals: Totals, rule: str) -> Fraction:
    """The count under a rule. Sizes: `4*trainable/1e6` in bytes, `/2^20` in 10^6 / 2^20 bytes."""
    if rule.startswith("4*"):
        name, _, unit = rule.removeprefix("4*").partition("/")
        scale = Fraction(4) if unit == "1e6" else Fraction(4 * 10**6, 2**20)
        return scale * totals.under(name)
    return Fraction(totals.under(rule))


_PARAMETER_RULES = ("weights", "weights+bias", "trainable")
_MULTIPLY_ADD_RULES = ("conv", "conv+fc")
_SIZE_RULES = ("4*trainable/1e6", "4*trainable/2^20")


def _figures(row: dict[str, str]) -> list[Comparison]:
    """The figures of one row: those stated, or our two counts where none is."""
    found = [
        _figure(row, quantity, column, rules)
        for quantity, column, rules in (
            ("parameters", "params", _PARAMETER_RULES),
            ("multiply-adds", "madds", _MULTIPLY_ADD_RULES),
            ("size", "size", _SIZE_RULES),
        )
        if row[f"{column}_stated"]
    ]
    if found:
        return found
    totals = recount(row["network"], row["options"], int(row["input"]))
    return [
        _comparison(row, "parameters", None, totals.trainable, rule="trainable", verdict=COUNTED),
        _comparison(
            row, "multiply-adds", None, totals.under("conv+fc"), rule="conv+fc", verdict=COUNTED
        ),
    ]


def _figure(row: dict[str, str], quantity: str, column: str, rules: tuple[str, ...]) -> Comparison:
    stated = row[f"{column}_stated"]
    if not row["network"]:
        kept = row["multiply_adds" if column == "madds" else "parameters"]
        verdict = ELSEWHERE if kept else UNCHECKED
        return _comparison(
            row, quantity, stated, int(kept) if kept else None, rule="-", verdict=verdict
        )
    size = int((column == "madds" and row["madds_input"]) or row["input"])
    totals = recount(row["network"], row["options"], size)
    claimed = row[f"{column}_rule"].split()
    if claimed:
        name = claimed[0].rpartition(":")[0]
        holds = all(gives(totals, rule, stated) for rule in claimed)
        verdict = MATCHES if holds else DIFFERS
        return _comparison(
            row,
            quantity,
            stated,
            math.floor(under(totals, name)),
            rule=" or ".join(claimed),
            verdict=verdict,
        )
    aim = _amount(stated)
    nearest = min(rules, key=lambda rule: abs(under(totals, rule) - aim))
    value = under(totals, nearest)
    away = f"{nearest} is {float((value - aim) / aim):+.2%} away"
    return _comparison(row, quantity, stated, math.floor(value), rule=away, verdict=DIFFERS)


def _comparison(
    row: dict[str, str],
    quantity: str,
    stated: str | None,
    counted: int | None,
    *,
    rule: str,
    verdict: str,
) -> Comparison:
    return Comparison(
        row=row["id"],
        table=row["table"],
        name=row["name"],
        variant=row["variant"],
        quantity=quantity,
        stated=stated,
        counted=counted,
        rule=rule,
        verdict=verdict,
        reason=row["reason"],
    )


# MobileNet, table 2: share of multiply-adds and of weights, in percent.
_STATED_SHARES = {
    "pointwise": ("94.86", "74.59"),
    "depthwise": ("3.06", "1.06"),
    "3x3": ("1.19", "0.02"),
    "fc": ("0.18", "24.33"),
}


def _shares() -> list[Comparison]:
    with torch.device("meta"):
        shares = count_shares(build("mobilenet"), (3, 224, 224))
    totals = (sum(s.multiply_adds for s in shares), sum(s.weights for s in shares))
    rows = []
    for share in shares:
        for position, (quantity, rule) in enumerate(
            (("share of multiply-adds", "conv+fc"), ("share of parameters", "weights"))
        ):
            stated = _STATED_SHARES[share.form][position]
            part = (share.multiply_adds, share.weights)[position]
            counted = f"{100 * part / totals[position]:.2f}"
            rows.append(
                Comparison(
                    row="X08",
                    table="MobileNet T2",
                    name="MobileNet",
                    variant=share.form,
                    quantity=quantity,
                    stated=f"{stated} %",
                    counted=f"{counted} %",
                    rule=f"{rule}:round",
                    verdict=MATCHES if counted == stated else SLIP,
                    reason=""
                    if counted == stated
                    else f"{stated} % should be {counted} %: the printed shares sum to 99.29 %.",
                )
            )
    return rows


def _widths() -> list[Comparison]:
    printed = COLUMNS["pyramid_printed"]
    return [
        Comparison(
            row="X01",
            table="ResNet/WRN/PyramidNet channel table",
            name="PyramidNet",
            variant=f"entry {position}",
            quantity="channels",
            stated=str(stated),
            counted=width,
            rule="floor(16 + 240 k / 9)",
            verdict=MATCHES if stated == width else SLIP,
            reason="" if stated == width else f"{stated} should be {width}.",
        )
        for position, (stated, width) in enumerate(
            zip(printed, COLUMNS["pyramid"], strict=True), start=1
        )
    ]


# SqueezeNet, table 2: size in MB and how many times smaller than AlexNet it is said to be.
_STATED_RATIOS = (
    ("AlexNet, SVD", "48", "5"),
    ("AlexNet, Network Pruning", "27", "9"),
    ("AlexNet, Deep Compression", "6.9", "35"),
    ("SqueezeNet", "4.8", "50"),
    ("SqueezeNet, 8 bit", "0.66", "363"),
    ("SqueezeNet, 6 bit", "0.47", "510"),
)


def _ratios() -> list[Comparison]:
    rows = []
    for name, size, stated in _STATED_RATIOS:
        ratio = Fraction(240) / Fraction(size)
        holds = [
            how for how in ("round", "trunc") if shorten(ratio, stated, how) == Fraction(stated)
        ]
        rows.append(
            Comparison(
                row="F09",
                table="SqueezeNet T2",
                name=name,
                variant=f"240MB / {size}MB",
                quantity="ratio",
                stated=f"{stated}x",
                counted=f"{float(ratio):.1f}x",
                rule=" or ".join(f"stated sizes:{how}" for how in holds) or "stated sizes",
                verdict=MATCHES if holds else DIFFERS,
                reason="48.8x by parameters; the two sizes are in different units."
                if name == "SqueezeNet"
                else "",
            )
        )
    return rows


def _value(text: str) -> object:
    """The value of an option: true, false, a number or a word."""
    if text in {"true", "false"}:
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _amount(stated: str) -> Fraction:
    """4.2M and 4.8MB are millions; without a letter the figure stands for itself."""
    digits = stated.rstrip("MB")
    return Fraction(digits) * (1 if digits == stated else 10**6)


def _quantum(stated: str) -> Fraction:
    """One unit of the last digit that is printed."""
    digits = stated.rstrip("MB")
    places = len(digits.partition(".")[2])
    return Fraction(1 if digits == stated else 10**6, 10**places)
