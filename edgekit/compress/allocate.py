"""Where the bits go: one grid step a layer, so that the whole model errs least at its size.

With D the Kullback-Leibler divergence of the outputs and f a layer's curvature (the mean of d2D/dw2
over its weights), rounding n weights to a grid of step s adds about n f s^2 / 24 to D, and costs
n (h - log2 s) bits with h the differential entropy of the weights. The sum of the first is least
for a given sum of the second where f s^2 is the same in all layers: s = g / sqrt(f), and the one
factor g is found by bisection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from edgekit.codec.trellis import DISTORTION
from edgekit.errors import PlanError
from edgekit.graph.layers import Codes

CODE_LIMIT = 127
"""Codes fit int8, so that the same integers run in an int8 session."""
FINEST, COARSEST = 0.0, 1e3
"""Factors: where every channel's codes reach their limit, and where every code is 0."""
FINE = 1e-4
"""The smallest factor that bits are spent on: finer grids of light networks err no less."""


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """What allocation needs to know of a layer.

    weights: (channels, inputs) float32, one row an output channel.
    curvature: mean second derivative of the output's divergence, positive.
    limit: codes stay within -limit..limit.
    has_paths: whether its codes may follow a trellis (edgekit.codec.trellis).
    """

    weights: NDArray[np.float32]
    curvature: float
    limit: int = CODE_LIMIT
    has_paths: bool = False


def channel_steps(layer: Layer, factor: float) -> NDArray[np.float32]:
    """The steps of a layer's channels at a factor g, (channels,) float32 that float16 holds.

    A channel whose largest weight would pass the limit gets the step that just holds it; this
    touches few channels and costs no bits.
    """
    # Rounding to float16 may shorten a step by 2^-11 of it; half a code is room enough.
    return _steps(layer, factor, layer.limit + 0.4)


def path_steps(layer: Layer, factor: float) -> NDArray[np.float32] | None:
    """Twice the steps of the grid that a trellis runs on: they take as many bits.

    None where the layer errs less without: its codes are half as large then, and hold larger
    weights; and filters whose weights are below a step gain nothing from paths, which larger
    filters lead through levels far from 0.
    """
    if not layer.has_paths or layer.limit < 3:
        return None
    # The nearest code of the half that the trellis allows may be one farther.
    doubled = _steps(layer, factor, (layer.limit - 1) / 2)
    spread = DISTORTION * np.mean(np.square(layer.weights, dtype=np.float64), axis=1)
    free = np.square(channel_steps(layer, factor), dtype=np.float64)
    error = DISTORTION * np.mean(np.square(doubled, dtype=np.float64))
    return doubled if error < np.mean(np.minimum(free, spread)) else None


def _steps(layer: Layer, factor: float, reach: float) -> NDArray[np.float32]:
    """The steps at a factor, or so long that `reach` of them hold a channel's largest weight."""
    step = factor / np.sqrt(layer.curvature)
    largest = np.abs(layer.weights).max(axis=1, initial=0.0)
    half = np.finfo(np.float16)
    steps = np.clip(np.maximum(step, largest / reach), half.smallest_subnormal, half.max)
    return np.asarray(steps.astype(np.float16), np.float32)


def round_to_grid(layer: Layer, steps: NDArray[np.float32]) -> NDArray[np.int8]:
    """Nearest codes, (channels, inputs) int8."""
    codes = np.rint(layer.weights / steps[:, None])
    return np.asarray(np.clip(codes, -layer.limit, layer.limit), np.int8)


def coded_bits(codes: Codes) -> float:
    """Bits that codes take: their zero-order entropy, all together, and a guess of their table."""
    counts = np.bincount(codes.view(np.uint8).ravel(), minlength=256)
    counts = counts[counts > 0]
    shares = counts / codes.size
    return float(-codes.size * np.sum(shares * np.log2(shares)) + 5 * counts.size)


def total_bits(layers: Sequence[Layer], factor: float) -> float:
    """Bits of entropy that the nearest codes of all layers take at a factor, tables included."""
    return sum(coded_bits(round_to_grid(layer, _spaced(layer, factor))) for layer in layers)


def _spaced(layer: Layer, factor: float) -> NDArray[np.float32]:
    """The steps of the levels that a code chooses among."""
    doubled = path_steps(layer, factor)
    return channel_steps(layer, factor) if doubled is None else doubled


def factor_for_bits(layers: Sequence[Layer], target_bits: float) -> float:
    """The factor g at which the codes of all layers take `target_bits` bits of entropy.

    Raises PlanError where even the coarsest grid takes more.
    """
    return bisect(partial(total_bits, layers), target_bits, name="bits")


def bisect(cost: Callable[[float], float], target: float, *, name: str) -> float:
    """The smallest factor, to 0.03 %, whose cost is at most `target`; the cost falls with it.

    Raises PlanError where no factor reaches the target.
    """
    fine, coarse = FINE, COARSEST
    lowest = cost(coarse)
    if lowest > target:
        raise PlanError(
            f"{target:,.0f} {name} can't be reached: the coarsest grid takes {lowest:,.0f}"
        )
    if cost(fine) <= target:
        return fine
    while coarse / fine > 1.0003:
        middle = float(np.sqrt(fine * coarse))
        if cost(middle) > target:
            fine = middle
        else:
            coarse = middle
    return coarse
