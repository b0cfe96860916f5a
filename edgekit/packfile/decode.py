"""From records and payload to codes and weights, in plain numpy (docs/format.md, chapters 4, 6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.codec import huffman, rans
from edgekit.codec.gaps import join_gaps
from edgekit.codec.kernels import crc32c
from edgekit.codec.mask import join_mask
from edgekit.codec.streams import Streams, segment_counts
from edgekit.codec.trellis import join_trellis
from edgekit.errors import ChecksumError, CorruptError, FormatError
from edgekit.packfile import layout
from edgekit.packfile.layout import Coder, Mode, Type
from edgekit.packfile.records import ChunkEntry, Table, TensorRecord

STORED_DTYPES: dict[Type, np.dtype[Any]] = {
    Type.CODE: np.dtype("u1"),
    Type.FLOAT32: np.dtype("<f4"),
    Type.FLOAT16: np.dtype("<f2"),
    Type.BFLOAT16: np.dtype("<u2"),
    Type.FLOAT64: np.dtype("<f8"),
    Type.INT8: np.dtype("i1"),
    Type.UINT8: np.dtype("u1"),
    Type.INT32: np.dtype("<i4"),
    Type.INT64: np.dtype("<i8"),
}
"""How elements of each type lie in the file; bfloat16 as 16-bit patterns."""

Fetch = Callable[[int], NDArray[np.uint8]]

_BATCH_COST = 1 << 22
"""Small tensors are decoded together, which is faster in numpy, up to this cost in elements."""
_TABLE_COST = 1 << 16
"""What a code table's look-ups take in memory, as a number of elements."""


def decode_elements(
    records: Iterable[tuple[int, TensorRecord]],
    payload: NDArray[np.uint8],
    fetch: Fetch | None = None,
) -> Iterator[tuple[int, NDArray[Any]]]:
    """The flat stored elements of each tensor, codes as uint8, in the order of the records.

    records: index and record of each tensor. payload: the payload section. fetch: another
    decoder, which gives the codes of a coded tensor by its index.
    Raises ChecksumError, TruncatedError and CorruptError, which name the tensor.
    """
    batch: list[tuple[int, TensorRecord]] = []
    waiting = 0
    for index, record in records:
        cost = record.elements + _TABLE_COST * (record.mode in layout.CODED_MODES)
        if batch and waiting + cost > _BATCH_COST:
            yield from _decode_batch(batch, payload, fetch)
            batch, waiting = [], 0
        batch.append((index, record))
        waiting += cost
    yield from _decode_batch(batch, payload, fetch)


def _decode_batch(
    batch: list[tuple[int, TensorRecord]], payload: NDArray[np.uint8], fetch: Fetch | None
) -> Iterator[tuple[int, NDArray[Any]]]:
    fetched: dict[int, NDArray[np.uint8]] = {}
    for index, record in batch:
        if fetch and record.mode in layout.CODED_MODES:
            with _named(index, record):
                fetched[index] = fetch(index)
    for index, record in batch:
        if index not in fetched:
            _check_chunks(record, payload, index)
    symbols: dict[int, NDArray[np.uint8]] = {}
    for coder in Coder:
        coded = [
            (index, record)
            for index, record in batch
            if record.mode in layout.CODED_MODES and record.coder is coder and index not in fetched
        ]
        symbols |= _decode_symbols(coded, coder, payload)
    for index, record in batch:
        if index in fetched:
            yield index, fetched.pop(index)
            continue
        with _named(index, record):
            elements = _elements(record, payload, symbols.get(index))
        yield index, elements


@contextmanager
def _named(index: int, record: TensorRecord) -> Iterator[None]:
    """Errors that say which tensor they are about."""
    try:
        yield
    except FormatError as error:
        raise type(error)(str(error), offset=record.offset, tensor=index) from error


def _check_chunks(record: TensorRecord, payload: NDArray[np.uint8], index: int) -> None:
    for number, chunk in enumerate(record.chunks):
        if crc32c(payload[chunk.offset : chunk.offset + chunk.chunk_bytes]) != chunk.crc32c:
            raise ChecksumError(
                f"chunk {number} doesn't match its CRC-32C; get the file again",
                offset=record.offset,
                tensor=index,
            )


def _decode_symbols(
    batch: list[tuple[int, TensorRecord]], coder: Coder, payload: NDArray[np.uint8]
) -> dict[int, NDArray[np.uint8]]:
    """All symbols of each tensor, sequence behind sequence as they lie in the file."""
    if not batch:
        return {}
    try:
        decoded = _decode_together([record for _, record in batch], coder, payload)
    except FormatError:
        if len(batch) == 1:
            with _named(*batch[0]):
                raise
        # Some tensor of the batch is broken. One by one, the message can name it.
        return {
            index: symbols
            for pair in batch
            for index, symbols in _decode_symbols([pair], coder, payload).items()
        }
    return {index: symbols for (index, _), symbols in zip(batch, decoded, strict=True)}


def _decode_together(
    records: list[TensorRecord], coder: Coder, payload: NDArray[np.uint8]
) -> list[NDArray[np.uint8]]:
    tables: list[Table] = []
    rows: list[tuple[int, int, int, int]] = []
    ends = [0]
    for record in records:
        for number, chunk in enumerate(record.chunks):
            rows += _chunk_streams(record, chunk, record.chunk_elements(number), len(tables))
        tables += [
            table for table in (record.value_table, record.position_table) if table is not None
        ]
        ends.append(len(rows))
    streams = Streams(*np.array(rows, np.int64).reshape(-1, 4).T)
    if coder is Coder.HUFFMAN:
        lengths = [table.astype(np.uint8, copy=False) for table in tables]
        symbols = huffman.decode_streams(payload, streams, lengths)
    else:
        frequencies = [table.astype(np.uint16, copy=False) for table in tables]
        symbols = rans.decode_streams(payload, streams, frequencies)
    bounds = np.concatenate([streams.targets, [symbols.size]])[ends]
    return [symbols[start:end] for start, end in pairwise(bounds.tolist())]


def _chunk_streams(
    record: TensorRecord, chunk: ChunkEntry, elements: int, first_table: int
) -> Iterator[tuple[int, int, int, int]]:
    """Start, size, number of symbols and table of each stream of a chunk."""
    start = chunk.offset
    sizes = iter(chunk.stream_bytes)
    for table, symbols in enumerate(_sequence_lengths(record.mode, chunk, elements), first_table):
        for count in segment_counts(symbols, record.streams):
            size = next(sizes)
            yield start, size, count, table
            start += size


def _sequence_lengths(mode: Mode, chunk: ChunkEntry, elements: int) -> tuple[int, ...]:
    """Symbols of each sequence of a chunk (4.1)."""
    if mode in {Mode.DIRECT, Mode.TRELLIS}:
        return (elements,)
    if mode is Mode.GAP:
        return chunk.value_count, chunk.gap_count
    return chunk.value_count, -(-elements // 8)


def _elements(
    record: TensorRecord, payload: NDArray[np.uint8], symbols: NDArray[np.uint8] | None
) -> NDArray[Any]:
    dtype = STORED_DTYPES[record.stored]
    if symbols is None:
        if record.mode is Mode.CONSTANT:
            element = np.frombuffer(record.constant, dtype)
            _check_codes(record, element)
            return np.repeat(element, record.elements)
        start = record.chunks[0].offset if record.chunks else 0
        raw = payload[start : start + record.payload_bytes].tobytes()
        elements = np.frombuffer(raw, dtype)
        _check_codes(record, elements)
        return elements
    codes = np.empty(record.elements, np.uint8)
    used = 0
    for number, chunk in enumerate(record.chunks):
        count = record.chunk_elements(number)
        lengths = _sequence_lengths(record.mode, chunk, count)
        parts = np.split(symbols[used : used + sum(lengths)], np.cumsum(lengths)[:-1])
        used += sum(lengths)
        start = number << record.chunk_log2
        if record.mode in {Mode.DIRECT, Mode.TRELLIS}:
            codes[start : start + count] = parts[0]
        else:
            join = join_gaps if record.mode is Mode.GAP else join_mask
            codes[start : start + count] = join(parts[0], parts[1], count)
    if record.mode is Mode.TRELLIS:
        symbols = codes.reshape(record.shape)
        codes = join_trellis(symbols, record.axis, 1 << record.chunk_log2).reshape(-1)
    _check_codes(record, codes)
    return codes


def _check_codes(record: TensorRecord, codes: NDArray[Any]) -> None:
    """Chapter 6: no code is above the codebook's last index."""
    if record.codebook is not None and codes.size and int(codes.max()) >= record.codebook.size:
        raise CorruptError(f"a code is above the codebook's last index {record.codebook.size - 1}")
