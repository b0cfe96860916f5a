"""MobileNet: Howard et al. 2017, 'Efficient Convolutional Neural Networks for Mobile Vision'.

ImageNet form (table 1):   conv 3x3/2, 13 depthwise separable pairs, mean, linear
Fashion-MNIST form:        conv 3x3, 8 pairs at 28x28, 14x14 and 7x7, mean, linear

Table 1 prints the last pair with stride 2, but its map stays 7x7: the stride is 1.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from edgekit_models.blocks import ConvUnit, DepthwiseSeparable, initialise, round_channels
from edgekit_models.spec import ModelSpec, Paper

PAPER = Paper(
    "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
    "3.2, table 1",
    2017,
)

Pair = tuple[int, int]
"""Output channels and stride of a depthwise separable pair."""

HEAD: tuple[Pair, ...] = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2))
REPEATED: tuple[Pair, ...] = ((512, 1),) * 5
"""The five pairs at 14x14 that the shallow variant leaves out (section 4.1, table 5)."""
TAIL: tuple[Pair, ...] = ((1024, 2), (1024, 1))
FASHION: tuple[Pair, ...] = (
    (32, 1),
    (64, 2),
    (64, 1),
    (128, 2),
    (128, 1),
    (128, 1),
    (256, 1),
    (256, 1),
)


class MobileNet(nn.Module):
    """Depthwise separable pairs between a convolution and a linear classifier.

    (B, C, H, W) float -> (B, classes) float, the logits.

    full: a 3x3 convolution of 9 M X Y N stands in place of each pair, as in table 4.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        *,
        in_channels: int,
        stem: int,
        stem_stride: int,
        classes: int,
        full: bool = False,
    ) -> None:
        super().__init__()
        self.stem = ConvUnit(in_channels, stem, 3, stride=stem_stride)
        channels = stem
        blocks: list[nn.Module] = []
        for width, stride in pairs:
            blocks.append(
                ConvUnit(channels, width, 3, stride=stride)
                if full
                else DepthwiseSeparable(channels, width, stride=stride)
            )
            channels = width
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)
        initialise(self)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C, H, W) float -> (B, classes) float, the logits."""
        features = self.pool(self.blocks(self.stem(inputs))).flatten(1)
        logits: Tensor = self.classifier(features)
        return logits


def mobilenet(
    *, classes: int = 1000, width: float = 1.0, full: bool = False, shallow: bool = False
) -> MobileNet:
    """MobileNet for 3x224x224 inputs, or any other resolution (section 3.4).

    width: multiplier of all channels (section 3.3). full: convolutions in place of the pairs.
    shallow: without the five repeated pairs.
    """
    pairs = (*HEAD, *TAIL) if shallow else (*HEAD, *REPEATED, *TAIL)
    return MobileNet(
        [(round_channels(width * channels), stride) for channels, stride in pairs],
        in_channels=3,
        stem=round_channels(width * 32),
        stem_stride=2,
        classes=classes,
        full=full,
    )


def mobilenet_conv(*, classes: int = 1000, width: float = 1.0) -> MobileNet:
    """Conv MobileNet: full 3x3 convolutions in place of the pairs (section 4.1, table 4)."""
    return mobilenet(classes=classes, width=width, full=True)


def mobilenet_shallow(*, classes: int = 1000, width: float = 1.0) -> MobileNet:
    """Shallow MobileNet: without the five pairs of 14x14x512 (section 4.1, table 5)."""
    return mobilenet(classes=classes, width=width, shallow=True)


def mobilenet_fashion(*, classes: int = 10) -> MobileNet:
    """MobileNet for 1x28x28 inputs, with two strides instead of five."""
    return MobileNet(FASHION, in_channels=1, stem=16, stem_stride=1, classes=classes)


SPECS = (
    ModelSpec(
        name="mobilenet",
        family="MobileNet",
        factory=mobilenet,
        input_shape=(3, 224, 224),
        classes=1000,
        paper=PAPER,
        parameters=4_231_976,
        multiply_adds=568_740_352,
        paper_parameters="4.2 million (table 4)",
        paper_multiply_adds="569 million (table 4)",
        description="MobileNet V1 at width 1.0, ImageNet form",
    ),
    ModelSpec(
        name="mobilenet_conv",
        family="MobileNet",
        factory=mobilenet_conv,
        input_shape=(3, 224, 224),
        classes=1000,
        paper=PAPER,
        parameters=29_294_088,
        multiply_adds=4_867_293_184,
        paper_parameters="29.3 million (table 4)",
        paper_multiply_adds="4866 million (table 4)",
        description="MobileNet V1 with full convolutions in place of its pairs",
    ),
    ModelSpec(
        name="mobilenet_shallow",
        family="MobileNet",
        factory=mobilenet_shallow,
        input_shape=(3, 224, 224),
        classes=1000,
        paper=PAPER,
        parameters=2_887_976,
        multiply_adds=307_323_392,
        paper_parameters="2.9 million (table 5)",
        paper_multiply_adds="307 million (table 5)",
        description="MobileNet V1 without its five repeated pairs",
    ),
    ModelSpec(
        name="mobilenet_fashion",
        family="MobileNet",
        factory=mobilenet_fashion,
        input_shape=(1, 28, 28),
        classes=10,
        paper=PAPER,
        parameters=159_754,
        multiply_adds=9_137_728,
        description="eight depthwise separable pairs for 28x28 grey images",
    ),
)
