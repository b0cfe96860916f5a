"""What each kind of app costs: bytes beside the model, memory, and the time to start.

For one packed file: the C app decodes every tensor, the Python loader makes a session, and so does
the C++ app where onnxruntime's headers and library are given. Each figure is the median of fresh
processes in turns, from the start of a process to its end; memory is the most that a process held.
A Cortex-M4 has no clock in an emulator: `make targets` tells its bytes.

Run: python benchmarks/embedding.py [PACKED.ekp] [--onnxruntime-root FOLDER]. Without a file it is
the shipped Fashion-MNIST MobileNetV2 at 6 bits. Needs gcc and make.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgekit.api import compress, embed, export
from edgekit.packfile import open_packfile
from edgekit.packfile.pictures import first_input_shape

ROUNDS = 15
LOAD = """
import sys
sys.modules["edgekit"] = None  # the loader decodes with numpy alone, as on a bare device
import edgekit_loader
edgekit_loader.load(sys.argv[1], threads=1)
"""
EMPTY = "import numpy, onnxruntime"


@dataclass
class Way:
    """A command whose start is measured. added_bytes: of its own files, without the model."""

    name: str
    command: list[str | Path]
    added_bytes: int | None
    seconds: list[float] = field(default_factory=list)
    peak_bytes: list[int] = field(default_factory=list)


def start(way: Way, launcher: Path, folder: Path) -> None:
    """One fresh process."""
    done = subprocess.run(
        [launcher, *way.command], check=False, cwd=folder, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{way.name} failed: {done.stderr}")
    seconds, kibibytes = done.stdout.split()
    way.seconds.append(float(seconds))
    way.peak_bytes.append(int(kibibytes) * 1024)


def build_launcher(folder: Path) -> Path:
    """The program of launch.c."""
    launcher = folder / "launch"
    source = Path(__file__).with_name("launch.c")
    subprocess.run(["gcc", "-O2", source, "-o", launcher], check=True)
    return launcher


def c_way(packed: Path, folder: Path) -> Way:
    """The C app."""
    app = folder / "c"
    embed(packed, app)
    subprocess.run(["make", "-s", "LDFLAGS=-s"], check=True, cwd=app)
    program = app / "main"
    return Way("C, all tensors decoded", [program], program.stat().st_size - packed.stat().st_size)


def python_ways(packed: Path, folder: Path) -> list[Way]:
    """The loader, beside what Python and onnxruntime take alone."""
    app = folder / "python"
    embed(packed, app, target="python")
    loader = app / "edgekit_loader.py"
    command: list[str | Path] = [sys.executable, "-c", LOAD, packed]
    return [
        Way("Python, session", ["env", f"PYTHONPATH={app}", *command], loader.stat().st_size),
        Way("Python and onnxruntime alone", [sys.executable, "-c", EMPTY], None),
    ]


def cpp_way(packed: Path, folder: Path, root: Path) -> Way:
    """The C++ app with the model inside, run on one input."""
    app = folder / "cpp"
    embed(packed, app, target="cpp")
    subprocess.run(
        ["make", "-s", f"ONNXRUNTIME_ROOT={root.resolve()}", "classify"], check=True, cwd=app
    )
    shape = [size or 1 for size in first_input_shape(open_packfile(packed))]
    picture = folder / "picture.f32"
    np.zeros(shape, np.float32).tofile(picture)
    program = app / "classify"
    return Way(
        "C++, session and first result",
        [program, picture],
        program.stat().st_size - packed.stat().st_size,
    )


def default_model(folder: Path) -> Path:
    """The shipped MobileNetV2 at 6 bits."""
    plain, packed = folder / "m.onnx", folder / "m.ekp"
    export("mobilenetv2_fashion", plain)
    compress(plain, packed, bits=6)
    return packed


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("packed", type=Path, nargs="?")
    parser.add_argument("--onnxruntime-root", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        packed = options.packed.resolve() if options.packed else default_model(folder)
        ways = [c_way(packed, folder), *python_ways(packed, folder)]
        if options.onnxruntime_root:
            ways.insert(1, cpp_way(packed, folder, options.onnxruntime_root))
        launcher = build_launcher(folder)
        for _ in range(ROUNDS):
            for way in ways:
                start(way, launcher, folder)
        print(f"{packed.name}: {packed.stat().st_size:,} bytes; load {os.getloadavg()[0]:.1f}")
        print(f"{'':34}{'own bytes':>12}{'peak memory':>14}{'start, ms':>11}")
        for way in ways:
            own = "" if way.added_bytes is None else f"{way.added_bytes:,}"
            peak = f"{statistics.median(way.peak_bytes) / 1e6:.1f} MB"
            print(f"{way.name:34}{own:>12}{peak:>14}{statistics.median(way.seconds) * 1e3:11.1f}")


if __name__ == "__main__":
    main()
