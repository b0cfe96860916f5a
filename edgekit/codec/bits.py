"""Bit streams and nibbles, lowest bit first (docs/format.md, chapter 1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import TruncatedError


def pack_bits(values: NDArray[np.uint16], widths: NDArray[np.uint8]) -> bytes:
    """Numbers of given widths as one bit stream, the lowest bit of each first.

    values: (n,) uint16, each below 2 ** width. widths: (n,) uint8, 0 to 16.
    The unused bits of the last byte are 0.
    """
    if values.size == 0:
        return b""
    places = np.arange(int(widths.max()), dtype=np.uint16)
    bits = (values[:, None] >> places) & 1
    stream = bits[places < widths[:, None]].astype(np.uint8)
    return np.packbits(stream, bitorder="little").tobytes()


def pack_nibbles(nibbles: list[int]) -> bytes:
    """Two nibbles a byte, the low one first; a nibble of 0 fills the last byte."""
    padded = [*nibbles, 0] if len(nibbles) % 2 else nibbles
    return bytes(low | high << 4 for low, high in zip(padded[::2], padded[1::2], strict=True))


class NibbleReader:
    """Reads nibbles one after another, and says where the next whole byte begins."""

    def __init__(self, data: bytes | memoryview, offset: int) -> None:
        self._data = data
        self._start = offset
        self._taken = 0

    def next(self) -> int:
        """The next nibble. Raises TruncatedError behind the last byte."""
        index = self._start + self._taken // 2
        if index >= len(self._data):
            raise TruncatedError("a code table ends before its last symbol")
        byte = self._data[index]
        self._taken += 1
        return byte & 15 if self._taken % 2 else byte >> 4

    @property
    def is_mid_byte(self) -> bool:
        """Whether one nibble of the current byte is still unread."""
        return self._taken % 2 == 1

    @property
    def offset(self) -> int:
        """Offset of the first byte of which no nibble has been read."""
        return self._start + (self._taken + 1) // 2
