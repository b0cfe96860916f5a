"""From a packed file to a plain ONNX model, in either run form."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any, get_args

import numpy as np
from google.protobuf.message import (
    DecodeError,
    EncodeError,
)
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from edgekit.errors import CorruptError, OutputError, UsageError
from edgekit.files import check_apart, write_atomic
from edgekit.packfile.activations import RunForm
from edgekit.packfile.qdq import int8_model
from edgekit.packfile.reader import Source, open_packfile
from edgekit.tensors import CompressedModel, dequantize

_Restored = tuple[str, str, NDArray[Any]]
"""Name, restored type and restored weights of one tensor; bfloat16 as uint16 patterns."""


def to_model_proto(compressed: CompressedModel) -> ModelProto:
    """The ONNX model with its restored weights in place.

    Raises CorruptError where skeleton and tensors disagree about names, shapes or types.
    """
    return _fill(
        compressed.skeleton,
        ((tensor.name, tensor.dtype, dequantize(tensor)) for tensor in compressed.tensors),
    )


def decompress(
    source: Source, output: str | os.PathLike[str], *, run_as: RunForm = "float"
) -> None:
    """Write the plain ONNX model of a packed file to `output`.

    source: a path, or the bytes of the file. run_as: "float" restores the weights, "int8" gives
    the graph of the int8 run form, whose weights are the packed codes. Raises InputError, the
    FormatError of the rule that the file breaks, UsageError for a form that it doesn't have, and
    OutputError.
    """
    if run_as not in get_args(RunForm):
        raise UsageError(f"run_as must be {' or '.join(get_args(RunForm))}, got {run_as!r}")
    check_apart([output], [source])
    packed = open_packfile(source)
    if run_as == "int8":
        model = to_model_proto(int8_model(packed))
    else:
        weights = packed.weights()
        model = _fill(
            packed.skeleton,
            (
                (name, record.restored.name.lower(), weights[name])
                for name, record in zip(packed.names, packed.records, strict=True)
            ),
        )
    try:
        data = model.SerializeToString(deterministic=True)
    except (EncodeError, ValueError) as error:
        raise OutputError(
            f"can't write {os.fspath(output)}: an ONNX file holds at most 2 GiB"
        ) from error
    write_atomic(output, data)


def _fill(skeleton: bytes, tensors: Iterable[_Restored]) -> ModelProto:
    model = ModelProto()
    try:
        model.ParseFromString(skeleton)
    except DecodeError as error:
        raise CorruptError("the skeleton isn't an ONNX model") from error
    if not all(node.op_type for node in _nodes(model)):
        raise CorruptError("a node of the skeleton has no operator")
    empty = _external_initializers(model)
    for name, dtype, weights in tensors:
        initializer = empty.pop(name, None)
        if initializer is None:
            raise CorruptError(f"the skeleton has no empty initializer for the tensor {name}")
        _check(initializer, dtype, weights.shape)
        initializer.ClearField("external_data")
        initializer.ClearField("data_location")
        little = weights.dtype.newbyteorder("<")
        initializer.raw_data = np.ascontiguousarray(weights, little).tobytes()
    if empty:
        raise CorruptError(f"the file has no weights for the initializer {min(empty)}")
    return model


_ONNX_NAMES = {"float32": "FLOAT", "float64": "DOUBLE"}
"""ONNX's names where they aren't the upper case of ours."""


def _check(initializer: TensorProto, dtype: str, shape: tuple[int, ...]) -> None:
    expected = TensorProto.DataType.Value(_ONNX_NAMES.get(dtype, dtype.upper()))
    if initializer.data_type != expected or tuple(initializer.dims) != shape:
        raise CorruptError(
            f"the tensor {initializer.name} is {dtype} {shape} in the file, but "
            f"{TensorProto.DataType.Name(initializer.data_type)} {tuple(initializer.dims)} in the "
            "skeleton"
        )


def _external_initializers(model: ModelProto) -> dict[str, TensorProto]:
    """The skeleton's initializers without data, of subgraphs too, by name.

    Any other tensor that claims to lie outside the model is refused: it would make a reader open
    a file of the skeleton's choice.
    """
    found: dict[str, TensorProto] = {}
    for graph in _graphs(model):
        for initializer in graph.initializer:
            if initializer.data_location != TensorProto.EXTERNAL:
                continue
            if initializer.name in found:
                raise CorruptError(f"the skeleton has two initializers {initializer.name}")
            found[initializer.name] = initializer
    for tensor in _other_tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL:
            raise CorruptError("a tensor of the skeleton that isn't an initializer has no data")
    return found


def _graphs(model: ModelProto) -> Iterator[GraphProto]:
    yield model.graph
    for node in _nodes(model):
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield attribute.g
            yield from attribute.graphs


def _nodes(model: ModelProto) -> Iterator[NodeProto]:
    """All nodes, of functions and subgraphs too."""
    waiting = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    while waiting:
        node = waiting.pop()
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                waiting += attribute.g.node
            for graph in attribute.graphs:
                waiting += graph.node


def _other_tensors(model: ModelProto) -> Iterator[TensorProto]:
    """All tensors that aren't plain initializers."""
    for graph in _graphs(model):
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in _nodes(model):
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
