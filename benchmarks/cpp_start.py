"""A C++ process that starts, runs once and ends: a packed file beside the float ONNX file.

One program opens either of them by path, both warm in the page cache, with the same options of
onnxruntime and its telemetry off. A round starts the program once for each file, in alternating
order; figures are medians over rounds, and the ratio is the median of the rounds' ratios.

Run: python benchmarks/cpp_start.py MODEL.onnx --onnxruntime-root FOLDER [--rounds 41], where FOLDER
holds onnxruntime's headers in include/ and its library in lib/. Needs g++ and zlib's headers.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from edgekit.api import compress, embed
from edgekit.packfile import open_packfile
from edgekit.packfile.pictures import first_input_shape

BITS = 6
WARM_UP = 3


def build(app: Path, root: Path) -> Path:
    """The program of cpp_start.cpp, built beside the app's sources."""
    program = app / "cpp_start"
    header = next(root.glob("include/**/onnxruntime_cxx_api.h"), None)
    library = next(root.glob("lib/libonnxruntime.so*"), None)
    if header is None or library is None:
        sys.exit(f"{root} has no include/ and lib/ of onnxruntime")
    command: list[str | Path] = ["g++", "-std=c++17", "-O2", "-pthread", "-o", program, "-I."]
    command += ["-isystem", header.parent.resolve(), Path(__file__).with_suffix(".cpp").resolve()]
    command += ["edgekit_model.cpp", "edgekit_packed.cpp", "edgekit_text.cpp"]
    command += [library.resolve(), f"-Wl,-rpath,{library.parent.resolve()}", "-lz"]
    subprocess.run(command, check=True, cwd=app)
    return program


def start_s(program: Path, model: Path, inputs: Path, threads: int) -> float:
    """Seconds from starting the process until it has ended, its result written."""
    command: list[str | Path] = [program, model, inputs, str(threads)]
    begin = time.perf_counter()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    elapsed = time.perf_counter() - begin
    if not done.stdout:
        sys.exit(f"the program failed on {model}")
    return elapsed


def measure(program: Path, files: list[Path], inputs: Path, threads: int, rounds: int) -> None:
    """Print one line for a number of threads."""
    times: dict[Path, list[float]] = {file: [] for file in files}
    for number in range(WARM_UP + rounds):
        for file in files if number % 2 else reversed(files):
            elapsed = start_s(program, file, inputs, threads)
            if number >= WARM_UP:
                times[file].append(elapsed)
    plain, packed = (times[file] for file in files)
    ratio = statistics.median(b / a for a, b in zip(plain, packed, strict=True))
    print(
        f"threads {threads}, {rounds} rounds: float {1000 * statistics.median(plain):.1f} ms, "
        f"packed {1000 * statistics.median(packed):.1f} ms, ratio {ratio:.2f}"
    )


def main() -> None:
    """Pack the model, build the program, and measure with one thread and with two."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--onnxruntime-root", type=Path)
    parser.add_argument("--rounds", type=int, default=41)
    words = parser.parse_args()
    if words.model is None or words.onnxruntime_root is None:
        print("skipped: give a float ONNX model and --onnxruntime-root, see this script's head")
        return
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        packed = folder / "model.ekp"
        compress(words.model, packed, bits=BITS)
        embed(packed, folder / "app", target="cpp")
        shape = first_input_shape(open_packfile(packed))
        inputs = folder / "input.f32"
        np.random.default_rng(0).normal(size=shape[1:]).astype(np.float32).tofile(inputs)
        program = build(folder / "app", words.onnxruntime_root)
        print(
            f"{words.model.name}: {words.model.stat().st_size:,} bytes, "
            f"packed with {BITS} bits {packed.stat().st_size:,}"
        )
        for threads in (1, 2):
            measure(program, [words.model.resolve(), packed], inputs, threads, words.rounds)


if __name__ == "__main__":
    main()
