"""Moving the numbers of a model out of it, from wherever they lie, to initializers by name.

Afterwards every tensor worth packing is an initializer of the main graph without data, and its
numbers stand in a table. What the model computes doesn't change:

- a Constant node of the main graph becomes an initializer of its output's name;
- initializers and Constant nodes of subgraphs move to the main graph, whose values all subgraphs
  see, under a name of their own;
- ConstantOfShape with a constant shape becomes an initializer whose elements are all equal;
- a moved initializer that is also a graph input (the rule up to IR version 3, allowed later) is a
  constant from here on and leaves the inputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from edgekit.errors import ModelFileError
from edgekit.graph.elements import DTYPE_NAMES, FLOATS, element_count, read_elements
from edgekit.graph.source import is_external
from edgekit.graph.walk import all_nodes, nested_graphs, subgraphs, value_names

MIN_FLOATS = 16
"""Float tensors with fewer elements stay in the graph: their record would be larger."""

MIN_INTEGERS = 256
"""Integer tensors with fewer elements stay in the graph: they are shapes, axes and indices, which
a runtime wants to see before the weights are there."""

MAX_CONSTANT = 2**24
"""The most elements of a constant tensor in a packed file (docs/format.md, chapter 8)."""

_FIRST_IR_WITH_FREE_INITIALIZERS = 4
"""Up to IR version 3, initializers had to be graph inputs too."""


@dataclass(slots=True)
class Hoisted:
    """What was moved, by initializer name in the main graph; and what stays, with the reason."""

    values: dict[str, NDArray[Any]] = field(default_factory=dict)
    stays: dict[str, tuple[TensorProto, str]] = field(default_factory=dict)


def hoist(model: ModelProto, folder: Path | None, label: str) -> Hoisted:
    """Move the numbers out of `model`, which is changed in place.

    folder: where external data may lie. label: what errors call the model. Raises ModelFileError.
    """
    return _Hoist(model, folder, label).run()


class _Hoist:
    def __init__(self, model: ModelProto, folder: Path | None, label: str) -> None:
        self.model = model
        self.graph = model.graph
        self.folder = folder
        self.label = label
        self.names = value_names(model.graph)
        self.initializers = {tensor.name for tensor in model.graph.initializer}
        self.result = Hoisted()

    def run(self) -> Hoisted:
        self._initializers()
        self._constants_of_shape()
        self._constant_nodes()
        for graph in list(nested_graphs(self.graph)):
            self._subgraph(graph)
        self._inputs()
        self._drop_unused()
        return self.result

    def _initializers(self) -> None:
        seen: set[str] = set()
        for tensor in self.graph.initializer:
            if tensor.name in seen:
                raise ModelFileError(f"{self.label} has two initializers named {tensor.name}")
            seen.add(tensor.name)
            if self._moves(tensor):
                self.result.values[tensor.name] = self._read(tensor)
                _empty(tensor)

    def _constant_nodes(self) -> None:
        outputs = {value.name for value in self.graph.output}
        for node in list(self.graph.node):
            tensor = _constant(node)
            if tensor is None:
                continue
            name = node.output[0]
            tensor.name = name
            # An initializer may not be a graph's output in every runtime.
            if name not in outputs and self._moves(tensor):
                self._declare(name, tensor.data_type, tuple(tensor.dims), self._read(tensor))
                self.graph.node.remove(node)

    def _constants_of_shape(self) -> None:
        shapes = {tensor.name: tensor for tensor in self.graph.initializer}
        for node in self.graph.node:
            tensor = _constant(node)
            if tensor is not None:
                shapes[node.output[0]] = tensor
        outputs = {value.name for value in self.graph.output}
        for node in list(self.graph.node):
            if node.op_type != "ConstantOfShape" or node.domain not in {"", "ai.onnx"}:
                continue
            name, shape = node.output[0], shapes.get(node.input[0])
            if shape is None or is_external(shape) or name in outputs:
                continue
            fill = next((item.t for item in node.attribute if item.name == "value"), None)
            if fill is None:
                fill = TensorProto(data_type=TensorProto.FLOAT, dims=[1], float_data=[0.0])
            sizes = tuple(int(size) for size in self._read(shape).reshape(-1))
            if DTYPE_NAMES.get(fill.data_type, "") not in FLOATS or min(sizes, default=1) < 0:
                continue
            if not MIN_FLOATS <= math.prod(sizes) <= MAX_CONSTANT:
                continue
            element = self._read(fill).reshape(-1)
            if element.size != 1:
                raise ModelFileError(f"{self.label}: the value of {name} isn't a single number")
            # A view that repeats one element: no memory is taken.
            self._declare(name, fill.data_type, sizes, np.broadcast_to(element, sizes))
            self.graph.node.remove(node)

    def _drop_unused(self) -> None:
        """Drop initializers that nothing uses, such as the shapes of folded nodes.

        onnxruntime drops them too, and a session can't be given their numbers then.
        """
        used = {value.name for value in (*self.graph.input, *self.graph.output)}
        for node in all_nodes(self.graph):
            used.update(node.input)
        used.update(value.name for inner in nested_graphs(self.graph) for value in inner.output)
        for tensor in list(self.graph.initializer):
            if tensor.name not in used:
                self.result.values.pop(tensor.name, None)
                self.result.stays.pop(tensor.name, None)
                self.graph.initializer.remove(tensor)

    def _subgraph(self, graph: GraphProto) -> None:
        """Move what one subgraph holds, under new names where its output isn't concerned."""
        outputs = {value.name for value in graph.output}
        renamed: dict[str, str] = {}
        for tensor in list(graph.initializer):
            if tensor.name not in outputs and self._moves(tensor):
                renamed[tensor.name] = self._adopt(tensor)
                graph.initializer.remove(tensor)
        for node in list(graph.node):
            constant = _constant(node)
            if constant is None or node.output[0] in outputs:
                continue
            constant.name = node.output[0]
            if self._moves(constant):
                renamed[node.output[0]] = self._adopt(constant)
                graph.node.remove(node)
        if renamed:
            _rename(graph, renamed)

    def _adopt(self, tensor: TensorProto) -> str:
        """Declare a subgraph's tensor in the main graph; returns its name there."""
        name, number = f"{tensor.name}_hoisted", 1
        while name in self.names:
            number += 1
            name = f"{tensor.name}_hoisted_{number}"
        self.names.add(name)
        self._declare(name, tensor.data_type, tuple(tensor.dims), self._read(tensor))
        return name

    def _declare(
        self, name: str, data_type: int, shape: tuple[int, ...], values: NDArray[Any]
    ) -> None:
        self.graph.initializer.add(
            name=name, data_type=data_type, dims=shape, data_location=TensorProto.EXTERNAL
        )
        self.result.values[name] = values

    def _moves(self, tensor: TensorProto) -> bool:
        """Whether a tensor is worth moving; notes why where it isn't."""
        count = element_count(tensor, self.label)
        dtype = DTYPE_NAMES.get(tensor.data_type)
        if dtype in FLOATS:
            reason = "" if count >= MIN_FLOATS else f"fewer than {MIN_FLOATS} elements"
        elif dtype is None:
            reason = "a type that is kept as it is"
        else:
            reason = "" if count >= MIN_INTEGERS else "a small integer table"
        if reason == "":
            return True
        if is_external(tensor):
            if dtype is None:
                raise ModelFileError(
                    f"{self.label}: tensor {tensor.name} has a type that can't be read from "
                    "another file"
                )
            # Too small to pack, so it moves into the graph that the packed file carries.
            tensor.raw_data = self._read(tensor).tobytes()
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
        elif dtype is not None:
            self._read(tensor)
        self.result.stays[tensor.name] = (tensor, reason)
        return False

    def _read(self, tensor: TensorProto) -> NDArray[Any]:
        if tensor.data_type not in DTYPE_NAMES:
            raise ModelFileError(f"{self.label}: tensor {tensor.name} has an unexpected type")
        return read_elements(tensor, self.folder, self.label)

    def _inputs(self) -> None:
        """Take initializers out of the graph's inputs."""
        old = self.model.ir_version < _FIRST_IR_WITH_FREE_INITIALIZERS
        constants = self.initializers if old else set(self.result.values)
        for value in list(self.graph.input):
            if value.name in constants:
                self.graph.input.remove(value)
        if old:
            self.model.ir_version = _FIRST_IR_WITH_FREE_INITIALIZERS


def _constant(node: NodeProto) -> TensorProto | None:
    """The tensor of a Constant node, or None for any other node."""
    if node.op_type != "Constant" or node.domain not in {"", "ai.onnx"}:
        return None
    return next((item.t for item in node.attribute if item.name == "value"), None)


def _empty(tensor: TensorProto) -> None:
    """Leave a tensor's name, type and shape, and nothing else."""
    kept = TensorProto(
        name=tensor.name,
        data_type=tensor.data_type,
        dims=tensor.dims,
        data_location=TensorProto.EXTERNAL,
    )
    tensor.CopyFrom(kept)


def _rename(graph: GraphProto, renamed: dict[str, str]) -> None:
    """Rename the values that the nodes of a graph, and of the graphs in them, take as inputs."""
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name in renamed:
                node.input[index] = renamed[name]
        for inner in subgraphs(node):
            _rename(inner, renamed)
