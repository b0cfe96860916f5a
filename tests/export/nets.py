"""Small networks that users might bring, good and bad. Loaded by path, as a user's file is."""

import torch
from torch import Tensor, nn


class Net(nn.Module):
    """(N, 3, H, W) -> (N, 4), with BatchNorm after both convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 3, stride=2, groups=2)
        self.norm2 = nn.BatchNorm2d(8)
        self.out = nn.Linear(8, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.relu(self.norm(self.first(inputs)))
        hidden = torch.relu(self.norm2(self.second(hidden)))
        outputs: Tensor = self.out(hidden.mean((2, 3)))
        return outputs


class Branching(Net):
    """Its path depends on the numbers, which no exporter can trace."""

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = super().forward(inputs)
        return outputs if inputs.sum() == 0 else -outputs


class FixedBatch(Net):
    """Works at batch 2 alone."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs).view(2, 4)


class TwoHeads(Net):
    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]  # two
        outputs = super().forward(inputs)
        return outputs, torch.softmax(outputs, dim=1)


class Dictionary(Net):
    def forward(self, inputs: Tensor) -> dict[str, Tensor]:  # type: ignore[override]  # no tensor
        return {"logits": super().forward(inputs)}


def net() -> Net:
    """As if trained: the running statistics are far from 0 and 1."""
    made = Net()
    for norm in (made.norm, made.norm2):
        nn.init.uniform_(norm.get_buffer("running_mean"), -0.5, 0.5)
        nn.init.uniform_(norm.get_buffer("running_var"), 0.5, 2.0)
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -0.5, 0.5)
    return made


def branching() -> Branching:
    return Branching()


def fixed_batch() -> FixedBatch:
    return FixedBatch()


def two_heads() -> TwoHeads:
    return TwoHeads()


def dictionary() -> Dictionary:
    return Dictionary()


def not_a_module() -> int:
    return 7


def needs_an_argument(width: int) -> Net:
    raise AssertionError(width)
