"""`edgekit embed`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli.common import (
    FolderOption,
    Format,
    FormatOption,
    PreprocessOption,
    RunForm,
    show,
)


class Target(StrEnum):
    """Kinds of app."""

    C = "c"
    CPP = "cpp"
    PYTHON = "python"
    WEB = "web"


class Output(StrEnum):
    """What a C app decodes tensors to."""

    RESTORED = "restored"
    FLOAT32 = "float32"
    INT8 = "int8"
    RAW = "raw"


def embed(
    packed: Annotated[Path, typer.Argument(help="A packed file.")],
    output: FolderOption,
    target: Annotated[Target, typer.Option("--to", help="The kind of app.")] = Target.C,
    prefix: Annotated[str, typer.Option(help="Begins the names of files and C symbols.")] = "model",
    tensors: Annotated[
        str, typer.Option(help="C: names of the tensors to decode, such as '*.weight'.")
    ] = "*",
    output_type: Annotated[
        Output,
        typer.Option(
            help="C: what they are decoded to: the model's types, float32, int8 codes, or raw as "
            "stored."
        ),
    ] = Output.RESTORED,
    static_buffer: Annotated[
        int | None,
        typer.Option(min=1, help="C: bytes of the buffer; by default the largest tensor's."),
    ] = None,
    preprocess: PreprocessOption = None,
    labels: Annotated[
        str | None,
        typer.Option(help="Names of the classes: a text file, one a line, or fashion-mnist."),
    ] = None,
    run_as: Annotated[
        RunForm | None,
        typer.Option(
            help="C++, Python, web: the run form of the app; what the packed file says by default."
        ),
    ] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Write a buildable app folder around a packed file.

    Files of the same names in the folder are replaced: keep code of your own under other names.
    """
    from edgekit.embed import OutputType, generate
    from edgekit.report.embedding import render_table

    report = generate.embed(
        packed,
        output,
        target=target.value,
        prefix=prefix,
        tensors=tensors,
        output_type=OutputType(output_type.value),
        static_buffer=static_buffer,
        preprocess=preprocess,
        labels=labels,
        run_as=None if run_as is None else run_as.value,
    )
    show(report, render_table, form)
