"""What a model is fed: the shapes and types of its inputs, and which of them hold samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx


def input_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Shape of each input by name, 0 where a size is open; initializers aren't inputs."""
    return {value.name: shape_of(value) for value in _inputs(model)}


def input_types(model: onnx.ModelProto) -> dict[str, np.dtype[Any]]:
    """Type of each input's numbers by name; that of Python's objects where it holds none."""
    found = {}
    for value in _inputs(model):
        element = value.type.tensor_type.elem_type
        found[value.name] = (
            onnx.helper.tensor_dtype_to_np_dtype(element) if element else np.dtype(object)
        )
    return found


def sample_inputs(model: onnx.ModelProto) -> tuple[tuple[str, ...], int]:
    """Inputs with a sample in each row, and how many rows they take at once; 0 where that is open.

    The first input that has axes counts the samples, and so do all others but those of another
    fixed number of rows.
    """
    rows = {
        value.name: (*shape_of(value), 0)[0]
        for value in _inputs(model)
        # A shape that isn't told may have axes.
        if shape_of(value) or not value.type.tensor_type.HasField("shape")
    }
    batch = next(iter(rows.values()), 0)
    return tuple(name for name, size in rows.items() if size in {0, batch}), batch


def shape_of(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    """Sizes of a value, 0 where one is open."""
    return tuple(
        size.dim_value if size.HasField("dim_value") else 0
        for size in value.type.tensor_type.shape.dim
    )


def _inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    initializers = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in initializers]
