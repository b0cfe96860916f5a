"""Xception: Chollet 2017, 'Deep Learning with Depthwise Separable Convolutions'.

two conv 3x3, three strided blocks, eight middle blocks, a strided block, two separable layers,
mean, linear
"""

from __future__ import annotations

from torch import Tensor, nn

from edgekit_models.blocks import ConvUnit, initialise
from edgekit_models.spec import ModelSpec, Paper

PAPER = Paper("Xception: Deep Learning with Depthwise Separable Convolutions", "3, figure 5", 2017)


class Separable(nn.Module):
    """Depthwise 3x3 and pointwise 1x1 with nothing between, then BatchNorm (sections 1.2 and 4.7).

    (B, M, H, W) -> (B, N, H, W). Cost: M H W (9 + N).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False
        )
        self.pointwise = ConvUnit(in_channels, out_channels, 1, activation=None)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, M, H, W) float -> (B, N, H, W) float."""
        outputs: Tensor = self.pointwise(self.depthwise(inputs))
        return outputs


class XceptionBlock(nn.Module):
    """Separable layers, each behind a ReLU, beside a shortcut (section 3, figure 5).

    (B, M, H', W') -> (B, N, H, W). stride 2: a 3x3 max-pool halves the map, and a strided 1x1
    convolution of M N H W the shortcut. Cost of each separable layer: M H' W' (9 + N).

    leading: the first ReLU, which the first block of the net lacks.
    """

    def __init__(
        self, in_channels: int, widths: tuple[int, ...], *, stride: int, leading: bool = True
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_channels
        for position, width in enumerate(widths):
            if leading or position > 0:
                # The shortcut reads the same input: this ReLU must not write into it.
                layers.append(nn.ReLU())
            layers.append(Separable(channels, width))
            channels = width
        if stride > 1:
            layers.append(nn.MaxPool2d(3, stride=stride, padding=1))
        self.body = nn.Sequential(*layers)
        self.shortcut = (
            ConvUnit(in_channels, channels, 1, stride=stride, activation=None)
            if stride > 1
            else nn.Identity()
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, M, H', W') float -> (B, N, H, W) float."""
        outputs: Tensor = self.body(inputs) + self.shortcut(inputs)
        return outputs


class Xception(nn.Module):
    """Entry, middle and exit flow (figure 5), then a linear classifier.

    (B, 3, H, W) float -> (B, classes) float, the logits.
    """

    def __init__(self, *, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            ConvUnit(3, 32, 3, stride=2, padding=0),
            ConvUnit(32, 64, 3, padding=0),
            XceptionBlock(64, (128, 128), stride=2, leading=False),
            XceptionBlock(128, (256, 256), stride=2),
            XceptionBlock(256, (728, 728), stride=2),
            *(XceptionBlock(728, (728, 728, 728), stride=1) for _ in range(8)),
            XceptionBlock(728, (728, 1024), stride=2),
            Separable(1024, 1536),
            nn.ReLU(inplace=True),
            Separable(1536, 2048),
            nn.ReLU(inplace=True),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(2048, classes)
        initialise(self)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, 3, H, W) float -> (B, classes) float, the logits."""
        features = self.pool(self.features(inputs)).flatten(1)
        logits: Tensor = self.classifier(features)
        return logits


def xception(*, classes: int = 1000) -> Xception:
    """Xception for 3x299x299 inputs."""
    return Xception(classes=classes)


SPECS = (
    ModelSpec(
        name="xception",
        family="Xception",
        factory=xception,
        input_shape=(3, 299, 299),
        classes=1000,
        paper=PAPER,
        parameters=22_855_952,
        multiply_adds=8_357_403_496,
        paper_parameters="22,855,952 (table 3)",
        description="Xception: 36 layers of separable convolutions",
    ),
)
