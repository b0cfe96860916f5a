"""What the weights of a layer may become: points of a grid, or the values of a codebook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgekit.codec.kernels import search_trellis
from edgekit.compress.cluster import nearest_codes
from edgekit.graph import Weight
from edgekit.graph.layers import Codes
from edgekit.tensors import CodedTensor


class Levels(Protocol):
    """The weights that a layer's codes stand for. Code 0 is free for pruned weights: it means 0."""

    def nearest(self, wanted: NDArray[Any], column: int | None = None, /) -> Codes:
        """Codes of the levels nearest to wanted weights.

        wanted: (outputs,) or (outputs, inputs), one row a filter. Pruned weights aren't told apart.
        column: which input (outputs,) are of; None where not all filters' weights of it are there.
        """
        ...

    def restored(self, codes: Codes) -> NDArray[np.float32]:
        """The weights of codes in the shape of `nearest`'s, as a decoder gives them back."""
        ...

    def tensor(self, weight: Weight, codes: Codes) -> CodedTensor:
        """Codes (outputs, inputs) as a tensor in the place of a weight."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class GridLevels:
    """A uniform grid through zero for each filter.

    steps: (outputs,) float32, positive. limit: codes stay within -limit..limit.
    """

    steps: NDArray[np.float32]
    limit: int = 127

    def nearest(self, wanted: NDArray[Any], _column: int | None = None, /) -> NDArray[np.int8]:
        """As Levels says."""
        codes = np.rint(wanted / _along(self.steps, wanted))
        return np.asarray(np.clip(codes, -self.limit, self.limit), np.int8)

    def restored(self, codes: Codes) -> NDArray[np.float32]:
        """As Levels says."""
        return np.asarray(codes * _along(self.steps, codes), np.float32)

    def tensor(self, weight: Weight, codes: Codes) -> CodedTensor:
        """As Levels says."""
        steps = self.steps.reshape(()) if weight.axis is None else self.steps
        stored = weight.unfiltered(codes)
        return CodedTensor(weight.name, weight.dtype, stored, steps, weight.axis or 0)


@dataclass(frozen=True, slots=True, eq=False)
class TrellisLevels:
    """A uniform grid through zero for each filter, on which each input's codes follow a trellis.

    steps, limit: as of GridLevels. begins: (outputs, inputs), True where a path begins anew
    (edgekit.codec.trellis). No code is free for pruned weights.
    """

    steps: NDArray[np.float32]
    begins: NDArray[np.bool_]
    limit: int = 127

    def nearest(self, wanted: NDArray[Any], column: int | None = None, /) -> NDArray[np.int8]:
        """As Levels says; the nearest in the squares of weights, path by path."""
        paths = (wanted / _along(self.steps, wanted)).T
        begins = self.begins.T[: len(paths)]
        if wanted.ndim == 1:
            if column is None:
                raise ValueError("a path is that of an input")
            paths, begins = paths[None], self.begins.T[column][None]
        weights = np.square(self.steps, dtype=np.float64)
        codes = search_trellis(paths, weights, begins, self.limit)
        return np.ascontiguousarray(codes.T.reshape(wanted.shape))

    def restored(self, codes: Codes) -> NDArray[np.float32]:
        """As Levels says."""
        return np.asarray(codes * _along(self.steps, codes), np.float32)

    def tensor(self, weight: Weight, codes: Codes) -> CodedTensor:
        """As Levels says."""
        stored = weight.unfiltered(codes)
        return CodedTensor(
            weight.name, weight.dtype, stored, self.steps, weight.axis or 0, on_trellis=True
        )


@dataclass(frozen=True, slots=True, eq=False)
class SharedLevels:
    """A codebook for all filters, each of which may scale it by a gain of its own.

    values: (k,) float32, rising; with has_zero behind a value 0 that is for pruned weights alone.
    gains: (outputs,) float32, positive, or () 1.0 for all.
    """

    values: NDArray[np.float32]
    gains: NDArray[np.float32]
    has_zero: bool = False

    def nearest(self, wanted: NDArray[Any], _column: int | None = None, /) -> NDArray[np.uint8]:
        """As Levels says."""
        relative = np.asarray(wanted / _along(self.gains, wanted), np.float32)
        own = self.values[1:] if self.has_zero else self.values
        codes = nearest_codes(relative.reshape(-1), own).reshape(wanted.shape)
        return codes + np.uint8(1) if self.has_zero else codes

    def restored(self, codes: Codes) -> NDArray[np.float32]:
        """As Levels says."""
        return np.asarray(self.values[codes] * _along(self.gains, codes), np.float32)

    def tensor(self, weight: Weight, codes: Codes) -> CodedTensor:
        """As Levels says."""
        axis = (weight.axis or 0) if self.gains.ndim else 0
        stored = weight.unfiltered(codes)
        return CodedTensor(weight.name, weight.dtype, stored, self.gains, axis, self.values)


def _along(scales: NDArray[np.float32], rows: NDArray[Any]) -> NDArray[np.float32]:
    """One number a row, or one for all, in a form that goes with (outputs, ...)."""
    return scales if scales.ndim == 0 else scales.reshape(-1, *(1,) * (rows.ndim - 1))
