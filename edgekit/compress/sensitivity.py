"""How much each weight tensor's rounding hurts: a curvature measured by rounding it alone.

No gradients are needed, so any weight of any ONNX graph can be measured. The error of a layer that
is followed is taken with the bias already corrected, because that is how it will be used.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from edgekit.compress.answers import total_divergence
from edgekit.compress.answers_behind import Answering, answers_behind
from edgekit.compress.calibrate import Probe
from edgekit.compress.correct import output_shift
from edgekit.compress.layer_statistics import LayerStatistics
from edgekit.compress.samples import Data
from edgekit.compress.stages import held_from
from edgekit.graph import Weight
from edgekit.graph.layers import Layer

_LOW, _HIGH = 0.003, 0.03
"""Divergence in nats that a probing error should cause: above the noise, below saturation."""

_MAX_PROBES = 8
_HELD_BYTES = 160 * 2**20
"""Of what one layer sees of all inputs."""
_NOTHING = 1e-12
"""Nats that no answer tells from none."""


@dataclass(frozen=True, slots=True, eq=False)
class Sensitivity:
    """How much weights matter.

    curvatures: the mean second derivative of the outputs' divergence for each tensor's weights, a
    positive number by name. unseen: tensors that no answer to the inputs depended on, such as those
    of a branch that wasn't taken.
    """

    curvatures: Mapping[str, float]
    unseen: tuple[str, ...] = ()


def measure_sensitivity(
    probe: Probe,
    weights: Mapping[str, Weight],
    layers: Sequence[Layer],
    statistics: Mapping[str, LayerStatistics],
    inputs: Data,
    *,
    plain: Collection[str] = (),
) -> Sensitivity:
    """Round the weights of layers, and others, one tensor at a time.

    weights: all tensors by name. statistics: of the layers. inputs: the calibration inputs to
    measure on; a few dozen are enough. plain: names of weights that belong to no followed layer;
    one of these that is unseen counts like the mean of all that were seen, relative to its size.
    """
    reference = probe.answers(inputs=inputs)
    found: dict[str, float] = {}
    seen = []

    def measure(name: str, answering: Answering, layer: Layer | None = None) -> None:
        weight = weights[name]
        filters = weight.filters()
        step = float(filters.std()) / 2 or 1.0
        curvature = hurt = 0.0
        for _ in range(_MAX_PROBES):
            rounded = np.rint(filters / step) * np.float32(step)
            error = (rounded - filters).astype(np.float32)
            squared = float(np.sum(np.square(error, dtype=np.float64)))
            if squared == 0:
                # All weights lie on this grid already; a coarser one will move them.
                step *= 1.7
                continue
            changed = {name: weight.cast(weight.unfiltered(rounded))}
            if layer is not None and layer.bias is not None:
                bias = weights[layer.bias]
                shift = output_shift(layer, error, statistics[name].mean, weight.shape)
                changed[layer.bias] = bias.cast(bias.float32() - shift.reshape(bias.shape))
            hurt = max(total_divergence(reference, answering(changed)), _NOTHING)
            curvature = 2 * hurt / squared
            if _LOW <= hurt <= _HIGH:
                break
            step *= float(np.clip(np.sqrt(0.01 / hurt), 0.1, 10.0))
        found[name] = curvature
        if hurt > _NOTHING:
            seen.append(name)

    sizes = [4 * statistics[layer.weight].elements for layer in layers]
    first = held_from(sizes, len(inputs), _HELD_BYTES)
    for layer, answering in answers_behind(probe, layers, inputs, first):
        measure(layer.weight, answering, layer)
    for name in plain:
        measure(name, partial(probe.answers, inputs=inputs))
    unseen = tuple(name for name in plain if name not in seen)
    if unseen:
        squares = {name: float(np.mean(np.square(weights[name].float32()))) for name in found}
        # A curvature times the mean square of the weights is one for their relative size.
        logs = [np.log(found[name] * squares[name]) for name in seen]
        mean = float(np.exp(np.mean(logs))) if logs else 1.0
        found |= {name: mean / squares[name] for name in unseen}
    return Sensitivity(_positive(found), unseen)


def _positive(found: dict[str, float]) -> dict[str, float]:
    """A layer that nothing depends on gets a hundredth of the smallest curvature that was seen."""
    seen = [value for value in found.values() if value > 0]
    floor = min(seen) / 100 if seen else 1.0
    return {name: max(value, floor) for name, value in found.items()}
