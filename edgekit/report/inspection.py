"""The tables of an inspected file."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgekit.inspect.ledger import InspectReport


def render_table(report: InspectReport) -> RenderableType:
    """Facts, then every tensor and part with its bytes, adding up to the file."""
    return Group(_facts(report), Text(), _ledger(report))


def _facts(report: InspectReport) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("file", report.path)
    kind = "packed file, format" if report.kind == "packed" else "ONNX,"
    table.add_row("kind", f"{kind} {report.format}")
    table.add_row("SHA-256", report.digest)
    for name, values in (("input", report.inputs), ("output", report.outputs)):
        for value, shape in values:
            table.add_row(name, f"{value}: {shape}")
    table.add_row("operators", ", ".join(f"{count} {name}" for name, count in report.operators))
    table.add_row("parameters", f"{report.parameters:,}")
    adds = report.multiply_adds
    table.add_row("multiply-adds", "shapes are open" if adds is None else f"{adds:,}")
    for key in ("name", "recipe", "source_bytes"):
        if key in report.manifest:
            value = report.manifest[key]
            shown = (
                ", ".join(f"{word} {item}" for word, item in value.items())
                if isinstance(value, dict)
                else f"{value:,}"
                if isinstance(value, int)
                else str(value)
            )
            table.add_row(key.replace("_", " "), shown)
    return table


def _ledger(report: InspectReport) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("tensor", overflow="fold")
    table.add_column("shape")
    table.add_column("stored as", overflow="fold")
    table.add_column("zeros", justify="right")
    table.add_column("bits", justify="right")
    table.add_column("entropy", justify="right")
    table.add_column("bytes", justify="right")
    for entry in report.tensors:
        table.add_row(
            entry.name,
            "x".join(map(str, entry.shape)) or "scalar",
            f"{entry.coding}, {entry.values}" if entry.values else entry.coding,
            f"{entry.sparsity:.1%}",
            f"{8 * entry.bytes / entry.elements:.2f}" if entry.elements else "",
            "" if entry.entropy_bits is None else f"{entry.entropy_bits:.2f}",
            f"{entry.bytes:,}",
        )
    for name, size in report.parts:
        table.add_row(name, "", "", "", "", "", f"{size:,}")
    table.add_row("total", "", "", "", "", "", f"{report.file_bytes:,}")
    return table
