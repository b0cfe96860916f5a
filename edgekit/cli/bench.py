"""`edgekit bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli.common import Format, FormatOption, SeedOption, show
from edgekit.errors import UsageError


def bench(
    paths: Annotated[list[Path], typer.Argument(help="ONNX and packed files.")],
    warmup: Annotated[int, typer.Option(min=0, help="Runs of each file before timing.")] = 10,
    runs: Annotated[int, typer.Option(min=1, help="Timed runs of each file.")] = 100,
    threads: Annotated[
        str, typer.Option(help="Threads of one operator; several as in 1,2,4.")
    ] = "1",
    max_seconds: Annotated[
        float | None, typer.Option(help="End the timed runs after this many seconds.")
    ] = None,
    precision: Annotated[
        float | None,
        typer.Option(help="End early when the median is known to this share, such as 0.02."),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Size of an open first dimension.")] = 1,
    input_shape: Annotated[
        str | None, typer.Option(help="Shape of the input, such as 1,3,224,224.")
    ] = None,
    cold: Annotated[bool, typer.Option(help="Also time the start in fresh processes.")] = True,
    seed: SeedOption = 0,
    form: FormatOption = Format.TABLE,
) -> None:
    """Measure load time and latency of models on this machine."""
    from edgekit.bench import measure
    from edgekit.report.latency import render_table

    report = measure.bench(
        paths,
        warmup=warmup,
        runs=runs,
        threads=_numbers(threads, "--threads"),
        max_seconds=max_seconds,
        precision=precision,
        batch=batch,
        input_shape=None if input_shape is None else _numbers(input_shape, "--input-shape"),
        seed=seed,
        cold=cold,
    )
    show(report, render_table, form)


def _numbers(text: str, flag: str) -> tuple[int, ...]:
    """Positive integers with commas between. Raises UsageError that names the flag."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 1:
        raise UsageError(f"{flag} takes positive integers with commas between, got {text!r}")
    return numbers
