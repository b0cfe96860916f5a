"""SqueezeNet: Iandola et al. 2016, 'SqueezeNet: AlexNet-level accuracy with 50x fewer parameters'.

ImageNet form (table 1):   conv 7x7/2, pool, fire2..4, pool, fire5..8, pool, fire9, conv 1x1, mean
Fashion-MNIST form:        conv 3x3, pool, fire2..4 at 14x14, pool, fire5..7 at 7x7, conv 1x1, mean
"""

from __future__ import annotations

from torch import Tensor, nn

from edgekit_models.blocks import ConvUnit, Fire, initialise
from edgekit_models.spec import ModelSpec, Paper

PAPER = Paper(
    "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size",
    "3.3, table 1",
    2016,
)


class Bypass(nn.Module):
    """A fire module beside a shortcut: H(x) = x + f(x) (section 6, figure 2).

    (B, M, H, W) -> (B, N, H, W). A simple bypass adds the input where M = N and costs nothing; a
    complex one has a 1x1 convolution with bias between, M N H W.
    """

    def __init__(self, fire: Fire, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.fire = fire
        self.shortcut = nn.Identity() if shortcut is None else shortcut

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, M, H, W) float -> (B, N, H, W) float."""
        outputs: Tensor = self.fire(inputs) + self.shortcut(inputs)
        return outputs


class SqueezeNet(nn.Module):
    """Fire modules between a first convolution and a 1x1 convolution that scores the classes.

    (N, C, H, W) float -> (N, classes) float, the logits.
    """

    def __init__(
        self, features: nn.Sequential, *, channels: int, classes: int, dropout: float
    ) -> None:
        super().__init__()
        self.features = features
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Conv2d(channels, classes, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        initialise(self)
        # The logits are a mean over the map: He's variance would start the softmax far from flat.
        nn.init.normal_(self.classifier.weight, std=0.01)

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, C, H, W) float -> (N, classes) float, the logits."""
        scores = self.classifier(self.dropout(self.features(inputs)))
        logits: Tensor = self.pool(scores).flatten(1)
        return logits


def squeezenet1_0(*, classes: int = 1000) -> SqueezeNet:
    """SqueezeNet 1.0 for 3x224x224 inputs.

    Pools round their size up and the first convolution has no padding, as in the authors' net.
    """
    stem = ConvUnit(3, 96, 7, stride=2, normalised=False)
    stem.conv.padding = (0, 0)
    features = nn.Sequential(
        stem,
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        Fire(96, 16, 64, 64),
        Fire(128, 16, 64, 64),
        Fire(128, 32, 128, 128),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        Fire(256, 32, 128, 128),
        Fire(256, 48, 192, 192),
        Fire(384, 48, 192, 192),
        Fire(384, 64, 256, 256),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        Fire(512, 64, 256, 256),
    )
    return SqueezeNet(features, channels=512, classes=classes, dropout=0.5)


def squeezenet1_0_simple(*, classes: int = 1000) -> SqueezeNet:
    """SqueezeNet 1.0 with simple bypass around fire3, fire5, fire7 and fire9."""
    model = squeezenet1_0(classes=classes)
    for index in (3, 6, 8, 11):
        model.features[index] = _bypassed(model, index)
    return model


def squeezenet1_0_complex(*, classes: int = 1000) -> SqueezeNet:
    """SqueezeNet 1.0 with simple bypass, and complex bypass around fire2, fire4, fire6, fire8."""
    model = squeezenet1_0_simple(classes=classes)
    for index, (in_channels, channels) in {
        2: (96, 128),
        4: (128, 256),
        7: (256, 384),
        9: (384, 512),
    }.items():
        shortcut = nn.Conv2d(in_channels, channels, 1)
        initialise(shortcut)
        model.features[index] = _bypassed(model, index, shortcut)
    return model


def _bypassed(model: SqueezeNet, index: int, shortcut: nn.Module | None = None) -> Bypass:
    fire = model.features[index]
    if not isinstance(fire, Fire):
        raise TypeError(f"feature {index} of SqueezeNet is no fire module")
    return Bypass(fire, shortcut)


def squeezenet1_1(*, classes: int = 1000) -> SqueezeNet:
    """SqueezeNet 1.1 for 3x224x224 inputs: a smaller stem, and pools two fires earlier.

    The authors' second release; it isn't in the paper.
    """
    features = nn.Sequential(
        ConvUnit(3, 64, 3, stride=2, padding=0, normalised=False),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        Fire(64, 16, 64, 64),
        Fire(128, 16, 64, 64),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        Fire(128, 32, 128, 128),
        Fire(256, 32, 128, 128),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        Fire(256, 48, 192, 192),
        Fire(384, 48, 192, 192),
        Fire(384, 64, 256, 256),
        Fire(512, 64, 256, 256),
    )
    return SqueezeNet(features, channels=512, classes=classes, dropout=0.5)


def squeezenet_fashion(*, classes: int = 10) -> SqueezeNet:
    """SqueezeNet for 1x28x28 inputs: late down-sampling and BatchNorm, no dropout."""
    features = nn.Sequential(
        ConvUnit(1, 64, 3),
        nn.MaxPool2d(2),
        Fire(64, 16, 64, 64, normalised=True),
        Fire(128, 16, 64, 64, normalised=True),
        Fire(128, 32, 64, 64, normalised=True),
        nn.MaxPool2d(2),
        Fire(128, 32, 128, 128, normalised=True),
        Fire(256, 48, 128, 128, normalised=True),
        Fire(256, 64, 192, 192, normalised=True),
    )
    return SqueezeNet(features, channels=384, classes=classes, dropout=0.0)


SPECS = (
    ModelSpec(
        name="squeezenet1_0",
        family="SqueezeNet",
        factory=squeezenet1_0,
        input_shape=(3, 224, 224),
        classes=1000,
        paper=PAPER,
        parameters=1_248_424,
        multiply_adds=818_924_576,
        paper_parameters="1,248,424 (table 1)",
        description="SqueezeNet 1.0 without bypass, ImageNet form",
    ),
    ModelSpec(
        name="squeezenet1_0_simple",
        family="SqueezeNet",
        factory=squeezenet1_0_simple,
        input_shape=(3, 224, 224),
        classes=1000,
        paper=PAPER,
        parameters=1_248_424,
        multiply_adds=818_924_576,
        description="SqueezeNet 1.0 with simple bypass, ImageNet form",
    ),
    ModelSpec(
        name="squeezenet1_0_complex",
        family="SqueezeNet",
        factory=squeezenet1_0_complex,
        input_shape=(3, 224, 224),
        classes=1000,
        paper=PAPER,
        parameters=1_589_672,
        multiply_adds=1_165_298_720,
        description="SqueezeNet 1.0 with simple and complex bypass, ImageNet form",
    ),
    ModelSpec(
        name="squeezenet1_1",
        family="SqueezeNet",
        factory=squeezenet1_1,
        input_shape=(3, 224, 224),
        classes=1000,
        paper=PAPER,
        parameters=1_235_496,
        multiply_adds=349_151_936,
        description="SqueezeNet 1.1, less than half the multiply-adds of 1.0",
    ),
    ModelSpec(
        name="squeezenet_fashion",
        family="SqueezeNet",
        factory=squeezenet_fashion,
        input_shape=(1, 28, 28),
        classes=10,
        paper=PAPER,
        parameters=313_706,
        multiply_adds=22_717_184,
        description="six fire modules with BatchNorm for 28x28 grey images, Fashion-MNIST",
        checkpoint="squeezenet_fashion.safetensors",
    ),
)
