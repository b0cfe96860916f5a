"""How a packed model's pictures become inputs, by its manifest or by what the caller names."""

from __future__ import annotations

import os

from google.protobuf.message import DecodeError
from onnx import ModelProto

from edgekit.errors import CorruptError
from edgekit.graph.inputs import input_shapes, shape_of
from edgekit.packfile.preprocessing import recorded_preprocess
from edgekit.packfile.reader import PackedModel
from edgekit.preprocess import Preprocess, make_preprocess


def packed_preprocess(
    packed: PackedModel, spec: str | os.PathLike[str] | None = None
) -> Preprocess | None:
    """What `spec` names (edgekit.preprocess.make_preprocess), else what the manifest says.

    None where neither says anything. Raises DataError for a `spec` that can't be used, and
    CorruptError for a manifest's.
    """
    if spec is not None:
        return make_preprocess(spec, first_input_shape(packed))
    return recorded_preprocess(packed.manifest)


def first_input_shape(packed: PackedModel) -> tuple[int, ...]:
    """Shape of the model's first input, 0 where a size is open; () for a file without a model."""
    return next(iter(input_shapes(_graph(packed)).values()), ())


def output_shape(packed: PackedModel) -> tuple[int, ...]:
    """Shape of the model's first output, likewise."""
    return next((shape_of(value) for value in _graph(packed).graph.output), ())


def _graph(packed: PackedModel) -> ModelProto:
    model = ModelProto()
    try:
        model.ParseFromString(packed.skeleton)
    except DecodeError as error:
        raise CorruptError("the skeleton isn't an ONNX model") from error
    return model
