"""Training on uniform grids, down to so many bits of entropy a weight.

The loss has a term of lambda times the mean code length. Lambda isn't a setting: it is steered so
that the entropy follows its way down, from `start_bits` to the bound, and stays there, while
weights and steps find the places where that costs least.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgekit.compress.quantize import code_limit
from edgekit.errors import RecipeError
from edgekit.tensors import CodedTensor
from edgekit.train.graph_module import GraphModule, Transform
from edgekit.train.methods.grid import TrainedGrid, peak_grid
from edgekit.train.methods.method import Group, Method
from edgekit.train.methods.rounding import half_through
from edgekit.train.recipe import Grid

_DESCENT = 0.6
"""Share of the steps in which the entropy goes down to its bound."""
_FIRST_LAMBDA, _LEAST_LAMBDA, _MOST_LAMBDA = 1e-3, 1e-6, 10.0
_TURNS = 50.0
"""How many times lambda can grow or shrink by the factor e in a stage."""
_STEP_RATE = 1 / 3
"""Learning rate of a step's logarithm, as a share of that of the weights."""


class Gridding(Method):
    """Weights on trained grids; biases as float16 numbers, or on grids of their own."""

    strength: Tensor
    steered: Tensor

    def __init__(
        self,
        module: GraphModule,
        masks: Mapping[str, NDArray[np.bool_]],
        stage: Grid,
        axes: Mapping[str, int | None],
        steps: Mapping[str, float],
    ) -> None:
        """axes: the output channels' axis of each weight, where steps may be one a channel.

        steps: to start with, where they are known.
        """
        super().__init__(module, masks)
        if stage.bits_per_weight is not None and not self.coded_names:
            raise RecipeError("no tensor is large enough for codes; leave out bits_per_weight")
        self._stage = stage
        self.grids = nn.ModuleList()
        numbers = self.numbers()
        for name in self.coded_names:
            grid = TrainedGrid(
                torch.from_numpy(numbers[name]),
                bits=stage.start_bits if stage.bits_per_weight is not None else stage.bits + 2,
                limit=code_limit(stage.bits),
                axis=axes.get(name) if stage.steps == "channel" else None,
                step=steps.get(name),
            )
            self.grids.append(grid)
            module.transforms[name] = self._on_grid(name, grid)
        self._biases = tuple(name for name in module.weights if name not in self.coded_names)
        for name in self._biases:
            module.transforms[name] = self._stored(name)
        self.register_buffer("strength", torch.tensor(_FIRST_LAMBDA))
        self.register_buffer("steered", torch.tensor(0.0))
        self._elements = sum(module.weights[name].numel() for name in self.coded_names)

    def groups(self, learning_rate: float) -> list[Group]:
        """All weights, and the logarithms of the steps."""
        steps = [grid.log_step for _, grid in self._pairs()]
        return [
            *super().groups(learning_rate),
            {"params": steps, "lr": _STEP_RATE * learning_rate},
        ]

    def before_step(self, progress: float) -> None:
        """Steer lambda: up where the entropy is above its way, down where it is below."""
        bound, start = self._stage.bits_per_weight, self._stage.start_bits
        if bound is None or not self.bits_per_weight:
            return
        # The way flattens towards its end, so that lambda has come down when it gets there.
        wanted = bound + (start - bound) * max(0.0, 1 - progress / _DESCENT) ** 2
        off = max(-1.0, min(1.0, 10 * (self.bits_per_weight / wanted - 1)))
        turn = _TURNS * (progress - float(self.steered)) * off
        self.strength.mul_(math.exp(turn)).clamp_(_LEAST_LAMBDA, _MOST_LAMBDA)
        self.steered.fill_(progress)

    def penalty(self) -> Tensor | None:
        """Lambda times the mean length of a code, in bits."""
        if self._stage.bits_per_weight is None:
            return None
        lengths = torch.stack([grid.length_bits for _, grid in self._pairs()])
        return self.strength * lengths.sum() / self._elements

    @property
    def bits_per_weight(self) -> float:
        """Entropy of the codes at the last step; 0 before the first."""
        total = sum(float(grid.entropy_bits) for _, grid in self._pairs())
        return total / max(self._elements, 1)

    def coded(self) -> dict[str, CodedTensor]:
        """Codes and steps of the weights, and of biases where these are codes too."""
        weights = self.network.weights
        found = {
            name: grid.coded(name, "float32", self.masked(name, weights[name]))
            for name, grid in self._pairs()
        }
        if self._stage.bias_bits < 16:
            for name in self._biases:
                found[name] = self._coded_bias(name, self.masked(name, weights[name]))
        return found

    def _on_grid(self, name: str, grid: TrainedGrid) -> Transform:
        def transform(weights: Tensor) -> Tensor:
            values: Tensor = grid(self.masked(name, weights))
            return values

        return transform

    def _stored(self, name: str) -> Transform:
        def transform(bias: Tensor) -> Tensor:
            if self._stage.bias_bits == 16:
                return half_through(self.masked(name, bias))
            return peak_grid(self.masked(name, bias), code_limit(self._stage.bias_bits))[0]

        return transform

    @torch.no_grad()
    def _coded_bias(self, name: str, bias: Tensor) -> CodedTensor:
        values, step = peak_grid(bias, code_limit(self._stage.bias_bits))
        codes = torch.round(values / step).to(torch.int8).numpy()
        return CodedTensor(name, "float32", codes, np.asarray(step.numpy(), np.float32))

    def _pairs(self) -> list[tuple[str, TrainedGrid]]:
        pairs = zip(self.coded_names, self.grids, strict=True)
        return [(name, grid) for name, grid in pairs if isinstance(grid, TrainedGrid)]
