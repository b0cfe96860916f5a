"""The tables of a benchmark in the terminal: start, warm runs, the machine they were made on."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgekit.bench.results import BenchReport
from edgekit.report.latency_grids import Grid, grids, machine


def render_table(report: BenchReport) -> RenderableType:
    """How fast each case starts and answers, and what to think of the numbers."""
    parts: list[RenderableType] = []
    for grid in grids(report):
        parts += [_table(grid), Text()]
    parts.append(_machine(report))
    parts += [Text(f"warning: {warning}") for warning in report.warnings]
    return Group(*parts)


def _table(grid: Grid) -> RenderableType:
    table = Table(box=None, pad_edge=False)
    first, *others = grid.headings
    table.add_column(first, overflow="fold")
    for heading in others:
        table.add_column(heading, justify="right")
    for row in grid.rows:
        # A name may hold brackets, which rich would take for markup.
        table.add_row(*map(Text, row))
    # A title of rich's own would be broken to the width of its table.
    parts: list[RenderableType] = [Text(grid.title, style="italic"), table]
    return Group(*parts, *([Text(grid.note)] if grid.note else []))


def _machine(report: BenchReport) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for fact, words in machine(report):
        table.add_row(fact, Text(words))
    return table
