"""A weight tensor on a uniform grid whose step is learned, and what its codes cost.

The step has a gradient as in Esser et al., "Learned step size quantization" (2020), section 2,
here of its logarithm, so that it stays positive and moves by shares of itself.

What a code costs is the length that an ideal coder gives it: -log2 of its share among the
tensor's codes. Between two codes the length is interpolated, so that a weight feels in which
direction it would code shorter.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from edgekit.tensors import CodedTensor
from edgekit.train.methods.rounding import half_through, round_through

LIMIT = 127
_MEMORY = 0.9
"""Of the running counts of codes, from step to step."""
_PRIOR = 0.03
"""Added to each code's count, so that codes not in use have a length too."""
_STEEPEST = 4.0
"""Bits from one code to the next that a weight feels at most; rare codes lie far apart."""
_GAUSS_BITS = 0.5 * math.log2(2 * math.pi * math.e)


class TrainedGrid(nn.Module):
    """Codes times a step, one for the whole tensor or one a channel.

    weights: the tensor to start from. bits: entropy a code to start at, as if the weights were
    normally distributed. limit: codes stay within -limit..limit. axis: of the channels that have
    steps of their own, or None. step: to start with instead of the one that `bits` gives.

    After each call `length_bits` holds the bits of all codes, which has a gradient, and
    `entropy_bits` their zero-order entropy, without one.
    """

    counts: Tensor
    entropy_bits: Tensor

    def __init__(
        self,
        weights: Tensor,
        *,
        bits: float,
        limit: int = LIMIT,
        axis: int | None = None,
        step: float | None = None,
    ) -> None:
        super().__init__()
        others = tuple(index for index in range(weights.ndim) if index != axis)
        deviation = weights.std(dim=others, correction=0, keepdim=axis is not None)
        peak = weights.abs().amax(dim=others, keepdim=axis is not None)
        # All weights have to have a code at the beginning.
        first = deviation * 2.0 ** (_GAUSS_BITS - bits) if step is None else torch.tensor(step)
        steps = torch.maximum(first, peak / (limit + 0.4))
        self.limit, self.axis = limit, axis
        self.log_step = nn.Parameter(torch.log(steps.clamp(min=1e-8)))
        self.register_buffer("counts", torch.zeros(2 * limit + 1))
        self.length_bits = torch.zeros(())
        # Kept with the state: the next step is steered by it.
        self.register_buffer("entropy_bits", torch.zeros((), dtype=torch.float64))

    def forward(self, weights: Tensor) -> Tensor:
        """The nearest values on the grid, in the weights' shape."""
        step = self._step()
        position = torch.clamp(weights / step, -self.limit, self.limit)
        codes = round_through(position)
        if self.training:
            self._count(codes)
            self.length_bits = self._lengths(position)
        return codes * step

    @torch.no_grad()
    def coded(self, name: str, dtype: str, weights: Tensor) -> CodedTensor:
        """The same values as codes and step, for a packed file."""
        step = self._step()
        codes = torch.round(torch.clamp(weights / step, -self.limit, self.limit))
        scale = step.numpy() if self.axis is None else step.flatten().numpy()
        codes_ = codes.to(torch.int8).numpy()
        return CodedTensor(name, dtype, codes_, np.asarray(scale, np.float32), self.axis or 0)

    def _step(self) -> Tensor:
        # A step that float16 can't tell from zero would divide by it.
        smallest = float(np.finfo(np.float16).tiny)
        return half_through(torch.clamp(torch.exp(self.log_step), min=smallest, max=3e4))

    @torch.no_grad()
    def _count(self, codes: Tensor) -> None:
        index = codes.flatten().long() + self.limit
        now = torch.bincount(index, minlength=2 * self.limit + 1).float()
        used = now[now > 0]
        self.entropy_bits.copy_(-(used * torch.log2(used / codes.numel())).sum())
        # At the first step there is nothing to remember.
        memory = _MEMORY if bool(self.counts.any()) else 0.0
        self.counts.mul_(memory).add_(now, alpha=1 - memory)

    def _lengths(self, position: Tensor) -> Tensor:
        counts = self.counts + _PRIOR
        length = -torch.log2(counts / counts.sum())
        below = torch.floor(position.detach()).clamp(-self.limit, self.limit - 1)
        index = below.flatten().long() + self.limit
        low = length[index].view_as(position)
        rise = (length[index + 1].view_as(position) - low).clamp(-_STEEPEST, _STEEPEST)
        return torch.sum(low + rise * (position - below))


def peak_grid(weights: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """Values on the grid that reaches the largest magnitude, with gradients through, and its step.

    The step is a float16 number, never so small that the largest weight falls off by more than
    half a step.
    """
    peak = weights.detach().abs().max()
    step = torch.clamp((peak / limit).half().float(), min=float(np.finfo(np.float16).tiny))
    codes = round_through(torch.clamp(weights / step, -limit, limit))
    return codes * step, step
