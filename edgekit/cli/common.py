"""Flags and printing that several verbs share: data on stdout, all else on stderr."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

import typer
from rich.console import Console, RenderableType


class Format(StrEnum):
    """How a report is printed."""

    TABLE = "table"
    JSON = "json"


class RunForm(StrEnum):
    """A form that packed files run in."""

    FLOAT = "float"
    INT8 = "int8"


FormatOption = Annotated[
    Format, typer.Option("--format", help="A table for people or JSON for programs.")
]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="The file to write.")]
FolderOption = Annotated[Path, typer.Option("--output", "-o", help="The folder to write into.")]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads", min=1, max=256, help="Threads of onnxruntime; its own choice by default."
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of every random choice.")]
PreprocessOption = Annotated[
    str | None,
    typer.Option(
        "--preprocess",
        help="How pictures become inputs: imagenet, unit, symmetric, bytes, fashion-mnist or a "
        ".toml file.",
    ),
]


class Report(Protocol):
    """A report of plain data."""

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-compatible values."""
        ...


R = TypeVar("R", bound=Report)


def show(report: R, render_table: Callable[[R], RenderableType], form: Format) -> None:
    """Print a report on stdout.

    A table goes through rich, which honours NO_COLOR and drops colours outside a terminal.
    """
    if form is Format.JSON:
        typer.echo(json.dumps(report.to_dict(), indent=2, ensure_ascii=False))
        return
    stdout().print(render_table(report))


def stdout() -> Console:
    """The console for results. Outside a terminal a line is never cut to 80 columns."""
    # Names from files may hold brackets, which aren't markup.
    console = Console(highlight=False, markup=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, width=160)


def log(message: str) -> None:
    """One line for the person who waits, on stderr."""
    typer.echo(message, err=True)
