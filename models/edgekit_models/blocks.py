"""The blocks that several networks of the zoo are built from.

Symbols of the cost formulas: M input and N output channels, C channels where both are equal, K
kernel side, X and Y (or H and W) sides of the *output* map, g groups. Costs are multiply-adds at
batch 1; biases, BatchNorm and activations count nothing.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class ConvUnit(nn.Module):
    """Convolution, then BatchNorm, then activation; the padding keeps the size at stride 1.

    (B, M, X', Y') -> (B, N, X, Y), with X = ceil(X' / stride) for an odd kernel.
    Cost: M X Y K^2 N / g. Parameters: N (M K^2 / g + 1) with a bias. With K = 1 it is pointwise,
    M X Y N (MobileNet, section 3.1); with g = M = N depthwise, X Y K^2 N (the same); g groups are
    AlexNet's (section 3.5). A dilation d sees (K - 1) d + 1 inputs across
    at the same cost (Yu and Koltun 2016, section 2).

    normalised: BatchNorm takes the place of the convolution's bias.
    padding: instead of the one that keeps the size.
    activation: None makes it linear (MobileNetV2, section 3.2: linear bottlenecks).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int | None = None,
        dilation: int = 1,
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
            padding=dilation * (kernel // 2) if padding is None else padding,
            dilation=dilation,
            groups=groups,
            bias=not normalised,
        )
        self.norm = nn.BatchNorm2d(out_channels) if normalised else nn.Identity()
        self.act = nn.Identity() if activation is None else activation(inplace=True)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, M, X', Y') float -> (B, N, X, Y) float."""
        outputs: Tensor = self.act(self.norm(self.conv(inputs)))
        return outputs


class DepthwiseSeparable(nn.Module):
    """Filter each channel by KxK, then mix them by 1x1 (MobileNet, section 3.1 and figure 3).

    (B, C, H', W') -> (B, N, H, W). Cost: C H W (K^2 + N), which is 1/N + 1/K^2 of the full
    convolution's C H W K^2 N. Parameters without biases: C K^2 + N C.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = ConvUnit(in_channels, in_channels, 3, stride=stride, groups=in_channels)
        self.pointwise = ConvUnit(in_channels, out_channels, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C, H', W') float -> (B, N, H, W) float."""
        outputs: Tensor = self.pointwise(self.depthwise(inputs))
        return outputs


class ChannelShuffle(nn.Module):
    """Deal the channels of each group out to all groups (ShuffleNet, section 3.1 and figure 1).

    (B, C, H, W) -> (B, C, H, W): channel k of group i goes to position k g + i, by a reshape to
    (g, C / g), a transpose and a flatten. No parameters, no multiply-adds.
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        grouped = torch.unflatten(inputs, 1, (self.groups, inputs.shape[1] // self.groups))
        return grouped.transpose(1, 2).flatten(1, 2)


class SqueezeExcite(nn.Module):
    """Scale each channel by a gate that sees all channels' means (Hu et al. 2018, section 3).

    (B, C, H, W) -> (B, C, H, W). Cost: 2 C C / reduction, once and not for each position.
    """

    def __init__(self, channels: int, *, reduction: int = 16) -> None:
        super().__init__()
        if not 1 <= reduction <= channels:
            raise ValueError(f"a reduction by {reduction} leaves nothing of {channels} channels")
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = ConvUnit(channels, channels // reduction, 1, normalised=False)
        self.expand = ConvUnit(
            channels // reduction, channels, 1, normalised=False, activation=None
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C, H, W) float -> (B, C, H, W) float."""
        return inputs * torch.sigmoid(self.expand(self.reduce(self.pool(inputs))))


class Fire(nn.Module):
    """Squeeze to few channels by 1x1, expand by 1x1 and 3x3 side by side (SqueezeNet, section 3.2).

    (B, M, H, W) -> (B, expand1 + expand3, H, W).
    Cost: H W squeeze (M + expand1 + 9 expand3).
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
        """(B, M, H, W) float -> (B, expand1 + expand3, H, W) float."""
        squeezed = self.squeeze(inputs)
        return torch.cat([self.expand1(squeezed), self.expand3(squeezed)], dim=1)


class InvertedResidual(nn.Module):
    """Expand by 1x1, filter each channel by 3x3, project linearly (MobileNetV2, section 3.3).

    (B, M, H', W') -> (B, N, H, W). The input is added where the shapes allow it: stride 1 and
    M = N. With expansion 1 the first 1x1 falls away, as in the paper's first bottleneck.
    Cost for expansion t > 1: t M (H' W' M + H W (9 + N)); for t = 1: M H W (9 + N).
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
        """(B, M, H', W') float -> (B, N, H, W) float."""
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
    Raises ValueError for no channels.
    """
    if not 0 < channels < math.inf:
        raise ValueError(f"channels must be a number above 0, got {channels}")
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded
