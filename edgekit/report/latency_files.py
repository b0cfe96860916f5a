"""Latency reports as files: JSON, CSV, Markdown and a page."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from edgekit.bench.reading import read_report
from edgekit.bench.results import BenchReport
from edgekit.errors import MissingDependencyError, UsageError
from edgekit.files import check_apart, write_atomic
from edgekit.report.latency_text import render_csv, render_markdown

Renderer = Callable[[Sequence[BenchReport]], str]


def report(
    paths: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    title: str | None = None,
) -> None:
    """Write saved latency reports as one page (.html), Markdown (.md) or CSV (.csv) file.

    paths: JSON files of `bench`. title: of the page and the Markdown file.
    Raises UsageError for another suffix, InputError for a file that isn't such a report,
    MissingDependencyError for a page without jinja2.
    """
    if not paths:
        raise UsageError("no report to show")
    render = renderer(Path(output).suffix, title)
    check_apart([output], paths)
    write_atomic(output, render([read_report(path) for path in paths]).encode())


def renderer(suffix: str, title: str | None = None) -> Renderer:
    """What makes a file of this suffix. Raises UsageError and MissingDependencyError."""
    if suffix == ".html":
        # Loads jinja2, which only this form needs.
        try:
            from edgekit.report.latency_page import render_page
        except ModuleNotFoundError as error:
            raise MissingDependencyError(error.name or "jinja2", "report") from error

        return lambda reports: render_page(reports, title)
    if suffix == ".md":
        return lambda reports: render_markdown(reports, title)
    if suffix == ".csv":
        return render_csv
    if suffix == ".json":
        return _render_json
    raise UsageError(f"a report is written as .json, .csv, .md or .html, not {suffix!r}")


def _render_json(reports: Sequence[BenchReport]) -> str:
    if len(reports) != 1:
        raise UsageError("a .json file holds one report; several go into .html, .md or .csv")
    return json.dumps(reports[0].to_dict(), indent=1, ensure_ascii=False) + "\n"
