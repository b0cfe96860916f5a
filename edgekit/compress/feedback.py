"""Error feedback: rounding weights one input at a time, the rest making up for each error.

Optimal Brain Quantization in the fixed order of GPTQ (Frantar et al., 2022, section 3, algorithm
1): the squared error of a layer's outputs is (w - q) H (w - q)^T with H = X^T X over the layer's
inputs, and after input j is rounded, the weights of the inputs behind it move so that this error
grows least.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.compress.levels import Levels
from edgekit.errors import PlanError
from edgekit.graph.layers import Codes

_BLOCK = 64
"""Columns whose errors are gathered before they reach the columns behind the block."""


def error_feedback(
    weights: NDArray[np.float32],
    levels: Levels,
    hessian: NDArray[np.float64],
    *,
    damping: float,
    kept: NDArray[np.bool_] | None = None,
) -> Codes:
    """Codes of a layer, with every rounding error fed to the inputs not yet rounded.

    weights: (outputs, inputs), one row a filter.
    levels: what each filter's weights may become.
    hessian: (inputs, inputs), X^T X over calibration inputs X; any scale.
    damping: what is added to the diagonal, as a multiple of its mean; positive. About 1 where
        depthwise layers are near, 0.01 to 0.1 otherwise.
    kept: (outputs, inputs); False marks a pruned weight, which keeps code 0 while its loss is
        made up for like any other error.

    Returns (outputs, inputs). Raises PlanError if damping isn't positive.
    """
    if not damping > 0:
        raise PlanError(f"damping must be above 0, got {damping}")
    order = np.argsort(-np.diagonal(hessian), kind="stable")
    inverse = _inverse_factor(hessian[np.ix_(order, order)], damping)
    # C order, so that the slices below are rows of memory whatever `order` did.
    remaining = np.ascontiguousarray(weights[:, order], dtype=np.float64)
    mask = None if kept is None else kept[:, order]
    codes: NDArray[Any] = np.zeros(weights.shape, levels.nearest(weights[:, :0]).dtype)
    for start in range(0, weights.shape[1], _BLOCK):
        stop = min(start + _BLOCK, weights.shape[1])
        errors = np.empty((weights.shape[0], stop - start))
        for column in range(start, stop):
            rounded = levels.nearest(remaining[:, column], int(order[column]))
            if mask is not None:
                rounded *= mask[:, column]
            codes[:, order[column]] = rounded
            error = (remaining[:, column] - levels.restored(rounded)) / inverse[column, column]
            remaining[:, column:stop] -= np.outer(error, inverse[column, column:stop])
            errors[:, column - start] = error
        remaining[:, stop:] -= errors @ inverse[start:stop, stop:]
    return codes


def grouped_feedback(
    weights: NDArray[np.float32],
    levels: Levels,
    hessians: NDArray[np.float64],
    *,
    damping: float,
    kept: NDArray[np.bool_] | None = None,
) -> Codes:
    """`error_feedback` of a convolution in groups, all groups at once.

    hessians: (groups, inputs, inputs), of the channels that each group sees. A depthwise filter
    has few inputs, but they are neighbours in a smooth picture: what one tap loses another makes
    up for nearly whole.
    """
    if not damping > 0:
        raise PlanError(f"damping must be above 0, got {damping}")
    groups, inputs = hessians.shape[:2]
    order = np.argsort(-np.diagonal(hessians, axis1=1, axis2=2), axis=1, kind="stable")
    ordered = np.take_along_axis(
        np.take_along_axis(hessians, order[:, :, None], 1), order[:, None, :], 2
    )
    factors = _inverse_factor(ordered, damping)
    # (groups, filters of one, inputs)
    remaining = weights.astype(np.float64).reshape(groups, -1, inputs)
    remaining = np.take_along_axis(remaining, order[:, None, :], 2)
    mask = None
    if kept is not None:
        mask = np.take_along_axis(kept.reshape(remaining.shape), order[:, None, :], 2)
    codes: NDArray[Any] = np.zeros(remaining.shape, levels.nearest(weights[:, :0]).dtype)
    for column in range(inputs):
        wanted = remaining[..., column].reshape(-1)
        rounded = levels.nearest(wanted)
        if mask is not None:
            rounded *= mask[..., column].reshape(-1)
        codes[..., column] = rounded.reshape(groups, -1)
        lost = (wanted - levels.restored(rounded)).reshape(groups, -1)
        error = lost / factors[:, None, column, column]
        remaining[..., column:] -= error[..., None] * factors[:, None, column, column:]
    back = np.argsort(order, axis=1)
    return np.take_along_axis(codes, back[:, None, :], 2).reshape(weights.shape)


def _inverse_factor(hessian: NDArray[np.float64], damping: float) -> NDArray[np.float64]:
    """Upper triangular U with U^T U the inverse of the damped, normalised Hessian, or of each."""
    diagonal = np.diagonal(hessian, axis1=-2, axis2=-1)
    mean = np.mean(diagonal, axis=-1)[..., None, None]
    # A layer that saw only zeros has nothing to make up for: plain rounding falls out of H = I.
    damped = np.divide(hessian, mean, out=np.zeros_like(hessian), where=mean > 0)
    damped = damped + damping * np.eye(hessian.shape[-1])
    factor: NDArray[np.float64] = np.linalg.cholesky(np.linalg.inv(damped)).swapaxes(-1, -2)
    return factor
