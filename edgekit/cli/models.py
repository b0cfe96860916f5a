"""`edgekit models`."""

from __future__ import annotations

from typing import Annotated

import typer

from edgekit.cli.common import Format, FormatOption, show


def models(
    name: Annotated[
        str | None, typer.Argument(help="Show this network's card; all are listed without it.")
    ] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """List the zoo, or show one model's card."""
    from edgekit.export.zoo import card, zoo
    from edgekit.report.zoo import render_card, render_list

    if name is None:
        show(zoo(), render_list, form)
    else:
        show(card(name), render_card, form)
