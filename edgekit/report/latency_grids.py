"""The tables of a latency report as plain text cells, for the terminal, Markdown and the page."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from edgekit.bench.findings import Endurance, Profile
from edgekit.bench.results import KINDS, BenchReport, Case
from edgekit.bench.state import State
from edgekit.report.words import MISSING, count, megabytes, milliseconds, or_missing

_WHOLE = 1000
"""Items a second from which on fractions are left out."""

_MOST_LAYERS = 10
_MOST_WINDOWS = 8


@dataclass(frozen=True, slots=True)
class Grid:
    """A table. headings: the first column is text, the others are numbers. note: stands below."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def grids(report: BenchReport) -> Iterator[Grid]:
    """What there is to show, in the order of reading; not the machine."""
    if any(case.cold for case in report.cases):
        yield starts(report)
    yield runs(report)
    yield spread(report)
    if any(case.accuracy for case in report.cases):
        yield accuracies(report)
    for case in report.cases:
        if case.profile is not None:
            yield operators(case.profile, name(case, report))
            yield layers(case.profile, name(case, report))
    for case in report.cases:
        if case.endurance is not None:
            yield endurance(case.endurance, name(case, report))


def overview(reports: Sequence[BenchReport]) -> Grid:
    """Every case of several reports, with the machine that it ran on."""
    rows = tuple(
        (
            name(case, report),
            place,
            f"{case.file_bytes:,}",
            milliseconds(case.load_s),
            *map(milliseconds, (case.warm.p50_s, case.warm.p95_s)),
            throughput(case),
            str(len(report.warnings)),
        )
        for report, place in zip(reports, places(reports), strict=True)
        for case in report.cases
    )
    headings = ("model", "machine", "bytes", "load ms", "p50 ms", "p95 ms", "items/s", "warnings")
    return Grid("All reports", headings, rows)


def places(reports: Sequence[BenchReport]) -> list[str]:
    """What each report's machine is called; with the date where two are called the same."""
    names = [
        report.host.board or report.host.cpu.model or report.host.cpu.architecture
        for report in reports
    ]
    return [
        f"{place}, {report.created}" if names.count(place) > 1 else place
        for place, report in zip(names, reports, strict=True)
    ]


def name(case: Case, report: BenchReport) -> str:
    """A case's file, its run form where that is int8, and its threads where they differ."""
    file = PurePath(case.path).name + (", int8" if case.kind == KINDS["int8"] else "")
    if len(report.settings.threads) == 1:
        return file
    return f"{file}, {count(case.threads, 'thread')}"


def starts(report: BenchReport) -> Grid:
    """Cold starts, without cases that have none."""
    rows = []
    for case in report.cases:
        if not case.cold:
            continue
        decode = [start.decode_s for start in case.cold if start.decode_s is not None]
        rows.append(
            (
                name(case, report),
                f"{case.file_bytes:,}",
                milliseconds(statistics.median(decode) if decode else None),
                milliseconds(statistics.median(start.session_s for start in case.cold)),
                milliseconds(case.load_s),
                milliseconds(case.first_run_s),
                megabytes(case.model_bytes),
            )
        )
    headings = ("model", "bytes", "decode", "session", "load", "first", "memory")
    note = "medians of fresh processes, files in the system's cache; first: the first answer"
    return Grid("cold start, ms", headings, tuple(rows), note)


def runs(report: BenchReport) -> Grid:
    """Warm runs by their percentiles."""
    rows = tuple(
        (
            name(case, report),
            str(case.warm.count),
            *map(
                milliseconds, (case.warm.p50_s, case.warm.p90_s, case.warm.p95_s, case.warm.p99_s)
            ),
            throughput(case),
        )
        for case in report.cases
    )
    return Grid("warm runs, ms", ("model", "runs", "p50", "p90", "p95", "p99", "items/s"), rows)


def throughput(case: Case) -> str:
    """Items a second, to four digits."""
    rate = case.throughput
    return f"{rate:.4g}" if rate < _WHOLE else f"{rate:.0f}"


def spread(report: BenchReport) -> Grid:
    """What else the warm runs say: a table of its own, so that both fit 80 columns."""
    rows = tuple(
        (
            name(case, report),
            *map(
                milliseconds, (case.warm.min_s, case.warm.max_s, case.warm.mean_s, case.warm.std_s)
            ),
            interval(case),
        )
        for case in report.cases
    )
    return Grid("their spread, ms", ("model", "min", "max", "mean", "std", "median, 95 %"), rows)


def interval(case: Case) -> str:
    """The median's interval in milliseconds."""
    median = case.warm.median
    if median.level is None:
        return "too few runs"
    return f"{milliseconds(median.low)} - {milliseconds(median.high)}"


def accuracies(report: BenchReport) -> Grid:
    """Size against accuracy."""
    found = [(case, case.accuracy) for case in report.cases if case.accuracy is not None]
    rows = tuple(
        (name(case, report), f"{case.file_bytes:,}", percent(accuracy.top1), f"{accuracy.count:,}")
        for case, accuracy in found
    )
    first = found[0][1]
    return Grid(
        "accuracy", ("model", "bytes", "top-1", "inputs"), rows, f"{first.data} {first.split}"
    )


def percent(share: float) -> str:
    """A share with two digits: 91.20 %."""
    return f"{100 * share:.2f} %"


def operators(profile: Profile, of: str) -> Grid:
    """Time by operator type, the costliest first."""
    rows = tuple(
        (
            operator.name,
            str(operator.count),
            milliseconds(operator.seconds),
            f"{operator.share:.1%}",
        )
        for operator in profile.operators
    )
    note = (
        f"{count(profile.runs, 'profiled run')}: {milliseconds(profile.run_s)} ms a run, of which "
        f"{milliseconds(profile.layers_s)} ms in layers"
    )
    return Grid(f"operators of {of}, ms", ("operator", "layers", "time", "share"), rows, note)


def layers(profile: Profile, of: str, most: int = _MOST_LAYERS) -> Grid:
    """The costliest layers."""
    costliest = sorted(profile.layers, key=lambda layer: -layer.seconds)
    rows = tuple(
        (
            layer.name,
            layer.operator,
            "x".join(map(str, layer.shape)) if layer.shape is not None else "-",
            milliseconds(layer.seconds),
            f"{profile.share(layer):.1%}",
        )
        for layer in costliest[:most]
    )
    left = len(costliest) - len(rows)
    note = f"{count(left, 'more layer')} in the JSON report" if left else ""
    return Grid(
        f"costliest layers of {of}, ms",
        ("layer", "operator", "output", "time", "share"),
        rows,
        note,
    )


def endurance(found: Endurance, of: str, most: int = _MOST_WINDOWS) -> Grid:
    """Windows at equal distances, the first and the last among them; what is known of each."""
    last = len(found.windows) - 1
    chosen = sorted({round(i * last / (most - 1)) for i in range(most)}) if last else [0]
    windows = [found.windows[place] for place in chosen]
    columns = {
        "until, s": [f"{window.end_s:.1f}" for window in windows],
        "runs": [str(window.runs) for window in windows],
        "p50": [milliseconds(window.p50_s) for window in windows],
        "p95": [milliseconds(window.p95_s) for window in windows],
        "°C": ["-" if w.celsius is None else f"{w.celsius:.1f}" for w in windows],
        "MHz": ["-" if w.clock_hz is None else f"{w.clock_hz / 1e6:.0f}" for w in windows],
        "limited": [{None: "-", True: "yes", False: "no"}[w.throttled] for w in windows],
    }
    unknown = [heading for heading, cells in columns.items() if set(cells) == {"-"}]
    for heading in unknown:
        del columns[heading]
    way = "slower" if found.slowdown >= 0 else "faster"
    note = (
        f"{count(found.runs, 'run')} without a pause; the last tenth {abs(found.slowdown):.1%} "
        f"{way} than the first" + (f"; {MISSING}: {', '.join(unknown)}" if unknown else "")
    )
    return Grid(
        f"{of} under load, ms", tuple(columns), tuple(zip(*columns.values(), strict=True)), note
    )


def machine(report: BenchReport) -> list[tuple[str, str]]:
    """Settings, the machine and its state, in words."""
    host, after = report.host, report.after
    flags = host.cpu.flags
    return [
        ("settings", settings(report)),
        ("processor", or_missing(host.cpu.model)),
        ("cores", f"{or_missing(host.cpu.usable)} usable of {or_missing(host.cpu.cores)}"),
        ("features", MISSING if flags is None else ", ".join(flags) or "none of interest"),
        ("board", or_missing(host.board)),
        ("governor", governors(after)),
        ("clock", _before_and_after(report, _clock)),
        ("temperature", _before_and_after(report, _temperatures)),
        ("throttling", _throttling(after)),
        # The load after the runs counts the runs themselves.
        ("load before", or_missing(report.before.load)),
        ("others", _others(report)),
        ("memory", _memory(report)),
        ("system", f"{or_missing(host.system)}, kernel {or_missing(host.kernel)}"),
        ("container", "none found" if host.container == "" else or_missing(host.container)),
        (
            "versions",
            ", ".join(
                f"{package} {version or MISSING}" for package, version in host.versions.items()
            ),
        ),
    ]


def settings(report: BenchReport) -> str:
    """What was asked for, in one line."""
    asked = report.settings
    parts = [
        f"threads {', '.join(map(str, asked.threads))}",
        count(asked.warmup, "warm-up run"),
        f"batch {asked.batch}",
        f"seed {asked.seed}",
        f"spin-wait {'on' if asked.spinning else 'off'}",
        asked.provider,
    ]
    if asked.affinity is not None:
        parts.append(f"bound to cores {', '.join(map(str, asked.affinity))}")
    if asked.input_data is not None:
        parts.append(f"inputs from {PurePath(asked.input_data).name}")
    return ", ".join(parts)


def governors(state: State) -> str:
    """Names of the clocks' governors."""
    return ", ".join(sorted({c.governor for c in state.clocks if c.governor})) or MISSING


def _before_and_after(report: BenchReport, told: Callable[[State], str]) -> str:
    before, after = told(report.before), told(report.after)
    return after if before == after else f"{before} before, {after} after"


def _clock(state: State) -> str:
    known = [clock.current_hz for clock in state.clocks if clock.current_hz is not None]
    return f"{max(known) / 1e6:.0f} MHz" if known else MISSING


def _temperatures(state: State) -> str:
    zones: Sequence[str] = [
        f"{zone.kind} {zone.celsius:.1f} °C" for zone in state.zones if zone.celsius is not None
    ]
    return ", ".join(zones) or MISSING


def _throttling(state: State) -> str:
    if state.throttle is None:
        return MISSING
    return ", ".join(state.throttle.now) or "none"


def _others(report: BenchReport) -> str:
    if report.others_busy is None:
        return MISSING
    return f"other programs took {report.others_busy:.2f} cores meanwhile"


def _memory(report: BenchReport) -> str:
    free, whole = report.before.memory_available_bytes, report.host.memory_bytes
    return f"{megabytes(free)} free of {megabytes(whole)}"
