"""Range ANS over bytes with four states and 12-bit frequencies (docs/format.md, chapter 4.6).

The plain reference of Duda's range variant ("Asymmetric numeral systems", 2013, arXiv:1311.2540).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit.codec.bits import pack_bits
from edgekit.codec.runs import read_levels, write_levels
from edgekit.codec.streams import Streams
from edgekit.errors import CorruptError, TruncatedError

TOTAL_LOG2 = 12
TOTAL = 1 << TOTAL_LOG2
LOWEST_STATE = 1 << 16
STATES = 4
STATE_BYTES = 4 * STATES


def normalize(counts: NDArray[np.int64]) -> NDArray[np.uint16]:
    """Frequencies that add up to 4096, near-proportional to counts, none of a used symbol 0.

    counts: (256,) int64, not all 0. Returns (256,) uint16. Ties go to the smaller symbol.
    """
    used = counts > 0
    frequencies = np.where(used, np.maximum(1, counts * TOTAL // counts.sum()), 0)
    # A step of one changes the coded size by counts * log2((f + 1) / f), nearly counts divided by
    # f + 1/2; as a quotient it rounds the same on every machine.
    while (missing := TOTAL - int(frequencies.sum())) != 0:
        if missing > 0:
            best = int(np.argmax(counts / (2 * frequencies + 1)))
            frequencies[best] += 1
        else:
            loss = np.where(frequencies > 1, counts / (2 * frequencies - 1), np.inf)
            frequencies[int(np.argmin(loss))] -= 1
    return frequencies.astype(np.uint16)


def coded_bits(counts: NDArray[np.int64], frequencies: NDArray[np.uint16]) -> float:
    """Bits that symbols of these counts take, without the states' own."""
    used = counts > 0
    return float(np.dot(counts[used], TOTAL_LOG2 - np.log2(frequencies[used])))


def write_table(frequencies: NDArray[np.uint16]) -> bytes:
    """The stored form of frequencies: classes as nibbles, then the bits below the highest."""
    used = np.flatnonzero(frequencies)
    classes = np.zeros(256, np.uint8)
    if used.size == 1:
        classes[used] = 1
        return write_levels(classes)
    classes[used] = np.floor(np.log2(frequencies[used])).astype(np.uint8) + 1
    widths = classes[used] - 1
    extra = frequencies[used] - (np.uint16(1) << widths.astype(np.uint16))
    return write_levels(classes) + pack_bits(extra, widths)


def read_table(data: bytes | memoryview, offset: int) -> tuple[NDArray[np.uint16], int]:
    """The frequencies at `offset` as (256,) uint16, and the offset behind them.

    Raises TruncatedError, and CorruptError unless they add up to 4096.
    """
    classes, offset = read_levels(data, offset)
    used = np.flatnonzero(classes)
    frequencies = np.zeros(256, np.uint16)
    if used.size == 1:
        if classes[used[0]] != 1:
            raise CorruptError("a frequency table of a single symbol has another class than 1")
        frequencies[used] = TOTAL
        return frequencies, offset
    widths = [int(level) - 1 for level in classes[used]]
    end = offset + -(-sum(widths) // 8)
    if end > len(data):
        raise TruncatedError("a frequency table ends before its last symbol")
    bits = int.from_bytes(data[offset:end], "little")
    for symbol, width in zip(used, widths, strict=True):
        frequencies[symbol] = (1 << width) + (bits & ((1 << width) - 1))
        bits >>= width
    if bits:
        raise CorruptError("the unused bits at the end of a frequency table aren't 0")
    if int(frequencies.sum(dtype=np.int64)) != TOTAL:
        raise CorruptError("the frequencies of a table don't add up to 4096")
    return frequencies, end


def encode_rans(symbols: NDArray[np.uint8], frequencies: NDArray[np.uint16]) -> bytes:
    """The stream of a sequence of symbols, each with a frequency; no bytes for no symbols."""
    if symbols.size == 0:
        return b""
    size = frequencies.tolist()
    start = (np.cumsum(frequencies, dtype=np.int64) - frequencies).tolist()
    states = [LOWEST_STATE] * STATES
    words = []
    sequence = symbols.tolist()
    # Backwards, so that the decoder, which undoes the last step first, runs forwards.
    for number in range(len(sequence) - 1, -1, -1):
        symbol = sequence[number]
        state = states[number % STATES]
        if state >= size[symbol] << (32 - TOTAL_LOG2):
            words.append(state & 0xFFFF)
            state >>= 16
        quotient, remainder = divmod(state, size[symbol])
        states[number % STATES] = (quotient << TOTAL_LOG2) + remainder + start[symbol]
    return struct.pack(f"<{STATES}I{len(words)}H", *states, *reversed(words))


def decode_streams(
    data: NDArray[np.uint8], streams: Streams, tables: Sequence[NDArray[np.uint16]]
) -> NDArray[np.uint8]:
    """The symbols of many streams, in the order of the streams, one behind another.

    data: bytes that hold all streams. tables: (256,) frequencies. Returns (sum of counts,) uint8.

    Raises TruncatedError for a stream that ends before its last symbol, and CorruptError for one
    that goes on behind it or whose states don't begin and end as chapter 4.6 says.
    """
    if np.any((streams.counts > 0) & (streams.sizes < STATE_BYTES)):
        raise TruncatedError("a stream ends before its states")
    if np.any((streams.counts == 0) & (streams.sizes > 0)):
        raise CorruptError("a stream without symbols has bytes")
    symbol_of, size_of, offset_of = _slot_tables(tables)
    symbols = np.empty(int(streams.counts.sum()), np.uint8)
    order = streams.longest_first()[: np.count_nonzero(streams.counts)]
    starts, left = streams.starts[order], streams.counts[order]
    ends = starts + streams.sizes[order]
    target = streams.targets[order]
    base = (streams.tables[order] * TOTAL)[:, None]
    padded = np.concatenate([data, np.zeros(2, np.uint8)])
    words = np.ndarray(data.size + 1, np.dtype("<u2"), padded.data, strides=(1,))
    lanes = np.arange(STATES)
    low, high = (words[starts[:, None] + 4 * lanes + part].astype(np.int64) for part in (0, 2))
    state = low | high << 16
    if np.any(state < LOWEST_STATE):
        raise CorruptError("a state begins below 65536")
    position = starts + STATE_BYTES

    for first in range(0, int(left[0]) if left.size else 0, STATES):
        active = int(np.searchsorted(-left, -first, side="left"))
        present = lanes < (left[:active, None] - first)
        current = state[:active]
        slot = (current & (TOTAL - 1)) + base[:active]
        symbols[(target[:active, None] + first + lanes)[present]] = symbol_of[slot][present]
        moved = size_of[slot] * (current >> TOTAL_LOG2) + offset_of[slot]
        short = present & (moved < LOWEST_STATE)
        before = np.cumsum(short, axis=1)
        # The minimum keeps a stream that has run over its end inside the array.
        places = np.minimum(position[:active, None] + 2 * (before - short), words.size - 1)
        refill = words[places].astype(np.int64)
        moved = np.where(short, moved << 16 | refill, moved)
        state[:active] = np.where(present, moved, current)
        position[:active] += 2 * before[:, -1]

    if np.any(position > ends):
        raise TruncatedError("a stream ends before its last symbol")
    if np.any(position < ends):
        raise CorruptError("a stream goes on behind its last symbol")
    if np.any(state != LOWEST_STATE):
        raise CorruptError("a state ends at another number than 65536")
    return symbols


def _slot_tables(
    tables: Sequence[NDArray[np.uint16]],
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Symbol, frequency, and slot minus start for each of the 4096 slots, table behind table."""
    symbols = np.arange(256, dtype=np.uint8)
    symbol_of = np.concatenate([np.repeat(symbols, table) for table in tables] or [symbols[:0]])
    size_of = np.concatenate(
        [np.repeat(table.astype(np.int64), table) for table in tables] or [np.zeros(0, np.int64)]
    )
    start_of = [
        np.arange(TOTAL) - np.repeat(np.cumsum(table, dtype=np.int64) - table, table)
        for table in tables
    ]
    return symbol_of, size_of, np.concatenate(start_of or [np.zeros(0, np.int64)])
