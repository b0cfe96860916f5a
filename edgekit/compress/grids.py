"""The grids that calibration puts layers on: to a width, or to a share of the bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgekit.compress import allocate
from edgekit.compress.levels import GridLevels, Levels, TrellisLevels
from edgekit.compress.quantize import MAX_BITS, code_limit, quantize_uniform


class Family(Protocol):
    """Levels of all layers by weight name, of any fineness."""

    def at_bits(self, bits: int) -> Mapping[str, Levels]:
        """Codes of at most `bits` bits in every layer; of their own where layers stay finer."""
        ...

    def at_factor(self, factor: float) -> Mapping[str, Levels]:
        """The share of the bits that errs least; coarser with a larger factor (allocate.py)."""
        ...

    def factor_for_bits(self, target_bits: float) -> float:
        """The factor at which all codes together take so many bits. Raises PlanError."""
        ...

    def bits_at(self, factor: float) -> float:
        """The bits that all codes together take, rounded to the nearest; less for a larger one."""
        ...


class Grids:
    """Uniform grids with a step a layer, coarser in channels that would not fit.

    filters: of each layer by weight name, (outputs, inputs), pruned weights 0.
    finer: bits of layers that are set apart. curvatures: measured when first asked for.
    most_bits: of a code, in the layers that aren't set apart.
    paths: where paths begin anew in layers whose codes may follow a trellis, (outputs, inputs).
    """

    def __init__(
        self,
        filters: Mapping[str, NDArray[np.float32]],
        finer: Mapping[str, int],
        curvatures: Callable[[], Mapping[str, float]],
        most_bits: int = MAX_BITS,
        paths: Mapping[str, NDArray[np.bool_]] | None = None,
    ) -> None:
        self._filters = filters
        self._paths = paths or {}
        self._finer = finer
        self._curvatures = curvatures
        self._limit = code_limit(most_bits)

    def at_bits(self, bits: int) -> Mapping[str, Levels]:
        """The grid of each channel reaches its largest weight; weights on such a grid stay."""
        return {
            name: _reaching(filters, self._finer.get(name, bits))
            for name, filters in self._filters.items()
        }

    def at_factor(self, factor: float) -> Mapping[str, Levels]:
        """As Family says."""
        return {name: self._level(name, layer, factor) for name, layer in self._allocated.items()}

    def factor_for_bits(self, target_bits: float) -> float:
        """As Family says."""
        return allocate.factor_for_bits(list(self._allocated.values()), target_bits)

    def bits_at(self, factor: float) -> float:
        """As Family says."""
        return allocate.total_bits(list(self._allocated.values()), factor)

    @cached_property
    def _allocated(self) -> dict[str, allocate.Layer]:
        return {
            # However sensitive it may be, its grid reaches its largest weight.
            name: allocate.Layer(filters, np.inf, code_limit(self._finer[name]))
            if name in self._finer
            else allocate.Layer(filters, self._curvatures()[name], self._limit, name in self._paths)
            for name, filters in self._filters.items()
        }

    def _level(self, name: str, layer: allocate.Layer, factor: float) -> Levels:
        doubled = allocate.path_steps(layer, factor)
        if doubled is None:
            return GridLevels(allocate.channel_steps(layer, factor), layer.limit)
        return TrellisLevels(doubled / np.float32(2), self._paths[name], layer.limit)


def _reaching(filters: NDArray[np.float32], bits: int) -> GridLevels:
    scale = quantize_uniform(filters, bits, axis=0).scale
    return GridLevels(np.broadcast_to(scale, len(filters)), code_limit(bits))
