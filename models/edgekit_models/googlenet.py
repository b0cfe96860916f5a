"""GoogLeNet: Szegedy et al. 2015, 'Going Deeper with Convolutions', without auxiliary heads.

conv 7x7/2, pool, conv 1x1, conv 3x3, pool, nine inceptions with two pools between, mean, linear
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgekit_models.blocks import ConvUnit, initialise
from edgekit_models.spec import ModelSpec, Paper

PAPER = Paper("Going Deeper with Convolutions", "5, table 1", 2015)

Widths = tuple[int, int, int, int, int, int]
"""1x1; 3x3 reduce, 3x3; 5x5 reduce, 5x5; projection behind the pool: a row of table 1."""

STAGES: tuple[tuple[Widths, ...], ...] = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)


class NaiveInception(nn.Module):
    """1x1, 3x3, 5x5 and a pool side by side (section 4, figure 2a).

    (B, M, H, W) -> (B, one + three + five + M, H, W): each module widens by all its input.
    Cost: H W M (one + 9 three + 25 five).
    """

    def __init__(self, in_channels: int, one: int, three: int, five: int) -> None:
        super().__init__()
        self.one = ConvUnit(in_channels, one, 1, normalised=False)
        self.three = ConvUnit(in_channels, three, 3, normalised=False)
        self.five = ConvUnit(in_channels, five, 5, normalised=False)
        self.pool = nn.MaxPool2d(3, stride=1, padding=1)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, M, H, W) float -> (B, one + three + five + M, H, W) float."""
        branches = (self.one, self.three, self.five, self.pool)
        return torch.cat([branch(inputs) for branch in branches], dim=1)


class Inception(nn.Module):
    """The same with 1x1 convolutions that reduce the channels first (section 4, figure 2b).

    (B, M, H, W) -> (B, one + three + five + projection, H, W). Cost: H W (M (one + reduce3 +
    reduce5 + projection) + 9 reduce3 three + 25 reduce5 five).
    """

    def __init__(self, in_channels: int, widths: Widths) -> None:
        super().__init__()
        one, reduce3, three, reduce5, five, projection = widths
        self.one = ConvUnit(in_channels, one, 1, normalised=False)
        self.three = nn.Sequential(
            ConvUnit(in_channels, reduce3, 1, normalised=False),
            ConvUnit(reduce3, three, 3, normalised=False),
        )
        self.five = nn.Sequential(
            ConvUnit(in_channels, reduce5, 1, normalised=False),
            ConvUnit(reduce5, five, 5, normalised=False),
        )
        self.pool = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1),
            ConvUnit(in_channels, projection, 1, normalised=False),
        )
        self.out_channels = one + three + five + projection

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, M, H, W) float -> (B, out_channels, H, W) float."""
        branches = (self.one, self.three, self.five, self.pool)
        return torch.cat([branch(inputs) for branch in branches], dim=1)


class GoogLeNet(nn.Module):
    """Inceptions at three sizes between a stem and a linear classifier.

    (B, 3, H, W) float -> (B, classes) float, the logits.
    """

    def __init__(self, *, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            ConvUnit(3, 64, 7, stride=2, normalised=False),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            ConvUnit(64, 64, 1, normalised=False),
            ConvUnit(64, 192, 3, normalised=False),
        ]
        channels = 192
        for stage in STAGES:
            layers.append(nn.MaxPool2d(3, stride=2, ceil_mode=True))
            for widths in stage:
                inception = Inception(channels, widths)
                layers.append(inception)
                channels = inception.out_channels
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.4)
        self.classifier = nn.Linear(channels, classes)
        initialise(self)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, 3, H, W) float -> (B, classes) float, the logits."""
        features = self.pool(self.features(inputs)).flatten(1)
        logits: Tensor = self.classifier(self.dropout(features))
        return logits


def googlenet(*, classes: int = 1000) -> GoogLeNet:
    """GoogLeNet for 3x224x224 inputs."""
    return GoogLeNet(classes=classes)


SPECS = (
    ModelSpec(
        name="googlenet",
        family="GoogLeNet",
        factory=googlenet,
        input_shape=(3, 224, 224),
        classes=1000,
        paper=PAPER,
        parameters=6_998_552,
        multiply_adds=1_582_671_872,
        description="GoogLeNet (Inception V1) without auxiliary heads",
    ),
)
