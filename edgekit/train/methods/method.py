"""The frame of what a stage does to weights while they train, and the plainest such method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgekit.compress.plan import MIN_CODED
from edgekit.tensors import CodedTensor
from edgekit.train.graph_module import GraphModule

SMALLEST_SPREAD = 1e-3
"""Taken for the deviation of a tensor whose numbers are all alike."""

Group = dict[str, Any]
"""Parameters that learn at one rate, as torch's optimizers take them."""


class Method(nn.Module):
    """What happens to a graph module's weights on their way into its layers.

    Registers transforms with the module; buffers and parameters of its own are its state. The base
    class holds pruned weights at zero.
    """

    def __init__(self, module: GraphModule, masks: Mapping[str, NDArray[np.bool_]]) -> None:
        super().__init__()
        # Not a submodule: its weights have a place of their own in a saved state.
        object.__setattr__(self, "network", module)
        self.coded_names = tuple(
            name for name, weight in module.weights.items() if is_worth_coding(weight)
        )
        self._mask_keys: dict[str, str] = {}
        small = [name for name in module.weights if name not in self.coded_names]
        for index, name in enumerate([*self.coded_names, *small]):
            if name in masks:
                self._hold(name, index, masks[name])

    network: GraphModule

    def groups(self, learning_rate: float) -> list[Group]:
        """The parameters to train, each at `learning_rate` times its deviation."""
        return [
            {"params": [weight], "lr": learning_rate * spread(weight)}
            for weight in self.network.weights.values()
        ]

    def before_step(self, progress: float) -> None:
        """Get ready for the next step. progress: share of the stage's steps that are done."""

    def after_gradients(self) -> None:
        """Look at the gradients of a step before they are used."""

    def penalty(self) -> Tensor | None:
        """What is added to the loss of a step, after its forward pass."""
        return None

    def coded(self) -> dict[str, CodedTensor]:
        """Tensors as codes, where the method makes codes."""
        return {}

    def masked(self, name: str, weights: Tensor) -> Tensor:
        """Weights with the pruned ones at zero."""
        key = self._mask_keys.get(name)
        return weights if key is None else weights * self.get_buffer(key)

    def masks(self) -> dict[str, NDArray[np.bool_]]:
        """True where a weight stays, for the tensors that are pruned."""
        return {
            name: self.get_buffer(key).numpy().astype(np.bool_)
            for name, key in self._mask_keys.items()
        }

    def numbers(self) -> dict[str, NDArray[np.float32]]:
        """All weights as the layers see them, by name."""
        transforms = self.network.transforms
        with torch.no_grad():
            return {
                name: np.array(
                    (transforms[name](weight) if name in transforms else weight).numpy(),
                    np.float32,
                    order="C",
                )
                for name, weight in self.network.weights.items()
            }

    def _hold(self, name: str, index: int, mask: NDArray[np.bool_]) -> None:
        key = f"mask_{index}"
        self.register_buffer(key, torch.from_numpy(mask.astype(np.float32)))
        self._mask_keys[name] = key
        self.network.transforms[name] = lambda weights: self.masked(name, weights)


def is_worth_coding(weight: Tensor) -> bool:
    """Whether a tensor is large enough for codes."""
    return weight.ndim > 1 and weight.numel() >= MIN_CODED


def spread(weight: Tensor) -> float:
    """The standard deviation of a tensor's numbers, above zero."""
    return max(float(weight.detach().std(correction=0)), SMALLEST_SPREAD)
