"""Top-1: the class that each row of outputs names, and how often two models or labels agree."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_NONE = -1
"""Of a row that holds NaN, which argmax would take for the largest number."""


def classes(outputs: NDArray[Any]) -> NDArray[np.int64]:
    """Where each row's largest element is, (N,) for outputs (N, ...); -1 for a row with NaN."""
    rows = outputs.reshape(len(outputs), -1)
    return np.where(np.isnan(rows).any(axis=1), _NONE, rows.argmax(axis=1)).astype(np.int64)


def agreement(reference: NDArray[Any], other: NDArray[Any]) -> float:
    """Share of rows whose largest element is in the same place: top-1 agreement.

    A row in which one of the two has NaN agrees only where the other has NaN too.
    """
    return float(np.mean(classes(reference) == classes(other)))


def accuracy(outputs: NDArray[Any], labels: NDArray[np.int64]) -> float:
    """Share of rows whose largest element is at the label: top-1 accuracy."""
    return float(np.mean(classes(outputs) == labels))
