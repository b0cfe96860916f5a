"""Pruning while training: masks that grow along a schedule, then hold."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgekit.errors import RecipeError
from edgekit.train.graph_module import GraphModule
from edgekit.train.methods.masks import (
    fits_pattern,
    pattern_mask,
    scheduled_sparsity,
    smallest_masks,
)
from edgekit.train.methods.method import Method, is_worth_coding
from edgekit.train.recipe import Prune, parse_pattern

_ROUNDS = 50
"""How often masks are chosen anew until they are final."""
_LISTED = 6
"""Layers named in an error."""
_MEMORY = 0.95
"""Of the running mean squares of gradients, from step to step."""


def check_pattern(module: GraphModule, stage: Prune) -> None:
    """Raise RecipeError for a pattern that fits no layer: nothing would be pruned."""
    if not stage.pattern:
        return
    _, of = parse_pattern(stage.pattern)
    shapes = {
        name: tuple(weight.shape)
        for name, weight in module.weights.items()
        if is_worth_coding(weight)
    }
    if any(fits_pattern(shape, of) for shape in shapes.values()):
        return
    listed = ", ".join(f"{name} {shape}" for name, shape in [*shapes.items()][:_LISTED])
    rest = len(shapes) - _LISTED
    raise RecipeError(
        f"the pattern {stage.pattern} fits no layer, none has inputs in whole groups of {of}: "
        f"{listed or 'no weights'}{f' and {rest} more' if rest > 0 else ''}"
    )


class Pruning(Method):
    """Chooses what is pruned, again and again, among weights that go on learning.

    A pruned weight gets no gradient, but it may come back as long as masks aren't final, where
    larger ones have shrunk below it. stage: the recipe's. masks: of what is pruned already, which
    stays so. Raises RecipeError for a pattern that fits no layer.
    """

    squares: Tensor
    round: Tensor

    def __init__(
        self, module: GraphModule, masks: Mapping[str, NDArray[np.bool_]], stage: Prune
    ) -> None:
        every = {
            name: np.ones(tuple(weight.shape), np.bool_)
            for name, weight in module.weights.items()
            if is_worth_coding(weight)
        }
        super().__init__(module, {**every, **masks})
        check_pattern(module, stage)
        self._stage, self._before = stage, masks
        self.register_buffer("squares", torch.zeros(len(self.coded_names)))
        self.register_buffer("round", torch.tensor(-1))

    def before_step(self, progress: float) -> None:
        """Choose masks where the schedule has moved on."""
        share = self._stage.pruning_share
        through = 1.0 if progress >= share else progress / share
        now = int(through * _ROUNDS)
        if now == int(self.round):
            return
        self.round.fill_(now)
        for name, mask in self._chosen(now / _ROUNDS).items():
            stays = mask & self._before.get(name, True)
            self.get_buffer(self._mask_keys[name]).copy_(torch.from_numpy(stays))

    def after_gradients(self) -> None:
        """Keep the mean square of each tensor's gradients."""
        if self._stage.rank != "importance":
            return
        gradients = [self.network.weights[name].grad for name in self.coded_names]
        now = torch.stack([torch.zeros(()) if g is None else g.square().mean() for g in gradients])
        memory = _MEMORY if bool(self.squares.any()) else 0.0
        self.squares.mul_(memory).add_(now, alpha=1 - memory)

    def _chosen(self, through: float) -> dict[str, NDArray[np.bool_]]:
        weights = {name: self.network.weights[name].detach().numpy() for name in self.coded_names}
        if self._stage.pattern:
            keep, of = parse_pattern(self._stage.pattern)
            found = {name: pattern_mask(values, keep, of) for name, values in weights.items()}
            return {name: mask for name, mask in found.items() if mask is not None}
        importance = None
        if self._stage.rank == "importance" and bool(self.squares.any()):
            roots = torch.sqrt(self.squares.clamp(min=1e-30))
            importance = dict(zip(self.coded_names, roots.tolist(), strict=True))
        sparsity = scheduled_sparsity(self._stage.schedule, through, self._stage.sparsity)
        return smallest_masks(weights, sparsity, importance)
