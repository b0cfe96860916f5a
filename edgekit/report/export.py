"""An export as a table."""

from __future__ import annotations

from rich.table import Table

from edgekit.export.pytorch import ExportReport


def render_table(report: ExportReport) -> Table:
    """Two columns: what, and its value."""
    table = Table(title=f"{report.source} as ONNX", show_header=False)
    nodes = f"{report.nodes}"
    if report.nodes != report.nodes_before:
        nodes += f" ({report.nodes_before} before simplifying)"
    rows = [
        ("file", f"{report.output}, {report.output_bytes:,} bytes"),
        ("SHA-256", report.sha256),
        ("weights", report.weights),
        ("parameters", f"{report.parameters:,}"),
        ("input", _shape(report.input_shape)),
        ("output", _shape(report.output_shape)),
        ("exporter", f"{report.exporter}, opset {report.opset}"),
        ("nodes", nodes),
    ]
    rows += [
        (
            f"parity at batch {entry.batch}",
            (
                f"largest difference {entry.largest_difference:.2g}, {entry.relative:.2g} of the "
                f"largest output (allowed {report.tolerance:g})"
            ),
        )
        for entry in report.parity
    ]
    rows += [("warning", warning) for warning in report.warnings]
    for fact, value in rows:
        table.add_row(fact, value)
    return table


def _shape(shape: tuple[int | str, ...]) -> str:
    return " x ".join(str(size) for size in shape)
