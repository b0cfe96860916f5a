"""The codebooks that calibration gives to layers: of one width, or wide where it matters most."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from edgekit.compress import allocate
from edgekit.compress.levels import Levels
from edgekit.compress.quantize import MAX_BITS, MIN_BITS
from edgekit.compress.shared import Filters, Shared, candidates, choose


class Codebooks:
    """A Family (grids.py) of shared values; a layer's width is a whole number of bits.

    filters: of each layer by weight name. finer: bits of layers that are set apart.
    curvatures: measured when first asked for. most_bits: of a code, in the layers that aren't set
    apart.
    """

    def __init__(
        self,
        filters: Mapping[str, Filters],
        finer: Mapping[str, int],
        curvatures: Callable[[], Mapping[str, float]],
        most_bits: int = MAX_BITS,
    ) -> None:
        self._filters = filters
        self._finer = finer
        self._curvatures = curvatures
        self._most_bits = most_bits
        self._known: dict[int, dict[str, Shared]] = {}

    def at_bits(self, bits: int) -> Mapping[str, Levels]:
        """As Family says."""
        return {name: shared.levels for name, shared in self._of_width(bits).items()}

    def at_factor(self, factor: float) -> Mapping[str, Levels]:
        """As Family says."""
        return {name: shared.levels for name, shared in self._allocated(factor).items()}

    def factor_for_bits(self, target_bits: float) -> float:
        """As Family says."""
        return allocate.bisect(self.bits_at, target_bits, name="bits")

    def bits_at(self, factor: float) -> float:
        """As Family says."""
        return sum(shared.bits for shared in self._allocated(factor).values())

    def _of_width(self, bits: int) -> dict[str, Shared]:
        if bits not in self._known:
            forms = {
                name: candidates(filters, self._finer.get(name, bits))
                for name, filters in self._filters.items()
            }
            self._known[bits] = choose(forms)
        return self._known[bits]

    def _allocated(self, factor: float) -> dict[str, Shared]:
        """For each layer the width with the least divergence + price * bits.

        The price is that at which a grid of n weights has the step factor / sqrt(curvature): the
        slope of n f s^2 / 24 against n (h - log2 s) bits is f s^2 ln 2 / 12.
        """
        price = factor**2 * np.log(2) / 12
        widths = [self._of_width(bits) for bits in range(MIN_BITS, self._most_bits + 1)]
        curvatures = self._curvatures()
        found = {}
        for name in self._filters:
            half = curvatures[name] / 2
            forms = [layers[name] for layers in widths]
            costs = [half * form.squared_error + price * form.bits for form in forms]
            found[name] = forms[int(np.argmin(costs))]
        return found
