"""Low rank: a fully-connected or pointwise layer as two thinner ones, where that saves weights.

W of (m, n) is split into (m, r) times (r, n). Of the r directions in which its outputs vary most,
U, the split keeps all: W ~ U (U^T W), which is the singular value decomposition where inputs are
white, and the best rank-r answer on measured inputs where their covariance is given (Zhang et al.
2016, "Accelerating very deep convolutional networks", section 3.1).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from edgekit.compress.channel_importance import Moments, Wide
from edgekit.errors import PlanError
from edgekit.graph.walk import all_nodes, integer, integers, value_names


@dataclass(frozen=True, slots=True)
class Split:
    """A layer's rank after, and its weights before and after."""

    weight: str
    outputs: int
    inputs: int
    rank: int

    @property
    def saved(self) -> int:
        """Weights that the split saves."""
        return self.outputs * self.inputs - self.rank * (self.outputs + self.inputs)


@dataclass(frozen=True, slots=True, eq=False)
class LowRank:
    """A model with some layers split."""

    model: ModelProto
    splits: tuple[Split, ...]


def check_energy(energy: float) -> None:
    """Raise PlanError unless 0 < energy <= 1."""
    if not 0 < energy <= 1:
        raise PlanError(
            f"the share of energy that low rank keeps must be above 0 and at most 1, got "
            f"{energy:g}; 0.95 keeps 95 % in each layer"
        )


def split_low_rank(
    model: ModelProto,
    energy: float,
    moments: Mapping[str, Moments] | None = None,
    *,
    leave: Collection[str] = (),
) -> LowRank:
    """Split each layer at the least rank that keeps a share `energy` of its outputs' energy.

    model: with its numbers; it isn't changed. energy: of the outputs' variance on measured inputs
    where `moments` know the layer (edgekit.compress.channel_importance), else of its squared
    weights. leave: weights that stay whole. A layer whose halves would have as many weights as it
    has that aren't zero stays whole; one that is split has no zeros any more.

    Raises PlanError for a share outside (0, 1].
    """
    check_energy(energy)
    result = ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    names = value_names(graph)
    uses: dict[str, int] = {}
    for node in all_nodes(graph):
        for name in node.input:
            uses[name] = uses.get(name, 0) + 1
    splits = []
    nodes: list[NodeProto] = []
    for node in graph.node:
        tensor = constants.get(node.input[1]) if len(node.input) > 1 else None
        if tensor is None or uses[tensor.name] > 1 or tensor.name in leave:
            nodes.append(node)
            continue
        values = numpy_helper.to_array(tensor)
        filters = _filters(node, values)
        halves = None
        if filters is not None:
            halves = halve(filters, energy, (moments or {}).get(tensor.name))
        if filters is None or halves is None:
            nodes.append(node)
            continue
        first, second = halves
        inner = _free(f"{tensor.name}_low_rank", names)
        splits.append(Split(tensor.name, len(filters), filters.shape[1], len(first)))
        nodes += _two(node, tensor.name, inner)
        graph.initializer.append(
            numpy_helper.from_array(_stored(node, first, values, first_half=True), inner)
        )
        tensor.CopyFrom(
            numpy_helper.from_array(_stored(node, second, values, first_half=False), tensor.name)
        )
    kept = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)
    return LowRank(result, tuple(splits))


def halve(filters: Wide, energy: float, moments: Moments | None = None) -> tuple[Wide, Wide] | None:
    """(r, inputs) and (outputs, r) whose product is near `filters`; None where nothing is saved.

    filters: (outputs, inputs).
    """
    second_moment = None
    if moments is not None:
        second_moment = moments.covariance + np.outer(moments.mean, moments.mean)
    gram = filters @ filters.T if second_moment is None else filters @ second_moment @ filters.T
    values, directions = np.linalg.eigh(gram)
    values, directions = values[::-1].clip(0), directions[:, ::-1]
    total = float(values.sum())
    if not total:
        return None
    # A share of exactly 1 is met by what isn't rounding.
    rank = 1 + int(np.searchsorted(np.cumsum(values), (energy - 1e-12) * total))
    outputs, inputs = filters.shape
    # Zeros cost next to nothing already.
    if rank * (outputs + inputs) >= np.count_nonzero(filters):
        return None
    base = directions[:, :rank]
    first = base.T @ filters
    # Both halves get the same size for each direction, so that one grid suits both.
    size = np.sqrt(np.maximum(np.linalg.norm(first, axis=1), 1e-12))
    return first / size[:, None], base * size


def _filters(node: NodeProto, weight: NDArray[np.generic]) -> Wide | None:
    """The weight as (outputs, inputs), or None for a layer that can't be split."""
    if weight.dtype.kind != "f" or node.domain not in {"", "ai.onnx"}:
        return None
    wide = weight.astype(np.float64)
    if node.op_type == "Conv" and wide.ndim >= 3 and set(wide.shape[2:]) == {1}:
        padded = any(integers(node, "pads") or [])
        automatic = any(item.name == "auto_pad" and item.s != b"NOTSET" for item in node.attribute)
        plain = integer(node, "group", 1) == 1 and not padded and not automatic
        return wide.reshape(wide.shape[:2]) if plain else None
    if node.op_type == "MatMul" and wide.ndim == 2:
        return wide.T
    if node.op_type == "Gemm" and wide.ndim == 2 and not integer(node, "transA", 0):
        return wide if integer(node, "transB", 0) else wide.T
    return None


def _stored(
    node: NodeProto, half: Wide, weight: NDArray[np.generic], *, first_half: bool
) -> NDArray[np.generic]:
    """A half as its node wants it."""
    if node.op_type == "Conv":
        half = half.reshape(*half.shape, *weight.shape[2:])
    elif first_half or node.op_type == "MatMul" or not integer(node, "transB", 0):
        half = half.T
    return np.ascontiguousarray(half, weight.dtype)


def _two(node: NodeProto, weight: str, inner: str) -> tuple[NodeProto, NodeProto]:
    """The nodes of both halves; the first strides, the second adds the bias."""
    between = f"{inner}_output"
    name = f"{node.name or node.output[0]}_low_rank"
    second = NodeProto()
    second.CopyFrom(node)
    second.input[0] = between
    if node.op_type != "Conv":
        return helper.make_node("MatMul", [node.input[0], inner], [between], name), second
    first = NodeProto()
    first.CopyFrom(node)
    first.name = name
    del first.input[:]
    first.input.extend([node.input[0], inner])
    first.output[0] = between
    for item in list(second.attribute):
        if item.name in {"strides", "dilations", "pads", "auto_pad"}:
            second.attribute.remove(item)
    second.input[1] = weight
    return first, second


def _free(wish: str, names: set[str]) -> str:
    name, number = wish, 1
    while name in names or f"{name}_output" in names:
        number += 1
        name = f"{wish}_{number}"
    names |= {name, f"{name}_output"}
    return name
