"""Rounding that lets gradients through: the values a packed file can hold, while training."""

from __future__ import annotations

import torch
from torch import Tensor


def round_through(values: Tensor) -> Tensor:
    """Nearest integers, ties to even, with the gradient of the identity.

    The straight-through estimator of Bengio et al., "Estimating or propagating gradients through
    stochastic neurons for conditional computation" (2013), section 4.
    """
    return values + (torch.round(values) - values).detach()


def half_through(values: Tensor) -> Tensor:
    """The nearest float16 numbers, as float32, with the gradient of the identity."""
    return values + (values.half().float() - values).detach()
