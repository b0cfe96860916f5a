"""`edgekit inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli.common import Format, FormatOption, log, show
from edgekit.errors import UsageError


def inspect(
    path: Annotated[Path, typer.Argument(help="A packed file or an ONNX file.")],
    analyze: Annotated[
        bool,
        typer.Option(
            "--analyze", help="Show costly layers, dead channels and correlated ones on --data."
        ),
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(
            help="For --analyze: fashion-mnist, a folder with its files, or an .npz file."
        ),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="For --analyze: a PNG file to write as well.")
    ] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Show the layers of a model and where its bytes go."""
    if analyze:
        _analyze(path, data, picture, form)
        return
    if data is not None or picture is not None:
        raise UsageError("--data and --picture go with --analyze; add it or leave them out")
    from edgekit.inspect import ledger
    from edgekit.report.inspection import render_table

    show(ledger.inspect(path), render_table, form)


def _analyze(path: Path, data: str | None, picture: Path | None, form: Format) -> None:
    from edgekit.files import check_apart, write_atomic
    from edgekit.inspect import analyze
    from edgekit.report import analysis

    if data is None:
        raise UsageError("--analyze needs --data: fashion-mnist, a folder or an .npz file")
    check_apart([picture], [path, data])
    report = analyze.analyze(path, data)
    if picture is not None:
        write_atomic(picture, analysis.picture(report))
        log(f"wrote {picture}")
    show(report, analysis.render_table, form)
