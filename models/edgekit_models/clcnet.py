"""clcNet: Zhang 2018, 'Improving the Efficiency of ConvNets using Channel Local Convolutions'.

conv 3x3/2, a channel-local block, four stages of them, mean, linear

The layers are those of the author's release (dqzhang17/clcnet.torch), whose rule for the groups
the abstract states; the sections and tables of the paper were not at hand.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from edgekit_models.blocks import ChannelShuffle, ConvUnit, initialise
from edgekit_models.spec import ModelSpec, Paper

PAPER = Paper(
    "clcNet: Improving the Efficiency of Convolutional Neural Network using Channel Local "
    "Convolutions",
    None,
    2018,
)


class InterlacedGrouped(nn.Module):
    """A 3x3 grouped convolution whose outputs are dealt out across its groups.

    (B, C, H', W') -> (B, C, H, W). Cost: 9 C^2 H W / g1.
    """

    def __init__(self, channels: int, *, groups: int, stride: int = 1) -> None:
        super().__init__()
        self.unit = ConvUnit(channels, channels, 3, stride=stride, groups=groups, activation=None)
        self.interlace = ChannelShuffle(groups)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C, H', W') float -> (B, C, H, W) float."""
        outputs: Tensor = self.interlace(self.unit(inputs))
        return outputs


class ChannelLocal(nn.Module):
    """Interlaced grouped 3x3, then grouped 1x1.

    (B, M, H', W') -> (B, N, H, W). Cost: H W (9 M^2 / g1 + M N / g2). Every output sees every
    input as long as g1 g2 <= M; without the interlacing, only its own group's.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, g1: int, g2: int, stride: int = 1
    ) -> None:
        super().__init__()
        self.interlaced = InterlacedGrouped(in_channels, groups=g1, stride=stride)
        self.grouped = ConvUnit(in_channels, out_channels, 1, groups=g2)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, M, H', W') float -> (B, N, H, W) float."""
        outputs: Tensor = self.grouped(self.interlaced(inputs))
        return outputs


class ClcNet(nn.Module):
    """Channel-local blocks with g1 = M / 2 and g2 = 2 between a stem and a linear classifier.

    (B, 3, H, W) float -> (B, classes) float, the logits.

    repeats: blocks without stride behind the strided one of each of the four stages.
    """

    def __init__(self, repeats: Sequence[int], *, classes: int) -> None:
        super().__init__()
        self.stem = ConvUnit(3, 32, 3, stride=2)
        blocks: list[nn.Module] = [ChannelLocal(32, 64, g1=16, g2=2)]
        channels = 64
        for count in repeats:
            blocks.append(ChannelLocal(channels, 2 * channels, g1=channels // 2, g2=2, stride=2))
            channels *= 2
            blocks.extend(
                ChannelLocal(channels, channels, g1=channels // 2, g2=2) for _ in range(count)
            )
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)
        initialise(self)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, 3, H, W) float -> (B, classes) float, the logits."""
        features = self.pool(self.blocks(self.stem(inputs))).flatten(1)
        logits: Tensor = self.classifier(features)
        return logits


def clcnet_a(*, classes: int = 1000) -> ClcNet:
    """clcNet-A for 3x224x224 inputs: 1, 1, 5 and 2 repeated blocks."""
    return ClcNet((1, 1, 5, 2), classes=classes)


def clcnet_b(*, classes: int = 1000) -> ClcNet:
    """clcNet-B for 3x224x224 inputs: 1, 1, 7 and 3 repeated blocks."""
    return ClcNet((1, 1, 7, 3), classes=classes)


SPECS = (
    ModelSpec(
        name="clcnet_a",
        family="clcNet",
        factory=clcnet_a,
        input_shape=(3, 224, 224),
        classes=1000,
        paper=PAPER,
        parameters=3_253_640,
        multiply_adds=342_973_440,
        description="clcNet-A: interlaced grouped and channel-local convolutions",
    ),
    ModelSpec(
        name="clcnet_b",
        family="clcNet",
        factory=clcnet_b,
        input_shape=(3, 224, 224),
        classes=1000,
        paper=PAPER,
        parameters=4_085_128,
        multiply_adds=424_559_616,
        description="clcNet-B: three blocks deeper than clcNet-A",
    ),
)
