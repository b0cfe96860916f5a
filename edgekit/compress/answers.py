"""What a model answers to its inputs, and how far two models' answers are apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataError

Answers = tuple[NDArray[np.float32], ...]
"""One array for each output of a model."""


def one_output(parts: Sequence[NDArray[Any]], counts: Sequence[int]) -> NDArray[Any]:
    """An output of all batches as one array (N, ...), a row for each input.

    parts: of each batch. counts: inputs in it. Batches of one input may answer without an axis for
    them. An output with other rows than inputs, such as one that has time first, becomes one
    row (1, 1, elements).
    """
    if all(count == 1 for count in counts) and any(part.shape[:1] != (1,) for part in parts):
        parts = [part[None] for part in parts]
    has_rows = all(
        part.shape[:1] == (count,) for part, count in zip(parts, counts, strict=True)
    ) and all(part.shape[1:] == parts[0].shape[1:] for part in parts)
    if has_rows:
        return np.concatenate(parts)
    return np.concatenate([part.reshape(-1) for part in parts])[None, None]


def total_divergence(reference: Answers, found: Answers) -> float:
    """How far all outputs together are from the reference's, in nats: their divergences' sum.

    An output of the reference that isn't finite says nothing and is left out. Raises DataError
    where none is left, and where shapes differ.
    """
    shapes = [[array.shape for array in answers] for answers in (reference, found)]
    if shapes[0] != shapes[1]:
        raise DataError(
            "the shapes of this model's outputs depend on its weights, so they can't be compared; "
            "compress it with --calibration none"
        )
    finite = [bool(np.isfinite(array).all()) for array in reference]
    if not any(finite):
        raise DataError("the model's answers to the calibration inputs aren't finite")
    pairs = zip(reference, found, finite, strict=True)
    return sum(divergence(expected, array) for expected, array, says in pairs if says)


def divergence(reference: NDArray[np.float32], outputs: NDArray[np.float32]) -> float:
    """How far one output is from the reference, in nats, averaged over the inputs.

    For scores of classes, (N, k) with k > 1, the Kullback-Leibler divergence of their softmax;
    rows that are probabilities already are taken as they are. For other outputs half the squared
    error in units of the reference's variance, which is the divergence of two normal
    distributions of that variance.
    """
    if reference.ndim == 2 and reference.shape[1] > 1:
        expected, found = _log_probabilities(reference), _log_probabilities(outputs)
        return float(np.mean(np.sum(np.exp(expected) * (expected - found), axis=1)))
    wide, other = reference.astype(np.float64), outputs.astype(np.float64)
    if not wide.size:
        return 0.0
    variance = max(float(wide.var()), np.finfo(np.float64).tiny)
    return float(np.mean((wide - other) ** 2) / (2 * variance))


def _log_probabilities(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = scores.astype(np.float64)
    if wide.min() >= 0 and np.allclose(wide.sum(axis=1), 1, atol=1e-3):
        return np.log(np.maximum(wide, 1e-12))
    shifted = wide - wide.max(axis=1, keepdims=True)
    logs: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logs
