"""What a finished file is worth: a task's metric of its answers in onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray

from edgekit.errors import UsageError
from edgekit.runtime.session import load
from edgekit.train.datasets import Split
from edgekit.train.loop import EVALUATION_BATCH
from edgekit.train.task import Task
from edgekit.train.workers import Workers


def measure_file(file: Path, split: Split, task: Task, workers: Workers) -> float:
    """The mean of a task's metric over a labelled split, for an ONNX or a packed file.

    Each worker judges its part. Raises UsageError where the split has no labels.
    """
    session = load(file, threads=torch.get_num_threads())
    first = session.get_inputs()[0]
    fixed = first.shape[0] if first.shape and isinstance(first.shape[0], int) else None
    total = 0.0
    for batch in torch.split(torch.arange(len(split)), EVALUATION_BATCH):
        chosen = batch[workers.part(len(batch))]
        if len(chosen) == 0:
            continue
        inputs, labels = split.batch(chosen)
        if labels is None:
            raise UsageError("the test split has no labels; leave it out")
        outputs = _outputs(session, first.name, inputs.numpy(), fixed)
        total += float(task.metric(torch.from_numpy(outputs), labels).sum())
    (total,) = workers.totals([total])
    return total / len(split)


def _outputs(
    session: ort.InferenceSession, name: str, inputs: NDArray[np.float32], fixed: int | None
) -> NDArray[Any]:
    """First outputs. fixed: the batch that the model takes, to which the last one is filled up."""
    size = fixed or len(inputs)
    fill = np.repeat(inputs[-1:], -len(inputs) % size, axis=0)
    batches = np.split(np.concatenate([inputs, fill]), range(size, len(inputs) + len(fill), size))
    found = np.concatenate([session.run(None, {name: batch})[0] for batch in batches])
    return np.asarray(found[: len(inputs)])
