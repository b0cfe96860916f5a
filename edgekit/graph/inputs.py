"""What a model is fed: the shapes of its inputs."""

from __future__ import annotations

import onnx


def input_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Shape of each input by name, 0 where a size is open; initializers aren't inputs."""
    initializers = {tensor.name for tensor in model.graph.initializer}
    return {
        value.name: shape_of(value) for value in model.graph.input if value.name not in initializers
    }


def shape_of(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    """Sizes of a value, 0 where one is open."""
    return tuple(
        size.dim_value if size.HasField("dim_value") else 0
        for size in value.type.tensor_type.shape.dim
    )
