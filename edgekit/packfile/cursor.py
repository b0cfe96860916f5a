"""The one bounded reader that every field of a packed file goes through."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import CorruptError, LimitError, TruncatedError

_U32 = struct.Struct("<I")
_VARINT_BYTES = 5


class Cursor:
    """Reads fields from bytes that it never leaves (docs/format.md, chapter 1).

    data: the bytes to read. base: their offset in the file, for messages. tensor: the index of
    the tensor that they describe, for messages.
    """

    def __init__(self, data: memoryview, base: int, tensor: int | None = None) -> None:
        self._data = data
        self._base = base
        self._position = 0
        self.tensor = tensor

    @property
    def offset(self) -> int:
        """Offset in the file of the next byte."""
        return self._base + self._position

    @property
    def rest(self) -> memoryview:
        """The bytes that are still unread."""
        return self._data[self._position :]

    def corrupt(self, message: str) -> CorruptError:
        """An error that names this place."""
        return CorruptError(message, offset=self.offset, tensor=self.tensor)

    def limit(self, message: str) -> LimitError:
        """An error that names this place."""
        return LimitError(message, offset=self.offset, tensor=self.tensor)

    def skip(self, count: int) -> None:
        """Move over bytes of `rest` that were read elsewhere."""
        self._position += count

    def view(self, count: int, name: str) -> memoryview:
        """The next `count` bytes. Raises TruncatedError where there are fewer."""
        if count > len(self._data) - self._position:
            raise TruncatedError(
                f"{name} needs {count} bytes, but {len(self._data) - self._position} are left",
                offset=self.offset,
                tensor=self.tensor,
            )
        start = self._position
        self._position += count
        return self._data[start : self._position]

    def bytes(self, count: int, name: str) -> bytes:
        """A copy of the next `count` bytes."""
        return bytes(self.view(count, name))

    def take(self, count: int, name: str) -> Cursor:
        """A cursor over the next `count` bytes alone."""
        base = self.offset
        return Cursor(self.view(count, name), base, self.tensor)

    def u8(self, name: str) -> int:
        """One byte."""
        return self.view(1, name)[0]

    def u32(self, name: str) -> int:
        """Four bytes, little-endian."""
        return int(_U32.unpack(self.view(4, name))[0])

    def varint(self, name: str) -> int:
        """A number of at most 32 bits in groups of 7, in its shortest form."""
        value = 0
        for place in range(_VARINT_BYTES):
            byte = self.u8(name)
            value |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                if byte == 0 and place:
                    raise self.corrupt(f"{name} is written longer than needed")
                if value >= 1 << 32:
                    raise self.corrupt(f"{name} is 2^32 or more")
                return value
        raise self.corrupt(f"{name} is 2^32 or more")

    def halves(self, count: int, name: str, *, is_half: bool) -> NDArray[np.float32]:
        """Finite numbers in f16 or f32 (`half` of chapter 1) as (count,) float32."""
        width = 2 if is_half else 4
        stored = np.frombuffer(self.view(width * count, name), "<f2" if is_half else "<f4")
        if not np.isfinite(stored).all():
            raise self.corrupt(f"{name}: a number isn't finite")
        return stored.astype(np.float32)

    def check_used(self, name: str) -> None:
        """Raise CorruptError unless all bytes have been read."""
        if self._position != len(self._data):
            raise self.corrupt(f"{name} has bytes behind its last field")
