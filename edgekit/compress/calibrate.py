"""Running a model with any weights on calibration inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from edgekit.arrays import as_type
from edgekit.compress.answers import Answers, one_output
from edgekit.compress.samples import Data, Samples, elements
from edgekit.compress.views import Views
from edgekit.errors import DataError, ModelFileError
from edgekit.graph import Graph
from edgekit.graph.inputs import input_types, sample_inputs

_BATCH, _BATCH_ELEMENTS = 10, 2**19
"""Inputs that are run at once, and the numbers they may have together: the values of all layers
are held for that long."""
_FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16}


class Probe:
    """A model whose weights can be exchanged, run batch by batch.

    graph: the model. inputs: (N, ...) of its one input, or samples of several; they are cast to the
    types that it takes. input_name: the first input that has a row for each sample.
    Raises DataError where the inputs don't fit the model.
    """

    def __init__(self, graph: Graph, inputs: Data, *, threads: int = 2) -> None:
        self.model = graph.empty_model()
        self._weights = {weight.name: weight.values for weight in graph.weights}
        self._bfloat16 = {weight.name for weight in graph.weights if weight.dtype == "bfloat16"}
        self._threads = threads
        self._types = input_types(self.model)
        names, self._fixed = sample_inputs(self.model)
        if not names:
            raise DataError(
                "no input of this model has a row for each sample, so it can't be calibrated; "
                "compress it with --bits alone"
            )
        self.input_name = names[0]
        self.output_names = _float_outputs(self.model)
        self.inputs = inputs
        # Each batch is cast, so that what doesn't fit is told now.
        for _ in self.batches(inputs):
            pass

    def outputs(
        self,
        weights: Mapping[str, NDArray[Any]] | None = None,
        inputs: Data | None = None,
    ) -> NDArray[np.float32]:
        """The first of the answers: what classes are read from."""
        return self.answers(weights, inputs)[0]

    def answers(
        self,
        weights: Mapping[str, NDArray[Any]] | None = None,
        inputs: Data | None = None,
    ) -> Answers:
        """The model's outputs for all inputs, with some weights exchanged.

        Those of floating-point numbers; the first one where there are none.
        """
        batches = list(self.values([], weights, inputs))
        return self.joined(batches, [len(values[self.input_name]) for values in batches])

    def joined(self, batches: Sequence[Mapping[str, NDArray[Any]]], counts: list[int]) -> Answers:
        """The answers in the values of some batches. counts: inputs of each."""
        return tuple(
            one_output([values[name] for values in batches], counts).astype(np.float32)
            for name in self.output_names
        )

    def values(
        self,
        names: Sequence[str],
        weights: Mapping[str, NDArray[Any]] | None = None,
        inputs: Data | Views | None = None,
    ) -> Iterator[dict[str, NDArray[Any]]]:
        """For each batch its inputs, the values of these names inside the model, its outputs."""
        inner = [name for name in dict.fromkeys(names) if name not in self._types]
        session = self.session(self._with_outputs(inner), weights or {})
        wanted = list(dict.fromkeys([*inner, *self.output_names]))
        data = self.inputs if inputs is None else inputs
        for batch in self.batches(data):
            try:
                found = session.run(wanted, batch.arrays)
            except Exception as error:
                # onnxruntime's exceptions have no common base of their own.
                shapes = ", ".join(str(array.shape) for array in batch.arrays.values())
                raise DataError(
                    f"the model refuses calibration inputs of shape {shapes}: {error}"
                ) from error
            yield {**batch.arrays, **dict(zip(wanted, found, strict=True))}
            # Lest the values of two batches be held at once.
            del found

    def runner(self) -> Callable[[], object]:
        """A function that runs the first input alone, in a session that stays open."""
        session = self.session(self.model, {})
        feed = next(self.batches(self.inputs[: self._fixed or 1])).arrays
        return lambda: session.run(list(self.output_names), feed)

    def batches(self, inputs: Data | Views) -> Iterator[Samples]:
        """Inputs cut into the batches that the model is run on, in its types, one at a time.

        What doesn't fill a batch of a fixed size is left out. Raises DataError where none is left,
        and for an array where the model has several inputs.
        """
        if not isinstance(inputs, Samples) and len(self._types) != 1:
            raise DataError(
                f"the model has {len(self._types)} inputs ({', '.join(self._types)}); "
                "it needs an array for each, as in an .npz file"
            )
        size = self._fixed or max(1, min(_BATCH, _BATCH_ELEMENTS // max(1, elements(inputs))))
        whole = len(inputs) - (len(inputs) % size if self._fixed else 0)
        if not whole:
            raise DataError(
                f"the model wants batches of {size}, but there are {len(inputs)} inputs"
            )
        ends = range(size, whole + size, size)
        return (self._typed(inputs[end - size : min(end, whole)]) for end in ends)

    def _typed(self, batch: Data) -> Samples:
        if not isinstance(batch, Samples):
            batch = Samples({self.input_name: batch})

        def typed(name: str, array: NDArray[Any]) -> NDArray[Any]:
            return as_type(array, self._types[name], f"input {name}")

        return Samples(
            {name: typed(name, array) for name, array in batch.rows.items()},
            {name: typed(name, array) for name, array in batch.whole.items()},
        )

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
