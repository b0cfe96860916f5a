"""Weights that share values: codes stay, the values learn.

Han et al., "Deep Compression" (2016), section 3.3 and figure 3: the gradient of a shared value is
the sum of the gradients of all weights that have it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgekit.compress.cluster import Start, cluster
from edgekit.tensors import CodedTensor
from edgekit.train.methods.rounding import half_through


class SharedValues(nn.Module):
    """A tensor as codes into a list of at most 2^bits values.

    weights: the tensor to start from; zeros stay zero where `pruned` is set, and take code 0.
    start: of the k-means (section 3.2 of the paper). rng: for random starts.
    """

    codes: Tensor

    def __init__(
        self,
        weights: NDArray[np.float32],
        bits: int,
        *,
        pruned: bool,
        start: Start,
        rng: np.random.Generator,
    ) -> None:
        super().__init__()
        zeros = weights == 0 if pruned else None
        found = cluster(weights, bits, zeros, start=start, rng=rng)
        self.pruned = pruned
        self.values = nn.Parameter(torch.from_numpy(found.values.copy()))
        self.register_buffer("codes", torch.from_numpy(found.codes.astype(np.int64)))

    def forward(self, _weights: Tensor) -> Tensor:
        """The shared values in place of the weights, whose own values don't matter any more."""
        values: Tensor = self._stored()[self.codes]
        return values

    @torch.no_grad()
    def coded(self, name: str, dtype: str, _weights: Tensor) -> CodedTensor:
        """The same values as codes and codebook, for a packed file; values beyond the first of a
        pruned tensor rise.
        """
        values = self._stored().numpy()
        fixed = int(self.pruned)
        order = np.concatenate(
            [np.arange(fixed), fixed + np.argsort(values[fixed:], kind="stable")]
        )
        place = np.empty_like(order)
        place[order] = np.arange(order.size)
        codes = place[self.codes.numpy()].astype(np.uint8)
        one = np.ones((), np.float32)
        return CodedTensor(name, dtype, codes, one, codebook=values[order].astype(np.float32))

    def _stored(self) -> Tensor:
        values = half_through(self.values)
        if not self.pruned:
            return values
        return torch.cat([torch.zeros(1), values[1:]])
