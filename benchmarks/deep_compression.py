"""Deep Compression step by step on a shipped network: pictures (SVG) and all figures (JSON).

    weights.svg    a layer's weights before, after pruning and retraining, and sharing values
    symbols.svg    which shared values and gaps occur how often, and the lengths of their codes
    accuracy.svg   accuracy against ratio: prune only, quantize only, both, low rank
    figures.json   every number in them, with the settings

Han et al., "Deep Compression" (2016), figures 5 to 7 and sections 2 to 4. Every point of the last
picture is trained from the float model for the same number of epochs and coded alike; its ratio is
the float ONNX file over the finished packed file. Accuracies are of the test images, each measured
once, and nothing is chosen by them. FOLDER/runs-* keep what is finished, so that the same command
goes on where it was interrupted.

Run: python benchmarks/deep_compression.py [-o FOLDER] [--epochs 1] [--train-limit 19200]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper

import edgekit
from edgekit import api
from edgekit.bench.evaluate import evaluate
from edgekit.codec.gaps import split_gaps
from edgekit.codec.huffman import code_lengths, coded_bits
from edgekit.compress.cluster import cluster
from edgekit.data import FASHION_MNIST, Labelled, load_labelled
from edgekit.files import write_atomic
from edgekit.graph.walk import integer
from edgekit.packfile.reader import read_packfile
from edgekit.tensors import CodedTensor
from edgekit.train.datasets import TrainingData, fashion_mnist
from edgekit.train.finetune import finetune
from edgekit.train.recipe import Grid, Prune, Recipe, Retrain, Share, Stage
from edgekit.train.sources import Subset

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.deep_compression_figures import (
    Symbols,
    Walk,
    accuracy_figure,
    symbols_figure,
    weights_figure,
)

NETWORK = "squeezenet_fashion"
LAYER = "features.7.expand3.conv.weight"
LEARNING_RATE = 0.02
SPARSITIES = (0.5, 0.67, 0.8)
BITS = (6, 4, 3, 2)
BOTH = ((0.5, 6), (0.67, 4), (0.8, 4))
KEEPS = (0.75, 0.5, 0.35)
BATCH_SIZE = 32
SHARING = 0.25
"""Of the epochs, where both prune and share."""
VALIDATION_IMAGES = 500
"""Few, because nothing here depends on them."""
WALK = "67 %, 4 bits"
"""The setting of both that the other two pictures show."""


@dataclass(frozen=True, slots=True)
class Point:
    """A way to compress. keep: of the weights by low rank, before the stages, or None."""

    series: str
    setting: str
    stages: tuple[Stage, ...]
    keep: float | None = None

    @property
    def folder(self) -> str:
        """Where its run lies."""
        return f"{self.series} {self.setting}".replace(" %", "").replace(",", "").replace(" ", "-")


@dataclass(frozen=True, slots=True)
class Measured:
    """A point's finished file: ratio to the float ONNX file, top-1 of the test images."""

    series: str
    setting: str
    packed_bytes: int
    ratio: float
    top1: float


def points(epochs: float) -> list[Point]:
    """All of them, each trained for so many epochs in total."""
    eight = Grid(bits=8, epochs=0)
    rate = LEARNING_RATE
    found = [Point("prune only", "0 %", (eight,))]
    found += [
        Point("prune only", _percent(sparsity), (_prune(sparsity, epochs), eight))
        for sparsity in SPARSITIES
    ]
    found += [
        Point("quantize only", f"{bits} bits", (Share(bits, epochs=epochs, learning_rate=rate),))
        for bits in BITS
    ]
    found += [
        Point(
            "both",
            f"{_percent(sparsity)}, {bits} bits",
            (
                _prune(sparsity, (1 - SHARING) * epochs),
                Share(bits, epochs=SHARING * epochs, learning_rate=rate),
            ),
        )
        for sparsity, bits in BOTH
    ]
    found += [
        Point(
            "low rank",
            _percent(keep),
            (Retrain(epochs=epochs, learning_rate=rate), eight),
            keep,
        )
        for keep in KEEPS
    ]
    return found


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _prune(sparsity: float, epochs: float) -> Prune:
    return Prune(sparsity, epochs=epochs, learning_rate=LEARNING_RATE)


def split_convolutions(model: onnx.ModelProto, keep: float) -> onnx.ModelProto:
    """Each convolution as one of fewer outputs and a 1x1 one, by its singular values.

    keep: share of a layer's weights that stay. W of (outputs, inputs * height * width) becomes the
    product of the best rank (Denton et al., "Exploiting linear structure within convolutional
    networks", 2014, section 3). A layer of groups, or with too few weights for a rank, stays whole.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    tensors = {tensor.name: tensor for tensor in result.graph.initializer}
    nodes = []
    for node in model.graph.node:
        is_whole = node.op_type == "Conv" and integer(node, "group", 1) == 1
        weight = tensors.get(node.input[1]) if is_whole else None
        values = None if weight is None else numpy_helper.to_array(weight)
        rank = 0 if values is None else _rank(values.shape[0], values[0].size, keep)
        if weight is None or values is None or not rank:
            nodes.append(node)
            continue
        left, sizes, right = np.linalg.svd(values.reshape(len(values), -1), full_matrices=False)
        root = np.sqrt(sizes[:rank])
        inner = (root[:, None] * right[:rank]).reshape(rank, *values.shape[1:])
        outer = (left[:, :rank] * root)[:, :, None, None]
        weight.CopyFrom(numpy_helper.from_array(inner, weight.name))
        second = f"{weight.name}.outer"
        result.graph.initializer.append(numpy_helper.from_array(outer, second))
        first = onnx.NodeProto()
        first.CopyFrom(node)
        between = f"{node.output[0]}_inner"
        # The bias belongs to the outer one.
        del first.input[2:]
        first.output[0] = between
        nodes.append(first)
        nodes.append(helper.make_node("Conv", [between, second, *node.input[2:]], node.output[:1]))
    del result.graph.node[:]
    result.graph.node.extend(nodes)
    # Shapes that the exporter wrote down are of the old graph.
    del result.graph.value_info[:]
    return result


def _rank(outputs: int, inputs: int, keep: float) -> int:
    return int(keep * outputs * inputs / (outputs + inputs))


def measure(
    point: Point, source: Path, data: TrainingData, test: Labelled, folder: Path
) -> Measured:
    """Train, pack and judge one point. folder: of its run, taken up where it stopped."""
    known = folder / "measured.json"
    if known.exists():
        return Measured(**json.loads(known.read_text(encoding="utf-8")))
    start = source
    if point.keep is not None:
        start = folder.with_suffix(".onnx")
        split = split_convolutions(onnx.load(source), point.keep)
        write_atomic(start, split.SerializeToString(deterministic=True))
    recipe = Recipe(
        point.series,
        point.stages,
        batch_size=BATCH_SIZE,
        precision="bfloat16",
        coder="huffman",
    )
    report = finetune(str(start), folder, recipe=recipe, data=data, resume=True)
    session = edgekit.load(report.output, threads=1)
    found = Measured(
        series=point.series,
        setting=point.setting,
        packed_bytes=report.packed_bytes,
        ratio=source.stat().st_size / report.packed_bytes,
        top1=evaluate(session, test, point.folder).top1,
    )
    write_atomic(known, json.dumps(asdict(found)).encode())
    return found


def walk(folder: Path, layer: str) -> Walk:
    """A layer through the chain of one run: prune, then share. folder: of that run."""
    before, pruned = (_weights(folder / name, layer) for name in ("0-float.onnx", "1-prune.onnx"))
    tensor = next(
        tensor for tensor in read_packfile(folder / "model.ekp").tensors if tensor.name == layer
    )
    if not isinstance(tensor, CodedTensor) or tensor.codebook is None:
        raise AssertionError(f"{layer} has no codebook")
    # As the stage starts: linear, so no chance is in it.
    bits = math.ceil(math.log2(tensor.codebook.size))
    start = cluster(pruned, bits, pruned == 0).values
    return Walk(
        layer=layer,
        before=before.reshape(-1),
        pruned=pruned.reshape(-1),
        codes=tensor.codes.reshape(-1).view(np.uint8),
        untuned=start,
        tuned=tensor.codebook,
    )


def symbols(codes: NDArray[np.uint8]) -> tuple[Symbols, Symbols]:
    """Of a pruned tensor: its kept values' codes, and the gaps between them."""
    values, gaps = split_gaps(codes)
    return _symbols("shared value", values), _symbols("gap", gaps)


def _symbols(name: str, stream: NDArray[np.uint8]) -> Symbols:
    counts = np.bincount(stream, minlength=256).astype(np.int64)
    lengths = code_lengths(counts)
    used = counts[counts > 0]
    shares = used / used.sum()
    return Symbols(
        name=name,
        counts=counts,
        lengths=lengths,
        mean_bits=coded_bits(counts, lengths) / int(counts.sum()),
        entropy_bits=float(-(shares * np.log2(shares)).sum()),
        # The narrowest code of equal lengths that reaches the largest symbol.
        fixed_bits=max(1, int(stream.max()).bit_length()),
    )


def _weights(path: Path, name: str) -> NDArray[np.float32]:
    tensors = onnx.load(path).graph.initializer
    return np.array(
        next(numpy_helper.to_array(tensor) for tensor in tensors if tensor.name == name), np.float32
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Train all points, and write the pictures and the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("deep-compression-out"))
    parser.add_argument("--epochs", type=float, default=1.0, help="of every point, in total")
    parser.add_argument("--train-limit", type=int, default=19_200, help="training images in use")
    parser.add_argument("--data", type=Path, help="folder with Fashion-MNIST's four .gz files")
    chosen = parser.parse_args(arguments)
    folder: Path = chosen.output
    runs = folder / f"runs-{chosen.epochs:g}-{chosen.train_limit}"
    runs.mkdir(parents=True, exist_ok=True)
    source = folder / f"{NETWORK}.onnx"
    if not source.exists():
        api.export(NETWORK, source)
    whole = fashion_mnist(chosen.data, chosen.train_limit)
    # Accuracy is measured once a point, here; the name tells runs of other settings apart.
    data = replace(
        whole,
        validation=Subset(whole.validation, torch.arange(VALIDATION_IMAGES)),
        test=None,
        name=f"{FASHION_MNIST}, {len(whole.training)} images",
    )
    test = load_labelled(str(chosen.data or FASHION_MNIST))
    float_top1 = evaluate(edgekit.load(source, threads=1), test, NETWORK).top1
    found = []
    for point in points(chosen.epochs):
        found.append(measure(point, source, data, test, runs / point.folder))
        last = found[-1]
        print(
            f"{last.series:14} {last.setting:12} {last.packed_bytes:>8,} bytes  "
            f"{last.ratio:5.2f}x  {last.top1:.2%}",
            flush=True,
        )
    both = next(p for p in points(chosen.epochs) if p.setting == WALK)
    layer = walk(runs / both.folder, LAYER)
    values, gaps = symbols(layer.codes)
    write_atomic(folder / "weights.svg", weights_figure(layer).encode())
    write_atomic(folder / "symbols.svg", symbols_figure(layer.layer, values, gaps).encode())
    write_atomic(
        folder / "accuracy.svg",
        accuracy_figure(
            [(m.series, m.setting, m.ratio, m.top1) for m in found], float_top1, len(test.inputs)
        ).encode(),
    )
    facts: dict[str, Any] = {
        "network": NETWORK,
        "epochs": chosen.epochs,
        "training_images": len(whole.training),
        "test_images": len(test.inputs),
        "float_bytes": source.stat().st_size,
        "float_top1": float_top1,
        "points": [asdict(each) for each in found],
        "layer": {"setting": both.setting, **layer.to_dict()},
        "symbols": [values.to_dict(), gaps.to_dict()],
    }
    write_atomic(folder / "figures.json", (json.dumps(facts, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
