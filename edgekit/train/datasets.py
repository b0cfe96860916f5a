"""What networks are trained on: a training, a validation and a test split.

Batches are made from positions, so that a split may hold its samples in memory or read them when
they are asked for.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from edgekit.data import DEVIATION, FASHION_MNIST, MEAN, RawImages, normalise, read_fashion_mnist
from edgekit.errors import UsageError
from edgekit.train.augment import flip_and_shift

VALIDATION_IMAGES = 5000
SPLIT_SEED = 20170828  # the same validation images in every run, whatever its seed
_BLACK = -MEAN / DEVIATION
"""The background of a Fashion-MNIST image after normalisation."""


class Augment(Protocol):
    """From inputs (N, ...) to changed inputs of the same shape; its chance is the generator's."""

    def __call__(
        self,
        inputs: Tensor,
        generator: torch.Generator,
        /,
        *,
        first: int = 0,
        total: int | None = None,
    ) -> Tensor:
        """Change a batch, or the part of a batch of `total` inputs that begins at `first`.

        A part changes as it would in the whole batch, and takes as much from the generator.
        """


class Split(Protocol):
    """Samples that are asked for by position."""

    def __len__(self) -> int: ...

    def batch(self, chosen: Tensor) -> tuple[Tensor, Tensor | None]:
        """Inputs (N, ...) float32 and labels (N, ...), None where there are none.

        chosen: (N,) int64 positions.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """A split in memory. inputs: (N, ...) float32, normalised. labels: (N, ...) or None."""

    inputs: Tensor
    labels: Tensor | None

    def __len__(self) -> int:
        return len(self.inputs)

    def batch(self, chosen: Tensor) -> tuple[Tensor, Tensor | None]:
        """The samples at `chosen` positions."""
        return self.inputs[chosen], None if self.labels is None else self.labels[chosen]


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """The splits of a data set.

    training: what weights learn from. validation: chooses epochs and settings. test: measured
    once at the end; None where there is none, and validation stands for it. augment: of training
    inputs. source: where it was read from, for people.
    """

    name: str
    training: Split
    validation: Split
    test: Split | None
    augment: Augment | None
    source: str


def fashion_mnist(
    folder: str | os.PathLike[str] | None = None, limit: int | None = None
) -> TrainingData:
    """Fashion-MNIST: 5,000 of its training images validate, the 10,000 test images judge.

    folder: with its four .gz files; None for where edgekit.data looks. limit: of the training
    images that are used. Raises DataError, and UsageError for too few images.
    """
    raw = read_fashion_mnist("train", folder=folder)
    if len(raw.labels) <= VALIDATION_IMAGES:
        raise UsageError(
            f"{raw.source} holds {len(raw.labels)} training images; more than the "
            f"{VALIDATION_IMAGES} of the validation split are needed"
        )
    every = _samples(raw)
    order = torch.from_numpy(np.random.default_rng(SPLIT_SEED).permutation(len(raw.labels)))
    held, used = order[:VALIDATION_IMAGES], order[VALIDATION_IMAGES:][:limit]
    return TrainingData(
        name=FASHION_MNIST,
        training=Samples(*every.batch(used)),
        validation=Samples(*every.batch(held)),
        test=_samples(read_fashion_mnist("test", folder=folder)),
        augment=partial(flip_and_shift, fill=_BLACK),
        source=raw.source,
    )


def _samples(raw: RawImages) -> Samples:
    return Samples(
        torch.from_numpy(normalise(raw.images)), torch.from_numpy(raw.labels.astype(np.int64))
    )
