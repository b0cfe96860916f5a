"""AlexNet: Krizhevsky et al. 2012, 'ImageNet Classification with Deep Convolutional Networks'.

conv 11x11/4, pool, conv 5x5, pool, three conv 3x3, pool, three linear layers

Local response normalisation is left out: it has no weights, and Simonyan and Zisserman 2015
(section 4.1) found that it doesn't help.
"""

from __future__ import annotations

from torch import Tensor, nn

from edgekit_models.blocks import ConvUnit, initialise
from edgekit_models.spec import ModelSpec, Paper

PAPER = Paper("ImageNet Classification with Deep Convolutional Neural Networks", "3.5", 2012)


class AlexNet(nn.Module):
    """Five convolutions (the second, fourth and fifth grouped), then three linear layers.

    (B, 3, size, size) float -> (B, classes) float, the logits. A grouped layer costs
    M X Y K^2 N / g.
    """

    def __init__(self, *, groups: int, size: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            ConvUnit(3, 96, 11, stride=4, padding=0, normalised=False),
            nn.MaxPool2d(3, stride=2),
            ConvUnit(96, 256, 5, groups=groups, normalised=False),
            nn.MaxPool2d(3, stride=2),
            ConvUnit(256, 384, 3, normalised=False),
            ConvUnit(384, 384, 3, groups=groups, normalised=False),
            ConvUnit(384, 256, 3, groups=groups, normalised=False),
            nn.MaxPool2d(3, stride=2),
        )
        side = (size - 11) // 4 + 1
        for _ in range(3):
            side = (side - 3) // 2 + 1
        self.classifier = nn.Sequential(
            nn.Dropout(0.5),
            nn.Linear(256 * side * side, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Linear(4096, classes),
        )
        initialise(self)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, 3, size, size) float -> (B, classes) float, the logits."""
        logits: Tensor = self.classifier(self.features(inputs).flatten(1))
        return logits


def alexnet(*, groups: int = 2, size: int = 227, classes: int = 1000) -> AlexNet:
    """AlexNet for 3x227x227 inputs.

    groups: 2 for the two columns of the paper, 1 for one column, 4 for twice as many.
    size: side of the input; the first linear layer depends on it. Raises ValueError below 67.
    """
    if size < 67:
        raise ValueError(f"AlexNet's maps vanish below 67 pixels, got {size}")
    return AlexNet(groups=groups, size=size, classes=classes)


SPECS = (
    ModelSpec(
        name="alexnet",
        family="AlexNet",
        factory=alexnet,
        input_shape=(3, 227, 227),
        classes=1000,
        paper=PAPER,
        parameters=60_965_224,
        multiply_adds=724_406_816,
        paper_parameters="60 million (abstract)",
        description="AlexNet of two columns; groups=1 or 4 for other column counts",
    ),
)
