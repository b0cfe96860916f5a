"""The run-length nibbles that code tables are stored in (docs/format.md, chapter 4.3).

A table is one small number for each symbol from 0 to the largest that occurs: a code length for
Huffman, a frequency class for rANS. 0 means that the symbol doesn't occur.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgekit.codec.bits import NibbleReader, pack_nibbles
from edgekit.errors import CorruptError, TruncatedError

MAX_LEVEL = 12
"""The largest number that a nibble stands for itself."""

REPEAT, ZEROS, MANY_ZEROS = 13, 14, 15
SHORTEST_RUN = 3
LONGEST_RUN = SHORTEST_RUN + 15
SHORTEST_LONG_RUN = LONGEST_RUN + 1


def write_levels(levels: NDArray[np.uint8]) -> bytes:
    """A table of 256 levels as bytes: the largest symbol, then nibbles.

    levels: (256,) uint8, 0 to 12, at least one of them not 0.
    """
    last = int(np.flatnonzero(levels)[-1])
    table = levels[: last + 1].tolist()
    nibbles: list[int] = []
    start = 0
    while start <= last:
        level = table[start]
        end = start
        while end <= last and table[end] == level:
            end += 1
        nibbles += _zero_run(end - start) if level == 0 else _level_run(level, end - start)
        start = end
    return bytes([last]) + pack_nibbles(nibbles)


def _zero_run(count: int) -> list[int]:
    """Nibbles for `count` zeros; 256 symbols never need more than one long run."""
    if count >= SHORTEST_LONG_RUN:
        extra = count - SHORTEST_LONG_RUN
        return [MANY_ZEROS, extra % 16, extra // 16]
    if count >= SHORTEST_RUN:
        return [ZEROS, count - SHORTEST_RUN]
    return [0] * count


def _level_run(level: int, count: int) -> list[int]:
    nibbles = [level]
    count -= 1
    while count >= SHORTEST_RUN:
        run = min(count, LONGEST_RUN)
        nibbles += [REPEAT, run - SHORTEST_RUN]
        count -= run
    return nibbles + [level] * count


def read_levels(data: bytes | memoryview, offset: int) -> tuple[NDArray[np.uint8], int]:
    """The 256 levels of the table at `offset`, and the offset of the byte behind its nibbles.

    Raises TruncatedError where the bytes end first, and CorruptError for a run that passes the
    largest symbol, a repetition of nothing, a largest symbol that doesn't occur, or a filling
    nibble other than 0.
    """
    if offset >= len(data):
        raise TruncatedError("a code table is missing")
    count = data[offset] + 1
    reader = NibbleReader(data, offset + 1)
    levels: list[int] = []
    while len(levels) < count:
        nibble = reader.next()
        if nibble <= MAX_LEVEL:
            levels.append(nibble)
            continue
        run = reader.next() + SHORTEST_RUN
        if nibble == REPEAT:
            if not levels:
                raise CorruptError("a code table begins with a repetition")
            levels += [levels[-1]] * run
            continue
        if nibble == MANY_ZEROS:
            run += 16 * reader.next() + SHORTEST_LONG_RUN - SHORTEST_RUN
        levels += [0] * run
    if len(levels) > count:
        raise CorruptError("a run of a code table passes the largest symbol")
    if levels[-1] == 0:
        raise CorruptError("the largest symbol of a code table doesn't occur")
    if reader.is_mid_byte and reader.next() != 0:
        raise CorruptError("the nibble that fills a code table isn't 0")
    table = np.zeros(256, np.uint8)
    table[:count] = levels
    return table, reader.offset
