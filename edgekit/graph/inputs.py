"""What a model is fed: the shapes and types of its inputs."""

from __future__ import annotations

import onnx


def input_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Shape of each input by name, 0 where a size is open; initializers aren't inputs."""
    return {value.name: shape_of(value) for value in _inputs(model)}


def input_types(model: onnx.ModelProto) -> dict[str, int]:
    """Element type of each input by name, as ONNX numbers them; initializers aren't inputs."""
    return {value.name: value.type.tensor_type.elem_type for value in _inputs(model)}


def shape_of(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    """Sizes of a value, 0 where one is open."""
    return tuple(
        size.dim_value if size.HasField("dim_value") else 0
        for size in value.type.tensor_type.shape.dim
    )


def _inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    initializers = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in initializers]
