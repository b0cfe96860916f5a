"""`edgekit decompress`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli.common import OutputOption, RunForm, log


def decompress(
    source: Annotated[Path, typer.Argument(help="A packed file.")],
    output: OutputOption,
    run_as: Annotated[
        RunForm,
        typer.Option(help="float restores the weights, int8 gives the 8-bit graph of its codes."),
    ] = RunForm.FLOAT,
) -> None:
    """Turn a packed file back into a plain ONNX model."""
    from edgekit.packfile import onnx_model

    onnx_model.decompress(source, output, run_as=run_as.value)
    log(f"{output}: {output.stat().st_size:,} bytes")
