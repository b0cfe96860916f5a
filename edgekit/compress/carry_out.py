"""Carrying out a plan, tensor by tensor; only codebooks are weighed against each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.compress.plan import LayerPlan, Plan
from edgekit.compress.prune import smallest
from edgekit.compress.quantize import quantize_uniform
from edgekit.compress.shared import Filters, Shared, candidates, choose
from edgekit.graph import Role, Weight
from edgekit.tensors import CodedTensor, CompressedTensor, StoredTensor

_HALF_PRECISION = 2.0**-11
"""Largest relative error of rounding to a normal float16 number."""


def carry_out(weights: Sequence[Weight], plan: Plan) -> list[CompressedTensor]:
    """Prune and quantize tensors as planned, or store them where there is no plan for them."""
    layers = {layer.name: layer for layer in plan.layers}
    shared = choose(
        {
            weight.name: candidates(_filters(weight, layers[weight.name]), layers[weight.name].bits)
            for weight in weights
            if weight.name in layers and layers[weight.name].method == "codebook"
        }
    )
    tensors: list[CompressedTensor] = []
    for weight in weights:
        if weight.name in shared:
            tensors.append(_with_codebook(weight, layers[weight.name], shared[weight.name]))
        elif weight.name in layers:
            tensors.append(_on_grid(weight, layers[weight.name]))
        else:
            tensors.append(store(weight))
    return tensors


def _on_grid(weight: Weight, plan: LayerPlan) -> CodedTensor:
    weights = weight.float32()
    if plan.pruned:
        weights = np.where(smallest(weights, plan.pruned), np.float32(0), weights)
    grid = quantize_uniform(weights, plan.bits, plan.axis)
    axis = plan.axis if plan.axis is not None and grid.scale.ndim else 0
    return CodedTensor(weight.name, weight.dtype, grid.codes, grid.scale, axis)


def _filters(weight: Weight, plan: LayerPlan) -> Filters:
    weights = weight.float32()
    pruned = _rows(smallest(weights, plan.pruned), plan.axis) if plan.pruned else None
    return Filters(_rows(weights, plan.axis), pruned, has_channels=plan.axis is not None)


def _with_codebook(weight: Weight, plan: LayerPlan, shared: Shared) -> CodedTensor:
    levels = shared.levels
    axis = plan.axis or 0
    shape = weight.shape[axis : axis + 1] + weight.shape[:axis] + weight.shape[axis + 1 :]
    codes = np.ascontiguousarray(np.moveaxis(shared.codes.reshape(shape), 0, axis))
    used = axis if levels.gains.ndim else 0
    return CodedTensor(weight.name, weight.dtype, codes, levels.gains, used, levels.values)


def _rows(array: NDArray[Any], axis: int | None) -> NDArray[Any]:
    """A tensor as (channels, others), the channels those of `axis`, or of the first dimension."""
    front = np.moveaxis(array, axis or 0, 0)
    return np.ascontiguousarray(front.reshape(len(front), -1))


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
