"""What a model is run on: an array, or one for each of its inputs, taken row by row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from edgekit.compress.views import Views


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Arrays by input name.

    rows: (N, ...), alike in N: one row of each makes a sample. whole: those that go with every
    sample as they are. It is cut like an array, along N.
    """

    rows: Mapping[str, NDArray[Any]]
    whole: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.rows.values())))

    def __getitem__(self, chosen: slice | NDArray[np.bool_]) -> Samples:
        return Samples({name: array[chosen] for name, array in self.rows.items()}, self.whole)

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """What the model is fed."""
        return {**self.rows, **self.whole}


Data = NDArray[Any] | Samples
"""Inputs (N, ...) of a model with one, or of a model with several."""


def elements(data: Data | Views) -> int:
    """Numbers in one sample."""
    parts = data.rows.values() if isinstance(data, Samples) else (data,)
    return sum(part[:1].size for part in parts)


def is_pictures(data: Data) -> TypeGuard[NDArray[np.float32]]:
    """Whether noise and views can stand beside the data: pictures (N, C, H, W), floating-point."""
    return isinstance(data, np.ndarray) and data.ndim == 4 and data.dtype.kind == "f"
