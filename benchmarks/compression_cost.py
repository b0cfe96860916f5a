"""What `edgekit compress` takes: wall time and peak memory of the whole command.

MobileNetV2 with ImageNet weights, without data and with 100 crops of photographs, and AlexNet with
random weights. Each row is a process of its own; one row is onnxruntime's static quantizer, U8S8
per channel, on the same crops, and times are also given as multiples of its time in this run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from edgekit import api

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.photographs import crops, photographs
from examples.imagenet_mobilenetv2 import run as example

CALIBRATION = 100
ALEXNET, MOBILENET = "AlexNet, random", "MobileNetV2"
COMMANDS = (
    (MOBILENET, "--bits 6"),
    (MOBILENET, "--target-size 1.94MB"),
    (MOBILENET, "--target-size 1.7MB"),
    (MOBILENET, "--bits 6 --calibration crops.npy"),
    (MOBILENET, "--target-size 1.85MB --coder rans --calibration crops.npy"),
    (MOBILENET, "--target-size 1.85MB --coder rans --calibration crops.npy --run-as int8"),
    (ALEXNET, "--bits 6 --sparsity 0.67"),
)
_PEER = """
import sys
from pathlib import Path
import numpy as np
sys.path.insert(0, sys.argv[1])
from benchmarks.compression_peers import peers
_, (name, make), *_ = peers(Path(sys.argv[2]), np.load("crops.npy"), "crops.npy")
print(name, file=sys.stderr)
make(Path("peer.onnx"))
"""


def main() -> None:
    """Fetch, run every command once, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, help="folder for what is fetched")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        cache = arguments.cache or folder / "cache"
        cache.mkdir(parents=True, exist_ok=True)
        models = {MOBILENET: folder / "mobilenetv2.onnx", ALEXNET: folder / "alexnet.onnx"}
        api.export("mobilenetv2", models[MOBILENET], weights=example.fetch_weights(cache))
        api.export("alexnet", models[ALEXNET])
        pictures = photographs(cache)[0::2]
        np.save(folder / "crops.npy", crops(pictures, CALIBRATION, np.random.default_rng(0)))
        root = Path(__file__).resolve().parents[1]
        peer = [sys.executable, "-c", _PEER, str(root), str(models[MOBILENET])]
        peer_s, peer_bytes = cost(peer, folder)
        table = Table(title="whole commands", box=None, pad_edge=False)
        table.add_column("network", overflow="fold")
        table.add_column("command", overflow="fold")
        for heading in ("bytes", "s", "of peer", "peak GB"):
            table.add_column(heading, justify="right")
        size = (folder / "peer.onnx").stat().st_size
        table.add_row(MOBILENET, "onnxruntime's static quantizer, U8S8 per channel, crops.npy",
                      f"{size:,}", f"{peer_s:.1f}", "1.00", f"{peer_bytes / 1e9:.2f}")  # fmt: skip
        for network, options in COMMANDS:
            output = folder / "packed.ekp"
            command = [sys.executable, "-m", "edgekit.cli.main", "compress", str(models[network]),
                       *options.split(), "-o", str(output)]  # fmt: skip
            seconds, peak = cost(command, folder)
            table.add_row(network, options, f"{output.stat().st_size:,}", f"{seconds:.1f}",
                          f"{seconds / peer_s:.2f}", f"{peak / 1e9:.2f}")  # fmt: skip
        Console(highlight=False, width=118).print(table)


def cost(command: list[str], folder: Path) -> tuple[float, int]:
    """Wall time in seconds and peak memory in bytes of a process that is run in a folder.

    Raises CalledProcessError if it fails.
    """
    start = time.perf_counter()
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    # Linux gives kibibytes.
    return time.perf_counter() - start, 1024 * usage.ru_maxrss


if __name__ == "__main__":
    main()
