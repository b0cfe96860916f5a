"""Making up for the layers before: what a layer's weights become where its inputs have changed.

With X the layer's inputs in the original model and Z those behind rounded layers, the outputs
W X are best approached from Z by W + W (X - Z) Z^T (Z Z^T)^-1, in least squares. What is added to
Z Z^T keeps the weights where they were in directions that the inputs hardly excite: a ridge, and
where inputs are few the weights' own products, as samples on which nothing has changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekit.compress.layer_statistics import channel_means, patches
from edgekit.compress.layers_in_turn import Seen
from edgekit.compress.stages import UnwalkableError

RIDGE = 0.1
"""Multiple of the mean diagonal of Z Z^T."""
_WIDEST = 4096
"""Inputs of a filter; the products of more take gigabytes, and such a layer stays as it was."""
_ROWS = 1024
"""Patches at least of which products are taken at once; fewer take as long."""


@dataclass(frozen=True, slots=True, eq=False)
class PairedStatistics:
    """What a layer sees behind rounded layers, beside what it saw before.

    mean_gap: (channels,) float64, the mean of Z less that of X.
    hessian: (inputs, inputs) float64, the sum of z z^T over sampled patches. gap: likewise, of
        (x - z) z^T. None where no patches can be cut, as in LayerStatistics, and for filters of
        more than 4,096 inputs.
    samples: how many patches.
    """

    mean_gap: NDArray[np.float64]
    hessian: NDArray[np.float64] | None
    gap: NDArray[np.float64] | None
    samples: int = 0


def paired_statistics(
    seen: Seen, shape: tuple[int, ...], rng: np.random.Generator
) -> PairedStatistics:
    """Statistics of a layer's inputs. shape: of its weight. rng: chooses the patches.

    Raises UnwalkableError where rounding changed the inputs' shape, so that none have a pair.
    """
    if any(
        before.shape != after.shape
        for before, after in zip(seen.original, seen.rounded, strict=True)
    ):
        raise UnwalkableError(f"{seen.layer.source} has a shape that hangs on values")
    moved = [
        channel_means(seen.layer, after) - channel_means(seen.layer, before)
        for before, after in zip(seen.original, seen.rounded, strict=True)
    ]
    mean_gap = np.concatenate(moved).mean(axis=0, dtype=np.float64)
    hessian: NDArray[np.float64] | None = None
    gap: NDArray[np.float64] | None = None
    samples = 0
    for was, now in _same_patches(seen, shape, rng):
        samples += len(now)
        # Of a matrix with itself, because BLAS sums that alike whatever its number of threads.
        both = np.concatenate([now, was - now], axis=1)
        product = both.T @ both
        inputs = now.shape[1]
        square = product[:inputs, :inputs].astype(np.float64)
        cross = product[inputs:, :inputs].astype(np.float64)
        hessian = square if hessian is None else hessian + square
        gap = cross if gap is None else gap + cross
    return PairedStatistics(mean_gap, hessian, gap, samples)


def _same_patches(
    seen: Seen, shape: tuple[int, ...], rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Patches at the same places of both, of several batches together."""
    held: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
    for before, after in zip(seen.original, seen.rounded, strict=True):
        place = int(rng.integers(2**63))
        was = patches(seen.layer, before, shape, np.random.default_rng(place))
        now = patches(seen.layer, after, shape, np.random.default_rng(place))
        if was is None or now is None or now.shape[1] > _WIDEST:
            return
        held.append((was, now))
        if sum(len(rows) for rows, _ in held) >= _ROWS:
            yield _joined(held)
            held = []
    if held:
        yield _joined(held)


def _joined(
    pairs: list[tuple[NDArray[np.float32], NDArray[np.float32]]],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    was, now = (np.concatenate(rows) for rows in zip(*pairs, strict=True))
    return was, now


def make_up(
    filters: NDArray[np.float32],
    hessian: NDArray[np.float64],
    gap: NDArray[np.float64],
    unchanged: NDArray[np.float64] | None = None,
) -> NDArray[np.float32]:
    """The filters (outputs, inputs) that come nearest to the original outputs.

    unchanged: (inputs, inputs), the sum of x x^T over more samples, on which Z is X.
    """
    mean = float(np.mean(np.diagonal(hessian)))
    if not mean > 0:
        return filters
    damped = hessian + RIDGE * mean * np.eye(len(hessian))
    if unchanged is not None:
        damped += unchanged
    # W G H^-1, with H symmetric: the transpose of H^-1 (W G)^T.
    change = np.linalg.solve(damped, (filters @ gap).T).T
    return np.asarray(filters + change, np.float32)
