"""Carrying out a plan, one tensor at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgekit.compress.cluster import cluster
from edgekit.compress.plan import LayerPlan
from edgekit.compress.prune import smallest
from edgekit.compress.quantize import quantize_uniform
from edgekit.graph import Role, Weight
from edgekit.tensors import CodedTensor, CompressedTensor, StoredTensor

_HALF_PRECISION = 2.0**-11
"""Largest relative error of rounding to a normal float16 number."""


def carry_out(weight: Weight, plan: LayerPlan | None) -> CompressedTensor:
    """Prune and quantize a tensor as planned, or store it where there is no plan for it."""
    if plan is None:
        return store(weight)
    weights = weight.float32()
    pruned = smallest(weights, plan.pruned) if plan.pruned else None
    if plan.method == "codebook":
        shared = cluster(weights, plan.bits, pruned)
        one = np.ones((), np.float32)
        return CodedTensor(weight.name, weight.dtype, shared.codes, one, codebook=shared.values)
    if pruned is not None:
        weights = np.where(pruned, np.float32(0), weights)
    grid = quantize_uniform(weights, plan.bits, plan.axis)
    axis = plan.axis if plan.axis is not None and grid.scale.ndim else 0
    return CodedTensor(weight.name, weight.dtype, grid.codes, grid.scale, axis)


def store(weight: Weight) -> StoredTensor:
    """Keep a tensor as plain numbers: float32 as float16 where its role allows that.

    A bias may err by float16's precision relative to the largest of its tensor, since it is added
    to outputs of about that size; numbers of a normalisation only relative to themselves.
    """
    values = weight.values
    if weight.dtype == "float32" and weight.role is not Role.CONSTANT and not weight.is_constant:
        with np.errstate(over="ignore", under="ignore"):
            half = values.astype(np.float16)
        if _harmless(values, half, weight.role):
            return StoredTensor(weight.name, weight.dtype, half)
    return StoredTensor(weight.name, weight.dtype, values)


def _harmless(values: NDArray[np.float32], half: NDArray[np.float16], role: Role) -> bool:
    error = np.abs(half.astype(np.float32) - values)
    size = np.abs(values)
    return bool(np.all(error <= _HALF_PRECISION * (size if role is Role.NORM else size.max())))
