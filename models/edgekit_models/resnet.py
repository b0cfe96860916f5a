"""ResNet for large images: He et al. 2016, and its kin Wide ResNet (2016) and ResNeXt (2017).

conv 7x7/2, pool, four stages of residual blocks at 56, 28, 14 and 7, mean, linear
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from edgekit_models.blocks import ConvUnit, initialise
from edgekit_models.spec import ModelSpec, Paper

PAPER = Paper("Deep Residual Learning for Image Recognition", "3.3, table 1", 2016)
WIDE_PAPER = Paper("Wide Residual Networks", "3, table 8", 2016)
RESNEXT_PAPER = Paper(
    "Aggregated Residual Transformations for Deep Neural Networks", "3, table 1", 2017
)

DEPTHS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
"""Blocks of each stage (table 1); from 50 layers on they are bottlenecks."""


class Residual(nn.Module):
    """H(x) = relu(x + f(x)) with f of two 3x3 convolutions (He et al., section 3.2, figure 2).

    (B, M, H', W') -> (B, N, H, W). Cost: 9 H W (M N + N N), and M N H W for the 1x1 projection
    of the shortcut where the shape changes.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        shortcut: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(
            ConvUnit(in_channels, out_channels, 3, stride=stride),
            ConvUnit(out_channels, out_channels, 3, activation=None),
        )
        self.shortcut = (
            projection(in_channels, out_channels, stride) if shortcut is None else shortcut
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, M, H', W') float -> (B, N, H, W) float."""
        return torch.relu(self.body(inputs) + self.shortcut(inputs))


class Bottleneck(nn.Module):
    """1x1 to b channels, 3x3 in g groups, 1x1 to N, beside a shortcut (section 4.1, figure 5).

    (B, M, H', W') -> (B, N, H, W). Cost at stride 1: H W b (M + 9 b / g + N), and M N H W for a
    projection. With g > 1 it is ResNeXt's block (Xie et al., section 3.3, figure 3c).

    late: the 3x3 carries the stride, as in ResNeXt; else the first 1x1, as in ResNet.
    normalised: False puts biases in BatchNorm's place.
    """

    def __init__(
        self,
        in_channels: int,
        inner: int,
        out_channels: int,
        *,
        stride: int = 1,
        groups: int = 1,
        late: bool = False,
        normalised: bool = True,
    ) -> None:
        super().__init__()
        first, second = (1, stride) if late else (stride, 1)
        self.body = nn.Sequential(
            ConvUnit(in_channels, inner, 1, stride=first, normalised=normalised),
            ConvUnit(inner, inner, 3, stride=second, groups=groups, normalised=normalised),
            ConvUnit(inner, out_channels, 1, activation=None, normalised=normalised),
        )
        self.shortcut = projection(in_channels, out_channels, stride, normalised=normalised)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, M, H', W') float -> (B, N, H, W) float."""
        return torch.relu(self.body(inputs) + self.shortcut(inputs))


def projection(
    in_channels: int, out_channels: int, stride: int, *, normalised: bool = True
) -> nn.Module:
    """The shortcut: identity, or a strided 1x1 convolution where the shape changes (option B)."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return ConvUnit(
        in_channels, out_channels, 1, stride=stride, activation=None, normalised=normalised
    )


class ResNet(nn.Module):
    """Stages of residual blocks between a 7x7 stem and a linear classifier.

    (B, 3, H, W) float -> (B, classes) float, the logits.
    """

    def __init__(
        self, stem: ConvUnit, blocks: Sequence[nn.Module], *, channels: int, classes: int
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(stem, nn.MaxPool2d(3, stride=2, padding=1))
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)
        initialise(self)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, 3, H, W) float -> (B, classes) float, the logits."""
        features = self.pool(self.blocks(self.stem(inputs))).flatten(1)
        logits: Tensor = self.classifier(features)
        return logits


def resnet(
    depth: int,
    *,
    classes: int = 1000,
    groups: int = 1,
    inner: int = 64,
    late: bool = False,
    normalised: bool = True,
) -> ResNet:
    """A ResNet for 3x224x224 inputs.

    depth: 18, 34, 50, 101 or 152. For bottlenecks, inner: channels of the first stage's 3x3, which
    double each stage; groups, late and normalised as in `Bottleneck`. Raises ValueError for
    another depth.
    """
    channels, blocks = 64, list[nn.Module]()
    if depth not in DEPTHS:
        raise ValueError(f"no ResNet of {depth} layers; there are {', '.join(map(str, DEPTHS))}")
    for stage, repeats in enumerate(DEPTHS[depth]):
        for position in range(repeats):
            stride = 2 if stage > 0 and position == 0 else 1
            if depth < 50:
                blocks.append(Residual(channels, 64 << stage, stride=stride))
                channels = 64 << stage
                continue
            block = Bottleneck(
                channels,
                inner << stage,
                256 << stage,
                stride=stride,
                groups=groups,
                late=late,
                normalised=normalised,
            )
            blocks.append(block)
            channels = 256 << stage
    stem = ConvUnit(3, 64, 7, stride=2, normalised=normalised)
    return ResNet(stem, blocks, channels=channels, classes=classes)


def resnet18(*, classes: int = 1000) -> ResNet:
    """ResNet-18 for 3x224x224 inputs."""
    return resnet(18, classes=classes)


def resnet34(*, classes: int = 1000) -> ResNet:
    """ResNet-34 for 3x224x224 inputs."""
    return resnet(34, classes=classes)


def resnet50(*, classes: int = 1000) -> ResNet:
    """ResNet-50 for 3x224x224 inputs."""
    return resnet(50, classes=classes)


def resnet101(*, classes: int = 1000) -> ResNet:
    """ResNet-101 for 3x224x224 inputs."""
    return resnet(101, classes=classes)


def resnet152(*, classes: int = 1000) -> ResNet:
    """ResNet-152 for 3x224x224 inputs."""
    return resnet(152, classes=classes)


def wide_resnet50_2(*, classes: int = 1000, normalised: bool = True) -> ResNet:
    """ResNet-50 with twice the channels in the bottlenecks' 3x3."""
    return resnet(50, classes=classes, inner=128, late=True, normalised=normalised)


def resnext50(*, classes: int = 1000) -> ResNet:
    """ResNeXt-50 32x4d: 32 groups of 4 channels in the first stage's 3x3."""
    return resnet(50, classes=classes, groups=32, inner=128, late=True)


def resnext101(*, classes: int = 1000) -> ResNet:
    """ResNeXt-101 64x4d: 64 groups of 4 channels in the first stage's 3x3."""
    return resnet(101, classes=classes, groups=64, inner=256, late=True)


def _spec(
    name: str,
    factory: Callable[..., nn.Module],
    counts: tuple[int, int],
    description: str,
    paper: Paper = PAPER,
) -> ModelSpec:
    return ModelSpec(
        name=name,
        family="ResNet",
        factory=factory,
        input_shape=(3, 224, 224),
        classes=1000,
        paper=paper,
        parameters=counts[0],
        multiply_adds=counts[1],
        description=description,
    )


SPECS = (
    _spec("resnet18", resnet18, (11_689_512, 1_814_073_344), "ResNet-18, plain residual blocks"),
    _spec("resnet34", resnet34, (21_797_672, 3_663_761_408), "ResNet-34, plain residual blocks"),
    _spec("resnet50", resnet50, (25_557_032, 3_857_973_248), "ResNet-50, bottlenecks"),
    _spec("resnet101", resnet101, (44_549_160, 7_570_194_432), "ResNet-101, bottlenecks"),
    _spec("resnet152", resnet152, (60_192_808, 11_282_415_616), "ResNet-152, bottlenecks"),
    _spec(
        "wide_resnet50_2",
        wide_resnet50_2,
        (68_883_240, 11_398_021_120),
        "ResNet-50 with bottlenecks twice as wide",
        WIDE_PAPER,
    ),
    _spec(
        "resnext50",
        resnext50,
        (25_028_904, 4_230_479_872),
        "ResNeXt-50 32x4d, grouped bottlenecks",
        RESNEXT_PAPER,
    ),
    _spec(
        "resnext101",
        resnext101,
        (83_455_272, 15_460_270_080),
        "ResNeXt-101 64x4d, grouped bottlenecks",
        RESNEXT_PAPER,
    ),
)
