"""A finetuning run as a table: what each stage did to accuracy, zeros and size."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table

from edgekit.train.finetune import FinetuneReport


def render_table(report: FinetuneReport) -> Group:
    """One row a stage, and below it the packed file."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("stage")
    for title in ("epochs", "validation", "test", "zeros", "bits/weight", "seconds"):
        table.add_column(title, justify="right")
    for index, stage in enumerate(report.stages):
        table.add_row(
            f"{stage.number} {stage.kind}",
            f"{stage.epochs:g}",
            f"{stage.validation:.2%}",
            "" if report.test is None else f"{report.test[index]:.2%}",
            f"{stage.sparsity:.1%}",
            "" if stage.bits_per_weight is None else f"{stage.bits_per_weight:.3f}",
            f"{stage.seconds:.0f}",
        )
    return Group(table, "", *_summary(report))


def _summary(report: FinetuneReport) -> list[str]:
    samples = f"{report.validation_samples:,} validation"
    if report.test_samples:
        samples += f" and {report.test_samples:,} test"
    judged = (
        f"{report.metric} on {samples} samples of {report.data}; seed {report.seed}, "
        f"{report.threads} thread(s)"
    )
    packed = (
        f"{report.output}: {report.packed_bytes:,} bytes, {report.ratio:.2f} times smaller than "
        f"the float model's {report.float_bytes:,}"
    )
    return [judged, packed]
