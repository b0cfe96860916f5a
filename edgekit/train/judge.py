"""What a finished file is worth: a task's metric of its answers in onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray

from edgekit.errors import ModelFileError, UsageError
from edgekit.export.text import brief
from edgekit.graph.inputs import input_types
from edgekit.runtime.forms import load
from edgekit.train.datasets import Split
from edgekit.train.loop import EVALUATION_BATCH
from edgekit.train.task import Task
from edgekit.train.tuning import has_labels
from edgekit.train.workers import Workers

_FED: dict[str, np.dtype[Any]] = {
    "tensor(float16)": np.dtype(np.float16),
    "tensor(float)": np.dtype(np.float32),
    "tensor(double)": np.dtype(np.float64),
}
"""onnxruntime's names of the types that inputs can be given in."""


def check_inputs(model: onnx.ModelProto, name: str) -> None:
    """Raise UsageError unless a model's inputs can be given what training gives: float32.

    name: of the model, for the error.
    """
    for value, dtype in input_types(model).items():
        if dtype not in _FED.values():
            raise UsageError(
                f"the input {value} of {name} is {dtype}, and networks are trained and judged on "
                "float32; export it with a float16, float32 or float64 input"
            )


def check_judge(model: bytes, split: Split, name: str) -> None:
    """Judge one sample, so that what onnxruntime can't run shows before anything is trained.

    model: an ONNX file's bytes. name: of it, for errors. Raises UsageError where the split has no
    labels, ModelFileError where onnxruntime can't run the model.
    """
    _check_labels(split)
    inputs, _ = split.batch(torch.tensor([0]))
    _outputs(load(model, threads=1), inputs.numpy(), name)


def measure_file(file: Path, split: Split, task: Task, workers: Workers) -> float:
    """The mean of a task's metric over a labelled split, for an ONNX or a packed file.

    A packed file runs in the form that it says (edgekit.packfile.activations.recorded_form). Each
    worker judges its part. Raises UsageError where the split has no labels, ModelFileError where
    onnxruntime can't run the file.
    """
    _check_labels(split)
    session = load(file, threads=torch.get_num_threads())
    total = 0.0
    for batch in torch.split(torch.arange(len(split)), EVALUATION_BATCH):
        chosen = batch[workers.part(len(batch))]
        if len(chosen) == 0:
            continue
        inputs, labels = split.batch(chosen)
        if labels is None:
            raise AssertionError("its first sample has a label")
        outputs = _outputs(session, inputs.numpy(), str(file))
        total += float(task.metric(torch.from_numpy(outputs), labels).sum())
    (total,) = workers.totals([total])
    return total / len(split)


def _check_labels(split: Split) -> None:
    """Raise UsageError where a test split has no labels to judge by."""
    if not has_labels(split):
        raise UsageError("the test split has no labels; leave it out")


def _outputs(
    session: ort.InferenceSession, inputs: NDArray[np.float32], name: str
) -> NDArray[np.float32]:
    """First outputs, as training sees them. name: of the model, for errors.

    Where the model takes batches of one size alone, the last one is filled up.
    """
    first = session.get_inputs()[0]
    fixed = first.shape[0] if first.shape and isinstance(first.shape[0], int) else None
    size = fixed or len(inputs)
    fill = np.repeat(inputs[-1:], -len(inputs) % size, axis=0)
    # What float16 can't hold becomes infinite, as it would on a device.
    with np.errstate(over="ignore"):
        fed = np.concatenate([inputs, fill]).astype(_FED[first.type])
    batches = np.split(fed, range(size, len(fed), size))
    try:
        found = np.concatenate([session.run(None, {first.name: batch})[0] for batch in batches])
    except Exception as error:
        # onnxruntime's exceptions have no common base of their own.
        raise ModelFileError(f"onnxruntime can't run {name}: {brief(error)}") from error
    return found[: len(inputs)].astype(np.float32)
