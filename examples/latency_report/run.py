"""A latency report of the two trained networks that the project ships, float beside packed.

Writes latency.json and latency.html into the folder that is named, or beside this file.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from pathlib import Path

from rich.console import Console

from edgekit import api
from edgekit.bench.results import BenchReport
from edgekit.files import write_atomic
from edgekit.report.latency import render_table
from edgekit.report.latency_files import renderer

NETWORKS = ("squeezenet_fashion", "mobilenetv2_fashion")
BITS = 6
TITLE = "Float and packed networks, measured"


def measure(runs: int, seconds: float) -> BenchReport:
    """Export and pack the networks in the current folder, and measure all files there."""
    files = []
    for name in NETWORKS:
        onnx, packed = f"{name}.onnx", f"{name}-{BITS}bit.ekp"
        api.export(name, onnx)
        api.compress(onnx, packed, bits=BITS)
        files += [onnx, packed]
    return api.bench(
        files, runs=runs, profile=True, sustain_s=seconds, evaluate="fashion-mnist", say=print
    )


def main() -> None:
    """Measure and write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=10.0, help="of load for each file")
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    # In a folder of their own the files go by their names, in the report too.
    with tempfile.TemporaryDirectory() as models, contextlib.chdir(models):
        report = measure(asked.runs, asked.seconds)
    for suffix in (".json", ".html"):
        write_atomic(folder / f"latency{suffix}", renderer(suffix, TITLE)([report]).encode())
    Console(highlight=False).print(render_table(report))


if __name__ == "__main__":
    main()
