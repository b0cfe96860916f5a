"""MobileNetV2: Sandler et al. 2018, 'Inverted Residuals and Linear Bottlenecks'.

ImageNet form (table 2):   conv 3x3/2, 17 bottlenecks, conv 1x1 to 1280, mean, linear
Fashion-MNIST form:        conv 3x3/2, 8 bottlenecks at 14x14 and 7x7, conv 1x1 to 256, mean, linear
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from edgekit_models.blocks import ConvUnit, InvertedResidual, initialise, round_channels
from edgekit_models.spec import ModelSpec, Paper

PAPER = Paper("MobileNetV2: Inverted Residuals and Linear Bottlenecks", "4, table 2", 2018)

Stage = tuple[int, int, int, int]
"""Expansion t, channels c, repeats n and stride s of the first repeat, as in table 2."""

IMAGENET_STAGES: tuple[Stage, ...] = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
FASHION_STAGES: tuple[Stage, ...] = (
    (1, 16, 1, 1),
    (4, 24, 2, 1),
    (4, 64, 3, 2),
    (4, 96, 2, 1),
)


class MobileNetV2(nn.Module):
    """Inverted residuals between a strided convolution and a linear classifier.

    (N, C, H, W) float -> (N, classes) float, the logits.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        *,
        in_channels: int,
        stem: int,
        head: int,
        classes: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.stem = ConvUnit(in_channels, stem, 3, stride=2, activation=nn.ReLU6)
        channels = stem
        blocks: list[nn.Module] = []
        for expansion, out_channels, repeats, first_stride in stages:
            for repeat in range(repeats):
                stride = first_stride if repeat == 0 else 1
                blocks.append(
                    InvertedResidual(channels, out_channels, stride=stride, expansion=expansion)
                )
                channels = out_channels
        self.blocks = nn.Sequential(*blocks)
        self.head = ConvUnit(channels, head, 1, activation=nn.ReLU6)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(head, classes)
        initialise(self)

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, C, H, W) float -> (N, classes) float, the logits."""
        features = self.pool(self.head(self.blocks(self.stem(inputs)))).flatten(1)
        logits: Tensor = self.classifier(self.dropout(features))
        return logits


def mobilenetv2(*, classes: int = 1000, width: float = 1.0) -> MobileNetV2:
    """MobileNetV2 for 3x224x224 inputs.

    width: multiplier of all channels; the last convolution keeps 1280 below 1.0 (section 4).
    """
    stages = [(t, round_channels(width * c), n, s) for t, c, n, s in IMAGENET_STAGES]
    return MobileNetV2(
        stages,
        in_channels=3,
        stem=round_channels(width * 32),
        head=round_channels(max(width, 1.0) * 1280),
        classes=classes,
        dropout=0.2,
    )


def mobilenetv2_fashion(*, classes: int = 10) -> MobileNetV2:
    """MobileNetV2 for 1x28x28 inputs, with two strides instead of five."""
    return MobileNetV2(
        FASHION_STAGES, in_channels=1, stem=32, head=256, classes=classes, dropout=0.0
    )


def from_torchvision(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Rename the parameters of torchvision's MobileNetV2 to this module's.

    state: names such as `features.2.conv.0.0.weight`. Any other state dict is returned as it is.
    """
    if "features.0.0.weight" not in state or "features.1.conv.0.0.weight" not in state:
        return state
    positions = (re.match(r"features\.(\d+)\.", key) for key in state)
    last = max(int(match[1]) for match in positions if match)
    return {_own_name(key, last): value for key, value in state.items()}


_UNIT_PARTS = {"0": "conv", "1": "norm"}


def _own_name(key: str, last: int) -> str:
    """The parameter that a published name stands for; any other name stays as it is."""
    if match := re.fullmatch(r"classifier\.1\.(\w+)", key):
        return f"classifier.{match[1]}"
    if match := re.fullmatch(r"features\.(\d+)\.([01])\.(\w+)", key):
        unit = {0: "stem", last: "head"}.get(int(match[1]))
        return f"{unit}.{_UNIT_PARTS[match[2]]}.{match[3]}" if unit else key
    if match := re.fullmatch(r"features\.(\d+)\.conv\.(\d+)\.(?:([01])\.)?(\w+)", key):
        block, position, part, leaf = int(match[1]) - 1, int(match[2]), match[3], match[4]
        # The first bottleneck has expansion 1 and so no expanding convolution.
        units = ["depthwise"] if block == 0 else ["expand", "depthwise"]
        if part is not None and position < len(units):
            return f"blocks.{block}.{units[position]}.{_UNIT_PARTS[part]}.{leaf}"
        # The linear projection isn't wrapped: its convolution and norm lie side by side.
        projection = {len(units): "conv", len(units) + 1: "norm"}
        if part is None and position in projection:
            return f"blocks.{block}.project.{projection[position]}.{leaf}"
    return key


SPECS = (
    ModelSpec(
        name="mobilenetv2",
        family="MobileNetV2",
        factory=mobilenetv2,
        input_shape=(3, 224, 224),
        classes=1000,
        paper=PAPER,
        parameters=3_504_872,
        multiply_adds=300_774_272,
        paper_parameters="3.4M (table 4)",
        paper_multiply_adds="300M (table 4)",
        description="MobileNetV2 at width 1.0, ImageNet form; takes torchvision's weights",
        adapt=from_torchvision,
    ),
    ModelSpec(
        name="mobilenetv2_fashion",
        family="MobileNetV2",
        factory=mobilenetv2_fashion,
        input_shape=(1, 28, 28),
        classes=10,
        paper=PAPER,
        parameters=243_914,
        multiply_adds=13_241_184,
        description="eight bottlenecks for 28x28 grey images, Fashion-MNIST",
        checkpoint="mobilenetv2_fashion.safetensors",
    ),
)
