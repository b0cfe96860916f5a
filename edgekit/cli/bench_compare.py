"""`edgekit bench compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli.common import Format, FormatOption, log, show
from edgekit.errors import CheckFailedError, UsageError


def bench_compare(
    old: Annotated[Path, typer.Argument(help="A JSON report of edgekit bench.")],
    new: Annotated[
        Path | None, typer.Argument(help="Another one; without it --a and --b name two cases.")
    ] = None,
    a: Annotated[
        str | None,
        typer.Option("--a", help="The old case: NAME, NAME:THREADS or NAME#2 for the second."),
    ] = None,
    b: Annotated[str | None, typer.Option("--b", help="The new case, likewise.")] = None,
    fail_if: Annotated[
        str | None,
        typer.Option(
            help="End with code 3 when shown to be this much slower, as in slower:5%, or when "
            "the two can't be compared."
        ),
    ] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(
            help="A difference to compare across, such as onnxruntime or threads; repeatable."
        ),
    ] = None,
    margin: Annotated[
        float, typer.Option(min=0.0, help="Share below which a difference counts as none.")
    ] = 0.02,
    form: FormatOption = Format.TABLE,
) -> None:
    """Compare two latency reports: faster, slower or no difference.

    Also says why they may not be comparable, such as another processor or a throttled board.
    """
    from edgekit.bench import compare
    from edgekit.report.bench_comparison import render_table

    limit = None if fail_if is None else _limit(fail_if)
    comparison = compare.bench_compare(
        old, new, a=a, b=b, accept=tuple(accept or ()), margin=margin
    )
    show(comparison, render_table, form)
    failures = () if limit is None else comparison.failures(limit)
    for name in comparison.unsure(limit) if limit is not None and not failures else ():
        log(f"note: {name} may still be slower by {limit:.1%}: more --runs would narrow it down")
    if failures:
        raise CheckFailedError(f"--fail-if {fail_if}: {'; '.join(failures)}")


def _limit(text: str) -> float:
    """The share in "slower:5%". Raises UsageError."""
    word, _, amount = text.partition(":")
    try:
        share = float(amount.removesuffix("%")) / (100 if amount.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if word != "slower" or not 0 <= share < float("inf"):
        raise UsageError(f"--fail-if takes slower:SHARE, such as slower:5%, got {text!r}")
    return share
