"""Writes docs/cli.md from the commands themselves; with --check only compares.

Run by `make docs` and, with --check, by `make check`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import typer
from typer.cli import get_docs_for_click

from edgekit.cli.main import VERBS, build_app

PAGE = Path(__file__).parent.parent / "docs" / "cli.md"

HEADER = """\
# Command line reference

Written by `make docs` from the commands; `make check` fails where this page and they differ.
Each verb is the command-line face of the function of the same name in `edgekit.api`.

Results go to stdout, everything else to stderr. Colours are dropped outside a terminal and where
`NO_COLOR` is set.

| exit code | means |
|---|---|
| 0 | done |
| 1 | failure |
| 2 | usage: a flag, a value or a plan that can't be carried out |
| 3 | a check was not met: parity, accuracy, a budget |
| 4 | an input that can't be read, or isn't safe to read |
| 5 | a device that can't be reached |
| 130 | interrupted |

"""


def reference() -> str:
    """The whole page."""
    group = typer.main.get_command(build_app(VERBS))
    context = typer.Context(group, info_name="edgekit")
    body = get_docs_for_click(obj=group, ctx=context, name="edgekit", indent=1)
    return HEADER + "\n".join(line.rstrip() for line in body.splitlines()).strip() + "\n"


def main(arguments: list[str]) -> int:
    """Write or check the page; 1 where the check finds a difference."""
    page = reference()
    if arguments != ["--check"]:
        PAGE.write_text(page, encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page:
        return 0
    print(f"docs/{PAGE.name} differs from the commands; run: make docs", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
