"""Pruning: which weights go, by exact count, ranked by magnitude or by what they matter.

Han et al., "Learning both weights and connections" (2015), section 3: the smallest magnitudes go.
One threshold over all layers together (global), or one a layer. No array is sorted: magnitudes are
non-negative, so their float32 bit patterns order as they do, and two histograms of 16 bits each
find the exact threshold in one pass each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import PlanError

_BLOCK = 1 << 20
"""Elements looked at together; bounds the memory of the passes."""

_MAGNITUDE = np.uint32(0x7FFFFFFF)
_HALF = np.uint32(16)
_LOW = np.uint32(0xFFFF)


def check_sparsity(sparsity: float) -> None:
    """Raise PlanError unless 0 <= sparsity < 1."""
    if not 0 <= sparsity < 1:
        raise PlanError(
            f"sparsity must be at least 0 and below 1, got {sparsity:g}; 0.5 prunes half the "
            "weights"
        )


def layer_counts(weights: Sequence[NDArray[np.float32]], sparsity: float) -> list[int]:
    """How many weights each layer loses, each layer the same share. Raises PlanError."""
    check_sparsity(sparsity)
    return [round(sparsity * array.size) for array in weights]


def global_counts(weights: Sequence[NDArray[np.float32]], sparsity: float) -> list[int]:
    """How many weights each layer loses when the smallest of all layers go.

    The counts add up to round(sparsity * all weights). Among equal magnitudes at the threshold,
    those of earlier layers go first. Raises PlanError.
    """
    check_sparsity(sparsity)
    total = sum(array.size for array in weights)
    count = round(sparsity * total)
    threshold = _threshold(weights, count)
    below = [_count(array, lambda bits: bits < threshold) for array in weights]
    equal = [_count(array, lambda bits: bits == threshold) for array in weights]
    remaining = count - sum(below)
    counts = []
    for smaller, ties in zip(below, equal, strict=True):
        taken = min(ties, remaining)
        remaining -= taken
        counts.append(smaller + taken)
    return counts


def smallest(weights: NDArray[np.float32], count: int) -> NDArray[np.bool_]:
    """True at the `count` smallest magnitudes; among equal ones, those that come first in C order.

    Returns the weights' shape.
    """
    threshold = _threshold([weights], count)
    bits = _magnitudes(weights.reshape(-1))
    mask = bits < threshold
    missing = count - int(np.count_nonzero(mask))
    if missing:
        mask[np.flatnonzero(bits == threshold)[:missing]] = True
    return mask.reshape(weights.shape)


def least_important(
    filters: Mapping[str, NDArray[np.float32]], curvatures: Mapping[str, float], sparsity: float
) -> dict[str, NDArray[np.bool_]]:
    """Masks of the weights that stay when those of least sqrt(curvature) * |weight| go.

    filters, curvatures: of each layer, by name. Raises PlanError.
    """
    scores = [value * np.float32(np.sqrt(curvatures[name])) for name, value in filters.items()]
    counts = global_counts(scores, sparsity)
    return {
        name: (score != 0) & ~smallest(score, count)
        for name, score, count in zip(filters, scores, counts, strict=True)
    }


def zeros_kept(filters: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.bool_]]:
    """Masks of the weights that aren't zero, for layers that have zeros: somebody pruned them."""
    masks = {name: value != 0 for name, value in filters.items()}
    return {name: mask for name, mask in masks.items() if not mask.all()}


def _threshold(weights: Sequence[NDArray[np.float32]], count: int) -> np.uint32:
    """Bit pattern of the count-th smallest magnitude; 0 for count 0."""
    if count == 0:
        return np.uint32(0)
    high, before = _rank(weights, count, lambda bits: bits >> _HALF)
    low, _ = _rank(weights, count - before, lambda bits: bits[bits >> _HALF == high] & _LOW)
    return np.uint32(high << 16 | low)


def _rank(
    weights: Sequence[NDArray[np.float32]],
    rank: int,
    key: Callable[[NDArray[np.uint32]], NDArray[np.uint32]],
) -> tuple[int, int]:
    """The smallest 16-bit key that `rank` elements don't pass, and how many are below it."""
    histogram = np.zeros(1 << 16, np.int64)
    for array in weights:
        for bits in _blocks(array):
            histogram += np.bincount(key(bits), minlength=1 << 16)
    passed = np.cumsum(histogram)
    found = int(np.searchsorted(passed, rank))
    return found, int(passed[found] - histogram[found])


def _count(
    array: NDArray[np.float32], condition: Callable[[NDArray[np.uint32]], NDArray[Any]]
) -> int:
    return sum(int(np.count_nonzero(condition(bits))) for bits in _blocks(array))


def _blocks(array: NDArray[np.float32]) -> Iterator[NDArray[np.uint32]]:
    flat = array.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        yield _magnitudes(flat[start : start + _BLOCK])


def _magnitudes(flat: NDArray[np.float32]) -> NDArray[np.uint32]:
    return np.asarray(flat.view(np.uint32) & _MAGNITUDE)
