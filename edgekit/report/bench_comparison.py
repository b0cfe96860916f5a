"""The table of two latency reports side by side."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgekit.bench.compare import BenchComparison
from edgekit.bench.verdict import Pair, Verdict, side
from edgekit.report.words import count, milliseconds


def render_table(comparison: BenchComparison) -> RenderableType:
    """One line a pair, then what speaks against comparing, and what to make of the runs."""
    table = Table(box=None, pad_edge=False, title="warm runs, median ms", title_justify="left")
    table.add_column("model", overflow="fold")
    for heading in ("old", "new", "ratio", f"{comparison.level:.0%} interval"):
        table.add_column(heading, justify="right")
    table.add_column("verdict", no_wrap=True)
    for pair in comparison.pairs:
        # A name may hold brackets, which rich would take for markup.
        table.add_row(*map(Text, _cells(pair, comparison)))
    parts: list[RenderableType] = [table]
    if any(case.cold for pair in comparison.pairs for case in (pair.old, pair.new)):
        parts += [Text(), _starts(comparison)]
    parts += [Text(), *(Text(line) for line in _explained(comparison))]
    return Group(*parts)


def _cells(pair: Pair, comparison: BenchComparison) -> tuple[str, ...]:
    ratio, interval = "-", "-"
    if pair.ratio is not None:
        ratio = f"{pair.ratio.value:.3f}"
        interval = f"{pair.ratio.low:.3f} - {pair.ratio.high:.3f}"
    verdict = pair.verdict.value
    if not pair.comparable:
        undecided = pair.verdict is Verdict.UNDECIDED
        verdict = "not comparable" if undecided else f"{verdict} (not comparable)"
    return (
        _named(pair, comparison),
        milliseconds(pair.old.warm.p50_s),
        milliseconds(pair.new.warm.p50_s),
        ratio,
        interval,
        verdict,
    )


def _starts(comparison: BenchComparison) -> Table:
    """Sizes and cold starts: plain numbers, for three starts give no verdict."""
    table = Table(box=None, pad_edge=False, title="file and cold start", title_justify="left")
    table.add_column("model", overflow="fold")
    for heading in ("old bytes", "new bytes", "old load", "new load, ms"):
        table.add_column(heading, justify="right")
    for pair in comparison.pairs:
        cases = (pair.old, pair.new)
        cells = (
            _named(pair, comparison),
            *(f"{case.file_bytes:,}" for case in cases),
            *(milliseconds(case.load_s) for case in cases),
        )
        table.add_row(*map(Text, cells))
    return table


def _explained(comparison: BenchComparison) -> list[str]:
    lines = []
    reasons: dict[str, None] = {}
    for pair in comparison.pairs:
        reasons |= {
            f"not comparable ({reason.key}): {reason.words}": None for reason in pair.reasons
        }
    lines += list(reasons) or ["comparable: same machine, settings and inputs, as far as known"]
    smallest = [
        pair.ratio.high / pair.ratio.low for pair in comparison.pairs if pair.ratio is not None
    ]
    if smallest:
        lines.append(
            f"a verdict needs the whole interval beyond {comparison.margin:.0%}; it spans "
            f"{max(smallest) - 1:.1%} at most"
        )
    lines += [
        f"{pair.name}: the medians differ but the fastest tenths don't, as where other programs "
        "slow down some runs"
        for pair in comparison.pairs
        if pair.ratio is not None
        and pair.verdict is Verdict.SAME
        and side(pair.ratio, comparison.margin) is not Verdict.SAME
    ]
    lines += [
        f"{pair.name}: too few runs for a verdict" for pair in comparison.pairs if not pair.ratio
    ]
    lines += [f"only in the old report: {name}" for name in comparison.missing]
    lines += [f"only in the new report: {name}" for name in comparison.added]
    lines += [f"warning: {note}" for note in comparison.notes]
    return lines


def _named(pair: Pair, comparison: BenchComparison) -> str:
    """The file, and its threads where they tell something."""
    threads = {case.threads for each in comparison.pairs for case in (each.old, each.new)}
    if len(threads) == 1:
        return pair.name
    if pair.old.threads == pair.new.threads:
        return f"{pair.name}, {count(pair.old.threads, 'thread')}"
    return f"{pair.name}, {pair.old.threads} and {pair.new.threads} threads"
