"""Compare two latency reports, or two cases of one, and say faster, slower or no difference."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from edgekit.bench.comparable import REASONS, case_reasons, machine_reasons
from edgekit.bench.reading import read_report
from edgekit.bench.results import BenchReport, Case
from edgekit.bench.verdict import LEVEL, MARGIN, Pair, Verdict, compare_cases
from edgekit.errors import UsageError

_CHOICE = re.compile(r"(?P<name>.+?)(?::(?P<threads>\d+))?(?:#(?P<place>\d+))?")


@dataclass(frozen=True, slots=True)
class BenchComparison:
    """Two reports side by side.

    pairs: cases of the same file name and threads, or the two that were chosen. missing, added:
    cases that only the old or the new report has. notes: warnings of the reports themselves.
    """

    old: str
    new: str
    level: float
    margin: float
    pairs: tuple[Pair, ...]
    missing: tuple[str, ...]
    added: tuple[str, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "schema": 1,
            "kind": "edgekit.latency-comparison",
            "old": self.old,
            "new": self.new,
            "level": self.level,
            "margin": self.margin,
            "pairs": [pair.to_dict() for pair in self.pairs],
            "missing": list(self.missing),
            "added": list(self.added),
            "notes": list(self.notes),
        }

    def failures(self, slower: float) -> tuple[str, ...]:
        """Why a gate at `slower` (a share) doesn't let the new report pass; empty where it does.

        A pair fails that is shown to be slower, by more than `slower` at the ratio's value. So
        does one that can't be compared or has too few runs, and a case that the new report lacks:
        a gate that could not look must not be open.
        """
        found = [f"{name} isn't in {self.new}" for name in self.missing]
        for pair in self.pairs:
            if pair.reasons:
                words = "; ".join(reason.words for reason in pair.reasons)
                found.append(f"{pair.name} can't be compared: {words}")
            elif pair.ratio is None:
                found.append(f"{pair.name} has too few runs to tell")
            elif pair.verdict is Verdict.SLOWER and pair.ratio.value > 1 + slower:
                found.append(
                    f"{pair.name} is {pair.ratio.value - 1:.1%} slower, more than {slower:.1%}"
                )
        return tuple(found)

    def unsure(self, slower: float) -> tuple[str, ...]:
        """Pairs that may be slower by more than `slower`, for all that these runs show."""
        return tuple(
            pair.name
            for pair in self.pairs
            if pair.ratio is not None and pair.ratio.value <= 1 + slower < pair.ratio.high
        )


@dataclass(frozen=True, slots=True)
class _Side:
    """A report and where it came from."""

    path: str
    report: BenchReport

    def choose(self, choice: str | None) -> Case:
        """The case called NAME, NAME:THREADS or NAME#2; the only one for None."""
        if choice is None:
            if len(self.report.cases) == 1:
                return self.report.cases[0]
            raise UsageError(f"{self.path} has several cases; choose one of {_listed(self.report)}")
        found = _CHOICE.fullmatch(choice)
        wanted = found.groupdict() if found else {"name": choice, "threads": None, "place": None}
        cases = [
            case
            for case in self.report.cases
            if wanted["name"] in {case.path, PurePath(case.path).name}
            and wanted["threads"] in {None, str(case.threads)}
        ]
        place = int(wanted["place"] or 1)
        if not 1 <= place <= len(cases):
            raise UsageError(f"{self.path} has no case {choice!r}; it has {_listed(self.report)}")
        return cases[place - 1]


def bench_compare(
    old: str | os.PathLike[str],
    new: str | os.PathLike[str] | None = None,
    *,
    a: str | None = None,
    b: str | None = None,
    accept: Collection[str] = (),
    margin: float = MARGIN,
    level: float = LEVEL,
) -> BenchComparison:
    """Compare two JSON reports of `bench`, or two cases of one.

    old, new: paths; without `new`, `a` and `b` name two cases of `old`. a, b: NAME, NAME:THREADS
    or NAME#2 for the second of one name. accept: keys of REASONS that don't speak against it.
    margin: share below which a difference counts as none. level: of the ratio's interval.

    A verdict needs the whole interval of the medians beyond the margin, and that of the fast runs
    too: a slower model is slower in its best runs, while a neighbour slows down only some. Raises
    UsageError for a choice that names no case and where nothing matches, InputError for a file that
    isn't such a report.
    """
    _check(accept, margin, level)
    first = _Side(os.fspath(old), read_report(old))
    second = first if new is None else _Side(os.fspath(new), read_report(new))
    missing: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    if a is None and b is None and new is not None:
        chosen, missing, added = _matched(first.report, second.report)
    else:
        chosen = [_chosen(first, second, a, b)]
    machines = machine_reasons(first.report, second.report)
    pairs = [
        compare_cases(
            left,
            right,
            turn=first.report.settings.turn,
            together=first is second,
            reasons=tuple(
                reason
                for reason in (*machines, *case_reasons(left, right))
                if reason.key not in accept
            ),
            margin=margin,
            level=level,
        )
        for left, right in chosen
    ]
    notes = [
        f"{PurePath(side.path).name}: {warning}"
        for side in (first, second)
        for warning in side.report.warnings
    ]
    return BenchComparison(
        first.path,
        second.path,
        level,
        margin,
        tuple(pairs),
        missing,
        added,
        tuple(dict.fromkeys(notes)),
    )


def _matched(
    old: BenchReport, new: BenchReport
) -> tuple[list[tuple[Case, Case]], tuple[str, ...], tuple[str, ...]]:
    """Cases of the same name, threads and place among their like; those of one report only."""
    left, right = _keyed(old), _keyed(new)
    if pairs := [(left[key], right[key]) for key in left if key in right]:
        missing = (label(case) for key, case in left.items() if key not in right)
        added = (label(case) for key, case in right.items() if key not in left)
        return pairs, tuple(missing), tuple(added)
    if len(left) == len(right) == 1:
        # Two reports of one case each are compared whatever their files are called.
        return [(old.cases[0], new.cases[0])], (), ()
    raise UsageError(
        "no case of the two reports has the same file name and threads; choose with --a and --b "
        f"among {_listed(old)} and {_listed(new)}"
    )


def _keyed(report: BenchReport) -> dict[tuple[str, int, int], Case]:
    seen: Counter[tuple[str, int]] = Counter()
    keyed = {}
    for case in report.cases:
        key = (PurePath(case.path).name, case.threads)
        seen[key] += 1
        keyed[*key, seen[key]] = case
    return keyed


def _chosen(first: _Side, second: _Side, a: str | None, b: str | None) -> tuple[Case, Case]:
    """The two cases that `a` and `b` name; a report's only case needs no name."""
    if first is not second:
        return first.choose(a), second.choose(b)
    if a is None or b is None:
        raise UsageError("with one report name two of its cases: --a NAME --b NAME")
    # The same name twice means the first and the second of its cases.
    return first.choose(a), first.choose(f"{a}#2" if a == b else b)


def label(case: Case) -> str:
    """A case as `a` and `b` take it."""
    return f"{PurePath(case.path).name}:{case.threads}"


def _listed(report: BenchReport) -> str:
    return ", ".join(dict.fromkeys(map(label, report.cases)))


def _check(accept: Collection[str], margin: float, level: float) -> None:
    unknown = sorted(set(accept) - set(REASONS))
    if unknown:
        raise UsageError(f"no reason is called {unknown[0]!r}; they are {', '.join(REASONS)}")
    if not 0 <= margin < 1:
        raise UsageError(f"the margin is a share from 0 to below 1, got {margin}")
    if not 0.5 <= level < 1:
        raise UsageError(f"the level is a share from 0.5 to below 1, got {level}")
