"""Whether one case is faster than another, as far as its runs show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import PurePath
from typing import Any

import numpy as np

from edgekit.bench.comparable import SPOILED, Reason
from edgekit.bench.results import Case
from edgekit.bench.statistics import Ratio, quantile_ratio

LEVEL = 0.99
MARGIN = 0.02
"""Differences below this share count as none: the place of a model's memory alone changes times
by as much from one process to the next."""

FAST = 10.0
"""Percentile of the fast runs."""

_FEWEST_RUNS = 10
_FEWEST_BLOCKS = 5
_STEP = 4
_SEED = 0


class Verdict(StrEnum):
    """What the runs show of a pair."""

    FASTER = "faster"
    SLOWER = "slower"
    SAME = "no difference"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Pair:
    """A case and what it is compared with.

    ratio: new median over old one. fast: the same of the 10th percentiles. Both are None where
    there are too few runs for an interval.
    reasons: what speaks against comparing the two, but for what the caller accepts.
    """

    old: Case
    new: Case
    ratio: Ratio | None
    fast: Ratio | None
    verdict: Verdict
    reasons: tuple[Reason, ...]

    @property
    def name(self) -> str:
        """The file's name, or both names where they differ."""
        old, new = PurePath(self.old.path).name, PurePath(self.new.path).name
        return old if old == new else f"{old} -> {new}"

    @property
    def comparable(self) -> bool:
        """Whether a difference can be put down to the models."""
        return not self.reasons

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "name": self.name,
            **{
                side: {"path": case.path, "threads": case.threads, "p50_s": case.warm.p50_s}
                for side, case in (("old", self.old), ("new", self.new))
            },
            "ratio": None if self.ratio is None else asdict(self.ratio),
            "fast_ratio": None if self.fast is None else asdict(self.fast),
            "verdict": self.verdict.value,
            "comparable": self.comparable,
            "reasons": [asdict(reason) for reason in self.reasons],
        }


def compare_cases(
    old: Case,
    new: Case,
    *,
    turn: int,
    together: bool,
    reasons: tuple[Reason, ...] = (),
    margin: float = MARGIN,
    level: float = LEVEL,
) -> Pair:
    """One pair. turn: runs in a row. together: both cases took turns in one measurement."""
    paired = together and len(old.times_s) == len(new.times_s)
    ratio, fast = (
        _widest(new.times_s, old.times_s, percent, turn=turn, paired=paired, level=level)
        for percent in (50.0, FAST)
    )
    spoiled = any(reason.key in SPOILED for reason in reasons)
    verdict = Verdict.UNDECIDED if spoiled else _verdict(ratio, fast, margin)
    return Pair(old, new, ratio, fast, verdict, reasons)


def _verdict(ratio: Ratio | None, fast: Ratio | None, margin: float) -> Verdict:
    if ratio is None or fast is None:
        return Verdict.UNDECIDED
    verdict = side(ratio, margin)
    return verdict if side(fast, margin) is verdict else Verdict.SAME


def side(ratio: Ratio, margin: float) -> Verdict:
    """Where the whole interval lies."""
    if ratio.low > 1 + margin:
        return Verdict.SLOWER
    return Verdict.FASTER if ratio.high < 1 / (1 + margin) else Verdict.SAME


def _widest(
    new: Sequence[float],
    old: Sequence[float],
    percent: float,
    *,
    turn: int,
    paired: bool,
    level: float,
) -> Ratio | None:
    """The widest interval over blocks from one turn to a fifth of the runs.

    How long times stay alike isn't known beforehand: a neighbour may disturb one turn or twenty.
    Too long a block only makes the interval wider. Five blocks are the fewest that tell anything
    of their own spread.
    """
    shortest = min(len(new), len(old))
    if shortest < _FEWEST_RUNS:
        return None
    longest = shortest // _FEWEST_BLOCKS
    shortest_block = min(turn, longest)
    blocks = {shortest_block}
    block = longest
    while block > shortest_block:
        blocks.add(block)
        block //= _STEP
    found = [
        quantile_ratio(
            new,
            old,
            np.random.default_rng(_SEED),
            percent=percent,
            level=level,
            block=block,
            paired=paired,
        )
        for block in sorted(blocks)
    ]
    return max(found, key=lambda ratio: ratio.high / ratio.low)
