"""What a web page costs: bytes over the wire, and decoding in WebAssembly beside native code.

Wire: the packed model and the loader (its scripts and the decoder), without onnxruntime-web, beside
the plain ONNX file. Decoding: from the file's bytes to every weight, all check sums included, under
Node and in Python's native decoder on one thread; processes take turns and figures are medians. The
first round of a process is told apart: it compiles the decoder, and runs what the compiler makes in
haste, as a page does that opens its model once.

Run: python benchmarks/web_decode.py [MODEL.onnx] [--target-size 1.75MB | --bits 6]. Without a model
it is the zoo's MobileNetV2 with random weights, which compress worse than trained ones. Needs Node.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from edgekit import api
from edgekit.codec import native
from edgekit.compress.goal import Goal, parse_size
from edgekit.packfile import read_weights

TURNS, ROUNDS, WARM_UP = 5, 9, 20
"""Processes of each kind, measured rounds in each, and rounds before them: engines compile
WebAssembly a second time, and better, while it runs."""
LOADER = ("edgekit.js", "errors.js", "sections.js", "skeleton.js", "edgekit_decode.wasm")
MOST_WIRE_SHARE = 0.13
MOST_TIME_RATIO = 2.5


def node_times_s(page: Path, packed: Path) -> tuple[list[float], str, str]:
    """Seconds of each round, the weights' SHA-256, and Node's version."""
    script = Path(__file__).with_suffix(".mjs")
    rounds = str(WARM_UP + ROUNDS)
    command: list[str | Path] = ["node", script, page / "edgekit.js", packed, rounds]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    return found["times_s"], found["sha256"], found["node"]


def native_times_s(packed: Path) -> tuple[list[float], str]:
    """The same in this process."""
    data = packed.read_bytes()
    times_s = []
    for _ in range(WARM_UP + ROUNDS):
        start = time.perf_counter()
        weights = read_weights(data, decoder="native")
        times_s.append(time.perf_counter() - start)
    digest = hashlib.sha256()
    for weight in weights.values():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return times_s, digest.hexdigest()


def show_times(page: Path, packed: Path) -> None:
    """Decoding, in turns."""
    native_s: list[float] = []
    first_s: list[float] = []
    wasm_s: list[float] = []
    for _ in range(TURNS):
        times_s, digest = native_times_s(packed)
        native_s += times_s[WARM_UP:]
        times_s, node_digest, node = node_times_s(page, packed)
        first_s.append(times_s[0])
        wasm_s += times_s[WARM_UP:]
        if node_digest != digest:
            raise SystemExit("error: both decoders give different weights")
    for name, times_s in (
        ("native", native_s),
        (f"WebAssembly, Node {node}", wasm_s),
        ("the same, first round", first_s),
    ):
        print(
            f"{name:28}{statistics.median(times_s) * 1000:8.2f} ms"
            f"   least {min(times_s) * 1000:.2f}, {len(times_s)} rounds"
        )
    ratio = statistics.median(wasm_s) / statistics.median(native_s)
    print(f"{'ratio, without first rounds':28}{ratio:8.2f}      {verdict(ratio, MOST_TIME_RATIO)}")


def show_wire(page: Path, packed: Path, source: Path) -> None:
    """Bytes that a visitor fetches, as files and as a server with gzip sends them."""
    loader = [(page / name).read_bytes() for name in LOADER]
    full = source.stat().st_size
    model_bytes = packed.stat().st_size
    loader_bytes = sum(map(len, loader))
    squeezed = sum(len(gzip.compress(data, 9)) for data in loader)
    share = (model_bytes + loader_bytes) / full
    print(f"{'plain ONNX':28}{full:12,} bytes")
    print(f"{'packed':28}{model_bytes:12,}")
    print(f"{'loader':28}{loader_bytes:12,}   {squeezed:,} with gzip")
    print(f"{'share':28}{share:12.3f}   {verdict(share, MOST_WIRE_SHARE)}")


def verdict(found: float, most: float) -> str:
    """Whether a goal is met."""
    return f"goal {most:g}: {'met' if found <= most else 'missed'}"


def main() -> None:
    """Compress, write a page, print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("model", type=Path, nargs="?", help="an ONNX file of a picture network")
    parser.add_argument("--bits", type=int, default=6)
    parser.add_argument("--target-size", help="largest packed file, such as 1.75MB")
    given = parser.parse_args()
    if shutil.which("node") is None or not native.available:
        sys.exit("left out: " + ("Node isn't installed" if native.available else native.reason))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = given.model or folder / "mobilenetv2.onnx"
        if given.model is None:
            api.export("mobilenetv2", source, weights="none")
        packed = folder / "model.ekp"
        if given.target_size:
            goal = Goal(target_bytes=parse_size(given.target_size))
            api.compress(source, packed, goal=goal, preprocess="imagenet")
        else:
            api.compress(source, packed, bits=given.bits, preprocess="imagenet")
        page = folder / "page"
        api.embed(packed, page, target="web")
        show_wire(page, packed, source)
        show_times(page, packed)


if __name__ == "__main__":
    main()
