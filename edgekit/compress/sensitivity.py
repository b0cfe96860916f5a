"""How much each layer's rounding hurts: a curvature measured by rounding that layer alone.

No gradients are needed, so any ONNX graph can be measured. The error is taken with the bias
already corrected, because that is how the layer will be used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit.compress.answers import total_divergence
from edgekit.compress.calibrate import Probe
from edgekit.compress.correct import output_shift
from edgekit.compress.layer_statistics import LayerStatistics
from edgekit.graph.layers import Layer

_LOW, _HIGH = 0.003, 0.03
"""Divergence in nats that a probing error should cause: above the noise, below saturation."""

_MAX_PROBES = 8


def curvatures(
    probe: Probe,
    layers: Sequence[Layer],
    numbers: Mapping[str, NDArray[np.float32]],
    statistics: Mapping[str, LayerStatistics],
    inputs: NDArray[np.float32],
) -> dict[str, float]:
    """The mean second derivative of the outputs' divergence for each layer's weights.

    numbers: the original weights and biases by name. inputs: the calibration inputs to measure
    on; a few dozen are enough. Returns one positive number a weight name.
    """
    reference = probe.answers(inputs=inputs)
    found = {}
    for layer in layers:
        weight = numbers[layer.weight]
        filters = layer.filters(weight)
        step = float(filters.std()) / 2 or 1.0
        curvature = 0.0
        for _ in range(_MAX_PROBES):
            rounded = np.rint(filters / step) * np.float32(step)
            error = (rounded - filters).astype(np.float32)
            squared = float(np.sum(np.square(error, dtype=np.float64)))
            if squared == 0:
                # All weights lie on this grid already; a coarser one will move them.
                step *= 1.7
                continue
            changed = {layer.weight: _in_shape(layer, rounded, weight)}
            if layer.bias is not None:
                mean = statistics[layer.weight].mean
                shift = output_shift(layer, error, mean, weight.shape)
                bias = numbers[layer.bias]
                changed[layer.bias] = (bias - shift.reshape(bias.shape)).astype(bias.dtype)
            hurt = max(total_divergence(reference, probe.answers(changed, inputs)), 1e-12)
            curvature = 2 * hurt / squared
            if _LOW <= hurt <= _HIGH:
                break
            step *= float(np.clip(np.sqrt(0.01 / hurt), 0.1, 10.0))
        found[layer.weight] = curvature
    return _positive(found)


def _in_shape(
    layer: Layer, filters: NDArray[np.float32], weight: NDArray[np.float32]
) -> NDArray[np.float32]:
    stored = filters.T if layer.inputs_first else filters
    return np.ascontiguousarray(stored, weight.dtype).reshape(weight.shape)


def _positive(found: dict[str, float]) -> dict[str, float]:
    """A layer that nothing depends on gets a hundredth of the smallest curvature that was seen."""
    seen = [value for value in found.values() if value > 0]
    floor = min(seen) / 100 if seen else 1.0
    return {name: max(value, floor) for name, value in found.items()}
