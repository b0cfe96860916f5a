"""The blocks that the networks of the zoo are built from.

Symbols of the cost formulas: Cin and Cout channels, K kernel side, H and W sides of the output
map. Costs are multiply-adds at batch 1; biases, BatchNorm and activations count nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ConvUnit(nn.Module):
    """Convolution, then BatchNorm, then activation; the padding keeps the size at stride 1.

    (N, Cin, H', W') -> (N, Cout, H, W), with H = ceil(H' / stride) for an odd kernel.
    Cost: Cout * H * W * K^2 * Cin / groups.

    normalised: BatchNorm takes the place of the convolution's bias.
    activation: None makes it linear (MobileNetV2, section 3.2: linear bottlenecks).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        normalised: bool = True,
        activation: type[nn.Module] | None = nn.ReLU,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel,
            stride=stride,
            padding=kernel // 2,
            groups=groups,
            bias=not normalised,
        )
        self.norm = nn.BatchNorm2d(out_channels) if normalised else nn.Identity()
        self.act = nn.Identity() if activation is None else activation(inplace=True)

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, Cin, H', W') float -> (N, Cout, H, W) float."""
        outputs: Tensor = self.act(self.norm(self.conv(inputs)))
        return outputs


class Fire(nn.Module):
    """Squeeze to few channels by 1x1, expand by 1x1 and 3x3 side by side (SqueezeNet, section 3.2).

    (N, Cin, H, W) -> (N, expand1 + expand3, H, W).
    Cost: H * W * squeeze * (Cin + expand1 + 9 * expand3).
    """

    def __init__(
        self,
        in_channels: int,
        squeeze: int,
        expand1: int,
        expand3: int,
        *,
        normalised: bool = False,
    ) -> None:
        super().__init__()
        self.squeeze = ConvUnit(in_channels, squeeze, 1, normalised=normalised)
        self.expand1 = ConvUnit(squeeze, expand1, 1, normalised=normalised)
        self.expand3 = ConvUnit(squeeze, expand3, 3, normalised=normalised)

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, Cin, H, W) float -> (N, expand1 + expand3, H, W) float."""
        squeezed = self.squeeze(inputs)
        return torch.cat([self.expand1(squeezed), self.expand3(squeezed)], dim=1)


class InvertedResidual(nn.Module):
    """Expand by 1x1, filter each channel by 3x3, project linearly (MobileNetV2, section 3.3).

    (N, Cin, H', W') -> (N, Cout, H, W). The input is added where the shapes allow it: stride 1
    and Cin = Cout. With expansion 1 the first 1x1 falls away, as in the paper's first bottleneck.
    Cost for expansion t: t * Cin * (H' * W' * Cin + H * W * (9 + Cout)).
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.expand = (
            ConvUnit(in_channels, hidden, 1, activation=nn.ReLU6)
            if expansion != 1
            else nn.Identity()
        )
        self.depthwise = ConvUnit(
            hidden, hidden, 3, stride=stride, groups=hidden, activation=nn.ReLU6
        )
        self.project = ConvUnit(hidden, out_channels, 1, activation=None)
        self.is_residual = stride == 1 and in_channels == out_channels

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, Cin, H', W') float -> (N, Cout, H, W) float."""
        outputs: Tensor = self.project(self.depthwise(self.expand(inputs)))
        return inputs + outputs if self.is_residual else outputs


def initialise(model: nn.Module) -> None:
    """He initialisation in place: normal with variance 2 / fan-out, biases zero, norms identity.

    Linear layers, whose outputs no ReLU follows, get a standard deviation of 0.01.
    Source: He et al. 2015, section 2.2 (backward propagation case).
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


def round_channels(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor`, never more than 10 % below `channels`.

    The papers leave open how a width multiplier rounds; this is the MobileNet authors' own rule.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded
