"""The table of a look over a machine."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgekit.bench.advice import Verdict
from edgekit.bench.doctor import DoctorReport

_STYLES = {
    Verdict.OK: "green",
    Verdict.NOTE: "cyan",
    Verdict.WARNING: "yellow",
    Verdict.BROKEN: "bold red",
    Verdict.UNKNOWN: "dim",
}


def render_table(report: DoctorReport) -> RenderableType:
    """One line a check, what to do below it, and a verdict at the end."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in report.checks:
        text = Text(check.found)
        if check.advice:
            text.append(f"\n{check.advice}", style="italic")
        table.add_row(Text(check.verdict.value, _STYLES[check.verdict]), check.name, text)
    return Group(table, Text(), Text(_summary(report)))


def _summary(report: DoctorReport) -> str:
    warnings = sum(check.verdict is Verdict.WARNING for check in report.checks)
    if report.broken:
        return f"can't run models here: {', '.join(check.name for check in report.broken)}"
    if warnings:
        count = "one warning" if warnings == 1 else f"{warnings} warnings"
        return f"ready; {count} about measurements"
    return "ready"
