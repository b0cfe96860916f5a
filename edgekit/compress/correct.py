"""Bias correction: taking back the mean that rounding adds to a layer's outputs.

A layer with rounded weights W + E answers (W + E) x + b; the mean of E x over calibration inputs
is a constant that the bias can take back (Nagel et al., "Data-free quantization through weight
equalization and bias correction", 2019, section 4.2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgekit.graph.layers import Layer


def output_shift(
    layer: Layer,
    error: NDArray[np.float32],
    mean: NDArray[np.float64],
    shape: tuple[int, ...],
) -> NDArray[np.float64]:
    """The mean that an error of the filters adds to each output channel, (outputs,).

    error: (outputs, inputs of a filter), rounded minus original. mean: (channels,) of the layer's
    input. shape: of the weight. Borders, where padding takes the place of inputs, are left out of
    account.
    """
    if layer.op != "Conv":
        return np.asarray(error @ mean)
    channels = shape[1]
    by_channel = error.reshape(len(error), channels, -1).sum(axis=2, dtype=np.float64)
    if layer.groups == 1:
        return np.asarray(by_channel @ mean)
    group = np.arange(len(error)) // (len(error) // layer.groups)
    seen = mean.reshape(layer.groups, channels)[group]
    return np.asarray(np.sum(by_channel * seen, axis=1))
