"""What compression costs trained networks: finished bytes against the change of their answers.

MobileNetV2 with ImageNet weights: 100 crops of half of 40 photographs calibrate, 500 crops of the
other half judge: divergence of the softmax in nats, and top-1 agreement, both against the float
model. "objects" is that agreement on the 250 crops of labelled photographs, and "right"
their top-1; the other crops show textures and documents, of which the network is unsure. "of 20"
counts the labelled photographs themselves, whole. Photographs and torchvision's weights come from
the package index by exact version. Speed is float32's time over this form's: medians of turns on
one thread, one input, in this run.

The shipped Fashion-MNIST networks: 1,024 training images calibrate, without labels; top-1 on the
10,000 test images.

Peers of the same run: compression_peers.py, on the same calibration inputs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import edgekit
from edgekit import api
from edgekit.bench.evaluate import evaluate
from edgekit.compress.goal import Goal, calibration_inputs
from edgekit.data import FASHION_MNIST, load_labelled
from edgekit.graph import load_graph
from edgekit.packfile import open_packfile
from edgekit.packfile.activations import RunForm
from edgekit.race import race
from edgekit.runtime.parity import softmax_divergence
from edgekit.top1 import agreement

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.compression_peers import Array, peers, zstd_bytes
from benchmarks.photographs import LABELLED, crops, photographs
from examples.imagenet_mobilenetv2 import run as example

CALIBRATION, JUDGEMENT = 100, 500
FASHION_SIZES = {"squeezenet_fashion": (83_000, 69_800), "mobilenetv2_fashion": (121_000, 97_000)}
"""Bytes asked for, of each shipped network."""

_RACE_S = 60.0

Form = tuple[str, Path, RunForm | None]
"""What a row is called, its file, and the run form of a packed one."""
Maker = tuple[str, Callable[[Path], object]]
"""What a row is called, and what writes its file."""


def main() -> None:
    """Fetch, compress in several ways, and print one table a network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, help="folder for what is fetched")
    parser.add_argument("--only", default="", help="of the packed forms, those with this in them")
    parser.add_argument(
        "--network", choices=["mobilenetv2", *FASHION_SIZES], action="append", dest="networks"
    )
    arguments = parser.parse_args()
    networks = arguments.networks or ["mobilenetv2", *FASHION_SIZES]
    with tempfile.TemporaryDirectory() as scratch:
        for network in networks:
            folder = Path(scratch) / network
            folder.mkdir()
            if network in FASHION_SIZES:
                table = _fashion_table(network, folder, arguments.only)
            else:
                table = _imagenet_table(folder, arguments.cache or folder, arguments.only)
            Console(highlight=False, width=118).print(table)


def _imagenet_table(folder: Path, cache: Path, only: str) -> Table:
    cache.mkdir(parents=True, exist_ok=True)
    model = folder / "mobilenetv2.onnx"
    api.export("mobilenetv2", model, weights=example.fetch_weights(cache))
    pictures = photographs(cache)
    calibration = crops(pictures[0::2], CALIBRATION, np.random.default_rng(0))
    judgement = crops(pictures[1::2], JUDGEMENT, np.random.default_rng(1))
    labelled = example.fetch_photos(cache)
    # The labelled photographs come first among those that judge, and crops go round.
    turns = np.arange(JUDGEMENT) % len(pictures[1::2])
    objects = turns < LABELLED // 2
    answers = np.asarray(labelled[1])[1::2][turns[objects]]
    expected = _scores(model, judgement)
    table = _table(
        "MobileNetV2, ImageNet", "bytes", "zstd -19", "ratio", "KL, nats", "same top-1", "objects",
        "right", "of 20", "speed",
    )  # fmt: skip
    packed = _imagenet_forms(model, calibration)
    forms = list(_forms(model, packed, peers(model, calibration, "100 crops"), folder, only))
    for (form, path, run_as), speed in zip(forms, _speeds(forms, judgement), strict=True):
        found = _scores(path, judgement, run_as)
        right = int(np.sum(_scores(path, labelled[0], run_as).argmax(axis=1) == labelled[1]))
        table.add_row(
            form,
            *_sizes(model, path),
            f"{softmax_divergence(expected, found):.4f}",
            f"{agreement(expected, found):.1%}",
            f"{agreement(expected[objects], found[objects]):.1%}",
            f"{np.mean(found[objects].argmax(axis=1) == answers):.1%}",
            str(right),
            f"{speed:.2f}",
        )
    return table


def _fashion_table(network: str, folder: Path, only: str) -> Table:
    model = folder / f"{network}.onnx"
    api.export(network, model)
    calibration = calibration_inputs(load_graph(model), FASHION_MNIST).array
    test = load_labelled(FASHION_MNIST, split="test")
    table = _table(f"{network}, 10,000 test images", "bytes", "zstd -19", "ratio", "top-1", "lost")
    packed = _fashion_forms(model, FASHION_SIZES[network])
    others = peers(model, calibration, f"{len(calibration):,} images")
    first = None
    for form, path, run_as in _forms(model, packed, others, folder, only):
        session = edgekit.load(path, threads=2, run_as=run_as)
        top1 = evaluate(session, test, path.name).top1
        first = top1 if first is None else first
        lost = 100 * (first - top1)
        table.add_row(form, *_sizes(model, path), f"{100 * top1:.2f}", f"{lost:.2f}")
    return table


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("form")
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def _sizes(model: Path, path: Path) -> tuple[str, str, str]:
    """Bytes of a file, through zstd -19, and the ratio of the float model's to the first."""
    size = path.stat().st_size
    return f"{size:,}", zstd_bytes(path), f"{model.stat().st_size / size:.2f}"


def _imagenet_forms(model: Path, calibration: Array) -> Iterator[Maker]:
    compress = partial(api.compress, model)
    crops_ = partial(compress, calibration=calibration)
    yield "8 bits, uncalibrated", partial(compress, bits=8, calibration="none")
    yield "8 bits, no data", partial(compress, bits=8)
    yield "6 bits, uncalibrated", partial(compress, bits=6, calibration="none")
    yield "6 bits, no data", partial(compress, bits=6)
    yield "8 bits, 30 % pruned, no data", partial(compress, bits=8, sparsity=0.3)
    yield "6 bits, 100 crops", partial(crops_, bits=6)
    yield "8 bits, 30 % pruned, 100 crops", partial(crops_, bits=8, sparsity=0.3)
    yield "k-means, 6 bits, 100 crops", partial(crops_, bits=6, method="codebook")
    sized = partial(crops_, coder="rans")
    yield (
        "1.85 MB, 100 crops, rANS",
        partial(sized, goal=Goal(target_bytes=1_850_000), run_as="int8"),
    )
    yield "1.55 MB, 100 crops, rANS", partial(sized, goal=Goal(target_bytes=1_550_000))
    yield "1.94 MB, no data", partial(compress, goal=Goal(target_bytes=1_940_000))
    yield "1.7 MB, no data", partial(compress, goal=Goal(target_bytes=1_700_000))


def _fashion_forms(model: Path, sizes: Sequence[int]) -> Iterator[Maker]:
    compress = partial(api.compress, model)
    yield "8 bits, no data", partial(compress, bits=8)
    yield "6 bits, no data", partial(compress, bits=6)
    yield "k-means, 5 bits, no data", partial(compress, bits=5, method="codebook")
    yield (
        "k-means, 5 bits, 1,024 images",
        partial(compress, bits=5, method="codebook", calibration=FASHION_MNIST),
    )
    for size in sizes:
        yield (
            f"{size:,} bytes, 1,024 images, rANS",
            partial(
                compress,
                calibration=FASHION_MNIST,
                goal=Goal(target_bytes=size),
                coder="rans",
            ),
        )


def _forms(
    model: Path, packed: Iterator[Maker], others: Iterator[Maker], folder: Path, only: str
) -> Iterator[Form]:
    """The float model, what edgekit makes of it, and what others make of it."""
    yield "float32", model, None
    for number, (form, compress) in enumerate(packed):
        if only not in form:
            continue
        path = folder / f"{number}.ekp"
        compress(path)
        yield f"edgekit, {form}", path, "float"
        if "activations" in open_packfile(path).manifest:
            yield f"edgekit, {form}, as int8", path, "int8"
    for number, (form, quantize) in enumerate(others):
        path = folder / f"peer{number}.onnx"
        quantize(path)
        yield form, path, None


def _speeds(forms: Sequence[Form], inputs: Array) -> list[float]:
    """Float32's time over that of each form."""
    runners = []
    for _, path, run_as in forms:
        session = edgekit.load(path, threads=1, run_as=run_as)
        feed = {session.get_inputs()[0].name: inputs[:1]}
        runners.append(partial(session.run, None, feed))
    times = race(runners, budget_s=_RACE_S)
    return [times[0] / seconds for seconds in times]


def _scores(path: Path, inputs: Array, run_as: RunForm | None = None) -> Array:
    session = edgekit.load(path, threads=2, run_as=run_as)
    name = session.get_inputs()[0].name
    batches = np.array_split(inputs, max(1, len(inputs) // 20))
    return np.concatenate([session.run(None, {name: batch})[0] for batch in batches])


if __name__ == "__main__":
    main()
