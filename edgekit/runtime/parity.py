"""How far two models are apart: their answers, what their layers put out, their weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Difference:
    """Two arrays of one shape.

    largest: largest absolute difference. relative: root of the mean squared difference over that
    of the mean squared reference; 0 for two arrays of zeros.
    """

    name: str
    largest: float
    relative: float


def difference(name: str, reference: NDArray[Any], other: NDArray[Any]) -> Difference:
    """The difference of two arrays of the same shape, in float64."""
    wide, error = reference.astype(np.float64), other.astype(np.float64)
    error -= wide
    power, noise = float(np.mean(wide**2)) if wide.size else 0.0, 0.0
    if error.size:
        noise = float(np.mean(error**2))
    relative = 0.0 if noise == 0 else float("inf") if power == 0 else float(np.sqrt(noise / power))
    return Difference(name, float(np.abs(error).max(initial=0.0)), relative)


def softmax_divergence(reference: NDArray[Any], other: NDArray[Any]) -> float:
    """Kullback-Leibler divergence of the rows' softmax in nats, averaged over the rows."""
    expected, found = _log_softmax(reference), _log_softmax(other)
    return float(np.mean(np.sum(np.exp(expected) * (expected - found), axis=1)))


def weight_differences(
    reference: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]]
) -> tuple[Difference, ...]:
    """Differences of the tensors that both have, by name and shape; the reference's order."""
    return tuple(
        difference(name, array, other[name])
        for name, array in reference.items()
        if name in other and other[name].shape == array.shape and array.dtype.kind == "f"
    )


def _log_softmax(scores: NDArray[Any]) -> NDArray[np.float64]:
    wide = scores.reshape(len(scores), -1).astype(np.float64)
    shifted = wide - wide.max(axis=1, keepdims=True)
    logs: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logs
