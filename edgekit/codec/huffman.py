"""Length-limited canonical Huffman codes over bytes (docs/format.md, chapters 4.1 and 4.3 to 4.5).

The plain numpy reference. Decoding runs all streams in lock-step: one array operation takes one
symbol from every stream, so it is the number of streams that makes it fast.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit.codec.bits import pack_bits
from edgekit.codec.runs import read_levels, write_levels
from edgekit.codec.streams import Streams, segment_counts
from edgekit.errors import CorruptError, TruncatedError

LIMIT = 12
"""Longest code."""
KRAFT_TOTAL = 1 << LIMIT

_SYMBOLS_PER_LOAD = 4
"""A load of 64 bits at any bit position gives at least 57, enough for four codes of 12 bits."""


def code_lengths(frequencies: NDArray[np.int64], limit: int = LIMIT) -> NDArray[np.uint8]:
    """The lengths of an optimal prefix code of which no code is longer than `limit`.

    frequencies: (256,) int64, counts of each symbol. Returns (256,) uint8; 0 for symbols that
    don't occur, and 1 for a symbol that is alone.

    Package-merge (Larmore and Hirschberg, 1990, section 3). Ties are fixed: symbols are ordered by
    frequency, then by value, and a symbol comes before a package of the same weight.
    """
    lengths = np.zeros(256, np.uint8)
    symbols = np.flatnonzero(frequencies)
    if symbols.size == 1:
        lengths[symbols] = 1
    if symbols.size < 2:
        return lengths
    symbols = symbols[np.argsort(frequencies[symbols], kind="stable")]
    weights = frequencies[symbols]
    # Level by level from the deepest: the symbols, merged with pairs of the level below.
    is_symbol: list[NDArray[np.bool_]] = []
    merged = weights
    for level in range(limit):
        if level:
            even = merged.size // 2 * 2
            candidates = np.concatenate([weights, merged[0:even:2] + merged[1:even:2]])
        else:
            candidates = weights
        order = np.argsort(candidates, kind="stable")
        merged = candidates[order]
        is_symbol.append(order < symbols.size)
    # The 2 n - 2 lightest items of the top level are taken. A symbol that is taken on k levels
    # has length k, and on each level the taken symbols are the least frequent ones.
    taken = 2 * symbols.size - 2
    for from_symbols in reversed(is_symbol):
        count = int(np.count_nonzero(from_symbols[:taken]))
        lengths[symbols[:count]] += 1
        taken = 2 * (taken - count)
    return lengths


def kraft_sum(lengths: NDArray[np.uint8]) -> int:
    """Sum of 2 ** (12 - length) over the symbols that occur; 4096 for a complete code."""
    used = lengths[lengths > 0].astype(np.int64)
    return int(np.sum(KRAFT_TOTAL >> used))


def check_lengths(lengths: NDArray[np.uint8]) -> None:
    """Raise CorruptError unless the lengths make a complete code (chapter 4.3)."""
    used = lengths[lengths > 0]
    if used.size == 1:
        if used[0] != 1:
            raise CorruptError("a code of a single symbol has another length than 1")
        return
    total = kraft_sum(lengths)
    if total > KRAFT_TOTAL:
        raise CorruptError("a code is overfull: its lengths promise more codes than there are")
    if total < KRAFT_TOTAL:
        raise CorruptError("a code is incomplete: some bits would mean no symbol")


def write_table(lengths: NDArray[np.uint8]) -> bytes:
    """The stored form of a code (chapter 4.3)."""
    return write_levels(lengths)


def read_table(data: bytes | memoryview, offset: int) -> tuple[NDArray[np.uint8], int]:
    """The code at `offset` as (256,) uint8 lengths, and the offset behind it.

    Raises TruncatedError and CorruptError.
    """
    lengths, end = read_levels(data, offset)
    check_lengths(lengths)
    return lengths, end


def canonical_codes(lengths: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """The canonical code of each symbol, highest bit first (chapter 4.4); (256,) uint16."""
    codes = np.zeros(256, np.uint16)
    code = 0
    for length in range(1, LIMIT + 1):
        code <<= 1
        symbols = np.flatnonzero(lengths == length)
        codes[symbols] = code + np.arange(symbols.size)
        code += symbols.size
    return codes


def stream_codes(lengths: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """The canonical codes with their bits reversed, as they enter a stream; (256,) uint16."""
    codes = canonical_codes(lengths)
    flipped = np.zeros_like(codes)
    for place in range(LIMIT):
        flipped |= (codes >> np.uint16(place) & np.uint16(1)) << np.uint16(LIMIT - 1 - place)
    return flipped >> (LIMIT - lengths)


def coded_bits(frequencies: NDArray[np.int64], lengths: NDArray[np.uint8]) -> int:
    """Bits that symbols of these counts take, before streams are filled to bytes."""
    return int(np.dot(frequencies, lengths.astype(np.int64)))


def encode_streams(
    symbols: NDArray[np.uint8], lengths: NDArray[np.uint8], streams: int
) -> list[bytes]:
    """The bit streams of a sequence of symbols, each of which must have a code.

    symbols: (m,) uint8. lengths: (256,) uint8. Returns `streams` byte strings.
    """
    codes = stream_codes(lengths)
    coded = []
    start = 0
    for count in segment_counts(symbols.size, streams):
        segment = symbols[start : start + count]
        coded.append(pack_bits(codes[segment], lengths[segment]))
        start += count
    return coded


def decode_streams(
    data: NDArray[np.uint8], streams: Streams, tables: Sequence[NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    """The symbols of many streams, in the order of the streams, one behind another.

    data: bytes that hold all streams. tables: complete codes as (256,) lengths.
    Returns (sum of counts,) uint8.

    Raises TruncatedError for a stream that ends before its last symbol, and CorruptError for one
    that goes on behind it or has other bits than 0 there (chapter 4.5).
    """
    if np.any(streams.counts > 8 * streams.sizes):
        raise TruncatedError("a stream has fewer bits than symbols")
    symbol_of, length_of = _lookup_tables(tables)
    symbols = np.empty(int(streams.counts.sum()), np.uint8)
    order = streams.longest_first()
    base = streams.tables[order] * KRAFT_TOTAL
    left = streams.counts[order]
    target = streams.targets[order]
    position = streams.starts[order] * 8
    words = _unaligned_words(data)

    steps = np.arange(_SYMBOLS_PER_LOAD)[:, None]
    rounds = int(left[0]) // _SYMBOLS_PER_LOAD if left.size else 0
    running = np.searchsorted(-left, -_SYMBOLS_PER_LOAD * np.arange(1, rounds + 1), side="right")
    for active in running.tolist():
        index, used = _look_up(words, position[:active], base[:active], length_of)
        symbols[target[:active] + steps] = symbol_of[index]
        position[:active] += used.sum(axis=0)
        target[:active] += _SYMBOLS_PER_LOAD
    # Fewer than four symbols are left in each stream.
    index, used = _look_up(words, position, base, length_of)
    present = steps < left % _SYMBOLS_PER_LOAD
    symbols[(target + steps)[present]] = symbol_of[index][present]
    position += np.where(present, used, 0).sum(axis=0)

    _check_ends(data, streams.starts[order], streams.sizes[order], position)
    single = np.array([np.count_nonzero(lengths) == 1 for lengths in tables], np.bool_)
    for stream in np.flatnonzero(single[streams.tables]):
        start = int(streams.starts[stream])
        if data[start : start + int(streams.sizes[stream])].any():
            raise CorruptError("a stream of a single symbol has a bit that isn't 0")
    return symbols


def _lookup_tables(
    tables: Sequence[NDArray[np.uint8]],
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Symbol and length for each 12 bits that a stream may show next, table behind table."""
    symbol_of = np.zeros((len(tables), KRAFT_TOTAL), np.uint8)
    length_of = np.ones((len(tables), KRAFT_TOTAL), np.int64)
    for number, lengths in enumerate(tables):
        codes = stream_codes(lengths)
        for symbol in np.flatnonzero(lengths):
            places = slice(codes[symbol], None, 1 << int(lengths[symbol]))
            symbol_of[number, places] = symbol
            length_of[number, places] = lengths[symbol]
    return symbol_of.reshape(-1), length_of.reshape(-1)


def _unaligned_words(data: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The 64-bit little-endian number that begins at every byte of `data`, without a copy of each.

    Eight zero bytes behind the end make the last ones whole.
    """
    padded = np.concatenate([data, np.zeros(8, np.uint8)])
    return np.ndarray(data.size + 1, np.dtype("<i8"), padded.data, strides=(1,))


def _look_up(
    words: NDArray[np.int64],
    position: NDArray[np.int64],
    base: NDArray[np.int64],
    length_of: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Table index and code length of the next four symbols at each bit position; (4, k) each."""
    # The minimum keeps a stream that has run over its end inside the array; _check_ends reports it.
    # (take() would copy all of the unaligned array.)
    window = words[np.minimum(position >> 3, words.size - 1)] >> (position & 7)
    index = np.empty((_SYMBOLS_PER_LOAD, position.size), np.int64)
    used = np.empty_like(index)
    for step in range(_SYMBOLS_PER_LOAD):
        np.bitwise_and(window, KRAFT_TOTAL - 1, out=index[step])
        index[step] += base
        length_of.take(index[step], out=used[step], mode="clip")
        window >>= used[step]
    return index, used


def _check_ends(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    position: NDArray[np.int64],
) -> None:
    """Chapter 4.5: each stream ends in its last byte, and what is left of that byte is 0."""
    left = (starts + sizes) * 8 - position
    if np.any(left < 0):
        raise TruncatedError("a stream ends before its last symbol")
    if np.any(left > 7):
        raise CorruptError("a stream goes on behind its last symbol")
    unfinished = left > 0
    last = data[(starts + sizes - 1)[unfinished]]
    if np.any(last >> (8 - left[unfinished])):
        raise CorruptError("the unused bits at the end of a stream aren't 0")
