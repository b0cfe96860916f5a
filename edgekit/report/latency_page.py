"""Latency reports as one page that needs nothing else: no network, no script."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

import edgekit
from edgekit.bench.results import SCHEMA, BenchReport
from edgekit.report import case_charts
from edgekit.report import latency_charts as charts
from edgekit.report.latency_charts import Named
from edgekit.report.latency_grids import (
    Grid,
    endurance,
    layers,
    machine,
    name,
    operators,
    overview,
    percent,
    places,
    runs,
    spread,
    starts,
    throughput,
)
from edgekit.report.latency_text import TITLE
from edgekit.report.words import count, megabytes, milliseconds


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture with what stands below it."""

    caption: str
    svg: Markup


@dataclass(frozen=True, slots=True)
class Detail:
    """What is folded away of one case: pictures and tables."""

    title: str
    figures: tuple[Figure, ...]
    grids: tuple[Grid, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """One report on the page. anchor: unique on it."""

    anchor: str
    heading: str
    created: str
    warnings: tuple[str, ...]
    summary: Grid
    figures: tuple[Figure, ...]
    details: tuple[Detail, ...]
    grids: tuple[Grid, ...]
    machine: tuple[tuple[str, str], ...]
    command: str
    data: Markup


def render_page(reports: Sequence[BenchReport], title: str | None = None) -> str:
    """The page. title: its heading; by default what was measured."""
    environment = Environment(
        loader=PackageLoader("edgekit.report", "templates/latency"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    parts = tuple(
        _part(report, number, place)
        for number, (report, place) in enumerate(zip(reports, places(reports), strict=True), 1)
    )
    return environment.get_template("page.html.j2").render(
        title=title or _title(reports),
        parts=parts,
        overview=overview(reports),
        version=edgekit.__version__,
        schema=SCHEMA,
    )


def _breakable(text: str) -> Markup:
    """Text that may be broken after the marks that file names have in place of spaces."""
    escaped = escape(text)
    for mark in "_-/":
        escaped = escaped.replace(mark, Markup(f"{mark}<wbr>"))  # noqa: S704 - one known mark
    return escaped


def _title(reports: Sequence[BenchReport]) -> str:
    files = count(sum(len(report.cases) for report in reports), "case")
    return f"{TITLE} of {files}"


def _part(report: BenchReport, number: int, place: str) -> Part:
    named = [Named(row, name(case, report), case) for row, case in enumerate(report.cases, 1)]
    return Part(
        anchor=f"report-{number}",
        heading=place,
        created=report.created,
        warnings=report.warnings,
        summary=_summary(named),
        figures=tuple(_figures(named)),
        details=tuple(detail for each in named for detail in _details(each)),
        grids=tuple(_grids(report)),
        machine=tuple(machine(report)),
        command=report.command,
        data=_data(report),
    )


def _summary(named: Sequence[Named]) -> Grid:
    """What most readers came for, a row a case; columns that nothing is known of are left out."""
    columns = {
        "model": [each.name for each in named],
        "bytes": [f"{each.case.file_bytes:,}" for each in named],
        "top-1": [
            "-" if each.case.accuracy is None else percent(each.case.accuracy.top1)
            for each in named
        ],
        "load ms": [milliseconds(each.case.load_s) for each in named],
        "first run ms": [milliseconds(each.case.first_run_s) for each in named],
        "p50 ms": [milliseconds(each.case.warm.p50_s) for each in named],
        "p95 ms": [milliseconds(each.case.warm.p95_s) for each in named],
        "items/s": [throughput(each.case) for each in named],
        "memory": [
            "-" if each.case.model_bytes is None else megabytes(each.case.model_bytes)
            for each in named
        ],
    }
    shown = {heading: cells for heading, cells in columns.items() if set(cells) != {"-"}}
    rows = tuple(zip(*shown.values(), strict=True))
    known = next((each.case.accuracy for each in named if each.case.accuracy is not None), None)
    note = "" if known is None else f"top-1 of {known.count:,} inputs of {known.data} {known.split}"
    return Grid("Summary", tuple(shown), rows, note)


def _figure(caption: str, svg: str) -> Figure:
    # Pictures escape every text that they hold.
    return Figure(caption, Markup(svg))  # noqa: S704


def _figures(named: Sequence[Named]) -> list[Figure]:
    started = [each for each in named if each.case.cold]
    rated = [each for each in named if each.case.accuracy is not None]
    found = [
        _figure(
            "Warm runs: how often which time was measured; dashed: the median",
            charts.distributions(named),
        ),
    ]
    if started:
        found.append(
            _figure("Cold start in a fresh process, the middle one", charts.cold_starts(started))
        )
    if len(named) > 1:
        found.append(_figure("File size against warm median", charts.size_against_latency(named)))
    if len(rated) > 1:
        found.append(_figure("File size against accuracy", charts.size_against_accuracy(rated)))
    caption = "Warm runs in order; dots at the top are beyond p99"
    return [*found, _figure(caption, charts.in_order(named))]


def _details(each: Named) -> list[Detail]:
    found = []
    case = each.case
    if case.endurance is not None:
        seconds = case.endurance.windows[-1].end_s
        limited = any(window.throttled for window in case.endurance.windows)
        figure = _figure(
            f"{each.label} without a pause for {seconds:.0f} s; what is beyond the top lies on it"
            + ("; the board limited itself where upright lines are" if limited else ""),
            case_charts.under_load(case.endurance, each.series),
        )
        grid = endurance(case.endurance, each.name)
        found.append(Detail(f"Under load: {each.label}", (figure,), (grid,)))
    if case.profile is not None:
        figure = _figure(
            f"Layers of {each.label}, ms, in the order in which they run",
            case_charts.layer_bars(case.profile, each.series),
        )
        both = (operators(case.profile, each.name), layers(case.profile, each.name))
        found.append(Detail(f"Layers: {each.label}", (figure,), both))
    return found


def _grids(report: BenchReport) -> list[Grid]:
    cold = [starts(report)] if any(case.cold for case in report.cases) else []
    return [*cold, runs(report), spread(report)]


def _data(report: BenchReport) -> Markup:
    """The report itself, so that the page holds all its numbers."""
    text = json.dumps(report.to_dict(), ensure_ascii=False, separators=(",", ":"))
    # Inside a script element only "<" could end it or begin another.
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704
