"""What a tensor is to the layers that use it: a weight with a channel axis, a bias, or neither."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from onnx import GraphProto, NodeProto

from edgekit.graph.walk import all_nodes, integer, integers, nested_graphs


class Role(Enum):
    """How far a tensor may be changed."""

    WEIGHT = "weight"
    """Multiplied with activations, or looked up: may be pruned and quantized."""
    BIAS = "bias"
    """Added to a layer's output: may be rounded to float16."""
    NORM = "norm"
    """Scale, shift and statistics of a normalisation: float16 where each keeps its precision."""
    CONSTANT = "constant"
    """Anything else: kept bit for bit."""


@dataclass(frozen=True, slots=True)
class Use:
    """One use of a tensor.

    op: the operator that uses it. node: that node's name, or its first output's.
    axis: the dimension of the tensor that is the output channel, or None where there is none.
    """

    role: Role
    op: str
    node: str
    axis: int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """All uses of a tensor taken together. axis is None where uses disagree about it."""

    role: Role
    ops: tuple[str, ...]
    nodes: tuple[str, ...]
    axis: int | None


_Axis = Callable[[NodeProto, tuple[int, ...]], int | None]


def _convolution(_node: NodeProto, _shape: tuple[int, ...]) -> int | None:
    return 0


def _transposed_convolution(node: NodeProto, _shape: tuple[int, ...]) -> int | None:
    """(inputs, outputs / groups, ...): with one output a group, the input's axis is the channel."""
    return 1 if integer(node, "group", 1) == 1 else 0


def _gemm_left(node: NodeProto, _shape: tuple[int, ...]) -> int | None:
    return integer(node, "transA", 0)


def _gemm_right(node: NodeProto, _shape: tuple[int, ...]) -> int | None:
    return 1 - integer(node, "transB", 0)


def _matmul_left(_node: NodeProto, shape: tuple[int, ...]) -> int | None:
    return len(shape) - 2 if len(shape) >= 2 else None


def _matmul_right(_node: NodeProto, shape: tuple[int, ...]) -> int | None:
    return len(shape) - 1 if len(shape) >= 2 else None


def _gather(node: NodeProto, shape: tuple[int, ...]) -> int | None:
    """One scale a row pays where rows are long."""
    axis = integer(node, "axis", 0) % len(shape)
    row = 1
    for index, size in enumerate(shape):
        row *= 1 if index == axis else size
    return axis if row >= 32 else None


def _recurrent(_node: NodeProto, _shape: tuple[int, ...]) -> int | None:
    """(directions, gates * hidden, inputs)."""
    return 1


_WEIGHTS: Mapping[tuple[str, int], _Axis] = {
    ("Conv", 1): _convolution,
    ("FusedConv", 1): _convolution,
    ("ConvTranspose", 1): _transposed_convolution,
    ("Gemm", 0): _gemm_left,
    ("Gemm", 1): _gemm_right,
    ("FusedGemm", 1): _gemm_right,
    ("MatMul", 0): _matmul_left,
    ("MatMul", 1): _matmul_right,
    ("Gather", 0): _gather,
    **{(op, index): _recurrent for op in ("LSTM", "GRU", "RNN") for index in (1, 2)},
}

_BIASES = {
    ("Conv", 2),
    ("FusedConv", 2),
    ("ConvTranspose", 2),
    ("Gemm", 2),
    ("FusedGemm", 2),
    ("LSTM", 3),
    ("GRU", 3),
    ("RNN", 3),
}

_NORMS = {
    *(("BatchNormalization", index) for index in (1, 2, 3, 4)),
    *(("InstanceNormalization", index) for index in (1, 2)),
    *(("LayerNormalization", index) for index in (1, 2)),
    *(("GroupNormalization", index) for index in (1, 2)),
}

_SUMMANDS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
"""Operators to whose output a bias is added."""

_DOMAINS = {"", "ai.onnx", "com.microsoft"}


def usages(graph: GraphProto, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Usage]:
    """How the graph uses each tensor of `shapes`, in order of first use; unused ones last."""
    return _Uses(graph, shapes).run()


class _Uses:
    def __init__(self, graph: GraphProto, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.shapes = shapes
        self.nodes = list(all_nodes(graph))
        self.consumers: dict[str, list[tuple[NodeProto, int]]] = {}
        for node in self.nodes:
            for index, name in enumerate(node.input):
                self.consumers.setdefault(name, []).append((node, index))
        self.outputs = {
            value.name for part in (graph, *nested_graphs(graph)) for value in part.output
        }
        producers = {name: node for node in self.nodes for name in node.output}
        # MatMul has no bias of its own, and some converters add a convolution's behind it.
        self.sums = {
            id(node)
            for node in self.nodes
            if node.op_type == "Add"
            and any(
                name in producers and producers[name].op_type in _SUMMANDS for name in node.input
            )
        }

    def run(self) -> dict[str, Usage]:
        order = {
            name: None for node in self.nodes for name in node.input if name in self.shapes
        } | dict.fromkeys(self.shapes)
        return {name: self._usage(name) for name in order}

    def _usage(self, name: str) -> Usage:
        shape = self.shapes[name]
        uses = self._uses(name, shape, list(range(len(shape))))
        roles = {use.role for use in uses}
        axes = {use.axis for use in uses}
        return Usage(
            role=roles.pop() if len(roles) == 1 else Role.CONSTANT,
            ops=tuple(dict.fromkeys(use.op for use in uses)),
            nodes=tuple(use.node for use in uses),
            axis=axes.pop() if len(axes) == 1 else None,
        )

    def _uses(self, name: str, shape: tuple[int, ...], origin: list[int]) -> list[Use]:
        """The uses of a value. origin: for each of its dimensions, the tensor's own.

        Reshaping is followed for vectors alone, whose one dimension stays what it is.
        """
        found: list[Use] = []
        if name in self.outputs:
            found.append(Use(Role.CONSTANT, "output", name))
        for node, index in self.consumers.get(name, []):
            if node.op_type in {"Identity", "Cast"}:
                found += self._uses(node.output[0], shape, origin)
            elif node.op_type == "Transpose":
                order = integers(node, "perm") or list(range(len(shape)))[::-1]
                found += self._uses(
                    node.output[0],
                    tuple(shape[axis] for axis in order),
                    [origin[axis] for axis in order],
                )
            elif node.op_type in {"Reshape", "Unsqueeze"} and index == 0 and len(shape) == 1:
                found += self._uses(node.output[0], shape, origin)
            else:
                found.append(self._use(node, index, shape, origin))
        return found

    def _use(self, node: NodeProto, index: int, shape: tuple[int, ...], origin: list[int]) -> Use:
        key = (node.op_type, index)
        name = node.name or node.output[0]
        known = node.domain in _DOMAINS
        if known and key in _WEIGHTS and len(shape) >= 2:
            axis = _WEIGHTS[key](node, shape)
            return Use(Role.WEIGHT, node.op_type, name, None if axis is None else origin[axis])
        if known and key in _NORMS:
            return Use(Role.NORM, node.op_type, name)
        if known and (key in _BIASES or (id(node) in self.sums and len(shape) == 1)):
            return Use(Role.BIAS, node.op_type, name)
        return Use(Role.CONSTANT, node.op_type, name)
