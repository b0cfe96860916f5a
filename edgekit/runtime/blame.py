"""Which layer broke: the answers of a compressed model with one layer at a time restored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekit.compress.answers import total_divergence
from edgekit.compress.calibrate import Probe
from edgekit.graph import load_graph
from edgekit.graph.layers import Layer, find_layers
from edgekit.runtime.parity import Difference
from edgekit.runtime.side_by_side import Model
from edgekit.top1 import accuracy, agreement

RESTORED = 10
"""Layers that are restored one by one on all inputs, those that matter most on a few."""
_SCREENED = 30

_WORTH = 0.1
"""A layer is worth keeping finer if it alone wins back this share of the divergence."""
_MOST_KEPT = 4


@dataclass(frozen=True, slots=True)
class LayerBlame:
    """A layer, and what restoring its weights and bias alone would win back.

    weight_snr, output_snr: signal-to-noise ratio in decibels of its weights and of what it puts
    out, the errors of earlier layers included; infinity where nothing differs. divergence: nats
    won back. agreement, accuracy: points won back; accuracy is None without labels. All three are
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
    """Every layer in graph order. divergence: of the model as it is, in nats. inputs: measured on.

    keep: what `edgekit compress --keep` should be given; "" where no layer stands out.
    """

    divergence: float
    inputs: int
    layers: tuple[LayerBlame, ...]
    keep: str


def blame_layers(
    reference: Model,
    other: Model,
    inputs: NDArray[np.float32],
    labels: NDArray[np.int64] | None,
    outputs: Sequence[Difference],
) -> Blame:
    """Restore the layers that matter most one by one and measure.

    outputs: differences of what the nodes put out (side_by_side.layer_differences). Raises
    DataError for a model with several inputs.
    """
    graph = load_graph(other.proto.SerializeToString())
    # A layer that lost channels or was split has nothing to be restored from.
    layers = [
        layer
        for layer in find_layers(graph)
        if layer.weight in reference.weights
        and reference.weights[layer.weight].shape == other.weights[layer.weight].shape
    ]
    probe = Probe(graph, inputs)
    original = Probe(load_graph(reference.proto.SerializeToString()), inputs)
    expected, found = original.answers(), probe.answers()
    count = sum(map(len, probe.batches(inputs)))
    truth = None if labels is None else labels[:count]
    base = total_divergence(expected, found)
    noise = {difference.name: difference.relative for difference in outputs}
    results = {}
    for number in _suspects(layers, probe, original, reference):
        answers = probe.answers(_restored(layers[number], reference.weights))
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
            _decibels(noise.get(layer.output, 0.0)),
            *results.get(number, (None, None, None)),
        )
        for number, layer in enumerate(layers)
    )
    return Blame(base, count, entries, _keep(entries, base))


def _suspects(
    layers: Sequence[Layer], probe: Probe, original: Probe, reference: Model
) -> list[int]:
    """Numbers of the layers that win back most on a few inputs, best first."""
    few = probe.inputs[: max(_SCREENED, len(probe.batches(probe.inputs)[0]))]
    expected = original.answers(inputs=few)
    left = [
        total_divergence(expected, probe.answers(_restored(layer, reference.weights), few))
        for layer in layers
    ]
    return sorted(range(len(layers)), key=left.__getitem__)[:RESTORED]


def _restored(
    layer: Layer, weights: Mapping[str, NDArray[np.float32]]
) -> dict[str, NDArray[np.float32]]:
    names = [layer.weight, *([layer.bias] if layer.bias in weights else [])]
    return {name: weights[name] for name in names if name is not None}


def _keep(layers: Sequence[LayerBlame], base: float) -> str:
    """The layers that win back most, best first, as an argument of --keep."""
    worth = [
        layer
        for layer in layers
        if layer.divergence is not None and base > 0 and layer.divergence >= _WORTH * base
    ]
    chosen = sorted(worth, key=lambda layer: -(layer.divergence or 0.0))[:_MOST_KEPT]
    return ",".join(f"{layer.name.removesuffix('.weight')}:8" for layer in chosen)


def _ratio(wanted: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    power = float(np.mean(np.square(wanted, dtype=np.float64)))
    noise = float(np.mean(np.square(wanted.astype(np.float64) - found)))
    return math.inf if noise == 0 else _decibels(math.sqrt(noise / power) if power else math.inf)


def _decibels(relative: float) -> float:
    """A signal-to-noise ratio from the root mean square of the error over the signal's."""
    if relative == 0:
        return math.inf
    return -20 * math.log10(relative) if math.isfinite(relative) else -math.inf
