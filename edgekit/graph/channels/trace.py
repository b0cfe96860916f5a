"""What is known of a graph's channels while it is followed: their marks, ties and edits.

Every channel that a layer makes gets a number of its own, its mark. A value carries the marks of
its channels along the axis where they lie. Where two values are added, their marks are tied: such
channels can only be removed together. Marks that are tied to FIXED can't be removed at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from edgekit.graph.shapes import value_shapes
from edgekit.graph.walk import all_nodes, integers, subgraphs, value_names

FIXED = 0
"""The mark of what has to stay."""

Ids = NDArray[np.int64]
Kept = Callable[[Ids], NDArray[np.bool_]]
"""Which of these marks stay."""
Edit = Callable[[Kept], None]
"""Changes one node of the copied graph so that it fits the channels that stay."""


@dataclass(frozen=True, slots=True, eq=False)
class Marks:
    """The channels of a value: the axis where they lie, and (n,) the mark of each entry there."""

    axis: int
    ids: Ids


@dataclass(frozen=True, slots=True, eq=False)
class LayerChannels:
    """A convolution or matrix product with weights of its own.

    weight: name of its weight tensor. bias: "" without one. output: the value it makes.
    op: Conv, ConvTranspose, Gemm or MatMul. groups: of a convolution.
    inputs: marks of the channels it reads, None where they aren't followed. outputs: of those it
        makes. input_axis: of the weight, that lists the channels read. A depthwise layer passes
        its marks on.
    """

    weight: str
    bias: str
    output: str
    op: str
    groups: int
    inputs: Ids | None
    outputs: Ids
    input_axis: int
    is_depthwise: bool


@dataclass(slots=True, eq=False)
class Trace:
    """A copy of a model with the marks of its channels.

    constants: numbers by name. marks: by value. partitions: (groups, n) marks, of which every row
    must lose equally many, because a grouped convolution has equal groups. fixed: why channels
    have to stay, by the value where that was found.
    """

    model: ModelProto
    constants: dict[str, NDArray[Any]]
    shapes: dict[str, tuple[int | None, ...]]
    uses: dict[str, int]
    opset: int
    marks: dict[str, Marks] = field(default_factory=dict)
    layers: list[LayerChannels] = field(default_factory=list)
    partitions: list[Ids] = field(default_factory=list)
    fixed: dict[str, str] = field(default_factory=dict)
    edits: list[Edit] = field(default_factory=list)
    dropped: list[NodeProto] = field(default_factory=list)
    _parents: list[int] = field(default_factory=lambda: [FIXED])
    _slices: dict[tuple[int, int], tuple[NodeProto, list[tuple[int, Ids]]]] = field(
        default_factory=dict
    )

    def fresh(self, count: int) -> Ids:
        """Marks that nothing is tied to yet."""
        start = len(self._parents)
        self._parents.extend(range(start, start + count))
        return np.arange(start, start + count)

    def root(self, mark: int) -> int:
        """The one mark that stands for all that are tied to this one."""
        parents = self._parents
        while parents[mark] != mark:
            parents[mark] = parents[parents[mark]]
            mark = parents[mark]
        return mark

    def roots(self, ids: Ids) -> Ids:
        """`root` of each mark, in the shape of `ids`."""
        flat = [self.root(int(mark)) for mark in ids.reshape(-1)]
        return np.array(flat, np.int64).reshape(ids.shape)

    def tie(self, first: Ids, second: Ids) -> None:
        """Tie the marks pair by pair. The smallest stands for all, so FIXED wins."""
        for one, other in zip(first.tolist(), second.tolist(), strict=True):
            low, high = sorted((self.root(one), self.root(other)))
            self._parents[high] = low

    def fix(self, name: str, reason: str) -> None:
        """Keep all channels of a value."""
        marks = self.marks.get(name)
        if marks is not None and any(self.root(int(mark)) != FIXED for mark in marks.ids):
            self.tie(marks.ids, np.zeros_like(marks.ids))
            self.fixed[name] = reason

    def sizes(self, name: str) -> tuple[int, ...] | None:
        """The shape of a value at batch 1, or None where one of its sizes is open."""
        shape = self.shapes.get(name)
        if shape is None or any(size is None for size in shape):
            return None
        return tuple(size or 0 for size in shape)

    def axes(self, node: NodeProto) -> list[int] | None:
        """Axes that a node names, in its attribute or, in newer opsets, its second input."""
        given = integers(node, "axes")
        if given is None and len(node.input) > 1 and node.input[1] in self.constants:
            given = [int(axis) for axis in self.constants[node.input[1]].reshape(-1)]
        return given

    def own_weight(self, name: str) -> NDArray[Any] | None:
        """The numbers of a weight that one node alone uses."""
        return self.constants.get(name) if self.uses.get(name) == 1 else None

    def slice(self, node: NodeProto, index: int, axis: int, ids: Ids) -> None:
        """Note that an axis of a node's constant input lists these channels."""
        key = (id(node), index)
        self._slices.setdefault(key, (node, []))[1].append((axis, ids))

    def replace(self, node: NodeProto, index: int, values: NDArray[Any]) -> None:
        """Give a node another constant; the old one keeps its name for other users."""
        name = node.input[index] if index < len(node.input) else ""
        if self.uses.get(name) != 1:
            if name:
                self.uses[name] -= 1
            name = self._new_name(name or f"{node.output[0]}_{index}")
            self.uses[name] = 1
            while len(node.input) <= index:
                node.input.append("")
            node.input[index] = name
        self.constants[name] = values

    def apply(self, kept: Kept) -> None:
        """Change the graph so that only the channels that stay are left."""
        for (_, index), (node, slices) in self._slices.items():
            array = self.constants[node.input[index]]
            masks = [(axis, kept(ids)) for axis, ids in slices]
            if all(mask.all() for _, mask in masks):
                continue
            for axis, mask in masks:
                array = np.compress(mask, array, axis=axis)
            self.replace(node, index, array)
        for edit in self.edits:
            edit(kept)

    def _new_name(self, wish: str) -> str:
        number = 1
        while f"{wish}_{number}" in self.uses or f"{wish}_{number}" in self.constants:
            number += 1
        return f"{wish}_{number}"


Rule = Callable[[Trace, NodeProto], bool]
"""Marks what a node makes and ties what it ties. It answers False, before it changes anything,
where it doesn't understand the node."""


def start(model: ModelProto) -> Trace:
    """A trace of a copy of `model`, whose constants lie in a table, with no marks yet."""
    copy = ModelProto()
    copy.CopyFrom(model)
    opset = max(
        (item.version for item in copy.opset_import if item.domain in {"", "ai.onnx"}), default=1
    )
    # Inference changes what it is given.
    shapes = {name: value.shape for name, value in value_shapes(_copy(copy)).items()}
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in copy.graph.initializer}
    shapes |= {name: array.shape for name, array in constants.items()}
    for node in list(copy.graph.node):
        values = _constant(node)
        if values is not None:
            constants[node.output[0]] = values
            copy.graph.node.remove(node)
    uses: dict[str, int] = dict.fromkeys(value_names(copy.graph), 0)
    for node in all_nodes(copy.graph):
        for name in node.input:
            uses[name] += 1
    for value in copy.graph.output:
        uses[value.name] += 1
    # What a branch or loop sees from outside isn't followed: two more users keep it as it is.
    for node in copy.graph.node:
        for inner in subgraphs(node):
            for name in value_names(inner):
                uses[name] = uses.get(name, 0) + 2
    return Trace(copy, constants, shapes, uses, opset)


def finish(trace: Trace) -> ModelProto:
    """The model with its constants as initializers again, without what nothing uses."""
    graph = trace.model.graph
    for node in trace.dropped:
        graph.node.remove(node)
    used = {name for node in all_nodes(graph) for name in node.input}
    used |= {value.name for value in graph.output}
    names = [tensor.name for tensor in graph.initializer]
    inputs = {value.name for value in graph.input}
    del graph.initializer[:]
    for name in dict.fromkeys([*names, *trace.constants]):
        if name in used or name in inputs:
            graph.initializer.append(numpy_helper.from_array(trace.constants[name], name))
    for value in graph.input:
        if value.name in trace.constants:
            _set_shape(value.type.tensor_type, trace.constants[value.name].shape)
    # Shapes of inner values are those of the graph before.
    del graph.value_info[:]
    return trace.model


def _set_shape(tensor_type: Any, shape: tuple[int, ...]) -> None:
    for size, found in zip(tensor_type.shape.dim, shape, strict=True):
        size.dim_value = found


def _constant(node: NodeProto) -> NDArray[Any] | None:
    if node.op_type != "Constant" or len(node.attribute) != 1:
        return None
    item = node.attribute[0]
    if item.name == "value" and item.t.data_location != TensorProto.EXTERNAL:
        return np.asarray(numpy_helper.to_array(item.t))
    numbers: dict[str, Callable[[], NDArray[Any]]] = {
        "value_int": lambda: np.array(item.i, np.int64),
        "value_ints": lambda: np.array(item.ints, np.int64),
        "value_float": lambda: np.array(item.f, np.float32),
        "value_floats": lambda: np.array(item.floats, np.float32),
    }
    return numbers[item.name]() if item.name in numbers else None


def _copy(model: ModelProto) -> ModelProto:
    other = ModelProto()
    other.CopyFrom(model)
    return other
