"""A uniform symmetric grid: one step a channel, codes within +-(2^(bits-1) - 1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import PlanError

MIN_BITS, MAX_BITS = 2, 8
_SHOWN = 60
"""Characters of a wrong value in an error."""

_HARMLESS = 2.0**-10
"""Steps are rounded to float16 where this changes none of them, or the coarsest one, by more than
this share: a 250th of the error that the grid makes anyway."""


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Weights on a grid.

    codes: int8 in the weights' shape. scale: () or (channels,) float32, positive and finite.
    """

    codes: NDArray[np.int8]
    scale: NDArray[np.float32]


def check_bits(bits: int) -> None:
    """Raise PlanError unless bits is from 2 to 8."""
    if not MIN_BITS <= bits <= MAX_BITS:
        raise PlanError(f"bits must be from {MIN_BITS} to {MAX_BITS}, got {str(bits)[:_SHOWN]}")


def code_limit(bits: int) -> int:
    """The largest code of a grid of `bits` bits: 127 for 8, 1 for 2."""
    return int(2 ** (bits - 1)) - 1


def quantize_uniform(weights: NDArray[np.float32], bits: int, axis: int | None) -> Grid:
    """Round weights to the grid that reaches the largest magnitude of each channel.

    weights: finite, of any shape. axis: the channel's dimension, or None for one step for all.

    The error of a weight is at most half its channel's step. Steps are float16 numbers where that
    is harmless. Raises PlanError unless bits is from 2 to 8.
    """
    check_bits(bits)
    limit = code_limit(bits)
    scale = _storable(_peaks(weights, axis) / np.float32(limit))
    extent = [1] * weights.ndim
    if axis is not None:
        extent[axis] = -1
    # One array for quotient, rounded quotient and clipped codes: layers may be large.
    work = weights / scale.reshape(extent)
    np.rint(work, out=work)
    # A step rounded down to float16 puts the largest weight a little above the limit.
    np.clip(work, -limit, limit, out=work)
    codes = work.astype(np.int8)
    if scale.size and np.all(scale == scale.flat[0]):
        scale = np.asarray(scale.flat[0])
    return Grid(codes, scale)


def _peaks(weights: NDArray[np.float32], axis: int | None) -> NDArray[np.float32]:
    """Largest magnitude of each channel, or of all weights: () or (channels,)."""
    others = None if axis is None else tuple(i for i in range(weights.ndim) if i != axis)
    highest = np.max(weights, axis=others, initial=0.0)
    lowest = np.min(weights, axis=others, initial=0.0)
    return np.asarray(np.maximum(highest, -lowest), np.float32)


def _storable(scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """Positive steps from exact ones: float16 numbers where harmless.

    A channel of zeros gets the coarsest step of the tensor. A step too small for float16's
    precision is rounded up, never down, so that no weight falls off the grid.
    """
    scale = np.asarray(scale, np.float32)
    coarsest = scale.max(initial=0.0)
    if coarsest == 0:
        return np.ones_like(scale)
    # Steps below float32's normal numbers would make quotients overflow.
    smallest = np.finfo(np.float32).tiny
    exact = np.where(scale == 0, coarsest, np.maximum(scale, smallest)).astype(np.float32)
    with np.errstate(over="ignore", under="ignore"):
        half = exact.astype(np.float16)
        low = half.astype(np.float32) < exact * np.float32(1 - 2.0**-11)
        half = np.where(low, np.nextafter(half, np.float16(np.inf)), half)
    rounded = half.astype(np.float32)
    change = np.abs(rounded - exact)
    harmless = (change <= _HARMLESS * exact) | (rounded <= _HARMLESS * coarsest)
    return rounded if bool(np.all(harmless)) else exact
