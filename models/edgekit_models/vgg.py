"""VGG-16: Simonyan and Zisserman 2015, 'Very Deep Convolutional Networks', configuration D.

thirteen conv 3x3 in five stages, each ended by a pool; three linear layers
"""

from __future__ import annotations

from torch import Tensor, nn

from edgekit_models.blocks import ConvUnit, initialise
from edgekit_models.spec import ModelSpec, Paper

PAPER = Paper(
    "Very Deep Convolutional Networks for Large-Scale Image Recognition", "2.2, table 1 (D)", 2015
)

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and convolutions of each stage."""


class Vgg(nn.Module):
    """Stages of 3x3 convolutions, halved by pools, then three linear layers.

    (B, 3, size, size) float -> (B, classes) float, the logits. A convolution costs 9 M X Y N.
    """

    def __init__(self, *, size: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width, repeats in STAGES:
            for _ in range(repeats):
                layers.append(ConvUnit(channels, width, 3, normalised=False))
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(channels * (size // 32) ** 2, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(4096, classes),
        )
        initialise(self)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, 3, size, size) float -> (B, classes) float, the logits."""
        logits: Tensor = self.classifier(self.features(inputs).flatten(1))
        return logits


def vgg16(*, size: int = 224, classes: int = 1000) -> Vgg:
    """VGG-16 for 3x224x224 inputs.

    size: side of the input; the first linear layer depends on it. Raises ValueError below 32.
    """
    if size < 32:
        raise ValueError(f"VGG's maps vanish below 32 pixels, got {size}")
    return Vgg(size=size, classes=classes)


SPECS = (
    ModelSpec(
        name="vgg16",
        family="VGG",
        factory=vgg16,
        input_shape=(3, 224, 224),
        classes=1000,
        paper=PAPER,
        parameters=138_357_544,
        multiply_adds=15_470_264_320,
        paper_parameters="138 million (table 2)",
        description="VGG-16, configuration D",
    ),
)
