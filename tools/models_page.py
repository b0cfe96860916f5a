"""Writes docs/models.md from the zoo itself; with --check only compares.

Run by `make docs` and, with --check, by `make check`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import edgekit_models
from edgekit.report.comparison import render_markdown
from edgekit_models.comparison import compare

PAGE = Path(__file__).parent.parent / "docs" / "models.md"

HEADER = """\
# The zoo

Written by `make docs` from the networks; `make check` fails where this page and they differ.
`edgekit models` lists the networks, `edgekit models NAME` shows one, and `edgekit models --compare`
counts the second table anew.

"""

RULES = """\
## Against the papers

Papers count differently, so each figure goes with its rule:

- `weights`: of convolutions and linear layers alone; `weights+bias`: with their biases;
  `trainable`: with scale and shift of BatchNorm too. Running statistics never count.
- `conv+fc`: multiply-adds of convolutions and linear layers at batch 1; `conv`: of convolutions
  alone; `flops(2x)`: twice `conv+fc`. Nothing else counts.
- `4*trainable/1e6` and `4*trainable/2^20`: the size of float32 parameters in MB and MiB.
- `round` and `trunc` say how the count was cut to the printed digits; `round_to_10M` that the
  zeros at its end say nothing.

"""


def page() -> str:
    """The whole page."""
    lines = [
        "| name | input | parameters | multiply-adds | what it is |",
        "|---|---|---:|---:|---|",
    ]
    for name in edgekit_models.names():
        spec = edgekit_models.spec(name)
        shape = "x".join(str(side) for side in spec.input_shape)
        lines.append(
            f"| `{name}` | {shape} | {spec.parameters:,} | {spec.multiply_adds:,} "
            f"| {spec.description} |"
        )
    return HEADER + "\n".join(lines) + "\n\n" + RULES + render_markdown(compare())


def main(arguments: list[str]) -> int:
    """Write or check the page; 1 where the check finds a difference."""
    text = page()
    if arguments != ["--check"]:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    print(f"docs/{PAGE.name} differs from the zoo; run: make docs", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
