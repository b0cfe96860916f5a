"""Making up for the layers before: what a layer's weights become where its inputs have changed.

With X the layer's inputs in the original model and Z those behind rounded layers, the outputs
W X are best approached from Z by W + W (X - Z) Z^T (Z Z^T)^-1, in least squares. The ridge that is
added keeps the weights where they were in directions that the inputs hardly excite.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekit.compress.layer_statistics import channel_means, patches
from edgekit.compress.stages import Seen

RIDGE = 0.1
"""Multiple of the mean diagonal of Z Z^T."""


@dataclass(frozen=True, slots=True, eq=False)
class PairedStatistics:
    """What a layer sees behind rounded layers, beside what it saw before.

    mean_gap: (channels,) float64, the mean of Z less that of X.
    hessian: (inputs, inputs) float64, the sum of z z^T over sampled patches. gap: likewise, of
        (x - z) z^T. None where no patches can be cut, as in LayerStatistics.
    """

    mean_gap: NDArray[np.float64]
    hessian: NDArray[np.float64] | None
    gap: NDArray[np.float64] | None


def paired_statistics(
    seen: Seen, shape: tuple[int, ...], rng: np.random.Generator
) -> PairedStatistics:
    """Statistics of a layer's inputs. shape: of its weight. rng: chooses the patches."""
    layer = seen.layer
    mean_gap = np.zeros(0)
    hessian: NDArray[np.float64] | None = None
    gap: NDArray[np.float64] | None = None
    count = 0
    for before, after in zip(seen.original, seen.rounded, strict=True):
        count += len(before)
        moved = channel_means(layer, after) - channel_means(layer, before)
        sums = moved.sum(axis=0, dtype=np.float64)
        mean_gap = mean_gap + sums if mean_gap.size else sums
        # The same patches of both.
        place = int(rng.integers(2**63))
        now = patches(layer, after, shape, np.random.default_rng(place))
        was = patches(layer, before, shape, np.random.default_rng(place))
        if now is None or was is None:
            continue
        product, cross = now.T @ now, (was - now).T @ now
        hessian = product.astype(np.float64) if hessian is None else hessian + product
        gap = cross.astype(np.float64) if gap is None else gap + cross
    return PairedStatistics(mean_gap / count, hessian, gap)


def make_up(
    filters: NDArray[np.float32], hessian: NDArray[np.float64], gap: NDArray[np.float64]
) -> NDArray[np.float32]:
    """The filters (outputs, inputs) that come nearest to the original outputs."""
    mean = float(np.mean(np.diagonal(hessian)))
    if not mean > 0:
        return filters
    damped = hessian + RIDGE * mean * np.eye(len(hessian))
    # W G H^-1, with H symmetric: the transpose of H^-1 (W G)^T.
    change = np.linalg.solve(damped, (filters @ gap).T).T
    return np.asarray(filters + change, np.float32)
