"""Running two forms of one model on the same inputs, with the layers between them in view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto, helper

from edgekit.compress.answers import one_output
from edgekit.errors import DataError
from edgekit.graph import load_graph
from edgekit.packfile import open_packfile
from edgekit.packfile.activations import read_activations
from edgekit.packfile.onnx_model import to_model_proto
from edgekit.packfile.qdq import int8_model
from edgekit.runtime.parity import Difference, difference
from edgekit.runtime.session import Source, is_packed, make_session, read_source, session_options

_BATCH = 50
_LAYER_INPUTS = 8
"""Inputs whose layers are compared: the values of every layer are held at once."""

_NUMPY_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(bool)": np.bool_,
}

_FLOATS = {"tensor(float)", "tensor(float16)", "tensor(double)"}

Feed = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A model ready to run, and what its weights are.

    weights: by name, as numbers (bfloat16 as float32). proto: the whole model, with its weights
    inside.
    """

    proto: ModelProto
    weights: dict[str, NDArray[Any]]
    session: ort.InferenceSession


def open_model(source: Source, threads: int | None) -> Model:
    """A packed or plain model. Raises InputError, FormatError and ModelFileError."""
    data = read_source(source)
    if is_packed(data):
        packed = open_packfile(data)
        proto = to_model_proto(packed.model())
        weights = {
            name: _widened(array, record.restored.name.lower())
            for record, (name, array) in zip(packed.records, packed.weights().items(), strict=True)
        }
    else:
        graph = load_graph(bytes(data) if isinstance(source, memoryview | bytearray) else source)
        proto = graph.model()
        weights = {weight.name: _widened(weight.values, weight.dtype) for weight in graph.weights}
    return Model(proto, weights, _session(proto, threads))


def open_int8(source: Source, threads: int | None) -> Model | None:
    """The int8 run form of a packed file, or None where it has none; its weights aren't compared.

    Raises InputError, FormatError and ModelFileError.
    """
    packed = open_packfile(read_source(source))
    if read_activations(packed.manifest) is None:
        return None
    proto = to_model_proto(int8_model(packed))
    return Model(proto, {}, _session(proto, threads))


def feeds(model: Model, inputs: NDArray[np.float32]) -> list[Feed]:
    """Inputs of the model's one input in batches that it takes.

    Raises DataError for a model with several inputs, and for too few inputs.
    """
    first, *others = model.session.get_inputs()
    if others:
        names = ", ".join(value.name for value in others)
        raise DataError(
            f"the data fill the input {first.name}, but the model also takes {names}; "
            "verify it without --data, on random inputs"
        )
    is_fixed = bool(first.shape) and isinstance(first.shape[0], int)
    size = first.shape[0] if is_fixed else _BATCH
    whole = len(inputs) - (len(inputs) % size if is_fixed else 0)
    if not whole:
        raise DataError(
            f"the model takes batches of {size}, but the data hold {len(inputs)} inputs"
        )
    dtype = np.dtype(_NUMPY_TYPES.get(first.type, np.float32))
    typed: NDArray[Any] = inputs[:whole].astype(dtype, copy=False)
    return [{first.name: typed[start : start + size]} for start in range(0, whole, size)]


def random_feed(model: Model, count: int, rng: np.random.Generator) -> list[Feed]:
    """`count` inputs of normal numbers (integers: 0 or 1) for every input of the model.

    Sizes that the model leaves open are 1, but for the first, which is the batch.
    """
    feed: Feed = {}
    for value in model.session.get_inputs():
        shape = [
            size if isinstance(size, int) and size > 0 else (count if axis == 0 else 1)
            for axis, size in enumerate(value.shape)
        ]
        dtype = np.dtype(_NUMPY_TYPES.get(value.type, np.float32))
        numbers = rng.standard_normal(shape) if dtype.kind == "f" else rng.integers(0, 2, shape)
        feed[value.name] = numbers.astype(dtype)
    return [feed]


def outputs(model: Model, batches: Sequence[Feed]) -> dict[str, NDArray[Any]]:
    """The model's first output and all floating-point ones, by name, for all batches.

    One batch's are as they are, a scalar as one row; those of several are joined as
    edgekit.compress.answers.one_output says.
    """
    first, *others = model.session.get_outputs()
    names = [first.name, *(value.name for value in others if value.type in _FLOATS)]
    parts = [_run(model.session, names, feed) for feed in batches]
    if len(parts) == 1:
        return {name: np.atleast_1d(part) for name, part in zip(names, parts[0], strict=True)}
    counts = [len(next(iter(feed.values()))) for feed in batches]
    return {
        name: one_output([part[place] for part in parts], counts)
        for place, name in enumerate(names)
    }


def layer_differences(
    reference: Model, other: Model, feed: Feed, threads: int | None
) -> tuple[Difference, ...]:
    """Differences of what every node that both models have puts out, in graph order.

    At most 8 inputs of the feed are used where its batch can be cut.
    """
    first = reference.session.get_inputs()[0]
    fixed = bool(first.shape) and isinstance(first.shape[0], int)
    cut = feed if fixed or len(feed) > 1 else {k: v[:_LAYER_INPUTS] for k, v in feed.items()}
    shared = set(_inner_names(other.proto))
    names = [name for name in _inner_names(reference.proto) if name in shared]
    found = []
    left = _run(_session(_exposed(reference.proto, names), threads), names, cut)
    right = _run(_session(_exposed(other.proto, names), threads), names, cut)
    for name, expected, answer in zip(names, left, right, strict=True):
        if expected.dtype.kind == "f" and expected.shape == answer.shape:
            found.append(difference(name, expected, answer))
    return tuple(found)


def _widened(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Weights as numbers: bfloat16 travels as 16-bit patterns."""
    if dtype != "bfloat16":
        return values
    widened: NDArray[Any] = (values.astype(np.uint32) << 16).view(np.float32)
    return widened


def _inner_names(model: ModelProto) -> list[str]:
    return [name for node in model.graph.node for name in node.output if name]


def _exposed(model: ModelProto, names: Sequence[str]) -> ModelProto:
    exposed = ModelProto()
    exposed.CopyFrom(model)
    present = {value.name for value in model.graph.output}
    exposed.graph.output.extend(
        helper.make_empty_tensor_value_info(name) for name in names if name not in present
    )
    return exposed


def _session(model: ModelProto, threads: int | None) -> ort.InferenceSession:
    options = session_options(threads)
    return make_session(model.SerializeToString(), options, ["CPUExecutionProvider"])


def _run(session: ort.InferenceSession, names: Sequence[str], feed: Feed) -> list[NDArray[Any]]:
    try:
        found: list[NDArray[Any]] = session.run(list(names), feed)
    except Exception as error:
        # onnxruntime's exceptions have no common base of their own.
        shapes = ", ".join(f"{name} {array.shape}" for name, array in feed.items())
        raise DataError(f"the model refuses inputs {shapes}: {error}") from error
    return found
