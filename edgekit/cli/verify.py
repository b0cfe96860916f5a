"""`edgekit verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli.common import (
    Format,
    FormatOption,
    PreprocessOption,
    SeedOption,
    ThreadsOption,
    show,
)
from edgekit.errors import CheckFailedError


def verify(
    packed: Annotated[Path, typer.Argument(help="A packed file.")],
    against: Annotated[
        Path | None, typer.Option(help="The original ONNX file, or another packed file.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="fashion-mnist, a folder of pictures, or an .npz file."),
    ] = None,
    preprocess: PreprocessOption = None,
    min_agreement: Annotated[
        float | None, typer.Option(min=0, max=1, help="Least share of equal top-1 answers.")
    ] = None,
    max_drop: Annotated[
        float | None, typer.Option(help="Most points of top-1 accuracy that may be lost.")
    ] = None,
    max_difference: Annotated[
        float | None, typer.Option(min=0, help="Largest difference that the output may have.")
    ] = None,
    layers: Annotated[
        bool,
        typer.Option(
            "--layers", help="Restore the worst layers one by one, and say which to keep finer."
        ),
    ] = False,
    threads: ThreadsOption = None,
    seed: SeedOption = 0,
    form: FormatOption = Format.TABLE,
) -> None:
    """Check a packed file, and how far its answers are from the original's."""
    from edgekit.report.verify import render_table
    from edgekit.runtime import verify as verification

    report = verification.verify(
        packed,
        against=against,
        data=data,
        preprocess=preprocess,
        layers=layers,
        threads=threads,
        seed=seed,
        min_agreement=min_agreement,
        max_drop=max_drop,
        max_difference=max_difference,
    )
    show(report, render_table, form)
    if report.failures:
        raise CheckFailedError("; ".join(report.failures))
