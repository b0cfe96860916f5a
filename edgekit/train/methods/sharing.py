"""Trained quantization: k-means shares values among weights, and the values are tuned."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import nn

from edgekit.tensors import CodedTensor
from edgekit.train.graph_module import GraphModule, Transform
from edgekit.train.methods.method import Group, Method, spread
from edgekit.train.methods.rounding import half_through
from edgekit.train.methods.shared import SharedValues
from edgekit.train.recipe import Share


class Sharing(Method):
    """Codes are fixed from the start; shared values and biases learn, as float16 numbers."""

    def __init__(
        self,
        module: GraphModule,
        masks: Mapping[str, NDArray[np.bool_]],
        stage: Share,
        seed: int,
    ) -> None:
        super().__init__(module, masks)
        rng = np.random.default_rng(seed)
        self.shared = nn.ModuleList()
        numbers = self.numbers()
        for name in self.coded_names:
            values = SharedValues(
                numbers[name], stage.bits, pruned=name in masks, start=stage.start, rng=rng
            )
            self.shared.append(values)
            module.transforms[name] = values
        for name in (name for name in module.weights if name not in self.coded_names):
            module.transforms[name] = self._stored(name)

    def groups(self, learning_rate: float) -> list[Group]:
        """Shared values at the rate of their tensor's deviation, and biases."""
        weights = self.network.weights
        groups = [
            {"params": [values.values], "lr": learning_rate * spread(weights[name])}
            for name, values in self._pairs()
        ]
        for name, weight in weights.items():
            if name not in self.coded_names:
                groups.append({"params": [weight], "lr": learning_rate * spread(weight)})
        return groups

    def coded(self) -> dict[str, CodedTensor]:
        """Codes and codebooks."""
        weights = self.network.weights
        return {
            name: values.coded(name, "float32", weights[name]) for name, values in self._pairs()
        }

    def _stored(self, name: str) -> Transform:
        return lambda weights: half_through(self.masked(name, weights))

    def _pairs(self) -> list[tuple[str, SharedValues]]:
        pairs = zip(self.coded_names, self.shared, strict=True)
        return [(name, values) for name, values in pairs if isinstance(values, SharedValues)]
