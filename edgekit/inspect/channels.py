"""What the channels of a layer do on given data: how often they fire, and how they go together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto

from edgekit.graph.layers import Layer

_POSITIONS = 256
"""Places of one map that correlations are taken from: neighbouring ones say the same again."""
_PASSING = frozenset({"BatchNormalization"})
_RECTIFYING = frozenset({"Relu", "Clip"})


@dataclass(frozen=True, slots=True, eq=False)
class ChannelStatistics:
    """Statistics of one layer's output channels over inputs and positions.

    firing: (C,) share of positions where the channel isn't zero. deviation, energy: (C,) standard
    deviation and mean square. correlation: (C, C) Pearson's; a constant channel's is 0 with every
    other and 1 with itself.
    """

    firing: NDArray[np.float64]
    deviation: NDArray[np.float64]
    energy: NDArray[np.float64]
    correlation: NDArray[np.float64]

    @property
    def effective_rank(self) -> float:
        """The exponential of the entropy of the correlation's normalised eigenvalues.

        How many independent channels would spread as these do, 1..C. Source: Roy and Vetterli
        2007, section 2. Constant channels carry nothing and are left out; 0 where all are constant.
        """
        moving = self.deviation > 0
        if not moving.any():
            return 0.0
        values = np.linalg.eigvalsh(self.correlation[np.ix_(moving, moving)])
        shares = np.clip(values, 0, None) / values.clip(0).sum()
        shares = shares[shares > 0]
        return float(np.exp(-(shares * np.log(shares)).sum()))

    @property
    def mean_correlation(self) -> float:
        """Mean size of the correlation of two channels that move; 0 where fewer than two do."""
        moving = self.deviation > 0
        size = int(moving.sum())
        if size < 2:
            return 0.0
        among = np.abs(self.correlation[np.ix_(moving, moving)])
        return float((among.sum() - size) / (size * (size - 1)))


@dataclass(slots=True, eq=False)
class Gatherer:
    """Adds up a layer's statistics batch by batch. axis: of the channels in the layer's output."""

    axis: int
    places: int = 0
    sampled: int = 0
    fired: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    squares: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    sums: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    products: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))

    def add(self, values: NDArray[Any]) -> None:
        """Take in (N, C, ...) or (N, ..., C) outputs of one batch."""
        maps = np.moveaxis(np.asarray(values, np.float64), self.axis, -1)
        channels = maps.shape[-1]
        maps = maps.reshape(len(maps), -1, channels)
        if not self.places:
            self.fired = np.zeros(channels)
            self.squares = np.zeros(channels)
            self.sums = np.zeros(channels)
            self.products = np.zeros((channels, channels))
        self.places += maps.shape[0] * maps.shape[1]
        self.fired += np.count_nonzero(maps, axis=(0, 1))
        self.squares += np.square(maps).sum(axis=(0, 1))
        rows = maps[:, :: -(-maps.shape[1] // _POSITIONS)].reshape(-1, channels)
        self.sampled += len(rows)
        self.sums += rows.sum(axis=0)
        self.products += rows.T @ rows

    def statistics(self) -> ChannelStatistics:
        """The statistics of all that was taken in."""
        means = self.sums / self.sampled
        covariance = self.products / self.sampled - np.outer(means, means)
        variance = np.diag(covariance)
        # Below this the difference of two sums is rounding, not movement.
        moving = variance > 1e-12 * np.diag(self.products) / self.sampled
        deviation = np.sqrt(np.where(moving, variance, 0))
        scale = np.where(moving, deviation, 1)
        correlation = np.where(np.outer(moving, moving), covariance / np.outer(scale, scale), 0)
        np.fill_diagonal(correlation, 1)
        return ChannelStatistics(
            self.fired / self.places,
            deviation,
            self.squares / self.places,
            np.clip(correlation, -1, 1),
        )


def observed(graph: GraphProto, layers: Iterable[Layer]) -> dict[str, tuple[str, bool]]:
    """Where to look at each layer's channels, by weight: a value, and whether it is rectified.

    That is behind the ReLU or clip which alone reads the layer's output, through normalisation;
    else the layer's output itself.
    """
    readers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in set(node.input):
            readers.setdefault(name, []).append(node)
    kept = {value.name for value in graph.output}
    found = {}
    for layer in layers:
        value, rectified = layer.output, False
        while not rectified and value not in kept and len(readers.get(value, ())) == 1:
            (reader,) = readers[value]
            if reader.op_type not in _PASSING | _RECTIFYING:
                break
            value, rectified = reader.output[0], reader.op_type in _RECTIFYING
        found[layer.weight] = (value, rectified) if rectified else (layer.output, False)
    return found
