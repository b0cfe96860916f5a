"""`edgekit doctor`."""

from __future__ import annotations

import typer

from edgekit.cli.common import Format, FormatOption, show


def doctor(form: FormatOption = Format.TABLE) -> None:
    """Show what is installed and what will be fast or slow on this machine."""
    from edgekit.bench import doctor as examination
    from edgekit.report.doctor import render_table

    report = examination.doctor()
    show(report, render_table, form)
    if report.broken:
        raise typer.Exit(1)
