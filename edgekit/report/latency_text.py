"""Latency reports as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from edgekit.bench.results import BenchReport, Case
from edgekit.report.latency_grids import Grid, grids, machine, overview, places

TITLE = "Latency"

COLUMNS = (
    "created",
    "board",
    "processor",
    "path",
    "kind",
    "file_bytes",
    "sha256",
    "threads",
    "provider",
    "items",
    "load_s",
    "first_run_s",
    "model_bytes",
    "runs",
    "min_s",
    "p50_s",
    "p90_s",
    "p95_s",
    "p99_s",
    "max_s",
    "mean_s",
    "std_s",
    "median_low_s",
    "median_high_s",
    "throughput_per_s",
    "top1",
    "slowdown",
    "warnings",
)
"""One row a case; an empty cell stands for what isn't known or wasn't asked for."""


def render_csv(reports: Sequence[BenchReport]) -> str:
    """One row a case, numbers in full."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for report in reports:
        for case in report.cases:
            writer.writerow(_row(case, report))
    return out.getvalue()


def _row(case: Case, report: BenchReport) -> dict[str, object]:
    warm = case.warm.to_dict()
    found = {
        "created": report.created,
        "board": report.host.board,
        "processor": report.host.cpu.model,
        "path": case.path,
        "kind": case.kind,
        "file_bytes": case.file_bytes,
        "sha256": case.sha256,
        "threads": case.threads,
        "provider": report.settings.provider,
        "items": case.items,
        "load_s": case.load_s,
        "first_run_s": case.first_run_s,
        "model_bytes": case.model_bytes,
        "runs": warm["count"],
        **{column: warm[column] for column in COLUMNS if column in warm},
        "throughput_per_s": case.throughput,
        "top1": None if case.accuracy is None else case.accuracy.top1,
        "slowdown": None if case.endurance is None else case.endurance.slowdown,
        "warnings": "; ".join(report.warnings),
    }
    return {column: _safe(found[column]) for column in COLUMNS}


def _safe(value: object) -> object:
    # A spreadsheet takes text that begins like this for a formula, and would run it.
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return value


def render_markdown(reports: Sequence[BenchReport], title: str | None = None) -> str:
    """A section a report: its warnings, its tables, its machine, the command."""
    lines = [f"# {_escaped(title or TITLE)}", ""]
    if len(reports) > 1:
        lines += _grid(overview(reports))
    for report, place in zip(reports, places(reports), strict=True):
        if len(reports) > 1:
            lines += [f"## {_escaped(place)}", ""]
        lines += [f"> Warning: {_escaped(warning)}\n" for warning in report.warnings]
        for grid in grids(report):
            lines += _grid(grid)
        facts = [("", ""), *machine(report)]
        lines += [_line(fact) for fact in facts[:1]] + ["|---|---|"]
        lines += [_line(fact) for fact in facts[1:]]
        lines += ["", f"Measured at {report.created} with:", "", f"    {report.command}", ""]
    return "\n".join(lines)


def _grid(grid: Grid) -> list[str]:
    lines = [f"### {_escaped(grid.title)}", "", _line(grid.headings)]
    lines.append("|---|" + "---:|" * (len(grid.headings) - 1))
    lines += [_line(row) for row in grid.rows]
    lines += ["", f"{_escaped(grid.note)}.", ""] if grid.note else [""]
    return lines


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(map(_escaped, cells)) + " |"


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is."""
    for mark in "\\|`*_<[":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())
