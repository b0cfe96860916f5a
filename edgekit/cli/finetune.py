"""`edgekit finetune`."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.cli.common import Format, FormatOption, PreprocessOption, SeedOption, log, show
from edgekit.cli.export import parse_shape
from edgekit.errors import CheckFailedError

if TYPE_CHECKING:
    from edgekit.train.tuning import Progress


def finetune(
    source: Annotated[
        str, typer.Argument(help="An ONNX or packed file, or a source as for export.")
    ],
    # As text: an empty name would be the current folder as a path.
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="<path>", help="The folder of the run.")
    ],
    recipe: Annotated[
        str,
        typer.Option(help="A .toml file, or one of deep-compression, tiny, int8 and narrow."),
    ] = "tiny",
    bits_per_weight: Annotated[
        float | None,
        typer.Option(help="Entropy that a recipe's grid comes down to, whatever is lost."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Trained weights of a source that isn't an ONNX file.")
    ] = None,
    input_shape: Annotated[
        str | None,
        typer.Option("--input", help="Input shape of a module of one's own, such as 1,3,224,224."),
    ] = None,
    data: Annotated[
        str,
        typer.Option(
            help="fashion-mnist, a folder of pictures by class, an .npz or .npy file, or "
            "file.py:function for a data set."
        ),
    ] = "fashion-mnist",
    preprocess: PreprocessOption = None,
    task: Annotated[
        str | None,
        typer.Option(help="Loss and metric, file.py:Name; classification by default."),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            help="An ONNX file or a trained network of the zoo to learn from; the float model "
            "itself by default."
        ),
    ] = None,
    seed: SeedOption = 0,
    threads: Annotated[int, typer.Option(help="Threads of torch.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    train_limit: Annotated[
        int | None, typer.Option(help="Use only so many training images, for a trial.")
    ] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Prune, retrain, quantize and pack a network by a recipe.

    The folder keeps the model after each stage, a report (finetune.json), a log and at last
    model.ekp with its card, model.md. A killed run goes on with --resume. Started by torchrun,
    several processes train one network: torchrun --nproc-per-node 2 --no-python edgekit finetune
    """
    from edgekit.files import write_atomic
    from edgekit.report.finetuning import render_card, render_table
    from edgekit.train.chain import CARD
    from edgekit.train.finetune import finetune as run
    from edgekit.train.recipe import with_bits_per_weight
    from edgekit.train.recipe_file import read_recipe
    from edgekit.train.workers import is_first_process

    chosen = read_recipe(recipe)
    if bits_per_weight is not None:
        chosen = with_bits_per_weight(chosen, bits_per_weight)
    # What a task or a data set prints isn't part of the report.
    with contextlib.redirect_stdout(sys.stderr):
        report = run(
            source,
            output,
            recipe=chosen,
            weights=weights,
            input_shape=None if input_shape is None else parse_shape(input_shape),
            data=data,
            preprocess=preprocess,
            train_limit=train_limit,
            task=task,
            teacher=teacher,
            seed=seed,
            threads=threads,
            resume=resume,
            watch=_log_epoch,
        )
    if not is_first_process():
        return
    flags = {
        "--recipe": recipe,
        "--bits-per-weight": bits_per_weight,
        "--weights": weights,
        "--input": input_shape,
        "--data": None if data == "fashion-mnist" else data,
        "--preprocess": preprocess,
        "--task": task,
        "--teacher": teacher,
        "--train-limit": train_limit,
        "--seed": seed,
        "--threads": threads,
        "-o": output,
    }
    card = render_card(report, _command(source, flags, report.workers))
    write_atomic(Path(output) / CARD, card.encode())
    show(report, render_table, form)
    if report.failures:
        raise CheckFailedError("; ".join(report.failures))


def _command(source: str, flags: Mapping[str, object], workers: int) -> str:
    """The line that repeats a run. flags: with their values; those without one aren't given."""
    given = [(flag, str(value)) for flag, value in flags.items() if value is not None]
    torchrun = ["torchrun", "--nproc-per-node", str(workers), "--no-python"]
    start = [*(torchrun if workers > 1 else ()), "edgekit", "finetune", source]
    return shlex.join([*start, *chain.from_iterable(given)])


def _log_epoch(stage: str, line: Progress) -> None:
    bits = "" if line.bits_per_weight is None else f"  {line.bits_per_weight:.3f} bits/weight"
    log(
        f"stage {stage}  epoch {line.epoch}  loss {line.loss:.4f}  validation {line.metric:.2%}"
        f"{bits}  {line.seconds:.0f} s"
    )
