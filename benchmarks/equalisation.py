"""Whether equalising channels across layers helps compression: three forms of one network.

Nagel et al., "Data-free quantization through weight equalization and bias correction" (2019),
section 4.1: channel i of a layer is divided by s_i = sqrt(r1_i r2_i) / r2_i, with r1_i and r2_i the
largest weights that write and read it, and the next layer's weights multiplied. ReLU6 lets no such
factor through, so two forms are tried beside the original:

exact: pairs of convolutions with nothing between them.
bounds: also pairs across ReLU6, whose upper bound becomes one a channel, 6 / s_i. The answers stay,
    but the graph has other operators than before: it says what could be had at most.

Divergence of the answers, in nats, from the float model's. Fashion-MNIST: 1,024 training images
calibrate, 10,000 test images judge. ImageNet: 100 crops of 20 photographs calibrate, 200 crops of
20 others judge.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from edgekit import api
from edgekit.compress.answers import divergence
from edgekit.compress.calibrate import Probe
from edgekit.compress.goal import Goal, calibration_inputs
from edgekit.compress.pipeline import compress
from edgekit.data import FASHION_MNIST, load_labelled
from edgekit.graph import load_graph
from edgekit.packfile import read_weights
from edgekit.race import race

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.photographs import crops, photographs
from examples.imagenet_mobilenetv2 import run as example

ROUNDS = 20
"""Over all pairs; the factors of later rounds are within a few percent of 1."""
JUDGEMENT = 200
_RACE_S = 20.0

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two convolutions of which the first alone feeds the second; clip: the ReLU6 between them."""

    first: NodeProto
    second: NodeProto
    clip: NodeProto | None


def main() -> None:
    """Compress every form in every way, and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, help="folder for what is fetched")
    parser.add_argument("--only", choices=("fashion", "imagenet"), default="")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if arguments.only != "imagenet":
            model = folder / "mobilenetv2_fashion.onnx"
            api.export("mobilenetv2_fashion", model)
            calibration = calibration_inputs(load_graph(model), FASHION_MNIST).array
            _measure("Fashion-MNIST", model, calibration, load_labelled(FASHION_MNIST).inputs)
        if arguments.only != "fashion":
            cache = arguments.cache or folder
            cache.mkdir(parents=True, exist_ok=True)
            model = folder / "mobilenetv2.onnx"
            api.export("mobilenetv2", model, weights=example.fetch_weights(cache))
            pictures = photographs(cache)
            calibration = crops(pictures[0::2], 100, np.random.default_rng(0))
            judgement = crops(pictures[1::2], JUDGEMENT, np.random.default_rng(1))
            _measure("ImageNet", model, calibration, judgement)


def _measure(name: str, path: Path, calibration: Array, judgement: Array) -> None:
    original = onnx.load(path)
    expected = Probe(load_graph(path), judgement).outputs()
    pairs = find_pairs(original)
    clipped = [pair for pair in pairs if pair.clip is not None]
    _say(f"{name}: {len(pairs)} pairs, {len(clipped)} of them across ReLU6")
    cut, channels = _reaching_6(path, calibration, clipped)
    _say(f"of the {channels} channels there, {cut} pass 6 on the calibration inputs")
    forms = {
        "original": original,
        "exact": equalised(original, [pair for pair in pairs if pair.clip is None]),
        "bounds": equalised(original, pairs),
    }
    ways: tuple[tuple[str, dict[str, Any]], ...] = (
        ("8 bits", {"bits": 8, "calibration": "none"}),
        ("6 bits", {"bits": 6, "calibration": "none"}),
        ("5 bits, codebook", {"bits": 5, "method": "codebook", "calibration": "none"}),
        ("6 bits, calibrated", {"bits": 6, "calibration": calibration}),
        *(
            (
                f"{share:g} bits a weight, calibrated",
                {"goal": Goal(bits_per_weight=share), "calibration": calibration},
            )
            for share in (3.5, 4.0, 4.5)
        ),
    )
    _say(f"bounds: {_slowdown(forms['original'], forms['bounds'], judgement):.2f} times the time")
    for form, model in forms.items():
        graph = load_graph(model.SerializeToString())
        probe = Probe(graph, judgement)
        _say(f"{form}: float {divergence(expected, probe.outputs()):.1e}")
        for way, settings in ways:
            with tempfile.TemporaryDirectory() as folder:
                packed = Path(folder) / "m.ekp"
                report = compress(model.SerializeToString(), packed, **settings)
                found = divergence(expected, probe.outputs(read_weights(packed)))
            _say(f"{form}, {way}: {report.file_bytes:,} bytes, {found:.4f} nats")


def _slowdown(original: ModelProto, other: ModelProto, inputs: Array) -> float:
    """Time of one input on one thread over the original's, medians of turns."""
    runners = []
    for model in (original, other):
        probe = Probe(load_graph(model.SerializeToString()), inputs, threads=1)
        runners.append(probe.runner())
    before, after = race(runners, budget_s=_RACE_S)
    return after / before


def _reaching_6(path: Path, inputs: Array, pairs: list[Pair]) -> tuple[int, int]:
    """Channels that ReLU6 cuts at least once on these inputs, and all channels behind it."""
    names = [pair.clip.input[0] for pair in pairs if pair.clip is not None]
    highest: dict[str, Array] = {}
    for values in Probe(load_graph(path), inputs).values(names):
        for name in names:
            found = values[name].max(axis=(0, 2, 3))
            highest[name] = np.maximum(highest.get(name, found), found)
    return sum(int(np.sum(top > 6)) for top in highest.values()), sum(map(len, highest.values()))


def find_pairs(model: ModelProto) -> list[Pair]:
    """Convolutions that one other alone reads, directly or through one ReLU6, in graph order."""
    readers: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for value in node.input:
            readers.setdefault(value, []).append(node)
    outputs = {value.name for value in model.graph.output}

    def only_reader(value: str) -> NodeProto | None:
        found = readers.get(value, [])
        return found[0] if len(found) == 1 and value not in outputs else None

    pairs = []
    for first in model.graph.node:
        if first.op_type != "Conv":
            continue
        behind = only_reader(first.output[0])
        clip = behind if behind is not None and behind.op_type == "Clip" else None
        second = behind if clip is None else only_reader(clip.output[0])
        if second is not None and second.op_type == "Conv":
            pairs.append(Pair(first, second, clip))
    return pairs


def equalised(original: ModelProto, pairs: list[Pair]) -> ModelProto:
    """The model with the channels between these pairs scaled alike; clips among them move."""
    numbers = {
        tensor.name: numpy_helper.to_array(tensor).astype(np.float64)
        for tensor in original.graph.initializer
    }
    whole = {pair.first.name: np.ones(len(numbers[pair.first.input[1]])) for pair in pairs}
    for _ in range(ROUNDS):
        for pair in pairs:
            first, bias = pair.first.input[1], pair.first.input[2]
            second = pair.second.input[1]
            axis = 0 if _groups(pair.second) > 1 else 1
            written = _largest(numbers[first], 0)
            read = _largest(numbers[second], axis)
            used = (written > 0) & (read > 0)
            factors = np.where(used, np.sqrt(written * read) / np.where(used, read, 1), 1)
            numbers[first] = numbers[first] / _along(factors, numbers[first].ndim, 0)
            numbers[bias] = numbers[bias] / factors
            numbers[second] = numbers[second] * _along(factors, numbers[second].ndim, axis)
            whole[pair.first.name] *= factors
    model = ModelProto()
    model.CopyFrom(original)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(
            numpy_helper.from_array(
                numbers[tensor.name].astype(numpy_helper.to_array(tensor).dtype), tensor.name
            )
        )
    moved = {pair.clip.output[0]: whole[pair.first.name] for pair in pairs if pair.clip is not None}
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        if node.op_type == "Clip" and node.output[0] in moved:
            bound = f"{node.output[0]}_bound"
            upper = (6 / moved[node.output[0]]).astype(np.float32).reshape(-1, 1, 1)
            model.graph.initializer.append(numpy_helper.from_array(upper, bound))
            inner = f"{node.output[0]}_positive"
            nodes.append(helper.make_node("Relu", [node.input[0]], [inner]))
            nodes.append(helper.make_node("Min", [inner, bound], [node.output[0]]))
        else:
            nodes.append(node)
    copied = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copied)
    return model


def _groups(node: NodeProto) -> int:
    return next((item.i for item in node.attribute if item.name == "group"), 1)


def _largest(weights: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    others = tuple(index for index in range(weights.ndim) if index != axis)
    return np.asarray(np.abs(weights).max(axis=others))


def _along(factors: NDArray[np.float64], rank: int, axis: int) -> NDArray[np.float64]:
    extent = [1] * rank
    extent[axis] = -1
    return factors.reshape(extent)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
