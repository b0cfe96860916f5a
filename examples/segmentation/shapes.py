"""Another task than classification: which pixels belong to a disc, which to a square.

Everything that edgekit needs for it lies here: the network, its data and its task.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

SIDE = 32
CLASSES = 3  # background, disc, square


class Segmenter(nn.Module):
    """A small encoder and decoder with one bridge: (N, 1, 32, 32) -> scores (N, 3, 32, 32)."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = _layers(1, 16, stride=1)
        self.coarse = nn.Sequential(_layers(16, 32, stride=2), _layers(32, 32, stride=1))
        self.deep = nn.Sequential(_layers(32, 64, stride=2), _layers(64, 64, stride=1))
        self.up = nn.ConvTranspose2d(64, 32, 2, stride=2)
        self.join = _layers(32, 32, stride=1)
        self.top = nn.ConvTranspose2d(32, 16, 2, stride=2)
        self.scores = nn.Conv2d(32, CLASSES, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, 1, 32, 32) float -> (N, 3, 32, 32) float, one score a class and pixel."""
        fine = self.fine(inputs)
        coarse = self.coarse(fine)
        risen = self.top(self.join(self.up(self.deep(coarse)) + coarse))
        scores: Tensor = self.scores(torch.cat([risen, fine], 1))
        return scores


def _layers(inputs: int, outputs: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def build() -> Segmenter:
    """What edgekit calls for the network: `shapes.py:build`."""
    return Segmenter()


@dataclass(frozen=True)
class Drawings:
    """Noisy grey drawings of a disc and a square, drawn when they are asked for.

    Item i is the same in every run: {"image": (1, 32, 32) float32, "mask": (32, 32) int64}.
    """

    count: int
    seed: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, NDArray[np.float32] | NDArray[np.int64]]:
        rng = np.random.default_rng([self.seed, index])
        rows, columns = np.mgrid[:SIDE, :SIDE]
        mask = np.zeros((SIDE, SIDE), np.int64)
        for label in rng.permutation([1, 2]):
            row, column = rng.uniform(6, SIDE - 6, 2)
            radius = rng.uniform(5, 9)
            down, across = np.abs(rows - row), np.abs(columns - column)
            inside = (
                down**2 + across**2 <= radius**2
                if label == 1
                else np.maximum(down, across) <= radius * 0.85
            )
            mask[inside] = label
        # Both shapes are as bright as each other: only their outline tells them apart.
        image = rng.normal(0, 0.3, (1, SIDE, SIDE)) + (mask > 0)
        return {"image": image.astype(np.float32), "mask": mask}


def data() -> dict[str, Drawings]:
    """What edgekit calls for the data: `shapes.py:data`."""
    return {
        "train": Drawings(2000, seed=1),
        "validation": Drawings(300, seed=2),
        "test": Drawings(500, seed=3),
    }


class Segmentation:
    """What edgekit makes for the task: `shapes.py:Segmentation`."""

    metric_name = "mean IoU"

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy over pixels. outputs: (N, 3, 32, 32). labels: (N, 32, 32)."""
        return nn.functional.cross_entropy(outputs, labels)

    def metric(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Intersection over union of each picture, (N,), the mean over classes that it shows."""
        found = outputs.argmax(dim=1)
        overlaps = []
        for label in range(CLASSES):
            ours, theirs = found == label, labels == label
            union = (ours | theirs).sum((1, 2))
            # A class that neither shows counts as neither right nor wrong.
            overlaps.append(torch.where(union > 0, (ours & theirs).sum((1, 2)) / union, torch.nan))
        return torch.stack(overlaps).nanmean(dim=0)
