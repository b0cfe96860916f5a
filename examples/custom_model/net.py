"""A network of your own: one file, one factory without arguments."""

from __future__ import annotations

from torch import Tensor, nn


class KeywordSpotter(nn.Module):
    """A small separable CNN over a log-mel picture of one second of sound.

    (N, 1, H, W) float, such as 40 bands of 98 frames -> (N, classes) float, the logits.
    """

    def __init__(self, classes: int = 12) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(1, 48, (10, 4), stride=(2, 2), padding=(5, 1), bias=False),
            nn.BatchNorm2d(48),
            nn.ReLU(),
        ]
        for _ in range(4):
            layers += [
                nn.Conv2d(48, 48, 3, padding=1, groups=48, bias=False),
                nn.BatchNorm2d(48),
                nn.ReLU(),
                nn.Conv2d(48, 48, 1, bias=False),
                nn.BatchNorm2d(48),
                nn.ReLU(),
            ]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(48, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, 1, H, W) float -> (N, classes) float, the logits."""
        logits: Tensor = self.classifier(self.features(inputs).mean((2, 3)))
        return logits


def build() -> KeywordSpotter:
    """What edgekit calls: `net.py:build`."""
    return KeywordSpotter()


def build_fashion() -> KeywordSpotter:
    """The same over pictures of Fashion-MNIST, to be trained: `net.py:build_fashion`."""
    return KeywordSpotter(classes=10)
