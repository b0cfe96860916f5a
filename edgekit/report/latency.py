"""The tables of a benchmark: start, warm runs, and the machine they were made on."""

from __future__ import annotations

import statistics
from pathlib import PurePath

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgekit.bench.results import BenchReport, Case
from edgekit.report.words import MISSING, count, milliseconds, or_missing

_WHOLE = 1000
"""Items a second from which on fractions are left out."""


def render_table(report: BenchReport) -> RenderableType:
    """How fast each case starts and answers, and what to think of the numbers."""
    parts: list[RenderableType] = []
    if any(case.cold for case in report.cases):
        parts += [_starts(report), Text()]
    parts += [_runs(report), Text(), _spread(report), Text(), _machine(report)]
    parts += [Text(f"warning: {warning}") for warning in report.warnings]
    return Group(*parts)


def _name(case: Case, report: BenchReport) -> str:
    name = PurePath(case.path).name
    return name if len(report.settings.threads) == 1 else f"{name}, {count(case.threads, 'thread')}"


def _starts(report: BenchReport) -> Table:
    table = Table(box=None, pad_edge=False, title="cold start, ms", title_justify="left")
    table.add_column("model", overflow="fold")
    for heading in ("bytes", "decode", "session", "load", "first run", "memory"):
        table.add_column(heading, justify="right")
    for case in report.cases:
        if not case.cold:
            continue
        decode = [start.decode_s for start in case.cold if start.decode_s is not None]
        memory = [start.model_bytes for start in case.cold if start.model_bytes is not None]
        table.add_row(
            _name(case, report),
            f"{case.file_bytes:,}",
            milliseconds(statistics.median(decode) if decode else None),
            milliseconds(statistics.median(start.session_s for start in case.cold)),
            milliseconds(statistics.median(start.load_s for start in case.cold)),
            milliseconds(statistics.median(start.first_run_s for start in case.cold)),
            f"{statistics.median(memory) / 1e6:.1f} MB" if memory else MISSING,
        )
    return table


def _runs(report: BenchReport) -> Table:
    table = Table(box=None, pad_edge=False, title="warm runs, ms", title_justify="left")
    table.add_column("model", overflow="fold")
    for heading in ("runs", "p50", "p90", "p95", "p99", "items/s"):
        table.add_column(heading, justify="right")
    for case in report.cases:
        warm = case.warm
        table.add_row(
            _name(case, report),
            str(warm.count),
            *map(milliseconds, (warm.p50_s, warm.p90_s, warm.p95_s, warm.p99_s)),
            f"{case.throughput:.4g}" if case.throughput < _WHOLE else f"{case.throughput:.0f}",
        )
    return table


def _spread(report: BenchReport) -> Table:
    """What else the warm runs say: a table of its own, so that both fit 80 columns."""
    table = Table(box=None, pad_edge=False, title="their spread, ms", title_justify="left")
    table.add_column("model", overflow="fold")
    for heading in ("min", "max", "mean", "std", "median, 95 %"):
        table.add_column(heading, justify="right")
    for case in report.cases:
        warm = case.warm
        interval = f"{milliseconds(warm.median.low)} - {milliseconds(warm.median.high)}"
        table.add_row(
            _name(case, report),
            *map(milliseconds, (warm.min_s, warm.max_s, warm.mean_s, warm.std_s)),
            "too few runs" if warm.median.level is None else interval,
        )
    return table


def _machine(report: BenchReport) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    settings, host, state = report.settings, report.host, report.after
    threads = ", ".join(map(str, settings.threads))
    table.add_row(
        "settings",
        f"threads {threads}, {count(settings.warmup, 'warm-up run')}, batch {settings.batch}, seed "
        f"{settings.seed}, spin-wait {'on' if settings.spinning else 'off'}, "
        f"{settings.provider}",
    )
    if any(case.cold for case in report.cases):
        table.add_row("cold start", "median of fresh processes, files in the system's cache")
    table.add_row("processor", or_missing(host.cpu.model))
    table.add_row("cores", f"{or_missing(host.cpu.usable)} usable of {or_missing(host.cpu.cores)}")
    flags = host.cpu.flags
    table.add_row("features", MISSING if flags is None else ", ".join(flags) or "none of interest")
    table.add_row("board", or_missing(host.board))
    governors = sorted({clock.governor for clock in state.clocks if clock.governor})
    table.add_row("governor", ", ".join(governors) or MISSING)
    zones = [
        f"{zone.kind} {zone.celsius:.1f} C" for zone in state.zones if zone.celsius is not None
    ]
    table.add_row("temperature", ", ".join(zones) or MISSING)
    throttle = "none" if state.throttle and not state.throttle.now else MISSING
    if state.throttle and state.throttle.now:
        throttle = ", ".join(state.throttle.now)
    table.add_row("throttling", throttle)
    # The load after the runs counts the runs themselves.
    table.add_row("load before", or_missing(report.before.load))
    table.add_row("system", f"{or_missing(host.system)}, kernel {or_missing(host.kernel)}")
    table.add_row("container", "none found" if host.container == "" else or_missing(host.container))
    versions = (f"{name} {version or MISSING}" for name, version in host.versions.items())
    table.add_row("versions", ", ".join(versions))
    return table
