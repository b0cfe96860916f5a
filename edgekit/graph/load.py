"""From an ONNX file to a Graph: the skeleton, and every tensor worth packing with its role."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, TensorProto

from edgekit.errors import ModelFileError
from edgekit.graph.elements import DTYPE_NAMES, FLOATS
from edgekit.graph.hoist import hoist
from edgekit.graph.roles import Role, usages
from edgekit.graph.source import Source, check_model, is_external, read_model
from edgekit.graph.walk import nested_graphs
from edgekit.tensors import cast


@dataclass(frozen=True, slots=True, eq=False)
class Weight:
    """A tensor of the model.

    name: of the initializer in the skeleton. dtype: one of edgekit.tensors.DTYPES.
    values: the numbers, of that type and in the tensor's shape; bfloat16 as 16-bit patterns in
        uint16. They may lie on the disk (external data) or repeat one element (a constant).
    role: how far it may be changed. ops, nodes: the operators and nodes that use it.
    axis: the dimension that is the output channel, or None.
    """

    name: str
    dtype: str
    values: NDArray[Any]
    role: Role
    ops: tuple[str, ...]
    nodes: tuple[str, ...]
    axis: int | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return self.values.shape

    @property
    def is_constant(self) -> bool:
        """Whether all elements are equal."""
        if all(
            stride == 0 or size == 1
            for size, stride in zip(self.values.shape, self.values.strides, strict=True)
        ):
            return self.values.size > 0
        flat = self.values.reshape(-1)
        return bool(flat.size and flat[0] == flat[-1] and np.all(flat == flat[0]))

    def float32(self) -> NDArray[np.float32]:
        """The numbers as float32, C-contiguous; a copy only where they aren't that already."""
        if self.dtype == "bfloat16":
            return (self.values.astype(np.uint32) << 16).view(np.float32)
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(self.values, np.float32)

    def filters(self) -> NDArray[np.float32]:
        """The numbers as (channels, others), the channels those of `axis`; in one row without."""
        return np.asarray(self.in_rows(self.float32()), np.float32)

    def in_rows(self, array: NDArray[Any]) -> NDArray[Any]:
        """Something of the tensor's shape in the rows of `filters`."""
        if self.axis is None:
            return array.reshape(1, -1)
        front = np.moveaxis(array, self.axis, 0)
        return np.ascontiguousarray(front.reshape(len(front), -1))

    def unfiltered(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Numbers or codes in the rows of `filters`, in the tensor's shape."""
        if self.axis is None:
            return rows.reshape(self.shape)
        others = self.shape[: self.axis] + self.shape[self.axis + 1 :]
        front = rows.reshape(self.shape[self.axis], *others)
        return np.ascontiguousarray(np.moveaxis(front, 0, self.axis))

    def cast(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """Other numbers in the form of `values`."""
        with np.errstate(over="ignore"):
            return cast(numbers, self.dtype)


@dataclass(frozen=True, slots=True)
class Kept:
    """A tensor that stays in the skeleton as it is, with the reason."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A model in two halves: its graph and its numbers.

    name: the file's without its ending, or the graph's own for a model from bytes.
    skeleton: the serialized model, whose initializers of the weights' names have name, type and
        shape, data_location EXTERNAL and no data.
    weights: every tensor outside the skeleton, in order of first use.
    kept: tensors that stay in the skeleton.
    source_sha256: of the ONNX file. source_bytes: of the file and the external data it uses.
    """

    name: str
    skeleton: bytes
    weights: tuple[Weight, ...]
    kept: tuple[Kept, ...]
    source_sha256: str
    source_bytes: int

    def model(self, values: Mapping[str, NDArray[Any]] | None = None) -> ModelProto:
        """A model of its own with all its numbers, or with `values` in place of some.

        values: by weight name, in the weight's shape and type (bfloat16 as uint16).
        """
        given = values or {}
        numbers = {weight.name: given.get(weight.name, weight.values) for weight in self.weights}
        model = self.empty_model()
        for tensor in model.graph.initializer:
            if tensor.name in numbers:
                array = numbers[tensor.name]
                tensor.ClearField("data_location")
                tensor.raw_data = np.ascontiguousarray(
                    array, array.dtype.newbyteorder("<")
                ).tobytes()
        return model

    def empty_model(self) -> ModelProto:
        """The skeleton, parsed."""
        model = ModelProto()
        model.ParseFromString(self.skeleton)
        return model


def load_graph(source: str | os.PathLike[str] | bytes) -> Graph:
    """Read an ONNX file, given by path or as bytes, and find its weights wherever they are.

    Raises ModelFileError where the file isn't an ONNX model, is damaged, breaks the rules of
    ONNX, asks for data outside its folder, has weights that aren't finite, or has none at all.
    """
    read = read_model(source)
    try:
        # Protobuf hands out a string that isn't UTF-8 as bytes, and refuses to take it back.
        name = GraphProto(name=read.model.graph.name).name or "model"
        return _load(read, name if isinstance(source, bytes) else Path(source).stem)
    except UnicodeDecodeError as error:
        raise ModelFileError(f"{read.label} has a name that isn't UTF-8; it is damaged") from error


def _load(read: Source, name: str) -> Graph:
    model = read.model
    external_bytes = _external_bytes(model)
    moved = hoist(model, read.folder, read.label)
    check_model(model, read.label)
    _refuse_remaining_external(model, read.label)
    skeleton = model.SerializeToString(deterministic=True)
    types = {
        tensor.name: DTYPE_NAMES[tensor.data_type]
        for tensor in model.graph.initializer
        if tensor.name in moved.values
    }
    uses = usages(model.graph, {name: array.shape for name, array in moved.values.items()})
    weights = tuple(
        Weight(
            tensor,
            types[tensor],
            moved.values[tensor],
            # Integers are indices, or codes of a model that is quantized already.
            use.role if types[tensor] in FLOATS else Role.CONSTANT,
            use.ops,
            use.nodes,
            use.axis,
        )
        for tensor, use in uses.items()
    )
    if not weights:
        raise ModelFileError(f"{read.label} has no weights to compress")
    for weight in weights:
        _check_finite(weight, read.label)
    kept = tuple(
        Kept(label, _type_name(tensor), tuple(tensor.dims), reason)
        for label, (tensor, reason) in moved.stays.items()
    )
    return Graph(name, skeleton, weights, kept, read.sha256, read.bytes + external_bytes)


def _external_bytes(model: ModelProto) -> int:
    """Bytes of external data that the model's initializers say they use."""
    total = 0
    for graph in (model.graph, *nested_graphs(model.graph)):
        for tensor in filter(is_external, graph.initializer):
            length = next((e.value for e in tensor.external_data if e.key == "length"), "0")
            total += int(length) if length.isascii() and length.isdigit() else 0
    return total


def _refuse_remaining_external(model: ModelProto, label: str) -> None:
    """Nothing but the weights may lie outside the skeleton."""
    for graph in nested_graphs(model.graph):
        for tensor in filter(is_external, graph.initializer):
            raise ModelFileError(
                f"{label}: tensor {tensor.name} of a subgraph lies in another file and is an "
                "output of it; save the model as one file first"
            )


def _check_finite(weight: Weight, label: str) -> None:
    if weight.role is Role.CONSTANT:
        return
    flat = weight.values.reshape(-1) if not weight.is_constant else weight.values.reshape(-1)[:1]
    for start in range(0, flat.size, 1 << 20):
        block = flat[start : start + (1 << 20)]
        if weight.dtype == "bfloat16":
            finite = bool(np.all((block & 0x7F80) != 0x7F80))
        else:
            # Arithmetic is done in float32: a larger float64 counts as infinite.
            with np.errstate(over="ignore"):
                finite = bool(np.isfinite(block.astype(np.float32, copy=False)).all())
        if not finite:
            raise ModelFileError(
                f"{label}: tensor {weight.name} has values that are NaN or infinite; "
                "the model is broken before compression"
            )


def _type_name(tensor: TensorProto) -> str:
    known = DTYPE_NAMES.get(tensor.data_type)
    return known or str(TensorProto.DataType.Name(tensor.data_type)).lower()
