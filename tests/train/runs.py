"""Runs of the tiny network by recipes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from edgekit.train.chain import LOG
from edgekit.train.finetune import finetune
from edgekit.train.recipe import (
    Distillation,
    Grid,
    Prune,
    Recipe,
    Retrain,
    Share,
    Stage,
)
from edgekit.train.run import FinetuneReport
from edgekit.train.tuning import Progress
from tests.train.nets import tiny_data

CHAIN = (
    Retrain(epochs=6, learning_rate=0.1),
    Prune(sparsity=0.6, epochs=3, learning_rate=0.05),
    Share(bits=4, epochs=2, learning_rate=0.05),
)


STEERED = (
    Retrain(epochs=2, learning_rate=0.1),
    Grid(bits_per_weight=2.3, start_bits=2.5, epochs=8, learning_rate=0.3),
)


IMPORTANT = (Prune(sparsity=0.6, rank="importance", epochs=4), Share(bits=4, epochs=0))


def recipe(*stages: Stage, distillation: Distillation | None = None) -> Recipe:
    return Recipe("r", stages, batch_size=32, distillation=distillation)


def numbers(path: Path) -> dict[str, np.ndarray]:
    graph = onnx.load(path).graph
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def run(model: Path, out: Path, chosen: Recipe, **more: object) -> FinetuneReport:
    return finetune(str(model), out, recipe=chosen, data=tiny_data(), **more)  # type: ignore[arg-type]


class KilledError(Exception):
    """Stands for a signal."""


def kill_after(epochs: int) -> Callable[[str, Progress], None]:
    """What watches a run and ends it after so many epochs."""
    seen = 0

    def watch(_stage: str, _line: Progress) -> None:
        nonlocal seen
        seen += 1
        if seen == epochs:
            raise KilledError

    return watch


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log, without the seconds, which differ."""
    lines = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    return [{key: line[key] for key in line if key != "seconds"} for line in lines]
