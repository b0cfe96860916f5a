"""Random flips and shifts of a batch, as tensor operations."""

from __future__ import annotations

import torch
from torch import Tensor

MAX_SHIFT = 2
"""Pixels in each direction; more than 2 of 28 starts to cut off shoes and sleeves."""


def flip_and_shift(
    inputs: Tensor,
    generator: torch.Generator,
    *,
    fill: float,
    first: int = 0,
    total: int | None = None,
) -> Tensor:
    """Mirror half of the images left to right, and move each by up to MAX_SHIFT pixels.

    inputs: (N, C, H, W) float. fill: the value that moves in at the border, in the inputs' units.
    first, total: the inputs are those from place `first` on in a batch of `total`, and change as
    they would in the whole batch. Returns (N, C, H, W) in channels-last memory order.
    """
    count, _, height, width = inputs.shape
    whole = count if total is None else total
    here = slice(first, first + count)
    mirrored = torch.rand(whole, generator=generator)[here] < 0.5
    shifts = torch.randint(0, 2 * MAX_SHIFT + 1, (2, whole, 1), generator=generator)[:, here]
    columns = torch.arange(width).expand(count, width)
    columns = torch.where(mirrored[:, None], width - 1 - columns, columns) + shifts[0]
    rows = torch.arange(height).expand(count, height) + shifts[1]
    padded = torch.nn.functional.pad(inputs, (MAX_SHIFT,) * 4, value=fill)
    # Indices around a slice put the channels last: (N, H, W, C), which is viewed as NCHW.
    moved = padded[torch.arange(count)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)
