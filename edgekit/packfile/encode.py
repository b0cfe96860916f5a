"""The smallest coding of one tensor's codes, by exact size (docs/format.md, chapters 3 and 4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgekit.codec import huffman, rans
from edgekit.codec.kernels import (
    crc32c,
    encode_rans,
    encode_streams,
    histogram,
    split_gaps,
    split_mask,
    survey,
)
from edgekit.codec.trellis import CHUNK_LOG2 as TRELLIS_CHUNK_LOG2
from edgekit.codec.trellis import split_trellis
from edgekit.packfile import layout
from edgekit.packfile.layout import Coder, Mode
from edgekit.packfile.records import Table

DIRECT_CHUNK_LOG2 = 16
SPARSE_CHUNK_LOG2 = 18
STREAMS = 4
_CHUNK_LOG2 = {
    Mode.DIRECT: DIRECT_CHUNK_LOG2,
    Mode.GAP: SPARSE_CHUNK_LOG2,
    Mode.MASK: SPARSE_CHUNK_LOG2,
    Mode.TRELLIS: TRELLIS_CHUNK_LOG2,
}
SINGLE_STREAM_BELOW = 1024
"""Symbols below which one stream costs less than the four's ends and lengths bring in speed."""


@dataclass(frozen=True, slots=True)
class Coding:
    """One way of storing a tensor's elements.

    tables: constant, value table and position table as they stand in the record.
    index: the chunk index. chunks: the payload, one entry a chunk.
    """

    mode: Mode
    coder: Coder
    streams: int
    chunk_log2: int
    tables: bytes = b""
    index: bytes = b""
    chunks: list[bytes] = field(default_factory=list)

    @property
    def coded_bytes(self) -> int:
        """Bytes of tables, index and payload."""
        return len(self.tables) + len(self.index) + sum(map(len, self.chunks))


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A coding that hasn't been made yet.

    tables: (256,) code lengths or frequencies of each sequence.
    least_bytes: it can't be smaller than this.
    """

    mode: Mode
    coder: Coder
    tables: tuple[Table, ...]
    streams: int
    chunk_log2: int
    least_bytes: float


def varint(value: int) -> bytes:
    """A number in groups of 7 bits (chapter 1)."""
    groups = bytearray()
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def chunk_log2_for(elements: int, most: int) -> int:
    """The smallest chunk that holds all elements, but not above 2 ** most."""
    return min(most, max(layout.MIN_CHUNK_LOG2, (elements - 1).bit_length()))


def encode_elements(elements: NDArray[np.uint8], width: int) -> Coding:
    """Raw or constant, whichever is smaller: for elements of any type.

    elements: the bytes of all elements, flat. width: bytes of an element.
    """
    raw = _encode_raw(elements, width)
    count = elements.size // width
    if 0 < count <= layout.MAX_CONSTANT_ELEMENTS:
        rows = elements.reshape(count, width)
        if np.array_equal(rows[1:], rows[:-1]):
            constant = Coding(Mode.CONSTANT, Coder.HUFFMAN, 1, raw.chunk_log2, rows[0].tobytes())
            return min(constant, raw, key=lambda coding: coding.coded_bytes)
    return raw


def encode_codes(codes: NDArray[np.uint8], coder: Coder, *, zero_is_zero: bool) -> Coding:
    """The smallest of all modes that are allowed.

    codes: flat. coder: RANS tries both coders, HUFFMAN that one alone.
    zero_is_zero: code 0 means weight 0, which the gap and mask modes need.

    Each mode's size is known from symbol counts to within the filling of its streams, so most are
    ruled out without coding them; the ones that remain are coded and compared to the byte. The
    first of equals is taken, in the order of modes.
    """
    counts = histogram(codes)
    if np.count_nonzero(counts) <= 1 and codes.size <= layout.MAX_CONSTANT_ELEMENTS:
        return encode_elements(codes, 1)
    candidates = _candidates(codes, counts, coder, zero_is_zero=zero_is_zero)
    return _smallest(codes, candidates, _raw_bytes(codes.size)) or _encode_raw(codes, 1)


def encode_trellis(codes: NDArray[np.int8], axis: int, coder: Coder) -> Coding:
    """Codes that follow a trellis along `axis`, without their lowest bits.

    As other codes where that isn't smaller. Raises UsageError for codes that don't follow it.
    """
    symbols = split_trellis(codes, axis).reshape(-1)
    flat = np.ascontiguousarray(codes).reshape(-1).view(np.uint8)
    counts, all_counts = histogram(symbols), histogram(flat)
    if np.count_nonzero(all_counts) <= 1:
        return encode_codes(flat, coder, zero_is_zero=True)
    followed = [_candidate(Mode.TRELLIS, each, symbols.size, counts) for each in _coders(coder)]
    found = _smallest(symbols, followed, _raw_bytes(symbols.size))
    most = _raw_bytes(symbols.size) if found is None else found.coded_bytes
    free = _candidates(flat, all_counts, coder, zero_is_zero=True)
    return _smallest(flat, free, most) or found or _encode_raw(flat, 1)


def _smallest(
    sequence: NDArray[np.uint8], candidates: Iterable[_Candidate], most_bytes: int
) -> Coding | None:
    """The smallest of codings that are smaller than `most_bytes`, if there is one."""
    best: Coding | None = None
    best_bytes = most_bytes
    for candidate in sorted(candidates, key=lambda candidate: candidate.least_bytes):
        if candidate.least_bytes < best_bytes:
            coding = _encode(sequence, candidate)
            if coding.coded_bytes < best_bytes:
                best, best_bytes = coding, coding.coded_bytes
    return best


def _raw_bytes(codes: int) -> int:
    """Bytes of the raw form of codes: the codes, and a length and a CRC-32C for each chunk."""
    chunk = 1 << chunk_log2_for(codes, DIRECT_CHUNK_LOG2)
    whole, rest = divmod(codes, chunk)
    return codes + whole * (len(varint(chunk)) + 4) + (len(varint(rest)) + 4 if rest else 0)


def _encode_raw(elements: NDArray[np.uint8], width: int) -> Coding:
    chunk_log2 = chunk_log2_for(elements.size // width, DIRECT_CHUNK_LOG2)
    chunk_bytes = width << chunk_log2
    chunks = [
        elements[start : start + chunk_bytes].tobytes()
        for start in range(0, elements.size, chunk_bytes)
    ]
    index = b"".join(varint(len(chunk)) + crc32c(chunk).to_bytes(4, "little") for chunk in chunks)
    return Coding(Mode.RAW, Coder.HUFFMAN, 1, chunk_log2, index=index, chunks=chunks)


def _candidates(
    codes: NDArray[np.uint8], counts: NDArray[np.int64], coder: Coder, *, zero_is_zero: bool
) -> Iterator[_Candidate]:
    zeros = int(counts[0])
    values = counts.copy()
    values[0] = 0
    coders = _coders(coder)
    for each in coders:
        yield _candidate(Mode.DIRECT, each, codes.size, counts)
    if not zero_is_zero or zeros in {0, codes.size}:
        return
    if coder is Coder.HUFFMAN and not _sparse_can_win(counts, values):
        return
    chunk_log2 = chunk_log2_for(codes.size, SPARSE_CHUNK_LOG2)
    positions = survey(codes, 1 << chunk_log2)
    for each in coders:
        yield _candidate(Mode.GAP, each, codes.size, values, positions.gaps)
        yield _candidate(Mode.MASK, each, codes.size, values, positions.masks)


def _coders(coder: Coder) -> tuple[Coder, ...]:
    """Those that are tried."""
    return (Coder.HUFFMAN,) if coder is Coder.HUFFMAN else (Coder.HUFFMAN, Coder.RANS)


def _sparse_can_win(counts: NDArray[np.int64], values: NDArray[np.int64]) -> bool:
    """Whether gaps or mask could beat direct Huffman coding, from the codes' counts alone.

    A Huffman code takes at least one bit a symbol: for each gap, or for each 8 elements.
    """
    direct = huffman.coded_bits(counts, huffman.code_lengths(counts))
    nonzero = int(values.sum())
    positions = min(nonzero, int(counts.sum()) // 8)
    return huffman.coded_bits(values, huffman.code_lengths(values)) + positions < direct


def _candidate(mode: Mode, coder: Coder, elements: int, *counts: NDArray[np.int64]) -> _Candidate:
    chunk_log2 = chunk_log2_for(elements, _CHUNK_LOG2[mode])
    chunks = -(-elements >> chunk_log2)
    tables: list[Table] = []
    least = 0.0
    for count in counts:
        if coder is Coder.HUFFMAN:
            lengths = huffman.code_lengths(count)
            tables.append(lengths)
            least += len(huffman.write_table(lengths)) + huffman.coded_bits(count, lengths) / 8
        else:
            frequencies = rans.normalize(count)
            tables.append(frequencies)
            least += len(rans.write_table(frequencies)) + _least_rans_bytes(count, frequencies)
    is_short = int(counts[0].sum()) < SINGLE_STREAM_BELOW
    streams = 1 if is_short or coder is Coder.RANS else STREAMS
    sequences = len(counts)
    least += chunks * (5 + sequences * streams - 1)
    return _Candidate(mode, coder, tuple(tables), streams, chunk_log2, least)


def _least_rans_bytes(counts: NDArray[np.int64], frequencies: NDArray[np.uint16]) -> float:
    """A bound below the stream's bytes.

    The four states take 16 bytes, of which at most 8 carry symbols; a thousandth allows for the
    roundings of each step.
    """
    return rans.coded_bits(counts, frequencies) * 0.999 / 8 + 8


def _encode(codes: NDArray[np.uint8], candidate: _Candidate) -> Coding:
    index = []
    chunks = []
    chunk_elements = 1 << candidate.chunk_log2
    for start in range(0, codes.size, chunk_elements):
        sequences = _sequences(codes[start : start + chunk_elements], candidate.mode)
        streams: list[bytes] = []
        for sequence, table in zip(sequences, candidate.tables, strict=True):
            if candidate.coder is Coder.HUFFMAN:
                streams += encode_streams(
                    sequence, table.astype(np.uint8, copy=False), candidate.streams
                )
            else:
                streams.append(encode_rans(sequence, table.astype(np.uint16, copy=False)))
        chunk = b"".join(streams)
        counts = [sequence.size for sequence in sequences] if len(sequences) > 1 else []
        if candidate.mode is Mode.MASK:
            counts.pop()
        sizes = [len(stream) for stream in streams[:-1]]
        index.append(
            varint(len(chunk))
            + crc32c(chunk).to_bytes(4, "little")
            + b"".join(varint(number) for number in (*counts, *sizes))
        )
        chunks.append(chunk)
    return Coding(
        candidate.mode,
        candidate.coder,
        candidate.streams,
        candidate.chunk_log2,
        b"".join(_stored_table(table) for table in candidate.tables),
        b"".join(index),
        chunks,
    )


def _stored_table(table: Table) -> bytes:
    if table.dtype == np.uint8:
        return huffman.write_table(table.astype(np.uint8, copy=False))
    return rans.write_table(table.astype(np.uint16, copy=False))


def _sequences(chunk: NDArray[np.uint8], mode: Mode) -> tuple[NDArray[np.uint8], ...]:
    if mode in {Mode.DIRECT, Mode.TRELLIS}:
        return (chunk,)
    return split_gaps(chunk) if mode is Mode.GAP else split_mask(chunk)
