"""Running a model with any weights on calibration inputs: outputs, and what its layers see."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto, helper

from edgekit.errors import DataError, ModelFileError
from edgekit.graph import Graph
from edgekit.graph.layers import Layer

_BATCH = 10
_POSITIONS = 96
"""Patches taken from one input of a convolution: neighbouring ones say the same again."""


class Probe:
    """A model whose weights can be exchanged, run batch by batch.

    graph: the model. inputs: (N, ...) float32 calibration inputs of its one data input.
    Raises DataError where the inputs don't fit the model.
    """

    def __init__(self, graph: Graph, inputs: NDArray[np.float32], *, threads: int = 2) -> None:
        self._model = graph.empty_model()
        self._weights = {weight.name: weight.values for weight in graph.weights}
        self._bfloat16 = {weight.name for weight in graph.weights if weight.dtype == "bfloat16"}
        self._threads = threads
        initializers = {tensor.name for tensor in self._model.graph.initializer}
        fed = [value for value in self._model.graph.input if value.name not in initializers]
        if len(fed) != 1:
            raise DataError(
                f"calibration needs a model with one input, this one has {len(fed)}; "
                "compress it with --bits alone"
            )
        self.input_name = fed[0].name
        self.output_name = self._model.graph.output[0].name
        first = fed[0].type.tensor_type.shape.dim[0:1]
        fixed = first[0].dim_value if first and first[0].HasField("dim_value") else 0
        self._batch = fixed or _BATCH
        self.inputs = inputs[: len(inputs) - len(inputs) % self._batch] if fixed else inputs
        if not len(self.inputs):
            raise DataError(
                f"the model wants batches of {fixed}, but there are {len(inputs)} inputs"
            )

    def outputs(
        self,
        weights: Mapping[str, NDArray[Any]] | None = None,
        inputs: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """The model's first output for all inputs, with some weights exchanged."""
        parts = [values[self.output_name] for values in self.values([], weights, inputs)]
        return np.concatenate(parts).astype(np.float32)

    def values(
        self,
        names: Sequence[str],
        weights: Mapping[str, NDArray[Any]] | None = None,
        inputs: NDArray[np.float32] | None = None,
    ) -> Iterator[dict[str, NDArray[Any]]]:
        """For each batch, the values of these names inside the model and its first output."""
        inner = [name for name in dict.fromkeys(names) if name != self.input_name]
        session, kept = self._session(inner, weights or {})
        wanted = list(dict.fromkeys([*inner, self.output_name]))
        data = self.inputs if inputs is None else inputs
        for start in range(0, len(data), self._batch):
            batch = data[start : start + self._batch]
            try:
                found = session.run(wanted, {self.input_name: batch})
            except Exception as error:
                # onnxruntime's exceptions have no common base of their own.
                raise DataError(
                    f"the model refuses calibration inputs of shape {batch.shape}: {error}"
                ) from error
            yield {self.input_name: batch, **dict(zip(wanted, found, strict=True))}
        del kept

    def runner(self) -> Callable[[], object]:
        """A function that runs the first input alone, in a session that stays open."""
        session, kept = self._session([], {})
        single = self.inputs[:1] if self._batch == _BATCH else self.inputs[: self._batch]
        feed = {self.input_name: np.ascontiguousarray(single)}

        def run(_alive: object = kept) -> object:
            return session.run([self.output_name], feed)

        return run

    def _session(
        self, names: Sequence[str], weights: Mapping[str, NDArray[Any]]
    ) -> tuple[ort.InferenceSession, list[Any]]:
        """A session, and the weights that must live as long as it does."""
        model = self._model
        if names:
            model = ModelProto()
            model.CopyFrom(self._model)
            present = {value.name for value in model.graph.output}
            model.graph.output.extend(
                helper.make_empty_tensor_value_info(name) for name in names if name not in present
            )
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        numbers = {**self._weights, **weights}
        kept = [self._value(name, array) for name, array in numbers.items()]
        options.add_external_initializers(list(numbers), kept)
        try:
            session = ort.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            # onnxruntime's exceptions have no common base of their own.
            raise ModelFileError(f"onnxruntime can't run this model: {error}") from error
        return session, kept

    def _value(self, name: str, array: NDArray[Any]) -> Any:
        # Unlike ascontiguousarray, this leaves a scalar without axes.
        array = np.asarray(array, order="C")
        if name in self._bfloat16:
            return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array, 16)
        return ort.OrtValue.ortvalue_from_numpy(array)


@dataclass(frozen=True, slots=True, eq=False)
class LayerStatistics:
    """What a layer sees over the calibration inputs.

    mean: (channels,) float64, the mean of each input channel over inputs and positions.
    hessian: (inputs, inputs) float64, the sum of x x^T over sampled patches, or None where the
        layer has no patches or several groups.
    """

    mean: NDArray[np.float64]
    hessian: NDArray[np.float64] | None


def layer_statistics(
    probe: Probe,
    layers: Sequence[Layer],
    shapes: Mapping[str, tuple[int, ...]],
    rng: np.random.Generator,
) -> dict[str, LayerStatistics]:
    """Statistics of all layers by weight name, gathered batch by batch in one pass.

    shapes: of the weights, by name. rng: chooses the positions that patches are taken from.
    """
    means: dict[str, NDArray[np.float64]] = {}
    hessians: dict[str, NDArray[np.float64]] = {}
    seen = 0
    for values in probe.values([layer.source for layer in layers]):
        seen += len(values[probe.input_name])
        for layer in layers:
            source = np.asarray(values[layer.source], np.float32)
            sums = _channel_means(layer, source).sum(axis=0, dtype=np.float64)
            means[layer.weight] = means.get(layer.weight, np.zeros_like(sums)) + sums
            rows = _patches(layer, source, shapes[layer.weight], rng)
            if rows is not None:
                product = np.asarray(rows.T @ rows, np.float64)
                previous = hessians.get(layer.weight)
                hessians[layer.weight] = product if previous is None else previous + product
    return {
        layer.weight: LayerStatistics(means[layer.weight] / seen, hessians.get(layer.weight))
        for layer in layers
    }


def _channel_means(layer: Layer, source: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of each channel of each input: (N, channels)."""
    if layer.op == "Conv":
        means = np.mean(source.reshape(*source.shape[:2], -1), axis=2)
    else:
        means = np.mean(source.reshape(len(source), -1, source.shape[-1]), axis=1)
    return np.asarray(means, np.float32)


def _patches(
    layer: Layer,
    source: NDArray[np.float32],
    shape: tuple[int, ...],
    rng: np.random.Generator,
) -> NDArray[np.float32] | None:
    """Sampled input patches (samples, inputs of a filter) in the order of `Layer.filters`."""
    if layer.op != "Conv":
        rows = source.reshape(-1, source.shape[-1])
        limit = _POSITIONS * len(source)
        if len(rows) > limit:
            rows = rows[rng.choice(len(rows), limit, replace=False)]
        return rows
    if layer.strides is None or not layer.mixes_channels:
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
    # (N, C, positions, kh, kw) -> (N * positions, C * kh * kw)
    taken = windows[:, :, chosen // width, chosen % width]
    return taken.transpose(0, 2, 1, 3, 4).reshape(-1, shape[1] * shape[2] * shape[3])
