"""Which layer broke: the answers of a compressed model with one layer at a time restored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.compress.answers import total_divergence
from edgekit.compress.calibrate import Probe
from edgekit.compress.keep import Keep
from edgekit.compress.samples import Data
from edgekit.graph import Graph, load_graph
from edgekit.graph.layers import find_layers
from edgekit.graph.walk import all_nodes
from edgekit.runtime.parity import Difference
from edgekit.runtime.side_by_side import Model
from edgekit.tensors import CodedTensor
from edgekit.top1 import accuracy, agreement

RESTORED = 10
"""Layers that are restored one by one on all inputs, those that matter most on a few."""
_SCREENED = 30

_WORTH = 0.1
"""A layer is worth keeping finer if it alone wins back this share of the divergence."""
_MOST_KEPT = 4
_LEVELS_OF_7_BITS = 128


@dataclass(frozen=True, slots=True)
class LayerBlame:
    """A layer, and what restoring its weights and bias alone would win back.

    name: of its weight. weight_snr, output_snr: signal-to-noise ratio in decibels of its weights
    and of what it puts out, the errors of earlier layers included; infinity where nothing differs,
    NaN where what it puts out can't be seen from outside, as in a branch. divergence: nats won
    back. agreement, accuracy: points won back; accuracy is None without labels. All three are
    None where the layer mattered too little on a few inputs.
    """

    name: str
    weight_snr: float
    output_snr: float
    divergence: float | None
    agreement: float | None
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class Blame:
    """Every layer that can be restored, in graph order.

    Those are the coded weights that have their name and shape in the original too; none is left
    of a layer that lost channels or was split. divergence: of the model as it is, in nats. inputs:
    measured on. keep: what `edgekit compress --keep` should be given; "" where no layer stands out
    that could be kept finer.
    """

    divergence: float
    inputs: int
    layers: tuple[LayerBlame, ...]
    keep: str


@dataclass(frozen=True, slots=True)
class _Part:
    """A weight and the bias that makes up for its rounding, and the name of what they put out."""

    weight: str
    bias: str | None
    output: str


def blame_layers(
    reference: Model,
    other: Model,
    inputs: Data,
    labels: NDArray[np.int64] | None,
    *,
    outputs: Sequence[Difference],
    coded: Mapping[str, CodedTensor],
) -> Blame:
    """Restore the layers that matter most one by one and measure.

    outputs: differences of what the nodes put out (side_by_side.layer_differences). coded: the
    tensors of `other` that have codes, by name. Raises DataError for inputs that don't fit.
    """
    graph = load_graph(other.proto.SerializeToString())
    source = load_graph(reference.proto.SerializeToString())
    # As they are stored: bfloat16 as patterns, which a session takes.
    there = {weight.name: weight.values for weight in source.weights}
    here = {weight.name: weight.values for weight in graph.weights}
    stored = {
        name: values
        for name, values in there.items()
        if name in here and (here[name].shape, here[name].dtype) == (values.shape, values.dtype)
    }
    layers = [part for part in _parts(graph, coded) if part.weight in stored]
    probe, original = Probe(graph, inputs), Probe(source, inputs)
    expected, found = original.answers(), probe.answers()
    count = sum(map(len, probe.batches(inputs)))
    truth = None if labels is None else labels[:count]
    base = total_divergence(expected, found)
    noise = {difference.name: difference.relative for difference in outputs}
    results = {}
    for number in _suspects(layers, probe, original, stored):
        answers = probe.answers(_restored(layers[number], stored))
        results[number] = (
            base - total_divergence(expected, answers),
            100 * (agreement(expected[0], answers[0]) - agreement(expected[0], found[0])),
            None
            if truth is None
            else 100 * (accuracy(answers[0], truth) - accuracy(found[0], truth)),
        )
    entries = tuple(
        LayerBlame(
            layer.weight,
            _ratio(reference.weights[layer.weight], other.weights[layer.weight]),
            _decibels(noise.get(layer.output, math.nan)),
            *results.get(number, (None, None, None)),
        )
        for number, layer in enumerate(layers)
    )
    axes = {weight.name: weight.axis for weight in graph.weights}
    wider: dict[str, Keep] = {
        name: "float" if _is_full(tensor, axes.get(name)) else 8 for name, tensor in coded.items()
    }
    return Blame(base, count, entries, _keep(entries, base, wider))


def _parts(graph: Graph, coded: Mapping[str, CodedTensor]) -> list[_Part]:
    """What calibration follows, and every other weight with codes, in the order of its use."""
    followed = {layer.weight: layer for layer in find_layers(graph)}
    # Integers are stored without loss.
    rounded = {name for name, tensor in coded.items() if tensor.scale is not None}
    found: dict[str, _Part] = {}
    for node in all_nodes(graph.empty_model().graph):
        for name in node.input:
            if name in found or name not in followed.keys() | rounded:
                continue
            layer = followed.get(name)
            output = next((value for value in node.output if value), "")
            found[name] = _Part(name, None if layer is None else layer.bias, output)
    return list(found.values())


def _suspects(
    layers: Sequence[_Part], probe: Probe, original: Probe, stored: Mapping[str, NDArray[Any]]
) -> list[int]:
    """Numbers of the layers that win back most on a few inputs, best first."""
    few = probe.inputs[: max(_SCREENED, len(next(probe.batches(probe.inputs))))]
    expected = original.answers(inputs=few)
    left = [
        total_divergence(expected, probe.answers(_restored(layer, stored), few)) for layer in layers
    ]
    return sorted(range(len(layers)), key=left.__getitem__)[:RESTORED]


def _restored(layer: _Part, stored: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    names = (layer.weight, layer.bias)
    return {name: stored[name] for name in names if name is not None and name in stored}


def _is_full(tensor: CodedTensor, axis: int | None) -> bool:
    """Whether 8 bits a code would bring nothing: most channels use the last of them already.

    axis: along which channels lie, None for one channel. A few channels of a coarse grid may reach
    its end, too.
    """
    if tensor.codebook is not None:
        return tensor.codebook.size > _LEVELS_OF_7_BITS
    others = tuple(other for other in range(tensor.codes.ndim) if other != axis)
    largest = np.abs(tensor.codes.astype(np.int16)).max(axis=others)
    used = largest[largest > 0]
    return bool(used.size and np.median(used) >= _LEVELS_OF_7_BITS // 2)


def _keep(layers: Sequence[LayerBlame], base: float, wider: Mapping[str, Keep]) -> str:
    """The layers that win back most, best first, as an argument of --keep.

    wider: what each layer can be kept at. One without codes isn't there, and can't be kept finer.
    """
    worth = [
        layer
        for layer in layers
        if layer.divergence is not None and base > 0 and layer.divergence >= _WORTH * base
        if layer.name in wider
    ]
    chosen = sorted(worth, key=lambda layer: -(layer.divergence or 0.0))[:_MOST_KEPT]
    return ",".join(f"{layer.name.removesuffix('.weight')}:{wider[layer.name]}" for layer in chosen)


def _ratio(wanted: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    power = float(np.mean(np.square(wanted, dtype=np.float64)))
    noise = float(np.mean(np.square(wanted.astype(np.float64) - found)))
    return math.inf if noise == 0 else _decibels(math.sqrt(noise / power) if power else math.inf)


def _decibels(relative: float) -> float:
    """A signal-to-noise ratio from the root mean square of the error over the signal's."""
    if relative == 0:
        return math.inf
    if math.isnan(relative):
        return math.nan
    return -20 * math.log10(relative) if math.isfinite(relative) else -math.inf
