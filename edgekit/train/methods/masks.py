"""Which weights are pruned, and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgekit.compress.prune import global_counts, smallest

Schedule = Literal["one-shot", "iterative", "cubic"]
Masks = dict[str, NDArray[np.bool_]]

ROUNDS = 4
"""Of iterative pruning: prune a part, retrain, prune more (Han et al., "Learning both weights and
connections", 2015, section 3.4)."""


def scheduled_sparsity(schedule: Schedule, progress: float, final: float) -> float:
    """The sparsity after a share `progress` of the time for pruning, both in 0..1.

    cubic: Zhu and Gupta, "To prune, or not to prune" (2017), equation 1, from zero.
    """
    progress = min(max(progress, 0.0), 1.0)
    if schedule == "one-shot":
        return final
    if schedule == "iterative":
        return final * min(int(progress * ROUNDS) + 1, ROUNDS) / ROUNDS
    return float(final * (1 - (1 - progress) ** 3))


def smallest_masks(
    weights: Mapping[str, NDArray[np.float32]],
    sparsity: float,
    importance: Mapping[str, float] | None = None,
) -> Masks:
    """True where a weight stays, when the smallest of all tensors together go.

    importance: positive factor a tensor that weighs its magnitudes, 1 without.
    """
    factors = importance or {}
    scores = [
        np.abs(values) * np.float32(factors.get(name, 1.0)) for name, values in weights.items()
    ]
    counts = global_counts(scores, sparsity)
    return {
        name: ~smallest(score, count)
        for name, score, count in zip(weights, scores, counts, strict=True)
    }


def fits_pattern(shape: Sequence[int], of: int) -> bool:
    """Whether a weight's inputs, axis 1, come in whole groups of `of`."""
    return len(shape) > 1 and shape[1] % of == 0


def pattern_mask(weights: NDArray[np.float32], keep: int, of: int) -> NDArray[np.bool_] | None:
    """True for the `keep` largest of every `of` neighbours along the input channels, axis 1.

    weights: (outputs, inputs, ...). None where the inputs aren't a multiple of `of`: such a layer
    stays dense. Mishra et al., "Accelerating sparse deep neural networks" (2021), section 2.1.
    """
    if not fits_pattern(weights.shape, of):
        return None
    last = np.moveaxis(np.abs(weights), 1, -1)
    groups = last.reshape(-1, of)
    order = np.argsort(-groups, axis=1, kind="stable")
    mask = np.zeros(groups.shape, np.bool_)
    np.put_along_axis(mask, order[:, :keep], values=True, axis=1)
    return np.ascontiguousarray(np.moveaxis(mask.reshape(last.shape), -1, 1))
