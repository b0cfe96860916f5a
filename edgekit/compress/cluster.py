"""Weight sharing: a codebook of at most 2^bits values, found by k-means in one dimension.

Han et al., "Deep Compression" (2016), section 3: centroids start evenly spread over the range of
the weights (linear initialisation, section 3.2; its other two are there to be compared) and follow
Lloyd's algorithm. In one dimension the
clusters of sorted weights are runs, so after sorting once an iteration needs the sums of 2^bits
runs, and no distances. Weights may count unequally, as Hessian-weighted k-means does (Choi et al.,
"Towards the limit of network quantization", 2017, section 3.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgekit.compress.quantize import check_bits

Start = Literal["linear", "density", "random"]
"""Where centroids start: evenly over the range of the weights, evenly over their number, or at
weights drawn at random (section 3.2)."""

MAX_ITERATIONS = 300
"""Lloyd's algorithm stops sooner on almost every layer; later gains are in the fifth digit."""

_BLOCK = 1 << 20
_HARMLESS = 2.0**-11


@dataclass(frozen=True, slots=True, eq=False)
class Codebook:
    """Weights as indices into a list of values.

    codes: uint8 in the weights' shape. values: (k,) float32; with pruning, values[0] is 0 and
    code 0 means pruned; the others rise.
    """

    codes: NDArray[np.uint8]
    values: NDArray[np.float32]


def cluster(
    weights: NDArray[np.float32],
    bits: int,
    pruned: NDArray[np.bool_] | None = None,
    *,
    importance: NDArray[np.float32] | None = None,
    start: Start = "linear",
    rng: np.random.Generator | None = None,
) -> Codebook:
    """Share at most 2^bits values among the weights, by k-means.

    weights: finite, at least one. pruned: True where a weight has been pruned; these get code 0,
    value 0, and take one of the values. importance: in the weights' shape, what each one's squared
    error counts, finite and not negative; all count alike without it. start: of the centroids.
    rng: for a random start.

    Weights with no more different values than the codebook holds are kept exactly. Values are
    float16 numbers where that is harmless. Raises PlanError unless bits is from 2 to 8.
    """
    check_bits(bits)
    flat = weights.reshape(-1)
    survivors = flat if pruned is None else flat[~pruned.reshape(-1)]
    size = 2**bits - (pruned is not None)
    counts = None
    if importance is None:
        ordered = np.sort(survivors)
    else:
        counts = importance.reshape(-1)
        counts = counts if pruned is None else counts[~pruned.reshape(-1)]
        order = np.argsort(survivors, kind="stable")
        ordered, counts = survivors[order], counts[order]
    values = _distinct(ordered, size)
    if values is None:
        first = _started(ordered, size, start, rng)
        values = storable(lloyd(ordered, first, importance=counts))
    codes = nearest_codes(flat, values)
    if pruned is not None:
        values = np.concatenate([np.zeros(1, np.float32), values])
        codes += 1
        codes[pruned.reshape(-1)] = 0
    return Codebook(codes.reshape(weights.shape), values)


def lloyd(
    ordered: NDArray[np.float32],
    centroids: NDArray[np.float32],
    max_iterations: int = MAX_ITERATIONS,
    *,
    importance: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Move sorted centroids to the means of their clusters until no weight changes cluster.

    ordered: (n,) sorted weights. centroids: (k,) sorted. importance: (n,) what each weight's
    squared error counts. A cluster without weights that count keeps its centroid. The squared
    error, so counted, never rises from one iteration to the next.
    """
    sums = _RunSums(ordered, importance)
    masses = None if importance is None else _RunSums(importance)
    moved = centroids.astype(np.float64)
    previous: NDArray[np.int64] | None = None
    for _ in range(max_iterations):
        borders = _borders(ordered, moved)
        if previous is not None and np.array_equal(borders, previous):
            break
        previous = borders
        counts = np.diff(borders)
        totals = np.diff(sums.up_to(borders))
        filled = counts > 0
        if masses is not None:
            counts = np.diff(masses.up_to(borders))
            filled &= counts > 0
        moved[filled] = totals[filled] / counts[filled]
        if masses is not None:
            # Where hardly any mass is left, the difference of two sums is rounding.
            lowest, highest = ordered[borders[:-1][filled]], ordered[borders[1:][filled] - 1]
            moved[filled] = np.clip(moved[filled], lowest, highest)
    return moved.astype(np.float32)


def _started(
    ordered: NDArray[np.float32], size: int, start: Start, rng: np.random.Generator | None
) -> NDArray[np.float32]:
    """First centroids, sorted."""
    if start == "linear" or ordered.size == 0:
        return _spread(ordered, size)
    if start == "density":
        # The middles of `size` runs of equal length.
        middles = (np.arange(size) + 0.5) / size * ordered.size
        return ordered[middles.astype(np.int64)]
    chosen = (rng or np.random.default_rng(0)).choice(ordered.size, size, replace=False)
    return ordered[np.sort(chosen)]


def _spread(ordered: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    if ordered.size == 0:
        return np.zeros(0, np.float32)
    return np.linspace(ordered[0], ordered[-1], size, dtype=np.float64).astype(np.float32)


def _distinct(ordered: NDArray[np.float32], size: int) -> NDArray[np.float32] | None:
    """The different values of sorted weights, or None where there are more than `size`."""
    if ordered.size == 0:
        return ordered
    changes = ordered[1:] != ordered[:-1]
    # Counted first: the places of millions of changes would take more memory than the weights.
    if np.count_nonzero(changes) >= size:
        return None
    starts = np.flatnonzero(changes) + 1
    return np.asarray(ordered[np.concatenate([[0], starts])], np.float32)


def _borders(ordered: NDArray[np.float32], centroids: NDArray[np.float64]) -> NDArray[np.int64]:
    """Where the run of each centroid begins, and the end: (k + 1,). Ties go to the lower one."""
    middles = ((centroids[1:] + centroids[:-1]) / 2).astype(np.float32)
    inner = np.searchsorted(ordered, middles, side="right")
    return np.concatenate([[0], inner, [ordered.size]]).astype(np.int64)


class _RunSums:
    """Sums of runs of an array in float64, with one number of memory for 4,096 elements.

    factors: what each element is multiplied with.
    """

    _STEP = 4096

    def __init__(
        self, ordered: NDArray[np.float32], factors: NDArray[np.float32] | None = None
    ) -> None:
        self.ordered = ordered
        self.factors = factors
        starts = range(0, ordered.size, self._STEP)
        blocks = [self._sum(start, start + self._STEP) for start in starts]
        self.before = np.concatenate([[0.0], np.cumsum(blocks)])

    def up_to(self, ends: NDArray[np.int64]) -> NDArray[np.float64]:
        """The sums of the first `ends` elements."""
        return np.array(
            [
                self.before[end // self._STEP] + self._sum(end - end % self._STEP, end)
                for end in ends.tolist()
            ]
        )

    def _sum(self, start: int, stop: int) -> float:
        run = self.ordered[start:stop]
        if self.factors is None:
            return float(np.sum(run, dtype=np.float64))
        return float(np.sum(np.multiply(run, self.factors[start:stop], dtype=np.float64)))


def storable(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Float16 numbers where none of the values changes by more than float16's precision."""
    with np.errstate(over="ignore", under="ignore"):
        rounded = values.astype(np.float16).astype(np.float32)
    largest = np.abs(values).max(initial=0.0)
    if bool(np.all(np.abs(rounded - values) <= _HARMLESS * largest)):
        return rounded
    return values


def nearest_codes(flat: NDArray[np.float32], values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Index of the nearest of the sorted values, the lower one of two as near."""
    codes = np.zeros(flat.size, np.uint8)
    if values.size < 2:
        return codes
    middles = ((values[1:].astype(np.float64) + values[:-1]) / 2).astype(np.float32)
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK]
        codes[start : start + _BLOCK] = np.searchsorted(middles, block, side="left")
    return codes
