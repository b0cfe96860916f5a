"""A compression as a table: where the bytes went, and what each layer lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table

from edgekit.compress.goal import PLAIN
from edgekit.compress.measure import CompressionReport, LayerReport
from edgekit.compress.run_form import RunFormReport

_NAME_WIDTH = 26


def render_table(report: CompressionReport) -> Group:
    """One row a weight tensor, the other parts of the file below, and their sum: its size."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("layer", no_wrap=True)
    table.add_column("shape", no_wrap=True)
    outputs = {
        layer["weight"]: f"{layer['outputs_left']}/{layer['outputs']}"
        for layer in report.changes.get("channels", {}).get("layers", ())
    }
    if outputs:
        table.add_column("channels", justify="right", no_wrap=True)
    for title in ("zeros", "bits", "entropy", "bytes", "error"):
        table.add_column(title, justify="right", no_wrap=True)
    coded = [layer for layer in report.layers if layer.fidelity.method in {"uniform", "codebook"}]
    stored = [layer for layer in report.layers if layer not in coded]

    def add(row: Sequence[str], channels: str = "", style: str | None = None) -> None:
        extra = [channels] if outputs else []
        table.add_row(*row[:2], *extra, *row[2:], style=style)

    for layer in coded:
        add(_row(layer), outputs.get(layer.fidelity.name, ""))
    if stored:
        add(_stored_row(stored))
    for name, size in report.rest:
        add((name, "", "", "", "", f"{size:,}", ""))
    add(("total", "", "", "", "", f"{report.file_bytes:,}", ""), style="bold")
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
    if report.changes:
        lines += _changes(report.changes)
    if "held_back" in report.metrics:
        metrics = report.metrics
        lines.append(
            f"calibrated on {report.recipe['calibration']}; {metrics['held_back']} held-back "
            f"inputs: {metrics['divergence']:.4f} nats, same top-1 {metrics['agreement']:.1%}"
        )
        if "of_file" in metrics:
            found = metrics["of_file"]
            lines.append(
                f"the file's codes were then made with all inputs: {found['divergence']:.4f} nats, "
                f"same top-1 {found['agreement']:.1%} on the same"
            )
        elif metrics.get("rejoined"):
            lines.append("that was before the codes of the file were made with all inputs")
        if metrics.get("unseen"):
            lines.append(
                f"no answer depended on {', '.join(metrics['unseen'])}: not measured, and given "
                "bits like the other weights"
            )
    if report.uncalibrated:
        lines.append(f"not calibrated ({report.uncalibrated})")
    if "original" in report.metrics:
        lines.append(_original(report.metrics["original"], report.recipe.get("calibration")))
    if "evaluation" in report.metrics:
        lines.append(_evaluated(report.metrics["evaluation"]))
    if report.run_form is not None and report.run_form.layers:
        lines.append(_run_form(report.run_form))
    lines.append(f"SHA-256 {report.sha256}")
    return lines


def _changes(changes: Mapping[str, Any]) -> list[str]:
    """What left the graph, and what that saves."""
    lines = []
    if "channels" in changes:
        found = changes["channels"]
        lines.append(f"{found['removed']:,} of {found['removable']:,} removable channels are gone")
    if "low_rank" in changes:
        lines.append(f"{len(changes['low_rank'])} layers are split in two")
    before, after = changes["multiply_adds"], changes["multiply_adds_left"]
    if before and after:
        lines.append(f"multiply-adds {before:,} before, {after:,} after ({after / before:.1%})")
    return lines


def _original(measured: Mapping[str, Any], data: str | None) -> str:
    # Noise that a model was calibrated on is no judge of it.
    is_judge = data not in {None, PLAIN} and not str(data).startswith("1/f noise")
    where = data if is_judge else "fresh 1/f noise"
    return (
        f"against the original on {measured['inputs']} inputs ({where}): "
        f"{measured['divergence']:.4f} nats, same top-1 {measured['agreement']:.1%}"
    )


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
