"""Sparse codes as nonzero values and one bit an element (docs/format.md, chapter 4.2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import CorruptError


def split_mask(codes: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The nonzero codes of one chunk, and the bytes whose set bits place them.

    codes: (n,) uint8. Returns (k,) uint8 values and (ceil(n / 8),) uint8 mask bytes.
    """
    return codes[codes != 0], np.packbits(codes != 0, bitorder="little")


def join_mask(
    values: NDArray[np.uint8], mask: NDArray[np.uint8], elements: int
) -> NDArray[np.uint8]:
    """The codes of one chunk, the inverse of `split_mask`.

    mask: (ceil(elements / 8),) uint8. Raises CorruptError where a bit behind the last element is
    set, or the set bits aren't as many as the values.
    """
    bits = np.unpackbits(mask, bitorder="little").astype(np.bool_)
    if bits[elements:].any():
        raise CorruptError("a mask has a bit set behind the last element")
    if np.count_nonzero(bits) != values.size:
        raise CorruptError("a mask has more or fewer bits set than there are values")
    codes = np.zeros(elements, np.uint8)
    codes[bits[:elements]] = values
    return codes
