"""The numbers of a TensorProto, wherever they lie, as an array of exactly its shape."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from edgekit.errors import ModelFileError
from edgekit.graph.source import is_external

DTYPE_NAMES: dict[int, str] = {
    TensorProto.FLOAT: "float32",
    TensorProto.FLOAT16: "float16",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.DOUBLE: "float64",
    TensorProto.INT8: "int8",
    TensorProto.UINT8: "uint8",
    TensorProto.INT32: "int32",
    TensorProto.INT64: "int64",
}
"""ONNX element types that a packed file can hold, by the names of edgekit.tensors.DTYPES."""

FLOATS = frozenset({"float32", "float16", "bfloat16", "float64"})


def element_count(tensor: TensorProto, label: str) -> int:
    """The product of a tensor's sizes. Raises ModelFileError for a size below 0."""
    if any(size < 0 for size in tensor.dims):
        raise ModelFileError(f"{label}: tensor {tensor.name} has a size below 0")
    return math.prod(tensor.dims)


def read_elements(tensor: TensorProto, folder: Path | None, label: str) -> NDArray[Any]:
    """The numbers of a tensor in its shape and type; bfloat16 as 16-bit patterns in uint16.

    External data stay on the disk until they are used. Raises ModelFileError where their length
    isn't what shape and type say, and where a file is missing or outside `folder`.
    """
    name = DTYPE_NAMES[tensor.data_type]
    dtype = np.dtype(np.uint16 if name == "bfloat16" else name).newbyteorder("<")
    expected = element_count(tensor, label) * dtype.itemsize
    shape = tuple(tensor.dims)
    if is_external(tensor):
        return _external(tensor, dtype, folder, label)
    if tensor.HasField("raw_data"):
        data = tensor.raw_data
        if len(data) != expected:
            raise ModelFileError(
                f"{label}: tensor {tensor.name} of shape {shape} needs {expected:,} bytes of "
                f"{name}, but has {len(data):,}"
            )
        return np.frombuffer(data, dtype).reshape(shape)
    try:
        values = numpy_helper.to_array(tensor)
    except (ValueError, TypeError) as error:
        raise ModelFileError(
            f"{label}: the data of tensor {tensor.name} don't fit its shape {shape}"
        ) from error
    return values.view(np.uint16) if name == "bfloat16" else values


def _external(
    tensor: TensorProto, dtype: np.dtype[Any], folder: Path | None, label: str
) -> NDArray[Any]:
    """A view of external data. Their path must stay inside the folder of the model."""
    if folder is None:
        raise ModelFileError(
            f"tensor {tensor.name} lies in another file; give the model's path, not its bytes"
        )
    entries = {entry.key: entry.value for entry in tensor.external_data}
    root = folder.resolve()
    path = (root / entries.get("location", "")).resolve()
    if not path.is_relative_to(root) or path == root:
        raise ModelFileError(
            f"{label}: tensor {tensor.name} asks for {entries.get('location', 'no file')!r}, "
            "which isn't inside the model's folder"
        )
    expected = element_count(tensor, label) * dtype.itemsize
    try:
        offset = int(entries.get("offset", "0"))
        length = int(entries.get("length", str(expected)))
        available = path.stat().st_size
    except ValueError as error:
        raise ModelFileError(
            f"{label}: tensor {tensor.name} has an offset or length that isn't a number"
        ) from error
    except OSError as error:
        raise ModelFileError(
            f"{label}: the data of tensor {tensor.name} are missing: can't read {path.name}: "
            f"{error.strerror}"
        ) from error
    if length != expected or offset < 0 or offset + length > available:
        raise ModelFileError(
            f"{label}: tensor {tensor.name} needs {expected:,} bytes at {offset:,} of {path.name}, "
            f"but it has {available:,} bytes and the model says {length:,}"
        )
    if expected == 0:
        return np.empty(tuple(tensor.dims), dtype)
    return np.memmap(path, dtype, "r", offset, tuple(tensor.dims))
