"""`edgekit models`."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

from edgekit.cli.common import Format, show, stdout
from edgekit.cli.export import parse_shape
from edgekit.errors import UsageError


class Layout(StrEnum):
    """How the zoo is printed."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"


def models(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Show the card of this zoo name, package.module:factory or file.py:factory; all "
            "of the zoo are listed without it."
        ),
    ] = None,
    input_shape: Annotated[
        str | None,
        typer.Option("--input", help="Input shape with the batch axis, such as 1,3,224,224."),
    ] = None,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare", help="Recount the papers' tables: stated, counted, rule and verdict."
        ),
    ] = False,
    layout: Annotated[
        Layout,
        typer.Option(
            "--format",
            help="A table for people, JSON for programs; with --compare also Markdown.",
        ),
    ] = Layout.TABLE,
) -> None:
    """List the zoo, or show one model's card."""
    if input_shape is not None and name is None:
        raise UsageError("--input goes with the name of one network")
    if compare and name is not None:
        raise UsageError("--compare takes no name: it compares all networks; leave the name out")
    if compare:
        _compare(layout)
        return
    if layout is Layout.MARKDOWN:
        raise UsageError("--format markdown goes with --compare only; choose table or json")
    from edgekit.export.zoo import card, zoo
    from edgekit.report.zoo import render_card, render_list

    form = Format(layout.value)
    if name is None:
        show(zoo(), render_list, form)
    else:
        shape = None if input_shape is None else parse_shape(input_shape)[1:]
        show(card(name, shape), render_card, form)


def _compare(layout: Layout) -> None:
    from edgekit.report.comparison import render_markdown, render_table
    from edgekit_models.comparison import compare

    report = compare()
    if layout is Layout.MARKDOWN:
        typer.echo(render_markdown(report), nl=False)
    elif layout is Layout.JSON:
        typer.echo(json.dumps(report.to_dict(), indent=2, ensure_ascii=False))
    else:
        stdout().print(render_table(report))
