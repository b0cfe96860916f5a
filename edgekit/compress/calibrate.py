"""Running a model with any weights on calibration inputs: outputs, and what its layers see."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from edgekit.compress.answers import Answers, one_output
from edgekit.errors import DataError, ModelFileError
from edgekit.graph import Graph
from edgekit.graph.layers import Layer

_BATCH, _BATCH_ELEMENTS = 10, 2**19
"""Inputs that are run at once, and the numbers they may have together: the values of all layers
are held for that long."""
_FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16}
_POSITIONS = 96
"""Patches taken from one input of a convolution: neighbouring ones say the same again."""


class Probe:
    """A model whose weights can be exchanged, run batch by batch.

    graph: the model. inputs: (N, ...) float32 calibration inputs of its one data input.
    Raises DataError where the inputs don't fit the model.
    """

    def __init__(self, graph: Graph, inputs: NDArray[np.float32], *, threads: int = 2) -> None:
        self.model = graph.empty_model()
        self._weights = {weight.name: weight.values for weight in graph.weights}
        self._bfloat16 = {weight.name for weight in graph.weights if weight.dtype == "bfloat16"}
        self._threads = threads
        initializers = {tensor.name for tensor in self.model.graph.initializer}
        fed = [value for value in self.model.graph.input if value.name not in initializers]
        if len(fed) != 1:
            raise DataError(
                f"calibration needs a model with one input, this one has {len(fed)}; "
                "compress it with --bits alone"
            )
        self.input_name = fed[0].name
        self.output_names = _float_outputs(self.model)
        first = fed[0].type.tensor_type.shape.dim[0:1]
        fixed = first[0].dim_value if first and first[0].HasField("dim_value") else 0
        self._fixed = fixed
        self.inputs = inputs
        self.batches(inputs)

    def outputs(
        self,
        weights: Mapping[str, NDArray[Any]] | None = None,
        inputs: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """The first of the answers: what classes are read from."""
        return self.answers(weights, inputs)[0]

    def answers(
        self,
        weights: Mapping[str, NDArray[Any]] | None = None,
        inputs: NDArray[np.float32] | None = None,
    ) -> Answers:
        """The model's outputs for all inputs, with some weights exchanged.

        Those of floating-point numbers; the first one where there are none.
        """
        batches = list(self.values([], weights, inputs))
        counts = [len(values[self.input_name]) for values in batches]
        return tuple(
            one_output([values[name] for values in batches], counts) for name in self.output_names
        )

    def values(
        self,
        names: Sequence[str],
        weights: Mapping[str, NDArray[Any]] | None = None,
        inputs: NDArray[np.float32] | None = None,
    ) -> Iterator[dict[str, NDArray[Any]]]:
        """For each batch, the values of these names inside the model and its outputs."""
        inner = [name for name in dict.fromkeys(names) if name != self.input_name]
        session = self.session(self._with_outputs(inner), weights or {})
        wanted = list(dict.fromkeys([*inner, *self.output_names]))
        data = self.inputs if inputs is None else inputs
        for batch in self.batches(data):
            try:
                found = session.run(wanted, {self.input_name: batch})
            except Exception as error:
                # onnxruntime's exceptions have no common base of their own.
                raise DataError(
                    f"the model refuses calibration inputs of shape {batch.shape}: {error}"
                ) from error
            yield {self.input_name: batch, **dict(zip(wanted, found, strict=True))}

    def runner(self) -> Callable[[], object]:
        """A function that runs the first input alone, in a session that stays open."""
        session = self.session(self.model, {})
        feed = {self.input_name: np.ascontiguousarray(self.inputs[: self._fixed or 1])}
        return lambda: session.run(list(self.output_names), feed)

    def batches(self, inputs: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Inputs cut into the batches that the model is run on.

        What doesn't fill a batch of a fixed size is left out. Raises DataError where none is left.
        """
        size = self._fixed or max(1, min(_BATCH, _BATCH_ELEMENTS // max(1, inputs[:1].size)))
        whole = len(inputs) - (len(inputs) % size if self._fixed else 0)
        if not whole:
            raise DataError(
                f"the model wants batches of {size}, but there are {len(inputs)} inputs"
            )
        return [inputs[start : min(start + size, whole)] for start in range(0, whole, size)]

    def session(
        self, model: ModelProto, weights: Mapping[str, NDArray[Any]]
    ) -> ort.InferenceSession:
        """A session of the model or a part of it, with some weights exchanged.

        model: whose initializers without data are the probe's.
        """
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        # What fails is raised; onnxruntime needn't print it too.
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        wanted = {tensor.name for tensor in model.graph.initializer}
        given = {**self._weights, **weights}
        numbers = {name: array for name, array in given.items() if name in wanted}
        kept = [self._value(name, array) for name, array in numbers.items()]
        options.add_external_initializers(list(numbers), kept)
        try:
            session = ort.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            # onnxruntime's exceptions have no common base of their own.
            raise ModelFileError(f"onnxruntime can't run this model: {error}") from error
        # onnxruntime doesn't copy them.
        session.edgekit_weights = kept
        return session

    def _with_outputs(self, names: Sequence[str]) -> ModelProto:
        """The model with values inside it among its outputs."""
        if not names:
            return self.model
        model = ModelProto()
        model.CopyFrom(self.model)
        present = {value.name for value in model.graph.output}
        model.graph.output.extend(
            helper.make_empty_tensor_value_info(name) for name in names if name not in present
        )
        return model

    def _value(self, name: str, array: NDArray[Any]) -> Any:
        # Unlike ascontiguousarray, this leaves a scalar without axes.
        array = np.asarray(array, order="C")
        if name in self._bfloat16:
            return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array, 16)
        return ort.OrtValue.ortvalue_from_numpy(array)


def _float_outputs(model: ModelProto) -> tuple[str, ...]:
    names = tuple(
        value.name for value in model.graph.output if value.type.tensor_type.elem_type in _FLOATS
    )
    return names or (model.graph.output[0].name,)


@dataclass(frozen=True, slots=True, eq=False)
class LayerStatistics:
    """What a layer sees over the calibration inputs.

    mean: (channels,) float64, the mean of each input channel over inputs and positions.
    hessian: (inputs, inputs) float64, the sum of x x^T over sampled patches; (groups, inputs,
        inputs) for a convolution in groups, each of which sees channels of its own; None where
        the layer has no patches.
    elements: numbers that flow into the layer for one input. inputs: how many inputs were seen.
    """

    mean: NDArray[np.float64]
    hessian: NDArray[np.float64] | None
    elements: int = 0
    inputs: int = 0


def layer_statistics(
    probe: Probe,
    layers: Sequence[Layer],
    shapes: Mapping[str, tuple[int, ...]],
    rng: np.random.Generator,
    inputs: NDArray[np.float32] | None = None,
) -> dict[str, LayerStatistics]:
    """Statistics of all layers by weight name, gathered batch by batch in one pass.

    shapes: of the weights, by name. rng: chooses the positions that patches are taken from.
    inputs: in place of the probe's own.
    """
    means: dict[str, NDArray[np.float64]] = {}
    hessians: dict[str, NDArray[np.float64]] = {}
    elements: dict[str, int] = {}
    seen = 0
    for values in probe.values([layer.source for layer in layers], inputs=inputs):
        count = len(values[probe.input_name])
        seen += count
        for layer in layers:
            source = np.asarray(values[layer.source], np.float32)
            elements[layer.weight] = source.size // count
            # Positions may be folded into the first axis, so its length isn't the inputs'.
            sums = channel_means(layer, source).sum(axis=0, dtype=np.float64)
            sums *= count / len(source)
            means[layer.weight] = means.get(layer.weight, np.zeros_like(sums)) + sums
            rows = group_patches(layer, source, shapes[layer.weight], rng)
            if rows is not None:
                product = np.asarray(rows.swapaxes(-1, -2) @ rows, np.float64)
                previous = hessians.get(layer.weight)
                hessians[layer.weight] = product if previous is None else previous + product
    return {
        layer.weight: LayerStatistics(
            means[layer.weight] / seen, hessians.get(layer.weight), elements[layer.weight], seen
        )
        for layer in layers
    }


def joined(
    first: Mapping[str, LayerStatistics], second: Mapping[str, LayerStatistics]
) -> dict[str, LayerStatistics]:
    """Statistics of the inputs of both together."""
    return {name: _joined(found, second[name]) for name, found in first.items()}


def _joined(first: LayerStatistics, second: LayerStatistics) -> LayerStatistics:
    inputs = first.inputs + second.inputs
    mean = (first.inputs * first.mean + second.inputs * second.mean) / inputs
    hessian = None
    if first.hessian is not None and second.hessian is not None:
        hessian = first.hessian + second.hessian
    return LayerStatistics(mean, hessian, first.elements, inputs)


def blend_hessians(
    found: Mapping[str, LayerStatistics], other: Mapping[str, LayerStatistics], share: float
) -> dict[str, LayerStatistics]:
    """`found` with a share of the other Hessians in its own; means stay.

    share: of the other in the blend, 0 to 1, both taken at the same mean diagonal.
    """
    return {
        name: replace(own, hessian=_blended(own.hessian, other[name].hessian, share))
        for name, own in found.items()
    }


def _blended(
    own: NDArray[np.float64] | None, other: NDArray[np.float64] | None, share: float
) -> NDArray[np.float64] | None:
    if own is None or other is None:
        return own
    size, others = (np.trace(part, axis1=-2, axis2=-1).sum() for part in (own, other))
    if not (size > 0 and others > 0):
        return own
    return np.asarray((1 - share) * own + share * (size / others) * other)


def channel_means(layer: Layer, source: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of each channel of each input: (N, channels)."""
    if layer.op == "Conv":
        means = np.mean(source.reshape(*source.shape[:2], -1), axis=2)
    else:
        means = np.mean(source.reshape(len(source), -1, source.shape[-1]), axis=1)
    return np.asarray(means, np.float32)


def patches(
    layer: Layer,
    source: NDArray[np.float32],
    shape: tuple[int, ...],
    rng: np.random.Generator,
) -> NDArray[np.float32] | None:
    """Sampled input patches (samples, inputs of a filter) in the order of `Layer.filters`.

    None where they can't be cut, and for a convolution in groups, whose filters see several.
    """
    return group_patches(layer, source, shape, rng) if layer.mixes_channels else None


def group_patches(
    layer: Layer,
    source: NDArray[np.float32],
    shape: tuple[int, ...],
    rng: np.random.Generator,
) -> NDArray[np.float32] | None:
    """The same as `patches`, and (groups, samples, inputs of a filter) in groups."""
    if layer.op != "Conv":
        rows = source.reshape(-1, source.shape[-1])
        limit = _POSITIONS * len(source)
        if len(rows) > limit:
            rows = rows[rng.choice(len(rows), limit, replace=False)]
        return rows
    if layer.strides is None:
        return None
    top, left, bottom, right = layer.pads
    padded = np.pad(source, ((0, 0), (0, 0), (top, bottom), (left, right)))
    reach = [(size - 1) * step + 1 for size, step in zip(shape[2:], layer.dilations, strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, (2, 3))
    windows = windows[
        :, :, :: layer.strides[0], :: layer.strides[1], :: layer.dilations[0], :: layer.dilations[1]
    ]
    height, width = windows.shape[2:4]
    chosen = rng.choice(height * width, min(_POSITIONS, height * width), replace=False)
    # (N, groups * C, positions, kh, kw) -> (groups, N * positions, C * kh * kw)
    taken = windows[:, :, chosen // width, chosen % width]
    taken = taken.reshape(len(source), layer.groups, shape[1], len(chosen), *shape[2:])
    grouped = taken.transpose(1, 0, 3, 2, 4, 5).reshape(layer.groups, -1, math.prod(shape[1:]))
    return grouped[0] if layer.mixes_channels else grouped
