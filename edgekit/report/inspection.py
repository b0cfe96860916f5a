"""The tables of an inspected file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from edgekit.count import Share
from edgekit.inspect.ledger import InspectReport
from edgekit.packfile.activations import read_activations, recorded_form

_OPEN = "shapes are open"
_NARROW = 100
"""Columns below which a tensor takes two lines, so that its name stays whole."""


def render_table(report: InspectReport) -> RenderableType:
    """Facts, then every tensor and part with its bytes, adding up to the file."""
    return Group(_facts(report), Text(), _shares(report.shares), Text(), _Ledger(report))


def _facts(report: InspectReport) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("file", report.path)
    kind = "packed file, format" if report.kind == "packed" else "ONNX,"
    table.add_row("kind", f"{kind} {report.format}")
    table.add_row("SHA-256", report.sha256)
    if report.digest is not None:
        table.add_row("digest", f"{report.digest}, of all but the last 32 bytes, which hold it")
    for name, values in (("input", report.inputs), ("output", report.outputs)):
        for value, shape in values:
            table.add_row(name, f"{value}: {shape}")
    table.add_row("operators", ", ".join(f"{count} {name}" for name, count in report.operators))
    table.add_row("parameters", f"{report.parameters:,}")
    adds = report.multiply_adds
    batch = "" if report.batch == 1 else f" for a batch of {report.batch}"
    table.add_row("multiply-adds", _OPEN if adds is None else f"{adds:,}{batch}")
    if report.uncounted:
        table.add_row("", f"without {', '.join(report.uncounted)}, which aren't counted")
    peak, field = report.footprint.peak_bytes, report.footprint.receptive_field
    table.add_row("activations", _OPEN if peak is None else f"{peak:,} bytes at their peak")
    if field is not None:
        table.add_row("receptive field", f"{field} pixels")
    activations = read_activations(report.manifest)
    if activations is not None:
        table.add_row(
            "run form",
            f"{recorded_form(report.manifest)}; as int8, {len(activations.tensors)} values in "
            f"8 bits and {len(activations.floats)} layers in float",
        )
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


def _shares(shares: Sequence[Share]) -> Table:
    """What each form of layer holds and costs."""
    table = Table(box=None, pad_edge=False)
    table.add_column("layers")
    for heading in ("weights", "share", "multiply-adds", "share"):
        table.add_column(heading, justify="right")
    weights = sum(share.weights for share in shares)
    adds = sum(share.multiply_adds or 0 for share in shares)
    for share in shares:
        cost = share.multiply_adds
        table.add_row(
            share.form,
            f"{share.weights:,}",
            f"{share.weights / weights:.1%}" if weights else "",
            "open" if cost is None else f"{cost:,}",
            f"{cost / adds:.1%}" if cost is not None and adds else "",
        )
    return table


@dataclass(frozen=True, slots=True)
class _Ledger:
    """The ledger, laid out for the width that it is printed in."""

    report: InspectReport

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield _ledger(self.report, narrow=options.max_width < _NARROW)


def _ledger(report: InspectReport, *, narrow: bool) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("tensor, and how it is stored" if narrow else "tensor", overflow="fold")
    table.add_column("shape")
    if not narrow:
        table.add_column("stored as", overflow="fold")
    table.add_column("zeros", justify="right")
    table.add_column("bits", justify="right")
    table.add_column("entropy", justify="right")
    table.add_column("bytes", justify="right")
    for entry in report.tensors:
        shape = "x".join(map(str, entry.shape)) or "scalar"
        stored = f"{entry.coding}, {entry.values}" if entry.values else entry.coding
        table.add_row(
            *((f"{entry.name}\n  {stored}", shape) if narrow else (entry.name, shape, stored)),
            f"{entry.sparsity:.1%}",
            f"{8 * entry.bytes / entry.elements:.2f}" if entry.elements else "",
            "" if entry.entropy_bits is None else f"{entry.entropy_bits:.2f}",
            f"{entry.bytes:,}",
        )
    blank = [""] * (len(table.columns) - 2)
    for name, size in (*report.parts, ("total", report.file_bytes)):
        table.add_row(name, *blank, f"{size:,}")
    return table
