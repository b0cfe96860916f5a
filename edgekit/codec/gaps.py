"""Sparse codes as nonzero values and the distances between them (docs/format.md, chapter 4.2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import CorruptError

FILLER = 255
"""A gap symbol for 255 elements of code 0 without a value behind them."""


def split_gaps(codes: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The nonzero codes of one chunk, and the gap symbols that place them.

    codes: (n,) uint8. Returns (k,) uint8 values and (k + fillers,) uint8 gap symbols.
    """
    positions = np.flatnonzero(codes)
    gaps = np.diff(positions, prepend=-1) - 1
    fillers = gaps // FILLER
    last = np.cumsum(fillers + 1) - 1
    symbols = np.full(positions.size + int(fillers.sum()), FILLER, np.uint8)
    symbols[last] = gaps - fillers * FILLER
    return codes[positions], symbols


def join_gaps(
    values: NDArray[np.uint8], gaps: NDArray[np.uint8], elements: int
) -> NDArray[np.uint8]:
    """The codes of one chunk, the inverse of `split_gaps`.

    elements: codes in the chunk. Raises CorruptError unless the gap symbols place every value
    inside the chunk and none but the last place stands behind a filler.
    """
    if gaps.size and gaps[-1] == FILLER:
        raise CorruptError("the last gap of a chunk leads to no value")
    is_value = gaps != FILLER
    if np.count_nonzero(is_value) != values.size:
        raise CorruptError("a chunk has more or fewer gaps than values")
    positions = (np.cumsum(gaps + is_value.astype(np.int64)) - 1)[is_value]
    if positions.size and positions[-1] >= elements:
        raise CorruptError("a value lies behind the end of its chunk")
    codes = np.zeros(elements, np.uint8)
    codes[positions] = values
    return codes
