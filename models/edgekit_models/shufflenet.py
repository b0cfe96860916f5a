"""ShuffleNet: Zhang et al. 2018, 'ShuffleNet: An Extremely Efficient Convolutional Neural Network'.

ImageNet form (table 1):   conv 3x3/2, pool, three stages of 1 + 3, 1 + 7, 1 + 3 units, mean, linear
Fashion-MNIST form:        conv 3x3, two stages of 1 + 3 units at 14x14 and 7x7, mean, linear
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgekit_models.blocks import ChannelShuffle, ConvUnit, SqueezeExcite, initialise
from edgekit_models.spec import ModelSpec, Paper

PAPER = Paper(
    "ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile Devices",
    "3.3, table 1",
    2018,
)

WIDTHS = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}
"""Channels of the first stage for each group count at scale 1 (table 1)."""
REPEATS = (4, 8, 4)
SHALLOW_REPEATS = (2, 4, 2)


class ShuffleUnit(nn.Module):
    """Grouped 1x1, shuffle, depthwise 3x3, grouped 1x1, beside a shortcut (section 3.2, figure 2).

    (B, M, H', W') -> (B, N, H, W). With b = N / 4 channels inside the cost is
    M b H' W' / g + 9 b H W + b N H W / g at stride 1, where M = N and the input is added. At
    stride 2 the branch yields N - M channels, and a 3x3 mean of the input is concatenated.

    first_groups: groups of the first 1x1; the first unit of the net has 1 (section 3.3).
    shuffle: False for the control experiment of table 3.
    excite: scales the output's channels with a squeeze-and-excitation of 2 N^2 / 16.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        groups: int,
        stride: int = 1,
        first_groups: int | None = None,
        shuffle: bool = True,
        excite: bool = False,
    ) -> None:
        super().__init__()
        inner = out_channels // 4
        branch = out_channels - in_channels if stride > 1 else out_channels
        first = groups if first_groups is None else first_groups
        self.reduce = ConvUnit(in_channels, inner, 1, groups=first)
        self.shuffle = ChannelShuffle(groups) if shuffle and groups > 1 else nn.Identity()
        self.depthwise = ConvUnit(inner, inner, 3, stride=stride, groups=inner, activation=None)
        self.expand = ConvUnit(inner, branch, 1, groups=groups, activation=None)
        self.excite = SqueezeExcite(out_channels) if excite else nn.Identity()
        self.pool = nn.AvgPool2d(3, stride=stride, padding=1) if stride > 1 else None

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, M, H', W') float -> (B, N, H, W) float."""
        branch = self.expand(self.depthwise(self.shuffle(self.reduce(inputs))))
        if self.pool is None:
            return torch.relu(inputs + self.excite(branch))
        return torch.relu(self.excite(torch.cat([self.pool(inputs), branch], dim=1)))


class ShuffleNet(nn.Module):
    """Stages of units, each twice as wide as the one before.

    (B, C, H, W) float -> (B, classes) float, the logits.

    stem: what stands before the first stage, with `stem_channels` outputs.
    """

    def __init__(
        self,
        stem: nn.Module,
        *,
        stem_channels: int,
        width: int,
        repeats: Sequence[int],
        groups: int,
        classes: int,
        shuffle: bool = True,
        excite: bool = False,
    ) -> None:
        super().__init__()
        self.stem = stem
        channels, units = stem_channels, list[nn.Module]()
        for stage, count in enumerate(repeats):
            for position in range(count):
                units.append(
                    ShuffleUnit(
                        channels,
                        width << stage,
                        groups=groups,
                        stride=2 if position == 0 else 1,
                        first_groups=None if units else 1,
                        shuffle=shuffle,
                        excite=excite,
                    )
                )
                channels = width << stage
        self.units = nn.Sequential(*units)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)
        initialise(self)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C, H, W) float -> (B, classes) float, the logits."""
        features = self.pool(self.units(self.stem(inputs))).flatten(1)
        logits: Tensor = self.classifier(features)
        return logits


def shufflenet(
    *,
    classes: int = 1000,
    groups: int = 3,
    scale: float = 1.0,
    shuffle: bool = True,
    excite: bool = False,
    shallow: bool = False,
) -> ShuffleNet:
    """ShuffleNet for 3x224x224 inputs.

    groups: 1, 2, 3, 4 or 8. scale: factor of all channels (section 3.3). The paper leaves open
    how it rounds; here the first stage goes to the nearest multiple of 4 groups and the stem up
    to a multiple of the groups. The stem has 24 channels up to scale 2, as the authors released
    their 1.5x net, and 48 at 2x.
    shallow: half of the units in each stage. Raises ValueError for another group count.
    """
    if groups not in WIDTHS:
        raise ValueError(f"ShuffleNet has no form with {groups} groups; choose from 1, 2, 3, 4, 8")
    stem = math.ceil(24 * (scale if scale < 1 else math.floor(scale)) / groups) * groups
    unit = 4 * groups
    return ShuffleNet(
        nn.Sequential(ConvUnit(3, stem, 3, stride=2), nn.MaxPool2d(3, stride=2, padding=1)),
        stem_channels=stem,
        width=math.floor(scale * WIDTHS[groups] / unit + 0.5) * unit,
        repeats=SHALLOW_REPEATS if shallow else REPEATS,
        groups=groups,
        classes=classes,
        shuffle=shuffle,
        excite=excite,
    )


def shufflenet_se(*, classes: int = 1000, scale: float = 2.0) -> ShuffleNet:
    """ShuffleNet 2x with squeeze-and-excitation in every unit (section 4.3, table 5)."""
    return shufflenet(classes=classes, scale=scale, excite=True)


def shufflenet_fashion(*, classes: int = 10) -> ShuffleNet:
    """ShuffleNet for 1x28x28 inputs: three groups, no pool in the stem, two stages."""
    return ShuffleNet(
        ConvUnit(1, 24, 3),
        stem_channels=24,
        width=120,
        repeats=(4, 4),
        groups=3,
        classes=classes,
    )


SPECS = (
    ModelSpec(
        name="shufflenet",
        family="ShuffleNet",
        factory=shufflenet,
        input_shape=(3, 224, 224),
        classes=1000,
        paper=PAPER,
        parameters=1_865_728,
        multiply_adds=137_460_672,
        paper_multiply_adds="137 MFLOPs (table 1)",
        description="ShuffleNet 1x with 3 groups; groups=1, 2, 4, 8 and any scale",
    ),
    ModelSpec(
        name="shufflenet_se",
        family="ShuffleNet",
        factory=shufflenet_se,
        input_shape=(3, 224, 224),
        classes=1000,
        paper=PAPER,
        parameters=8_349_136,
        multiply_adds=526_925_184,
        paper_multiply_adds="527 MFLOPs (table 5)",
        description="ShuffleNet 2x with 3 groups and squeeze-and-excitation",
    ),
    ModelSpec(
        name="shufflenet_fashion",
        family="ShuffleNet",
        factory=shufflenet_fashion,
        input_shape=(1, 28, 28),
        classes=10,
        paper=PAPER,
        parameters=52_426,
        multiply_adds=4_652_304,
        description="eight shuffle units for 28x28 grey images",
    ),
)
