"""Training with the rounding of an int8 session: activations on grids of 256 steps.

Jacob et al., "Quantization and training of neural networks for integer-arithmetic-only inference"
(2018), section 3: the forward pass rounds as the session will, the gradient passes through.
"""

from __future__ import annotations

import torch
from torch import Tensor

from edgekit.packfile.activations import LARGEST, Activations, Quantized
from edgekit.train.graph_module import GraphModule, Transform
from edgekit.train.methods.rounding import round_through


def round_activations(module: GraphModule, activations: Activations) -> None:
    """Let every activation that has a grid pass through it from now on."""
    for name, grid in activations.tensors.items():
        module.activation_transforms[name] = _rounding(grid)


def _rounding(grid: Quantized) -> Transform:
    low = -grid.zero_point
    high = LARGEST - grid.zero_point

    def transform(values: Tensor) -> Tensor:
        steps = torch.clamp(values.float() / grid.scale, low, high)
        return round_through(steps) * grid.scale

    return transform
