"""What a student learns from a teacher: answers, features, and how features flow.

```
          ┌─ teacher ─► features ─► outputs
inputs ───┤               │ FSP, L2     │ softened divergence       ─► loss
          └─ student ─► features ─► outputs ─── labels, where there are any
```
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from edgekit.errors import RecipeError


def softened_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Mean divergence of the student's from the teacher's softened answers, times T squared.

    student, teacher: (N, classes, ...) scores. Hinton et al., "Distilling the knowledge in a
    neural network" (2015), section 2: T squared keeps the gradients' size as T changes.
    """
    found = functional.log_softmax(student / temperature, dim=1)
    wanted = functional.log_softmax(teacher / temperature, dim=1)
    each = torch.sum(torch.exp(wanted) * (wanted - found), dim=1)
    return each.mean() * temperature**2


def feature_distance(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Mean squared distance of features, each relative to the teacher's mean square.

    student, teacher: pairs of equal shape. Romero et al., "FitNets" (2015), equation 3, without a
    regressor. Raises RecipeError for unequal shapes.
    """
    distances = []
    for found, wanted in zip(student, teacher, strict=True):
        _check_alike(found.shape, wanted.shape)
        distances.append(torch.mean((found - wanted) ** 2) / _size(wanted))
    return torch.stack(distances).mean()


def flow_matrix(before: Tensor, after: Tensor) -> Tensor:
    """How features flow from one layer to a later one: (N, channels before, channels after).

    before, after: (N, C, H, W); the larger one is pooled to the smaller one's height and width.
    Yim et al., "A gift from knowledge distillation" (2017), equation 1 (FSP matrix).
    """
    height = min(before.shape[2], after.shape[2])
    width = min(before.shape[3], after.shape[3])
    first, second = (
        functional.adaptive_avg_pool2d(features, (height, width)).flatten(2)
        for features in (before, after)
    )
    return first @ second.transpose(1, 2) / (height * width)


def flow_distance(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Mean squared distance of the FSP matrices of each feature and the next.

    student, teacher: equally many features (N, C, H, W), in the networks' order; where they
    correspond they have equally many channels (equation 2 of the paper). Each distance is relative
    to the teacher's mean square. Raises RecipeError for unequal channels.
    """
    distances = []
    for index in range(len(student) - 1):
        found = flow_matrix(student[index], student[index + 1])
        wanted = flow_matrix(teacher[index], teacher[index + 1])
        _check_alike(found.shape, wanted.shape)
        distances.append(torch.mean((found - wanted) ** 2) / _size(wanted))
    return torch.stack(distances).mean()


def stage_ends(values: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
    """Names of the last features (C, H, W) at each height and width, in the network's order.

    values: shapes without the batch, in the order in which a network computes them.
    """
    last: dict[tuple[int, ...], str] = {}
    for name, shape in values.items():
        if len(shape) == 3 and min(shape[1:]) > 1:
            last[shape[1:]] = name
    return tuple(last.values())


def _size(values: Tensor) -> Tensor:
    return torch.mean(values**2).clamp(min=1e-12)


def _check_alike(found: Sequence[int], wanted: Sequence[int]) -> None:
    if tuple(found[1:]) != tuple(wanted[1:]):
        raise RecipeError(
            f"student and teacher features differ in shape, {tuple(found[1:])} against "
            f"{tuple(wanted[1:])}; use the float model as the teacher, or logits alone"
        )
