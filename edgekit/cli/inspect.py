"""`edgekit inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli.common import Format, FormatOption, show


def inspect(
    path: Annotated[Path, typer.Argument(help="A packed file or an ONNX file.")],
    form: FormatOption = Format.TABLE,
) -> None:
    """Show the layers of a model and where its bytes go."""
    from edgekit.inspect import ledger
    from edgekit.report.inspection import render_table

    show(ledger.inspect(path), render_table, form)
