"""A compression as a table: where the bytes went, and what each layer lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table

from edgekit.compress.measure import CompressionReport, LayerReport
from edgekit.compress.run_form import RunFormReport

_NAME_WIDTH = 26


def render_table(report: CompressionReport) -> Group:
    """One row a weight tensor, the other parts of the file below, and their sum: its size."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("layer", no_wrap=True)
    table.add_column("shape", no_wrap=True)
    for title in ("zeros", "bits", "entropy", "bytes", "error"):
        table.add_column(title, justify="right", no_wrap=True)
    coded = [layer for layer in report.layers if layer.fidelity.method in {"uniform", "codebook"}]
    stored = [layer for layer in report.layers if layer not in coded]
    for layer in coded:
        table.add_row(*_row(layer))
    if stored:
        table.add_row(*_stored_row(stored))
    for name, size in report.rest:
        table.add_row(name, "", "", "", "", f"{size:,}", "")
    table.add_row("total", "", "", "", "", f"{report.file_bytes:,}", "", style="bold")
    return Group(table, "", *_summary(report, coded))


def _row(layer: LayerReport) -> tuple[str, ...]:
    fidelity = layer.fidelity
    return (
        _shortened(fidelity.name.removesuffix(".weight")),
        _shape(fidelity.shape),
        f"{fidelity.sparsity:.1%}",
        f"{fidelity.bits}",
        f"{fidelity.entropy_bits:.2f}",
        f"{layer.coded_bytes:,}",
        f"{fidelity.relative_error:.1%}",
    )


def _stored_row(stored: Sequence[LayerReport]) -> tuple[str, ...]:
    """Biases and other tensors that aren't coded, in one row."""
    elements = sum(layer.fidelity.elements for layer in stored)
    worst = max(layer.fidelity.relative_error for layer in stored)
    formats = sorted({layer.fidelity.method for layer in stored})
    return (
        f"{len(stored)} stored: {', '.join(formats)}",
        f"{elements:,}",
        "",
        "",
        "",
        f"{sum(layer.coded_bytes for layer in stored):,}",
        f"{worst:.1%}",
    )


def _summary(report: CompressionReport, coded: Sequence[LayerReport]) -> list[str]:
    where = report.output or "dry run, nothing written"
    source = f"{report.source_bytes:,}"
    lines = [
        f"{where}: {report.file_bytes:,} bytes, {report.ratio:.2f} times smaller than {source}"
    ]
    weights = sum(layer.fidelity.elements for layer in coded)
    if weights:
        size = sum(layer.coded_bytes for layer in coded)
        lines.append(f"{weights:,} coded weights take {8 * size / weights:.2f} bits each")
    if report.kept:
        kept = sorted({tensor.reason for tensor in report.kept})
        lines.append(f"{len(report.kept)} tensors stay in the graph: {', '.join(kept)}")
    if report.metrics:
        metrics = report.metrics
        lines.append(
            f"calibrated on {report.recipe['calibration']}; {metrics['held_back']} held-back "
            f"inputs: {metrics['divergence']:.4f} nats, same top-1 {metrics['agreement']:.1%}"
        )
    if "evaluation" in report.metrics:
        lines.append(_evaluated(report.metrics["evaluation"]))
    if report.run_form is not None and report.run_form.layers:
        lines.append(_run_form(report.run_form))
    lines.append(f"SHA-256 {report.sha256}")
    return lines


def _run_form(found: RunFormReport) -> str:
    line = f"runs as {found.form}; as int8, {found.layers - len(found.floats)} of {found.layers} "
    line += "layers in 8 bits"
    if found.divergence is not None and found.agreement is not None:
        line += f": {found.divergence:.4f} nats (float {found.float_divergence:.4f}), "
        line += f"same top-1 {found.agreement:.1%}"
    if found.speed is not None:
        line += f", {found.speed:.2f} times as fast as float here on one thread"
    return line


def _evaluated(measured: Mapping[str, Any]) -> str:
    line = f"{measured['data']}, {measured['inputs']:,} inputs: same top-1 "
    line += f"{measured['agreement']:.2%}"
    if measured["accuracy"] is not None:
        before, after = measured["reference_accuracy"], measured["accuracy"]
        line += f"; top-1 {before:.2%} before, {after:.2%} after"
    return line


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in shape) or "scalar"


def _shortened(name: str) -> str:
    """The end of a long name, which tells layers apart."""
    return name if len(name) <= _NAME_WIDTH else f"…{name[1 - _NAME_WIDTH :]}"
