"""What the layers of a model see over the calibration inputs: means, Hessians, patches.

Where inputs are few, noise's Hessians and the weights' own products are blended in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgekit.compress.calibrate import Probe
from edgekit.compress.samples import Data
from edgekit.compress.views import Views
from edgekit.graph import Weight
from edgekit.graph.layers import Layer

_Hessian = NDArray[np.float64] | None

_POSITIONS = 96
"""Patches taken from one input of a convolution: neighbouring ones say the same again."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerStatistics:
    """What a layer sees over the calibration inputs.

    mean: (channels,) float64, the mean of each input channel over inputs and positions.
    hessian: (inputs, inputs) float64, the sum of x x^T over sampled patches; (groups, inputs,
        inputs) for a convolution in groups, each of which sees channels of its own; None where
        the layer has no patches.
    samples: how many patches of the inputs; what is blended in isn't counted. elements: numbers
        that flow into the layer for one input. inputs: how many inputs were seen.
    """

    mean: NDArray[np.float64]
    hessian: _Hessian
    samples: int = 0
    elements: int = 0
    inputs: int = 0


def layer_statistics(
    probe: Probe,
    layers: Sequence[Layer],
    shapes: Mapping[str, tuple[int, ...]],
    rng: np.random.Generator,
    inputs: Data | Views | None = None,
) -> dict[str, LayerStatistics]:
    """Statistics of all layers by weight name, gathered batch by batch in one pass.

    shapes: of the weights, by name. rng: chooses the positions that patches are taken from.
    inputs: in place of the probe's own.
    """
    means: dict[str, NDArray[np.float64]] = {}
    hessians: dict[str, NDArray[np.float64]] = {}
    samples: dict[str, int] = {}
    elements: dict[str, int] = {}
    seen = 0
    for values in probe.values([layer.source for layer in layers], inputs=inputs):
        count = len(values[probe.input_name])
        seen += count
        for layer in layers:
            source = np.asarray(values[layer.source], np.float32)
            elements[layer.weight] = source.size // count
            # Positions may be folded into the first axis, so its length isn't the inputs'.
            sums = channel_means(layer, source).sum(axis=0, dtype=np.float64)
            sums *= count / len(source)
            means[layer.weight] = means.get(layer.weight, np.zeros_like(sums)) + sums
            rows = group_patches(layer, source, shapes[layer.weight], rng)
            if rows is not None:
                samples[layer.weight] = samples.get(layer.weight, 0) + rows.shape[-2]
                product = np.asarray(rows.swapaxes(-1, -2) @ rows, np.float64)
                previous = hessians.get(layer.weight)
                hessians[layer.weight] = product if previous is None else previous + product
        # They would be held until those of the next batch are there.
        values.clear()
    return {
        layer.weight: LayerStatistics(
            mean=means[layer.weight] / seen,
            hessian=hessians.get(layer.weight),
            samples=samples.get(layer.weight, 0),
            elements=elements[layer.weight],
            inputs=seen,
        )
        for layer in layers
    }


def joined(
    first: Mapping[str, LayerStatistics], second: Mapping[str, LayerStatistics]
) -> dict[str, LayerStatistics]:
    """Statistics of the inputs of both together."""
    return {name: _joined(found, second[name]) for name, found in first.items()}


def add_hessians(
    found: Mapping[str, LayerStatistics], further: Mapping[str, LayerStatistics]
) -> dict[str, LayerStatistics]:
    """`found` with what further inputs tell of how inputs vary; means stay."""
    return {
        name: replace(both, mean=found[name].mean, inputs=found[name].inputs)
        for name, both in joined(found, further).items()
    }


def _joined(first: LayerStatistics, second: LayerStatistics) -> LayerStatistics:
    inputs = first.inputs + second.inputs
    mean = (first.inputs * first.mean + second.inputs * second.mean) / inputs
    hessian: _Hessian = None
    if first.hessian is not None and second.hessian is not None:
        hessian = first.hessian + second.hessian
    samples = first.samples + second.samples
    return LayerStatistics(mean, hessian, samples, first.elements, inputs)


def blend_hessians(
    found: Mapping[str, LayerStatistics], other: Mapping[str, LayerStatistics], share: float
) -> dict[str, LayerStatistics]:
    """`found` with a share of the other Hessians in its own; means stay.

    share: of the other in the blend, 0 to 1, both taken at the same mean diagonal.
    """
    return {
        name: replace(own, hessian=_blended(own.hessian, other[name].hessian, share))
        for name, own in found.items()
    }


def weight_products(
    layers: Sequence[Layer], weights: Mapping[str, Weight]
) -> dict[str, NDArray[np.float64]]:
    """W^T W (inputs, inputs) by weight name, of the layers that mix all channels.

    Trained filters are sums of the inputs that they saw, so that they lie along the directions in
    which inputs vary: W^T W is like X^T X. Those of a classifier come to lie along the means of its
    classes (Papyan et al., 2020, neural collapse, NC3).
    """
    products = {}
    for layer in layers:
        if layer.mixes_channels:
            filters = np.asarray(weights[layer.weight].filters(), np.float64)
            products[layer.weight] = filters.T @ filters
    return products


def blend_weights(
    found: Mapping[str, LayerStatistics], products: Mapping[str, NDArray[np.float64]]
) -> dict[str, LayerStatistics]:
    """`found` with the weights' own products in its Hessians, as `as_samples` weighs them."""
    blended = dict(found)
    for name, product in products.items():
        own = found[name]
        if own.hessian is not None:
            hessian = own.hessian + as_samples(product, own.hessian, own.samples)
            blended[name] = replace(own, hessian=hessian)
    return blended


def as_samples(
    product: NDArray[np.float64], hessian: NDArray[np.float64], samples: int
) -> NDArray[np.float64]:
    """The weights' own product as one sample for each input of a filter.

    That is much in a classifier, which sees one a picture, and little in most convolutions.
    hessian: the sum over `samples` samples, whose mean square those of the weights take. Zeros
    where either is zero.
    """
    size, others = np.trace(hessian), np.trace(product)
    if not (size > 0 and others > 0):
        return np.zeros_like(product)
    return np.asarray(len(product) / samples * (size / others) * product)


def _blended(own: _Hessian, other: _Hessian, share: float) -> _Hessian:
    if own is None or other is None:
        return own
    size, others = (np.trace(part, axis1=-2, axis2=-1).sum() for part in (own, other))
    if not (size > 0 and others > 0):
        return own
    return np.asarray((1 - share) * own + share * (size / others) * other)


def channel_means(layer: Layer, source: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of each channel of each input: (N, channels)."""
    if layer.op == "Conv":
        means = np.mean(source.reshape(*source.shape[:2], -1), axis=2)
    else:
        means = np.mean(source.reshape(len(source), -1, source.shape[-1]), axis=1)
    return np.asarray(means, np.float32)


def patches(
    layer: Layer,
    source: NDArray[np.float32],
    shape: tuple[int, ...],
    rng: np.random.Generator,
) -> NDArray[np.float32] | None:
    """Sampled input patches (samples, inputs of a filter) in the order of `Layer.filters`.

    None where they can't be cut, and for a convolution in groups, whose filters see several.
    """
    return group_patches(layer, source, shape, rng) if layer.mixes_channels else None


def group_patches(
    layer: Layer,
    source: NDArray[np.float32],
    shape: tuple[int, ...],
    rng: np.random.Generator,
) -> NDArray[np.float32] | None:
    """The same as `patches`, and (groups, samples, inputs of a filter) in groups."""
    if layer.op != "Conv":
        rows = source.reshape(-1, source.shape[-1])
        limit = _POSITIONS * len(source)
        if len(rows) > limit:
            rows = rows[rng.choice(len(rows), limit, replace=False)]
        return rows
    if layer.strides is None:
        return None
    top, left, bottom, right = layer.pads
    padded = np.pad(source, ((0, 0), (0, 0), (top, bottom), (left, right)))
    reach = [(size - 1) * step + 1 for size, step in zip(shape[2:], layer.dilations, strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, (2, 3))
    windows = windows[
        :, :, :: layer.strides[0], :: layer.strides[1], :: layer.dilations[0], :: layer.dilations[1]
    ]
    height, width = windows.shape[2:4]
    chosen = rng.choice(height * width, min(_POSITIONS, height * width), replace=False)
    # (N, groups * C, positions, kh, kw) -> (groups, N * positions, C * kh * kw)
    taken = windows[:, :, chosen // width, chosen % width]
    taken = taken.reshape(len(source), layer.groups, shape[1], len(chosen), *shape[2:])
    grouped = taken.transpose(1, 0, 3, 2, 4, 5).reshape(layer.groups, -1, math.prod(shape[1:]))
    return grouped[0] if layer.mixes_channels else grouped
