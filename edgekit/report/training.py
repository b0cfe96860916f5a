"""A training run as a table, and as the card that ships beside its weights."""

from __future__ import annotations

from pathlib import PurePath

from rich.table import Table

from edgekit.train.fit import TrainReport


def render_table(report: TrainReport) -> Table:
    """Two columns: what, and its value."""
    table = Table(title=f"{report.settings.name} on Fashion-MNIST", show_header=False)
    for fact, value in _facts(report):
        table.add_row(fact, value)
    return table


def render_card(report: TrainReport) -> str:
    """The model card in Markdown: how the weights came about, and how good they are."""
    rows = "\n".join(f"| {fact} | {value} |" for fact, value in _facts(report))
    weights = PurePath(report.output).name
    return f"""# {report.settings.name}

`{weights}`: trained from random weights by the command

```
{_command(report)}
```

| | |
|---|---|
{rows}

Training used {report.train_images:,} of the data set's training images with random left-right
flips and shifts of up to 2 pixels. {report.validation_images:,} more training images, the same
in every run, chose the epoch. The test images were used once, after the choice.

Inputs: float32 (N, 1, 28, 28), (x / 255 - 0.2860) / 0.3530 for grey pixels x in 0..255.

Licences: the weights are under Apache-2.0, like edgekit. Fashion-MNIST (Xiao, Rasul, Vollgraf
2017) is under the Expat (MIT) licence, Copyright 2017 Zalando SE.
"""


def _facts(report: TrainReport) -> list[tuple[str, str]]:
    settings = report.settings
    return [
        ("test top-1", f"{report.test_top1:.2%} of {report.test_images:,} images"),
        (
            "validation top-1",
            f"{report.validation_top1:.2%} of {report.validation_images:,} images",
        ),
        ("best epoch", f"{report.best_epoch} of {settings.epochs}"),
        ("parameters", f"{report.parameters:,}"),
        ("multiply-adds", f"{report.multiply_adds:,}"),
        ("seed", f"{settings.seed}"),
        (
            "optimizer",
            (
                f"SGD, Nesterov momentum, one cycle to {settings.learning_rate:g}, "
                f"weight decay {settings.weight_decay:g}, label smoothing "
                f"{settings.label_smoothing:g}, batches of {settings.batch_size}"
            ),
        ),
        ("training time", f"{report.seconds / 60:.1f} min, {settings.threads} thread(s)"),
        ("file", f"{report.output_bytes:,} bytes"),
        ("SHA-256", report.sha256),
    ]


def _command(report: TrainReport) -> str:
    settings = report.settings
    return (
        f"edgekit train {settings.name} --epochs {settings.epochs} "
        f"--batch-size {settings.batch_size} --learning-rate {settings.learning_rate:g} "
        f"--seed {settings.seed} --threads {settings.threads} -o {PurePath(report.output).name}"
    )
