"""A finetuning run as a table, and as the card that lies beside its packed file."""

from __future__ import annotations

from pathlib import PurePath

from rich.console import Group
from rich.table import Table

from edgekit.train.recipe import Grid
from edgekit.train.run import AGREEMENT, FinetuneReport

_NEAR = 1.1
"""How many times the wanted bits a weight still count as reached."""


def render_table(report: FinetuneReport) -> Group:
    """One row a stage, and below it the packed file."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("stage")
    for title in ("epochs", "validation", "test", "zeros", "bits/weight", "seconds"):
        table.add_column(title, justify="right")
    for index, stage in enumerate(report.stages):
        table.add_row(*_row(report, index), f"{stage.seconds:.0f}")
    return Group(table, "", *_summary(report))


def render_card(report: FinetuneReport, command: str) -> str:
    """The card in Markdown: how the packed file came about, and how good it is.

    command: the line that repeats it.
    """
    stages = "\n".join(
        f"| {row[0]} | {row[1]} | {row[2]} | {row[3]} | {row[4]} | {row[5]} |"
        for row in (_row(report, index) for index in range(len(report.stages)))
    )
    notes = "".join(
        f"{note[0].upper()}{note[1:]}.\n\n" for note in (*_notes(report), *report.failures)
    )
    samples = f"{report.validation_samples:,} validation samples"
    if report.test_samples:
        same = report.test_metric == report.metric
        samples += " and " if same else f"; {report.test_metric}: "
        samples += f"{report.test_samples:,} test samples, measured when the run was over. "
        samples += f"The last row's test is of the packed file, {_ran(report)}"
    return f"""# {PurePath(report.source).stem}, {report.recipe.name}

`{PurePath(report.output).name}`: {report.packed_bytes:,} bytes, {report.ratio:.2f} times smaller
than the float ONNX file's {report.float_bytes:,}; made by

```
{command}
```

| stage | epochs | validation | test | zeros | bits a weight |
|---|---|---|---|---|---|
{stages}

{report.metric} on {report.data}: {samples}.

{notes}SHA-256 {report.sha256}
"""


def _row(report: FinetuneReport, index: int) -> tuple[str, ...]:
    stage = report.stages[index]
    return (
        f"{stage.number} {stage.kind}",
        f"{stage.epochs:g}",
        f"{stage.validation:.2%}",
        "" if report.test is None else f"{report.test[index]:.2%}",
        f"{stage.sparsity:.1%}",
        "" if stage.bits_per_weight is None else f"{stage.bits_per_weight:.3f}",
    )


def _notes(report: FinetuneReport) -> list[str]:
    """What a grid's bounds came to, where that isn't plain from the table."""
    last, made = report.recipe.stages[-1], report.stages[-1]
    if not isinstance(last, Grid):
        return []
    notes = []
    if last.max_drop is not None and report.metric == AGREEMENT:
        notes.append("without labels nothing tells what was lost, so max_drop wasn't looked at")
    if made.attempts > 1:
        tried = [f"{grid.bits_per_weight:g}" for grid in last.attempts()[: made.attempts - 1]]
        notes.append(
            f"more than {last.max_drop:g} points of validation were lost with {', '.join(tried)} "
            f"bits a weight; the file is of the next attempt, with {made.bound:g}"
        )
    if made.bound and made.bits_per_weight and made.bits_per_weight > _NEAR * made.bound:
        notes.append(
            f"the codes take {made.bits_per_weight:.2f} bits a weight, {made.bound:g} were asked "
            "for; more epochs bring them down further"
        )
    return notes


def _measured(report: FinetuneReport) -> str:
    """What was measured on how many: `top-1 on 5,000 validation and 10,000 test`."""
    text = f"{report.metric} on {report.validation_samples:,} validation"
    if not report.test_samples:
        return text
    other = "" if report.test_metric == report.metric else f"{report.test_metric} on "
    return f"{text} and {other}{report.test_samples:,} test"


def _ran(report: FinetuneReport) -> str:
    """How the packed file was run to be measured."""
    return f"run as {report.run_form} in onnxruntime"


def _summary(report: FinetuneReport) -> list[str]:
    judged = (
        f"{_measured(report)} samples of {report.data}; seed {report.seed}, "
        f"{report.threads} thread(s)"
    )
    if report.test_samples:
        judged += f"; the last test is of the packed file, {_ran(report)}"
    packed = (
        f"{report.output}: {report.packed_bytes:,} bytes, {report.ratio:.2f} times smaller than "
        f"the float model's {report.float_bytes:,}"
    )
    return [judged, packed, *_notes(report)]
