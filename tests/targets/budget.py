"""Size and stack of the decoder on a Cortex-M4 against their budgets.

Run: python -m tests.targets.budget FOLDER, where FOLDER holds what run.sh built: decode.elf (what
decoding a tensor to bytes needs), whole.elf (that, and the reader of container and records),
bytes.o and bytes.ci (the compiler's call graph with stack sizes).
"""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

DECODE_TEXT_BYTES = 3072
WHOLE_TEXT_BYTES = 5120
STACK_BYTES = 1024


def text_bytes(elf: Path) -> int:
    """Code and constants."""
    done = subprocess.run(["arm-none-eabi-size", elf], check=True, capture_output=True, text=True)
    return int(done.stdout.splitlines()[1].split()[0])


def undefined(object_file: Path) -> list[str]:
    """Symbols that somebody else has to bring."""
    done = subprocess.run(
        ["arm-none-eabi-nm", "-u", object_file], check=True, capture_output=True, text=True
    )
    return [line.split()[-1] for line in done.stdout.splitlines() if line.strip()]


def deepest_stack(graph: str) -> tuple[int, str]:
    """The most bytes on the stack below any function, and the calls that lead there.

    graph: GCC's -fcallgraph-info=su. The decoder has no recursion and no call through a pointer.
    """
    own = {
        title: int(size)
        for title, size in re.findall(r'node: \{ title: "([^"]+)" label: ".*?(\d+) bytes \(', graph)
    }
    calls: dict[str, set[str]] = {}
    for source, target in re.findall(
        r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"', graph
    ):
        calls.setdefault(source, set()).add(target)

    @cache
    def deepest(title: str) -> tuple[int, str]:
        below = max((deepest(target) for target in calls.get(title, ())), default=(0, ""))
        return own.get(title, 0) + below[0], f"{title.rpartition(':')[2]} {below[1]}".strip()

    return max(deepest(title) for title in own)


def main() -> None:
    """Print each figure and end with 1 where one is over its budget."""
    folder = Path(sys.argv[1])
    stack, path = deepest_stack((folder / "bytes.ci").read_text())
    helpers = [name for name in undefined(folder / "bytes.o") if not name.startswith("__aeabi_")]
    rows = (
        ("decode a tensor to bytes, .text", text_bytes(folder / "decode.elf"), DECODE_TEXT_BYTES),
        ("with container and records, .text", text_bytes(folder / "whole.elf"), WHOLE_TEXT_BYTES),
        (f"stack ({path})", stack, STACK_BYTES),
        ("undefined symbols beyond compiler helpers", len(helpers), 0),
    )
    for name, value, most in rows:
        print(f"  {name}: {value} (at most {most})")  # noqa: T201  # a script's result
    sys.exit(any(value > most for _, value, most in rows))


if __name__ == "__main__":
    main()
