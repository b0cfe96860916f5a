"""Builds the decoder for browsers and Node; with --check only compares with the committed file.

Needs the package ziglang in exactly the version below, whose compiler gives the same bytes on
every machine: `pip install ziglang==0.17.1`. Run by `make web` with --check.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from edgekit.files import write_atomic

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "edgekit" / "embed" / "wasm"
SOURCE = FOLDER / "edgekit_decode.c"
BUILT = FOLDER / "edgekit_decode.wasm"

ZIGLANG = "0.17.1"

MOST_MEMORY_BYTES = 512 << 20
"""A page that asks for more is killed on phones; it holds the packed file and one chunk."""

STACK_BYTES = 64 << 10
"""The decoder's deepest call takes about 2 KiB."""

# Of the later instructions only bulk memory: a freestanding build has no memcpy otherwise, and
# onnxruntime-web's own module needs it too. Vectors gain nothing here, nor does -O2.
FLAGS = (
    "-target",
    "wasm32-freestanding",
    "-Os",
    "-std=c99",
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-pedantic",
    "-Werror",
    "-Wno-unused-function",  # of the kernels, one is used
    "-mcpu=mvp+bulk_memory",
    "-nostdlib",
    "-g0",
    "-Wl,--no-entry",
    "-Wl,--strip-all",
    f"-Wl,-z,stack-size={STACK_BYTES}",
    f"-Wl,--max-memory={MOST_MEMORY_BYTES}",
)


def build() -> bytes:
    """The module's bytes. Ends the program with one line where the compiler is missing."""
    if importlib.util.find_spec("ziglang") is None or version("ziglang") != ZIGLANG:
        raise SystemExit(f"error: needs the compiler: pip install ziglang=={ZIGLANG}")
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "decode.wasm")
        # Relative paths and a cache of its own: nothing of this machine gets into the file.
        environment = os.environ | {
            "ZIG_GLOBAL_CACHE_DIR": folder,
            "ZIG_LOCAL_CACHE_DIR": folder,
        }
        subprocess.run(
            [
                sys.executable,
                "-m",
                "ziglang",
                "cc",
                *FLAGS,
                SOURCE.relative_to(ROOT),
                "-o",
                output,
            ],
            check=True,
            cwd=ROOT,
            env=environment,
        )
        return output.read_bytes()


def main(arguments: list[str]) -> int:
    """Build or check; 1 where the committed file isn't what the sources give."""
    data = build()
    if "--check" not in arguments:
        write_atomic(BUILT, data)
        print(f"{BUILT.relative_to(ROOT)}: {len(data):,} bytes")
        return 0
    if not BUILT.is_file() or BUILT.read_bytes() != data:
        print(f"{BUILT.relative_to(ROOT)} is old: run tools/build_wasm.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
