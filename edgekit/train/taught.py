"""Finds the network that a teacher is named by, and whether it can teach on the data."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import torch

import edgekit_models
from edgekit.errors import RecipeError, UnknownModelError
from edgekit.graph import load_graph
from edgekit.graph.inputs import input_shapes
from edgekit.train.checked import fits, shown
from edgekit.train.datasets import TrainingData
from edgekit.train.judge import check_inputs
from edgekit.train.start import exported


def find_teacher(teacher: str | os.PathLike[str]) -> onnx.ModelProto:
    """The model of an ONNX file, or a trained network of the zoo by its name.

    Raises UnknownModelError for what is neither, RecipeError for a network that has random weights
    alone, UsageError for inputs that aren't floating point, and as `load_graph` and `export` do.
    """
    name = os.fspath(teacher)
    if Path(name).is_file() or name.endswith(".onnx"):
        model = load_graph(name).model()
    else:
        try:
            spec = edgekit_models.spec(name)
        except edgekit_models.UnknownNetworkError as error:
            raise UnknownModelError(
                f"{error}; a teacher is an ONNX file or a network of the zoo"
            ) from error
        if spec.checkpoint is None:
            raise RecipeError(
                f"{name} has random weights alone, which teach nothing; train it, export it, and "
                "name the ONNX file as the teacher"
            )
        model = load_graph(exported(name)).model()
    check_inputs(model, f"the teacher {name}")
    return model


def check_teacher(model: onnx.ModelProto, data: TrainingData) -> None:
    """Raise RecipeError unless a teacher takes inputs of the data's shape."""
    shape = next(iter(input_shapes(model).values()), ())[1:]
    found = data.training.batch(torch.tensor([0]))[0].shape[1:]
    if shape and not fits(found, shape):
        raise RecipeError(
            f"the teacher takes inputs of shape {shown(shape)}, and those of {data.name} are "
            f"{shown(found)}; name a teacher for such inputs"
        )
