"""`edgekit decompress`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli.common import OutputOption, log


def decompress(
    source: Annotated[Path, typer.Argument(help="A packed file.")],
    output: OutputOption,
) -> None:
    """Turn a packed file back into a plain ONNX model."""
    from edgekit.packfile import onnx_model

    onnx_model.decompress(source, output)
    log(f"{output}: {output.stat().st_size:,} bytes")
