"""Residual networks for 32x32 images: ResNet, Wide ResNet and PyramidNet.

conv 3x3, three stages of blocks at 32, 16 and 8, mean, linear

Sources: He et al. 2016, section 4.2; Zagoruyko and Komodakis 2016, section 2; Han et al. 2017,
section 2. `channel_table` builds all three from their channels side by side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgekit_models.blocks import ConvUnit, initialise
from edgekit_models.resnet import PAPER, Residual
from edgekit_models.spec import ModelSpec, Paper

WIDE_PAPER = Paper("Wide Residual Networks", "2, table 1", 2016)
PYRAMID_PAPER = Paper("Deep Pyramidal Residual Networks", "2, table 1", 2017)

RESNET_TABLE = (32, 32, 32, 64, 64, 64, 128, 128, 128)
WIDE_TABLE = (64, 64, 64, 128, 128, 128, 256, 256, 256)
PYRAMID_TABLE = tuple(math.floor(16 + 240 * k / 9) for k in range(1, 10))
"""floor(16 + 240 k / 9): 42, 69, 96, 122, 149, 176, 202, 229, 256."""

COLUMNS: dict[str, tuple[int, ...]] = {
    "resnet": RESNET_TABLE,
    "wide": WIDE_TABLE,
    "pyramid": PYRAMID_TABLE,
    # As a much-copied table prints it, with two digits of the eighth width swapped.
    "pyramid_printed": (*PYRAMID_TABLE[:7], 299, PYRAMID_TABLE[8]),
}

Kind = Literal["plain", "projected", "padded"]


class PaddedShortcut(nn.Module):
    """Identity with zero channels appended, behind a mean where the map halves.

    Option A of He et al. 2016 (section 3.3), with a mean in front of it as PyramidNet has.

    (B, M, H', W') -> (B, N, H, W). Where N < M the last channels fall away. Costs nothing.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity()
        self.extra = out_channels - in_channels

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, M, H', W') float -> (B, N, H, W) float."""
        pooled: Tensor = self.pool(inputs)
        if self.extra < 0:
            return pooled[:, : self.extra]
        return functional.pad(pooled, (0, 0, 0, 0, 0, self.extra)) if self.extra else pooled


class PreActivated(nn.Module):
    """Norm, ReLU, 3x3, norm, ReLU, 3x3, beside a shortcut (Wide ResNet, section 2, figure 1).

    (B, M, H', W') -> (B, N, H, W). Cost: 9 H W (M N + N N), and M N H W for a projection, which
    reads the activated input.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.body = nn.Sequential(
            ConvUnit(in_channels, out_channels, 3, stride=stride),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
        )
        self.shortcut = (
            nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)
            if stride > 1 or in_channels != out_channels
            else None
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, M, H', W') float -> (B, N, H, W) float."""
        activated = torch.relu(self.norm(inputs))
        kept = inputs if self.shortcut is None else self.shortcut(activated)
        outputs: Tensor = kept + self.body(activated)
        return outputs


class Pyramidal(nn.Module):
    """Norm, 3x3, norm, ReLU, 3x3, norm, beside a padded shortcut (PyramidNet, figure 6d).

    (B, M, H', W') -> (B, N, H, W). Cost: 9 H W (M N + N N).
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            ConvUnit(in_channels, out_channels, 3, stride=stride),
            ConvUnit(out_channels, out_channels, 3, activation=None),
        )
        self.shortcut = PaddedShortcut(in_channels, out_channels, stride)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, M, H', W') float -> (B, N, H, W) float."""
        outputs: Tensor = self.body(inputs) + self.shortcut(inputs)
        return outputs


class SmallResNet(nn.Module):
    """A 3x3 stem, blocks, and a linear classifier behind the mean of the last map.

    (B, 3, 32, 32) float -> (B, classes) float, the logits.

    last: norm and ReLU behind blocks that end without them.
    """

    def __init__(
        self,
        stem: ConvUnit,
        blocks: Sequence[nn.Module],
        *,
        channels: int,
        classes: int,
        last: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.stem = stem
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Identity() if last is None else last
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)
        initialise(self)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, 3, H, W) float -> (B, classes) float, the logits."""
        features = self.pool(self.last(self.blocks(self.stem(inputs)))).flatten(1)
        logits: Tensor = self.classifier(features)
        return logits


def channel_table(
    column: str | Sequence[int] = "resnet",
    *,
    kind: Kind = "projected",
    in_channels: int = 3,
    classes: int = 10,
) -> SmallResNet:
    """A network from a column of channels: three entries each at 32x32, 16x16 and 8x8.

    column: a name in `COLUMNS`, or channels, a multiple of three of them. kind: 'plain' has one
    convolution an entry; 'projected' a residual block with 1x1 projections; 'padded' one with
    zero channels. Raises ValueError for anything else.
    """
    if isinstance(column, str) and column not in COLUMNS:
        raise ValueError(f"no column {column!r}; there are {', '.join(COLUMNS)}")
    if kind not in get_args(Kind):
        raise ValueError(f"kind must be one of {', '.join(get_args(Kind))}, got {kind!r}")
    widths = COLUMNS[column] if isinstance(column, str) else column
    if not widths or len(widths) % 3:
        raise ValueError(f"a column needs a multiple of three channels, got {len(widths)}")
    stage = len(widths) // 3
    channels, blocks = 16, list[nn.Module]()
    for position, width in enumerate(widths):
        stride = 2 if position in {stage, 2 * stage} else 1
        if kind == "plain":
            blocks.append(ConvUnit(channels, width, 3, stride=stride))
        else:
            padded = PaddedShortcut(channels, width, stride) if kind == "padded" else None
            blocks.append(Residual(channels, width, stride=stride, shortcut=padded))
        channels = width
    return SmallResNet(ConvUnit(in_channels, 16, 3), blocks, channels=channels, classes=classes)


def resnet20(*, in_channels: int = 3, classes: int = 10) -> SmallResNet:
    """ResNet-20 for 32x32 inputs, with projections."""
    widths = (16,) * 3 + (32,) * 3 + (64,) * 3
    return channel_table(widths, in_channels=in_channels, classes=classes)


def wide_resnet28_10(*, in_channels: int = 3, classes: int = 10) -> SmallResNet:
    """Wide ResNet-28-10 for 32x32 inputs: four blocks a stage, ten times ResNet's channels."""
    channels, blocks = 16, list[nn.Module]()
    for stage in range(3):
        for position in range(4):
            stride = 2 if stage > 0 and position == 0 else 1
            blocks.append(PreActivated(channels, 160 << stage, stride=stride))
            channels = 160 << stage
    # The first block normalises the stem's map itself.
    stem = ConvUnit(in_channels, 16, 3, activation=None)
    stem.conv.bias, stem.norm = None, nn.Identity()
    last = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
    return SmallResNet(stem, blocks, channels=channels, classes=classes, last=last)


def pyramidnet110(*, in_channels: int = 3, classes: int = 10, alpha: int = 270) -> SmallResNet:
    """PyramidNet-110 for 32x32 inputs: 54 blocks that widen evenly by alpha channels in all."""
    channels, blocks = 16, list[nn.Module]()
    for position in range(54):
        width = round(16 + alpha * (position + 1) / 54)
        stride = 2 if position in {18, 36} else 1
        blocks.append(Pyramidal(channels, width, stride=stride))
        channels = width
    last = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
    stem = ConvUnit(in_channels, 16, 3, activation=None)
    return SmallResNet(stem, blocks, channels=channels, classes=classes, last=last)


SPECS = (
    ModelSpec(
        name="resnet20",
        family="ResNet",
        factory=resnet20,
        input_shape=(3, 32, 32),
        classes=10,
        paper=PAPER,
        parameters=272_474,
        multiply_adds=40_813_184,
        description="ResNet-20 for 32x32 images",
    ),
    ModelSpec(
        name="wide_resnet28_10",
        family="ResNet",
        factory=wide_resnet28_10,
        input_shape=(3, 32, 32),
        classes=10,
        paper=WIDE_PAPER,
        parameters=36_479_194,
        multiply_adds=5_243_328_768,
        description="Wide ResNet-28-10 for 32x32 images",
    ),
    ModelSpec(
        name="pyramidnet110",
        family="ResNet",
        factory=pyramidnet110,
        input_shape=(3, 32, 32),
        classes=10,
        paper=PYRAMID_PAPER,
        parameters=28_485_477,
        multiply_adds=4_717_983_724,
        description="PyramidNet-110 (alpha 270) for 32x32 images",
    ),
    ModelSpec(
        name="channel_table",
        family="ResNet",
        factory=channel_table,
        input_shape=(3, 32, 32),
        classes=10,
        paper=PAPER,
        parameters=1_080_090,
        multiply_adds=157_730_048,
        description="nine residual blocks from a column of channels, 32x32 images",
    ),
)
