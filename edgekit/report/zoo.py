"""The zoo as a list, and one network's card."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table

from edgekit.export.zoo import ModelCard, ZooReport


def render_list(report: ZooReport) -> Table:
    """One line a network."""
    table = Table(title="The zoo")
    for heading in ("name", "input", "parameters", "multiply-adds", "weights", "description"):
        numeric = heading in {"parameters", "multiply-adds"}
        table.add_column(heading, justify="right" if numeric else "left")
    for entry in report.models:
        table.add_row(
            entry.name,
            _shape(entry.input_shape),
            f"{entry.parameters:,}",
            f"{entry.multiply_adds:,}",
            "shipped" if entry.checkpoint else "-",
            entry.description,
        )
    return table


def render_card(entry: ModelCard) -> RenderableType:
    """Facts, then the counts in three columns: counted, stated, as printed in the paper."""
    facts = Table(title=entry.name, show_header=False)
    facts.add_row("description", entry.description)
    facts.add_row("input", f"N x {_shape(entry.input_shape)} float32")
    facts.add_row("classes", "-" if entry.classes is None else f"{entry.classes}")
    facts.add_row("activations", f"{entry.peak_bytes:,} bytes at their peak, one float32 input")
    field = entry.receptive_field
    facts.add_row("receptive field", "unknown" if field is None else f"{field} pixels")
    if entry.uncounted:
        facts.add_row("not counted", "multiply-adds of " + ", ".join(entry.uncounted))
    facts.add_row("paper", entry.paper or "-")
    facts.add_row("weights", entry.checkpoint or "none shipped")
    counts = Table("", "counted", "stated", "paper")
    counts.add_row(
        "trainable parameters",
        f"{entry.parameters:,}",
        _stated(entry.stated_parameters),
        entry.paper_parameters or "-",
    )
    counts.add_row(
        "multiply-adds, one input",
        f"{entry.multiply_adds:,}",
        _stated(entry.stated_multiply_adds),
        entry.paper_multiply_adds or "-",
    )
    return Group(facts, counts)


def _stated(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)
