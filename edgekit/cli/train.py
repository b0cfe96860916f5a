"""`edgekit train`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import typer

from edgekit.cli.common import Format, FormatOption, OutputOption, SeedOption, log, show

if TYPE_CHECKING:
    from edgekit.train.state import EpochRecord


def train(
    name: Annotated[
        str, typer.Argument(help="A zoo name ending in _fashion, or a factory as for export.")
    ],
    output: OutputOption,
    data: Annotated[
        Path | None, typer.Option(help="Folder with the four Fashion-MNIST .gz files.")
    ] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the training images.")] = 12,
    batch_size: Annotated[int, typer.Option(help="Images a step.")] = 64,
    learning_rate: Annotated[float, typer.Option(help="Peak of the one-cycle schedule.")] = 0.05,
    seed: SeedOption = 0,
    threads: Annotated[int, typer.Option(help="Threads of torch.")] = 1,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a killed run from its last epoch.")
    ] = False,
    train_limit: Annotated[
        int | None, typer.Option(help="Use only so many training images, for a trial.")
    ] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Train a model of the zoo on Fashion-MNIST.

    The weights with the best accuracy on 5,000 held-out training images are written as
    safetensors, with a log (.log.jsonl) and a card (.md) beside them. Until the end a
    .state.pt lies there too; after a kill, the same command with --resume continues from it.
    """
    from edgekit.files import write_atomic
    from edgekit.report.training import render_card, render_table
    from edgekit.train import fit

    log(f"training {name} with seed {seed}")
    with _Progress(epochs) as progress:
        report = fit.train(
            name,
            output,
            data=data,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            seed=seed,
            threads=threads,
            resume=resume,
            train_limit=train_limit,
            observer=progress,
        )
    write_atomic(output.with_suffix(".md"), render_card(report).encode())
    show(report, render_table, form)


class _Progress:
    """A bar on a terminal; one line an epoch on stderr everywhere."""

    def __init__(self, epochs: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._epochs = epochs
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f}%  loss {task.fields[loss]:.3f}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
            transient=True,
        )
        self._task = self._bar.add_task("", total=None, epoch="-", loss=0.0)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """Move the bar."""
        self._bar.update(
            self._task,
            total=steps,
            completed=step,
            epoch=f"{epoch}/{self._epochs}",
            loss=loss,
        )

    def epoch(self, record: EpochRecord) -> None:
        """Log a finished epoch."""
        log(
            f"epoch {record.epoch}/{self._epochs}  loss {record.train_loss:.4f}  "
            f"validation top-1 {record.validation_top1:.2%}  {record.seconds:.0f} s"
        )
