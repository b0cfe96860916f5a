"""How much each layer's rounding hurts: a curvature measured by rounding that layer alone.

No gradients are needed, so any ONNX graph can be measured. The error is taken with the bias
already corrected, because that is how the layer will be used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit.compress.calibrate import LayerStatistics, Probe
from edgekit.compress.correct import output_shift
from edgekit.graph.layers import Layer

_LOW, _HIGH = 0.003, 0.03
"""Divergence in nats that a probing error should cause: above the noise, below saturation."""

_MAX_PROBES = 8


def divergence(reference: NDArray[np.float32], outputs: NDArray[np.float32]) -> float:
    """How far outputs are from the reference, in nats, averaged over the inputs.

    For scores of classes, (N, k) with k > 1, the Kullback-Leibler divergence of their softmax;
    rows that are probabilities already are taken as they are. For other outputs half the squared
    error in units of the reference's variance, which is the divergence of two normal
    distributions of that variance.
    """
    if reference.ndim == 2 and reference.shape[1] > 1:
        expected, found = _log_probabilities(reference), _log_probabilities(outputs)
        return float(np.mean(np.sum(np.exp(expected) * (expected - found), axis=1)))
    wide, other = reference.astype(np.float64), outputs.astype(np.float64)
    variance = max(float(wide.var()), np.finfo(np.float64).tiny)
    return float(np.mean((wide - other) ** 2) / (2 * variance))


def _log_probabilities(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = scores.astype(np.float64)
    if wide.min() >= 0 and np.allclose(wide.sum(axis=1), 1, atol=1e-3):
        return np.log(np.maximum(wide, 1e-12))
    shifted = wide - wide.max(axis=1, keepdims=True)
    logs: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logs


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
    reference = probe.outputs(inputs=inputs)
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
            hurt = max(divergence(reference, probe.outputs(changed, inputs)), 1e-12)
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
