"""What a finished file is worth: a task's metric of its answers in onnxruntime."""

from __future__ import annotations

from pathlib import Path

import torch

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
    name = session.get_inputs()[0].name
    total = 0.0
    for batch in torch.split(torch.arange(len(split)), EVALUATION_BATCH):
        chosen = batch[workers.part(len(batch))]
        if len(chosen) == 0:
            continue
        inputs, labels = split.batch(chosen)
        if labels is None:
            raise UsageError("the test split has no labels; leave it out")
        outputs = session.run(None, {name: inputs.numpy()})[0]
        total += float(task.metric(torch.from_numpy(outputs), labels).sum())
    (total,) = workers.totals([total])
    return total / len(split)
