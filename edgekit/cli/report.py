"""`edgekit report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli.common import log


def report(
    paths: Annotated[list[Path], typer.Argument(help="JSON reports of edgekit bench.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The .html, .md or .csv file to write.")
    ],
    title: Annotated[str | None, typer.Option(help="Heading of the page.")] = None,
) -> None:
    """Turn saved latency reports into one page, Markdown or CSV file."""
    from edgekit.report import latency_files

    latency_files.report(paths, output, title=title)
    log(f"wrote {output}")
