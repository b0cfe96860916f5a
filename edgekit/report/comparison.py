"""The papers' figures beside our counts, as a table and as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table

from edgekit_models.comparison import Comparison, ComparisonReport

HEADINGS = ("row", "table", "network", "variant", "of", "stated", "counted", "rule", "verdict")


def render_table(report: ComparisonReport) -> RenderableType:
    """One line a figure, then the reasons by row."""
    table = Table(box=None, pad_edge=False, title=summary(report))
    for heading in ("row", "network", "stated", "counted", "verdict"):
        is_number = heading in {"stated", "counted"}
        table.add_column(
            heading,
            justify="right" if is_number else "left",
            no_wrap=is_number or heading == "row",
            overflow="fold",
        )
    for figure in report.rows:
        row, source, name, variant, quantity, stated, counted, rule, verdict = _cells(figure)
        network = f"{name} {variant} ({source}): {quantity}"
        # The rule stands below, as in 80 columns there is no room beside the figures.
        rules = "" if rule == "-" else f"\n  {rule}"
        table.add_row(row, f"{network}{rules}", stated, counted, verdict)
    reasons = dict.fromkeys((f.row, f.reason) for f in report.rows if f.reason)
    return Group(table, *(f"{row}: {reason}" for row, reason in reasons))


def render_markdown(report: ComparisonReport) -> str:
    """A summary line and one table, with the reasons in a column of their own."""
    lines = [f"{summary(report)}.", "", *_markdown_row((*HEADINGS, "reason"))]
    lines.append("|" + "---|" * (len(HEADINGS) + 1))
    for figure in report.rows:
        lines.extend(_markdown_row((*_cells(figure), figure.reason)))
    return "\n".join(lines) + "\n"


def summary(report: ComparisonReport) -> str:
    """How many figures got which verdict."""
    counts = Counter(figure.verdict for figure in report.rows)
    parts = (f"{count} {verdict}" for verdict, count in counts.most_common())
    return f"{len(report.rows)} figures: {', '.join(parts)}"


def _cells(figure: Comparison) -> tuple[str, ...]:
    counted = f"{figure.counted:,}" if isinstance(figure.counted, int) else figure.counted
    return (
        figure.row,
        figure.table,
        figure.name,
        figure.variant,
        figure.quantity,
        figure.stated or "-",
        counted or "-",
        figure.rule,
        figure.verdict,
    )


def _markdown_row(cells: Iterable[str]) -> tuple[str]:
    return ("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |",)
