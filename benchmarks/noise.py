"""Compression without data: 1/f noise against plain rounding, judged by real pictures.

Each network is compressed at several widths and sparsities with `--calibration noise`, which is
what a network of pictures gets unasked, and with `--calibration none`. Judged against the float
model by its softmax's divergence in nats and top-1 agreement: on 2,000 test images of
Fashion-MNIST, or on 500 crops of 20 photographs, which nothing here has seen.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from edgekit import api
from edgekit.compress.calibrate import Probe
from edgekit.compress.trust import measure_trust
from edgekit.data import FASHION_MNIST, load_labelled
from edgekit.graph import load_graph
from edgekit.packfile import read_packfile
from edgekit.tensors import dequantize

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.photographs import crops, photographs
from examples.imagenet_mobilenetv2 import run as example

NETWORKS = ("mobilenetv2", "mobilenetv2_fashion", "squeezenet_fashion")
ASKED: tuple[tuple[int, float], ...] = (
    (8, 0),
    (6, 0),
    (5, 0),
    (4, 0),
    (8, 0.3),
    (8, 0.5),
    (8, 0.6),
)
"""Bits of a code and sparsity."""
_CROPS, _TESTED = 500, 2000


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, help="folder for what is fetched")
    arguments = parser.parse_args()
    table = Table(title="without data", title_justify="left", box=None)
    for heading in ("network", "bits", "pruned", "calibration", "bytes", "KL, nats", "same top-1"):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for network in NETWORKS:
            _add_rows(table, network, folder, arguments.cache or folder)
    Console(highlight=False, width=100).print(table)


def _add_rows(table: Table, network: str, folder: Path, cache: Path) -> None:
    model, packed = folder / f"{network}.onnx", folder / f"{network}.ekp"
    if network.endswith("fashion"):
        api.export(network, model)
        inputs = load_labelled(FASHION_MNIST, split="test").inputs[:_TESTED]
    else:
        cache.mkdir(parents=True, exist_ok=True)
        api.export(network, model, weights=example.fetch_weights(cache))
        inputs = crops(photographs(cache)[1::2], _CROPS, np.random.default_rng(1))
    probe = Probe(load_graph(model), inputs)
    expected = probe.answers()
    for bits, sparsity in ASKED:
        for calibration in ("none", "noise"):
            # Models that would be refused are measured too.
            report = api.compress(
                model, packed, bits=bits, sparsity=sparsity, calibration=calibration, force=True
            )
            weights = {one.name: dequantize(one) for one in read_packfile(packed).tensors}
            found = measure_trust(expected, probe.answers(weights))
            table.add_row(
                network,
                str(bits),
                f"{sparsity:.0%}",
                calibration,
                f"{report.file_bytes:,}",
                f"{found.divergence:.4f}",
                f"{found.agreement:.1%}",
            )


if __name__ == "__main__":
    main()
