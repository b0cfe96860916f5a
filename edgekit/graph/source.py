"""Reading ONNX files: from bytes to a parsed model whose broken rules are one-line errors."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto, helper

from edgekit.errors import ModelFileError

_PACKED_MAGIC = b"\x89EKP"


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A parsed ONNX file.

    model: as it lies in the file; external tensors aren't read.
    label: what errors call it. folder: where external data may lie; None for a model from bytes.
    sha256, bytes: of the file itself.
    """

    model: ModelProto
    label: str
    folder: Path | None
    sha256: str
    bytes: int


def read_model(source: str | os.PathLike[str] | bytes) -> Source:
    """Parse an ONNX file, given by path or as bytes. Raises ModelFileError."""
    if isinstance(source, bytes):
        data, label, folder = source, "the model", None
    else:
        path = Path(source)
        label, folder = str(path), path.parent
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ModelFileError(f"can't read {path}: {error.strerror or error}") from error
    if data.startswith(_PACKED_MAGIC):
        raise ModelFileError(
            f"{label} is a packed file already; `edgekit decompress` turns it back into ONNX"
        )
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise ModelFileError(f"{label} isn't an ONNX model, or is cut short") from error
    if not model.HasField("graph") or not model.opset_import:
        raise ModelFileError(f"{label} isn't an ONNX model: it has no graph or no operator set")
    return Source(model, label, folder, hashlib.sha256(data).hexdigest(), len(data))


def check_model(model: ModelProto, label: str) -> None:
    """Hold a model to the rules of ONNX. Raises ModelFileError with the first broken one.

    Initializers without data count as inputs of their type and shape, so that onnx looks for no
    file; load_graph has compared their sizes with their data.
    """
    light = ModelProto()
    light.CopyFrom(model)
    graph = light.graph
    inputs = {value.name for value in graph.input}
    empty = [tensor for tensor in graph.initializer if is_external(tensor)]
    held = [tensor for tensor in graph.initializer if not is_external(tensor)]
    graph.input.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in empty
        if tensor.name not in inputs
    )
    del graph.initializer[:]
    graph.initializer.extend(held)
    try:
        onnx.checker.check_model(light)
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise ModelFileError(f"{label} breaks the rules of ONNX: {reason}") from error


def is_external(tensor: TensorProto) -> bool:
    """Whether a tensor's data lies outside the model."""
    return bool(tensor.data_location == TensorProto.EXTERNAL)
