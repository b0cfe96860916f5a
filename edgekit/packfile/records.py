"""Tensor records: their types, and the one validation between bytes and objects.

docs/format.md, chapter 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edgekit.codec import huffman, rans
from edgekit.codec.gaps import FILLER
from edgekit.errors import FormatError
from edgekit.packfile import layout
from edgekit.packfile.cursor import Cursor
from edgekit.packfile.layout import Coder, Feature, Mode, ScaleKind, Type

_Member = TypeVar("_Member", Mode, Coder, Type)
Table = NDArray[np.uint8] | NDArray[np.uint16]
"""Code lengths or frequencies of the 256 symbols."""


@dataclass(frozen=True, slots=True)
class ChunkEntry:
    """One entry of the chunk index (3.4).

    offset: first byte of the chunk, from the start of the payload.
    value_count, gap_count: 0 where the mode doesn't have them.
    stream_bytes: length of every stream, the last one included; empty in mode raw.
    """

    offset: int
    chunk_bytes: int
    crc32c: int
    value_count: int
    gap_count: int
    stream_bytes: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class TensorRecord:
    """One tensor record (chapter 3), checked.

    offset, record_bytes: where the record lies in the file, its length field included.
    scales: float32, None, () or (channels,); in kind EXCEPTIONS () for all other channels.
    exceptions: channel and scale of each exception, ascending.
    codebook: (k,) float32 or None. constant: the bytes of the element of mode constant.
    value_table, position_table: (256,) uint8 code lengths or uint16 frequencies, or None.
    """

    offset: int
    record_bytes: int
    mode: Mode
    coder: Coder
    restored: Type
    stored: Type
    shape: tuple[int, ...]
    streams: int
    chunk_log2: int
    scale_kind: ScaleKind
    axis: int
    scales: NDArray[np.float32] | None
    exceptions: tuple[tuple[int, np.float32], ...]
    codebook: NDArray[np.float32] | None
    constant: bytes
    value_table: Table | None
    position_table: Table | None
    chunks: tuple[ChunkEntry, ...]

    @property
    def elements(self) -> int:
        """Number of elements of the tensor."""
        return math.prod(self.shape)

    @property
    def payload_bytes(self) -> int:
        """Bytes of the tensor's chunks in the payload."""
        return sum(chunk.chunk_bytes for chunk in self.chunks)

    @property
    def restored_bytes(self) -> int:
        """Bytes of the tensor in its restored type."""
        return self.elements * layout.TYPE_BYTES[self.restored]

    def scale_array(self) -> NDArray[np.float32] | None:
        """The scales as CodedTensor has them: None, () or one for each channel."""
        if self.scale_kind is not ScaleKind.EXCEPTIONS or self.scales is None:
            return self.scales
        scales = np.full(self.shape[self.axis], self.scales, np.float32)
        for channel, scale in self.exceptions:
            scales[channel] = scale
        return scales

    def chunk_elements(self, number: int) -> int:
        """Elements of chunk `number`."""
        return min(self.elements - (number << self.chunk_log2), 1 << self.chunk_log2)


@dataclass(frozen=True, slots=True)
class _Head:
    """What the bytes `coding`, `types` and `layout` say about the elements."""

    mode: Mode
    coder: Coder
    restored: Type
    stored: Type
    streams: int


def parse_record(cursor: Cursor, payload_offset: int, features: frozenset[Feature]) -> TensorRecord:
    """The record at the cursor, which moves behind it.

    payload_offset: where the tensor's first chunk begins in the payload. features: of the file.
    Raises a FormatError that names the byte.
    """
    offset = cursor.offset
    body = cursor.take(cursor.varint("record_bytes"), "a record")
    coding, types, scaling, shape_byte = (
        body.u8(name) for name in ("coding", "types", "scaling", "layout")
    )
    head = _Head(
        _member(Mode, coding & 15, "mode", body),
        _member(Coder, coding >> 4, "coder", body),
        _member(Type, types & 15, "restored type", body),
        _member(Type, types >> 4, "stored type", body),
        _check_shape_byte(shape_byte, body),
    )
    mode = head.mode
    kind = ScaleKind(scaling & layout.SCALE_KIND_MASK)
    has_codebook = bool(scaling & layout.CODEBOOK_FLAG)
    _check_scaling(scaling, kind, body, has_codebook=has_codebook)
    _check_types(head, body, scaled=kind is not ScaleKind.NONE or has_codebook)
    _check_coding(head, body, features)
    if mode is Mode.TRELLIS and (kind is ScaleKind.NONE or has_codebook):
        raise body.corrupt("a tensor on a trellis isn't codes on a grid")

    chunk_log2, shape = _parse_extent(body, mode, shape_byte & layout.RANK_MASK)
    elements = math.prod(shape)
    has_axis = kind in layout.CHANNEL_SCALES or mode is Mode.TRELLIS
    axis = _parse_axis(body, shape) if has_axis else 0
    scales, exceptions = _parse_scales(
        body, kind, shape, axis, is_half=bool(scaling & layout.SCALES_F16_FLAG)
    )
    codebook = None
    if has_codebook:
        codebook = _parse_codebook(body, mode, is_half=bool(scaling & layout.CODEBOOK_F16_FLAG))

    constant = b""
    value_table: Table | None = None
    position_table: Table | None = None
    if mode is Mode.CONSTANT:
        if elements > layout.MAX_CONSTANT_ELEMENTS:
            raise body.limit(f"a constant tensor has {elements} elements, more than 2^24")
        constant = body.bytes(layout.TYPE_BYTES[head.stored], "the constant")
    if mode in layout.CODED_MODES:
        value_table = _parse_table(body, head.coder)
        if mode in layout.SPARSE_MODES:
            if value_table[0]:
                raise body.corrupt("the value table of a sparse tensor gives symbol 0 a code")
            position_table = _parse_table(body, head.coder)
    chunks = _parse_chunks(body, head, elements, chunk_log2, payload_offset)
    body.check_used("a record")
    return TensorRecord(
        offset=offset,
        record_bytes=cursor.offset - offset,
        mode=mode,
        coder=head.coder,
        restored=head.restored,
        stored=head.stored,
        shape=shape,
        streams=head.streams,
        chunk_log2=chunk_log2,
        scale_kind=kind,
        axis=axis,
        scales=scales,
        exceptions=exceptions,
        codebook=codebook,
        constant=constant,
        value_table=value_table,
        position_table=position_table,
        chunks=chunks,
    )


def _member(kind: type[_Member], value: int, name: str, body: Cursor) -> _Member:
    try:
        return kind(value)
    except ValueError as error:
        raise body.corrupt(f"{value} is no {name}") from error


def _check_shape_byte(value: int, body: Cursor) -> int:
    """Streams of the `layout` byte, whose rank is checked too."""
    if value & layout.RANK_MASK > layout.MAX_RANK:
        raise body.limit(f"rank {value & layout.RANK_MASK} is above {layout.MAX_RANK}")
    if value >> layout.STREAMS_SHIFT >= len(layout.STREAM_COUNTS):
        raise body.corrupt("the layout byte has an unknown number of streams")
    return layout.STREAM_COUNTS[value >> layout.STREAMS_SHIFT]


def _check_scaling(scaling: int, kind: ScaleKind, body: Cursor, *, has_codebook: bool) -> None:
    if scaling & ~layout.SCALING_MASK:
        raise body.corrupt("an unknown bit of the scaling byte is set")
    if scaling & layout.SCALES_F16_FLAG and kind is ScaleKind.NONE:
        raise body.corrupt("scales that aren't there are marked as f16")
    if scaling & layout.CODEBOOK_F16_FLAG and not has_codebook:
        raise body.corrupt("a codebook that isn't there is marked as f16")


def _check_types(head: _Head, body: Cursor, *, scaled: bool) -> None:
    """Chapter 3.2: which stored type may stand for which restored type."""
    restored, stored = head.restored, head.stored
    if restored is Type.CODE:
        raise body.corrupt("a tensor's restored type is code")
    if stored is Type.CODE:
        allowed = layout.FLOAT_TYPES if scaled else layout.INTEGER_CODE_TYPES
        if restored not in allowed:
            raise body.corrupt(
                f"codes {'with' if scaled else 'without'} a scale or codebook can't be restored "
                f"to {restored.name.lower()}"
            )
        return
    if stored not in layout.STORED_TYPES:
        raise body.corrupt(f"elements can't be stored as {stored.name.lower()}")
    if scaled:
        raise body.corrupt("a tensor that isn't stored as codes has a scale or codebook")
    if stored is not restored and (stored, restored) != (Type.FLOAT16, Type.FLOAT32):
        raise body.corrupt(f"{stored.name.lower()} can't be restored to {restored.name.lower()}")


def _check_coding(head: _Head, body: Cursor, features: frozenset[Feature]) -> None:
    """Chapter 3.1: which coder, type and number of streams each mode takes."""
    if head.mode in layout.CODED_MODES:
        if head.stored is not Type.CODE:
            raise body.corrupt("a coded tensor isn't stored as codes")
        if head.coder is Coder.RANS and Feature.RANS not in features:
            raise body.corrupt("a tensor is coded by rANS, but the feature bit isn't set")
        if head.mode is Mode.TRELLIS and Feature.TRELLIS not in features:
            raise body.corrupt("a tensor is on a trellis, but the feature bit isn't set")
        if head.coder is Coder.RANS and head.streams != 1:
            raise body.corrupt("a tensor coded by rANS has more than one stream")
        return
    if head.coder is not Coder.HUFFMAN or head.streams != 1:
        raise body.corrupt("a tensor that isn't coded names a coder or streams")


def _parse_extent(body: Cursor, mode: Mode, rank: int) -> tuple[int, tuple[int, ...]]:
    """chunk_log2 and the shape."""
    chunk_log2 = body.u8("chunk_log2")
    if chunk_log2 < layout.MIN_CHUNK_LOG2:
        raise body.corrupt(f"chunk_log2 is {chunk_log2}, below {layout.MIN_CHUNK_LOG2}")
    if chunk_log2 > layout.MAX_CHUNK_LOG2:
        raise body.limit(f"chunk_log2 is {chunk_log2}, above {layout.MAX_CHUNK_LOG2}")
    shape = tuple(body.varint("a dimension") for _ in range(rank))
    # Dimensions beside one of 0 count too: no array library lays out (0, 2^32 - 1, 2^32 - 1).
    if math.prod(size for size in shape if size) > layout.MAX_ELEMENTS:
        raise body.limit(f"the shape {shape} has 2^32 elements or more")
    if math.prod(shape) == 0 and mode is not Mode.RAW:
        raise body.corrupt("a tensor without elements has another mode than raw")
    return chunk_log2, shape


def _parse_axis(body: Cursor, shape: tuple[int, ...]) -> int:
    axis = body.varint("axis")
    if axis >= len(shape):
        raise body.corrupt(f"axis {axis} isn't below the rank {len(shape)}")
    return axis


def _parse_codebook(body: Cursor, mode: Mode, *, is_half: bool) -> NDArray[np.float32]:
    codebook = body.halves(body.u8("codebook_last") + 1, "the codebook", is_half=is_half)
    if mode in layout.SPARSE_MODES and codebook[:1].view(np.uint32)[0] != 0:
        raise body.corrupt("a sparse tensor's codebook has another value 0 than +0")
    return codebook


def _parse_scales(
    body: Cursor, kind: ScaleKind, shape: tuple[int, ...], axis: int, *, is_half: bool
) -> tuple[NDArray[np.float32] | None, tuple[tuple[int, np.float32], ...]]:
    """Scales and exceptions (3.3)."""
    if kind is ScaleKind.NONE:
        return None, ()
    if kind is ScaleKind.ONE:
        return body.halves(1, "the scale", is_half=is_half).reshape(()), ()
    channels = shape[axis]
    if kind is ScaleKind.CHANNELS:
        return body.halves(channels, "the scales", is_half=is_half), ()
    if math.prod(shape) == 0:
        raise body.corrupt("a tensor without elements has exceptions among its scales")
    common = body.halves(1, "the common scale", is_half=is_half).reshape(())
    count = body.varint("the number of exceptions")
    if not 1 <= count <= channels:
        raise body.corrupt(f"{count} exceptions for {channels} channels")
    channel = -1
    exceptions = []
    # Each exception takes 3 bytes or more: the bytes that are there bound the loop.
    for _ in range(count):
        channel += body.varint("an exception's channel") + 1
        if channel >= channels:
            raise body.corrupt(f"an exception for channel {channel} of {channels}")
        scale = body.halves(1, "an exception's scale", is_half=is_half)[0]
        exceptions.append((channel, scale))
    return common, tuple(exceptions)


def _parse_table(body: Cursor, coder: Coder) -> Table:
    read: Callable[[memoryview, int], tuple[Table, int]] = (
        huffman.read_table if coder is Coder.HUFFMAN else rans.read_table
    )
    start = body.offset
    try:
        table, used = read(body.rest, 0)
    except FormatError as error:
        raise type(error)(str(error), offset=start, tensor=body.tensor) from error
    body.skip(used)
    return table


def _parse_chunks(
    body: Cursor, head: _Head, elements: int, chunk_log2: int, payload_offset: int
) -> tuple[ChunkEntry, ...]:
    """The chunk index (3.4)."""
    if head.mode is Mode.CONSTANT:
        return ()
    chunks = []
    offset = payload_offset
    for start in range(0, elements, 1 << chunk_log2):
        chunk = _parse_chunk(body, head, min(elements - start, 1 << chunk_log2), offset)
        offset += chunk.chunk_bytes
        chunks.append(chunk)
    return tuple(chunks)


def _parse_chunk(body: Cursor, head: _Head, elements: int, offset: int) -> ChunkEntry:
    chunk_bytes = body.varint("chunk_bytes")
    crc32c = body.u32("a chunk's crc32c")
    if head.mode is Mode.RAW:
        if chunk_bytes != elements * layout.TYPE_BYTES[head.stored]:
            raise body.corrupt("a raw chunk's length isn't that of its elements")
        return ChunkEntry(offset, chunk_bytes, crc32c, 0, 0, ())
    values = gaps = 0
    if head.mode in layout.SPARSE_MODES:
        values = body.varint("value_count")
        if values > elements:
            raise body.corrupt("a chunk has more values than elements")
    if head.mode is Mode.GAP:
        gaps = body.varint("gap_count")
        # Each value has one gap symbol, and each filler passes 255 elements before a value.
        if not values <= gaps <= values + (elements - values) // FILLER:
            raise body.corrupt("a chunk has more or fewer gaps than its elements and values allow")
    sequences = 2 if head.mode in layout.SPARSE_MODES else 1
    sizes = [body.varint("stream_bytes") for _ in range(sequences * head.streams - 1)]
    last = chunk_bytes - sum(sizes)
    if last < 0:
        raise body.corrupt("the streams of a chunk are longer than the chunk")
    return ChunkEntry(offset, chunk_bytes, crc32c, values, gaps, (*sizes, last))
