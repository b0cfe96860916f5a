"""Shapes and element sizes of every value of a model at batch 1, as far as onnx can infer them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx
from onnx import ModelProto, TensorProto, ValueInfoProto

from edgekit.errors import UsageError

Shape = tuple[int | None, ...]

_FOUR_BITS = {TensorProto.INT4, TensorProto.UINT4}


@dataclass(frozen=True, slots=True)
class Value:
    """shape: None for a size that stays open. dtype: number of onnx's TensorProto.DataType."""

    shape: Shape
    dtype: int

    @property
    def bytes(self) -> int | None:
        """What its elements take; None where a size is open or the type has no fixed size."""
        count = 1
        for size in self.shape:
            if size is None:
                return None
            count *= size
        if self.dtype in _FOUR_BITS:
            return (count + 1) // 2
        try:
            return count * int(onnx.helper.tensor_dtype_to_np_dtype(self.dtype).itemsize)
        except KeyError:
            return None


def value_shapes(
    model: ModelProto, input_shapes: Mapping[str, tuple[int, ...]] | None = None
) -> dict[str, Value]:
    """Every value of the main graph that onnx can infer, by name. Changes `model`.

    input_shapes: of inputs by name, where the graph leaves sizes open; open first sizes become 1.
    Raises UsageError for an input that the graph doesn't have.
    """
    given = input_shapes or {}
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = {value.name: value for value in model.graph.input if value.name not in weights}
    for name in given:
        if name not in inputs:
            raise UsageError(f"the model has no input {name}; it has {', '.join(inputs)}")
    for name, value in inputs.items():
        for position, size in enumerate(value.type.tensor_type.shape.dim):
            if name in given and position < len(given[name]):
                size.dim_value = given[name][position]
            # Some converters write an open size as -1.
            elif position == 0 and size.dim_value < 1:
                size.dim_value = 1
    # Shapes written by an exporter name the open batch, and would win over the inferred ones.
    del model.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    return {
        value.name: _value(value)
        for value in (*inferred.value_info, *inferred.input, *inferred.output)
        if value.type.tensor_type.HasField("shape")
    }


def _value(value: ValueInfoProto) -> Value:
    tensor = value.type.tensor_type
    shape = tuple(
        size.dim_value if size.HasField("dim_value") and size.dim_value >= 0 else None
        for size in tensor.shape.dim
    )
    return Value(shape, tensor.elem_type)
