"""`edgekit embed`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli.common import FolderOption, Format, FormatOption, PreprocessOption, show


class Target(StrEnum):
    """Kinds of app."""

    C = "c"
    CPP = "cpp"
    PYTHON = "python"
    WEB = "web"


def embed(
    packed: Annotated[Path, typer.Argument(help="A packed file.")],
    output: FolderOption,
    target: Annotated[Target, typer.Option("--to", help="The kind of app.")] = Target.C,
    prefix: Annotated[str, typer.Option(help="Begins the names of files and C symbols.")] = "model",
    preprocess: PreprocessOption = None,
    labels: Annotated[
        str | None,
        typer.Option(help="Names of the classes: a text file, one a line, or fashion-mnist."),
    ] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Write a buildable app folder around a packed file."""
    from edgekit.embed import generate
    from edgekit.report.embedding import render_table

    report = generate.embed(
        packed,
        output,
        target=target.value,
        prefix=prefix,
        preprocess=preprocess,
        labels=labels,
    )
    show(report, render_table, form)
