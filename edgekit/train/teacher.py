"""A frozen network that a student learns from, and the loss of learning from it."""

from __future__ import annotations

import onnx
import torch
from torch import Tensor

from edgekit.errors import RecipeError
from edgekit.graph.shapes import value_shapes
from edgekit.train.distil import (
    feature_distance,
    flow_distance,
    softened_divergence,
    stage_ends,
)
from edgekit.train.graph_module import GraphModule
from edgekit.train.recipe import Distillation


class Teacher:
    """A model whose answers, features and flows a student comes to have.

    model: with its numbers. settings: of the recipe. Raises RecipeError where these ask for
    features that the model doesn't have.
    """

    def __init__(self, model: onnx.ModelProto, settings: Distillation) -> None:
        self.settings = settings
        self.module = GraphModule(model)
        self.module.requires_grad_(requires_grad=False)
        self.module.eval()
        self._taps = features(model) if settings.features or settings.flow else ()
        if (settings.features or settings.flow) and not self._taps:
            raise RecipeError("the teacher has no features with a height and a width to compare")

    def student_taps(self, model: onnx.ModelProto) -> tuple[str, ...]:
        """The features of a student that correspond to the teacher's.

        Raises RecipeError where the networks have different numbers of them.
        """
        if not self._taps:
            return ()
        found = features(model)
        if len(found) != len(self._taps):
            raise RecipeError(
                f"the student has features of {len(found)} sizes and the teacher of "
                f"{len(self._taps)}; such networks can't be compared, so set features and flow to 0"
            )
        return found

    @torch.no_grad()
    def answers(self, inputs: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Scores, and the features at the taps, both float32."""
        output = self.module.output_names[0]
        values = self.module.tensors((inputs,), (output, *self._taps))
        return values[output].float(), [values[name].float() for name in self._taps]

    def loss(
        self, scores: Tensor, taps: list[Tensor], wanted: tuple[Tensor, list[Tensor]]
    ) -> Tensor:
        """How far a student's scores and features are from the teacher's, weighed and summed."""
        if scores.shape != wanted[0].shape:
            raise RecipeError(
                f"the student's outputs are {tuple(scores.shape)} and the teacher's "
                f"{tuple(wanted[0].shape)}; a teacher has the same outputs"
            )
        loss = softened_divergence(scores, wanted[0], self.settings.temperature)
        if self.settings.features:
            loss = loss + self.settings.features * feature_distance(taps, wanted[1])
        if self.settings.flow:
            loss = loss + self.settings.flow * flow_distance(taps, wanted[1])
        return loss


def features(model: onnx.ModelProto) -> tuple[str, ...]:
    """Names of the last features at each height and width of a network, in its order."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    known = value_shapes(copy)
    shapes = {}
    for node in model.graph.node:
        for name in node.output:
            shape = known[name].shape[1:] if name in known else ()
            if shape and None not in shape:
                shapes[name] = tuple(int(size or 0) for size in shape)
    return stage_ends(shapes)
