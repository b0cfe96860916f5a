"""Splits whose batches are looked at before anything is trained or measured on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgekit.errors import DataError, EdgekitError
from edgekit.export.text import brief
from edgekit.train.datasets import Split, TrainingData


@dataclass(frozen=True, slots=True, eq=False)
class CheckedSplit:
    """A split that gives finite inputs of the network's shape, and labels always or never.

    name: for errors. shape: of one input, 0 where a size is open; None where it isn't known.
    is_labelled: whether its first sample has a label. classes: that its labels are, from 0 on; None
    where labels are something else.
    """

    split: Split
    name: str
    shape: tuple[int, ...] | None
    is_labelled: bool
    classes: int | None = None

    def __len__(self) -> int:
        return len(self.split)

    def batch(self, chosen: Tensor) -> tuple[Tensor, Tensor | None]:
        """The samples at `chosen` positions. Raises DataError with the reason."""
        inputs, labels = _read(self.split, chosen, self.name)
        if (labels is not None) != self.is_labelled:
            raise DataError(f"some samples of {self.name} have a label and some have none")
        if self.shape is not None and not fits(inputs.shape[1:], self.shape):
            raise DataError(
                f"{self.name} has inputs of shape {tuple(inputs.shape[1:])}, but the network takes "
                f"{shown(self.shape)}"
            )
        for what, values in (("input", inputs), ("label", labels)):
            if values is None or bool(values.isfinite().all()):
                continue
            bad = (
                (~values.isfinite()).flatten(1).any(dim=1)
                if values.ndim > 1
                else ~values.isfinite()
            )
            place = int(chosen[bad][0])
            raise DataError(f"{self.name}: the {what} of sample {place} isn't finite")
        if labels is not None:
            self.check_labels(labels, chosen)
        return inputs, labels

    def check_labels(self, labels: Tensor, chosen: Tensor) -> None:
        """Raise DataError, with the sample, for whole numbers that are no class's."""
        if self.classes is None or labels.is_floating_point() or labels.is_complex():
            return
        wrong = ((labels < 0) | (labels >= self.classes)).reshape(len(labels), -1)
        if not bool(wrong.any()):
            return
        row = int(wrong.any(dim=1).nonzero()[0])
        label = int(labels[row].reshape(-1)[wrong[row]][0])
        raise DataError(
            f"{self.name}: {_told(self.split, int(chosen[row]))} has the label {label}, but the "
            f"network's {self.classes} classes are 0 to {self.classes - 1}"
        )


def check_data(
    data: TrainingData,
    input_shape: Sequence[int],
    classes: int | None = None,
    *,
    heeds_labels: bool = True,
) -> TrainingData:
    """The same data with every split looked at.

    input_shape: of the network's input with its batch, 0 where a size is open. classes: that labels
    are, where they are classes; those in memory are looked at now, the others batch by batch.
    heeds_labels: whether training heeds its labels. Raises DataError for a split without samples
    too.
    """
    shape = tuple(input_shape[1:]) if input_shape else None

    def checked(split: Split, what: str) -> CheckedSplit:
        name = f"the {what} split of {data.name}"
        if len(split) == 0:
            raise DataError(f"{name} has no samples; give it some, or leave it out")
        _, labels = _read(split, torch.tensor([0]), name)
        known = classes if heeds_labels or what != "training" else None
        made = CheckedSplit(split, name, shape, labels is not None, known)
        made.batch(torch.tensor([0]))
        every = _labels_in_memory(split)
        if every is not None:
            made.check_labels(every, torch.arange(len(every)))
        return made

    return replace(
        data,
        training=checked(data.training, "training"),
        validation=checked(data.validation, "validation"),
        test=None if data.test is None else checked(data.test, "test"),
    )


def fits(found: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether a shape is that of an input, 0 where a size is open."""
    return len(found) == len(wanted) and all(
        size in {0, given} for given, size in zip(found, wanted, strict=True)
    )


def shown(shape: Sequence[int]) -> str:
    """A shape for people, `any` where a size is open."""
    sizes = [str(size or "any") for size in shape]
    return f"({', '.join(sizes)}{',' * (len(sizes) == 1)})"


def _labels_in_memory(split: Any) -> Tensor | None:
    """The labels of all samples of a split that has them at hand; a part of one has `positions`."""
    if isinstance(positions := getattr(split, "positions", None), Tensor):
        every = _labels_in_memory(split.split)
        return None if every is None else every[positions]
    labels = getattr(split, "labels", None)
    if isinstance(labels, np.ndarray):
        labels = torch.from_numpy(labels)
    return labels if isinstance(labels, Tensor) and labels.shape[:1] == (len(split),) else None


def _told(split: Any, place: int) -> str:
    """A sample by the file it lies in, or by its place in the whole data set."""
    while isinstance(positions := getattr(split, "positions", None), Tensor):
        split, place = split.split, int(positions[place])
    paths = getattr(split, "paths", None)
    return f"sample {place}" if paths is None else str(paths[place])


def _read(split: Split, chosen: Tensor, name: str) -> tuple[Tensor, Tensor | None]:
    """A batch of as many inputs and labels as were asked for."""
    try:
        # What others give may be anything.
        found: Any = split.batch(chosen)
        inputs, labels = found
    except EdgekitError:
        raise
    except Exception as error:
        raise DataError(
            f"{name} failed with {brief(error)}, asked for samples such as {int(chosen[0])}"
        ) from error
    parts = (inputs,) if labels is None else (inputs, labels)
    if not all(
        isinstance(part, Tensor) and part.ndim and len(part) == len(chosen) for part in parts
    ):
        raise DataError(
            f"{name} must give a tensor of {len(chosen)} inputs and one of as many labels, or None"
        )
    if inputs.dtype != torch.float32:
        raise DataError(f"{name} has inputs of {inputs.dtype}; they must be torch.float32")
    return inputs, labels
