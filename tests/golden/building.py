"""Builds packed files field by field, right or wrong, without the writer.

Symbols are coded by edgekit.codec; everything around them is put together here, so that a file can
use any mode, table or count, and can break any one rule of docs/format.md.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.codec import crc32c, huffman, rans, split_gaps, split_mask
from edgekit.codec.trellis import split_trellis
from edgekit.packfile.layout import Coder, Mode, Type
from edgekit.tensors import CodedTensor, CompressedTensor, StoredTensor

Codes = NDArray[np.int8] | NDArray[np.uint8]


def varint(value: int) -> bytes:
    """A number in groups of 7 bits, lowest first."""
    groups = []
    while True:
        groups.append(value & 0x7F)
        value >>= 7
        if not value:
            return bytes(group | 0x80 for group in groups[:-1]) + bytes(groups[-1:])


def scale_fields(
    scale: NDArray[np.float32], axis: int, *, common: float | None
) -> tuple[int, bytes]:
    """Scale kind and fields (docs/format.md, 3.3): each scale, or `common` and exceptions."""
    if common is None:
        return 2, varint(axis) + scale.astype("<f4").tobytes()
    places = np.flatnonzero(scale != np.float32(common))
    gaps = np.diff(places, prepend=-1) - 1
    exceptions = b"".join(
        varint(int(gap)) + scale[place : place + 1].astype("<f4").tobytes()
        for gap, place in zip(gaps, places, strict=True)
    )
    head = varint(axis) + np.array([common], "<f4").tobytes() + varint(places.size)
    return 3, head + exceptions


@dataclass(frozen=True)
class Tensor:
    """One tensor as the file holds it.

    truth: what a reader must restore. fields: the record's fields in order, each as its bytes.
    payload: the chunks.
    """

    truth: CompressedTensor
    fields: dict[str, bytes]
    payload: bytes

    @property
    def record(self) -> bytes:
        """The tensor record."""
        body = b"".join(self.fields.values())
        return varint(len(body)) + body

    def change(self, **fields: bytes) -> Tensor:
        """The same with other bytes in some fields; underscores stand for blanks."""
        names = {name.replace("__", " "): value for name, value in fields.items()}
        assert names.keys() <= self.fields.keys()
        return replace(self, fields=self.fields | names)

    def with_payload(self, payload: bytes) -> Tensor:
        """The same with another only chunk, whose length and CRC-32C are right."""
        changed = {
            "chunk_bytes 0": varint(len(payload)),
            "crc32c 0": crc32c(payload).to_bytes(4, "little"),
        }
        return replace(self, payload=payload, fields=self.fields | changed)


def coded(
    truth: CodedTensor,
    mode: Mode,
    *,
    coder: Coder = Coder.HUFFMAN,
    streams: int = 1,
    chunk_log2: int = 8,
    lengths: NDArray[np.uint8] | None = None,
    scales: tuple[int, bytes] | None = None,
    half_codebook: bool = False,
) -> Tensor:
    """A tensor of codes.

    lengths: the value table, where it isn't the best one. scales: scale kind with flags, and the
    fields from axis on, where they aren't kind 0, 1 or 2 in f32.
    """
    symbols: Codes = truth.codes
    if mode is Mode.TRELLIS:
        symbols = split_trellis(truth.codes.view(np.int8), truth.axis, 1 << chunk_log2)
    flat = np.ascontiguousarray(symbols).reshape(-1).view(np.uint8)
    scaling, scale_bytes = scales or _plain_scales(truth)
    if mode is Mode.TRELLIS and scaling & 3 == 1:
        scale_bytes = varint(truth.axis) + scale_bytes
    fields = _head(truth, mode | coder << 4, Type.CODE, streams, chunk_log2)
    if truth.codebook is not None:
        scaling |= 4 | (16 if half_codebook else 0)
    fields["scaling"] = bytes([scaling])
    fields["scales"] = scale_bytes
    if truth.codebook is not None:
        fields["codebook_last"] = bytes([truth.codebook.size - 1])
        fields["codebook"] = truth.codebook.astype("<f2" if half_codebook else "<f4").tobytes()
    if mode is Mode.CONSTANT:
        fields["constant"] = flat[:1].tobytes()
        return Tensor(truth, fields, b"")
    chunks = [
        flat[start : start + (1 << chunk_log2)] for start in range(0, flat.size, 1 << chunk_log2)
    ]
    if mode is Mode.RAW:
        return _with_chunks(truth, fields, [({}, chunk.tobytes()) for chunk in chunks])
    return _with_chunks(
        truth, fields, _coded_chunks(chunks, mode, coder, fields, streams=streams, lengths=lengths)
    )


def _coded_chunks(
    chunks: list[NDArray[np.uint8]],
    mode: Mode,
    coder: Coder,
    fields: dict[str, bytes],
    *,
    streams: int,
    lengths: NDArray[np.uint8] | None,
) -> list[tuple[dict[str, bytes], bytes]]:
    """Index fields and payload of each chunk; the tables are added to `fields`."""
    sequences = [_split(chunk, mode) for chunk in chunks]
    coders: list[Callable[[NDArray[np.uint8]], list[bytes]]] = []
    for number, name in enumerate(("value table", "position table")[: len(sequences[0])]):
        symbols = np.concatenate([parts[number] for parts in sequences])
        counts = np.bincount(symbols, minlength=256).astype(np.int64)
        # A sequence may be empty in every chunk; its table still needs a symbol.
        counts[1] += not counts.any()
        if coder is Coder.RANS:
            frequencies = rans.normalize(counts)
            fields[name] = rans.write_table(frequencies)
            coders.append(partial(_rans_streams, frequencies=frequencies))
        else:
            table = huffman.code_lengths(counts) if lengths is None or number else lengths
            fields[name] = huffman.write_table(table)
            coders.append(partial(huffman.encode_streams, lengths=table, streams=streams))
    coded_chunks = []
    for parts in sequences:
        pieces = [stream for part, code in zip(parts, coders, strict=True) for stream in code(part)]
        index: dict[str, bytes] = {}
        if mode in {Mode.GAP, Mode.MASK}:
            index["value_count"] = varint(parts[0].size)
        if mode is Mode.GAP:
            index["gap_count"] = varint(parts[1].size)
        index["stream_bytes"] = b"".join(varint(len(piece)) for piece in pieces[:-1])
        coded_chunks.append((index, b"".join(pieces)))
    return coded_chunks


def _split(chunk: NDArray[np.uint8], mode: Mode) -> tuple[NDArray[np.uint8], ...]:
    if mode in {Mode.DIRECT, Mode.TRELLIS}:
        return (chunk,)
    return split_gaps(chunk) if mode is Mode.GAP else split_mask(chunk)


def _rans_streams(symbols: NDArray[np.uint8], frequencies: NDArray[np.uint16]) -> list[bytes]:
    return [rans.encode_rans(symbols, frequencies)]


def stored(truth: StoredTensor, mode: Mode = Mode.RAW, *, chunk_log2: int = 8) -> Tensor:
    """A tensor of plain numbers, raw or constant."""
    is_short = truth.values.dtype == np.float16
    type_ = Type.FLOAT16 if is_short else Type[truth.dtype.upper()]
    fields = _head(truth, mode, type_, 1, chunk_log2)
    flat = np.ascontiguousarray(truth.values, truth.values.dtype.newbyteorder("<")).reshape(-1)
    if mode is Mode.CONSTANT:
        fields["constant"] = flat[:1].tobytes()
        return Tensor(truth, fields, b"")
    return _with_chunks(
        truth,
        fields,
        [
            ({}, flat[start : start + (1 << chunk_log2)].tobytes())
            for start in range(0, flat.size, 1 << chunk_log2)
        ],
    )


def _plain_scales(truth: CodedTensor) -> tuple[int, bytes]:
    scale = truth.scale
    if scale is None or (truth.codebook is not None and scale.ndim == 0 and scale == 1):
        return 0, b""
    numbers = scale.astype("<f4").tobytes()
    return (2, varint(truth.axis) + numbers) if scale.ndim else (1, numbers)


def _head(
    truth: CompressedTensor, coding: int, type_: Type, streams: int, chunk_log2: int
) -> dict[str, bytes]:
    return {
        "coding": bytes([coding]),
        "types": bytes([Type[truth.dtype.upper()] | type_ << 4]),
        "scaling": b"\0",
        "layout": bytes([len(truth.shape) | (1, 4, 8).index(streams) << 4]),
        "chunk_log2": bytes([chunk_log2]),
        "dims": b"".join(varint(size) for size in truth.shape),
    }


def _with_chunks(
    truth: CompressedTensor,
    fields: dict[str, bytes],
    chunks: list[tuple[dict[str, bytes], bytes]],
) -> Tensor:
    for number, (index, chunk) in enumerate(chunks):
        fields[f"chunk_bytes {number}"] = varint(len(chunk))
        fields[f"crc32c {number}"] = crc32c(chunk).to_bytes(4, "little")
        fields |= {f"{name} {number}": value for name, value in index.items()}
    return Tensor(truth, fields, b"".join(chunk for _, chunk in chunks))


def _features(codings: set[int]) -> int:
    uses_rans = any(coding >> 4 for coding in codings)
    uses_trellis = any(coding & 15 == Mode.TRELLIS for coding in codings)
    return int(uses_rans) | int(uses_trellis) << 1


def packed(text: bytes) -> bytes:
    """A packed section."""
    return struct.pack("<I", len(text)) + zlib.compress(text, 9)


@dataclass(frozen=True)
class File:
    """A packed file. Whatever is None is computed as docs/format.md says.

    header: other values for fields of the header. directory: other values for fields of entries,
    by place and field. behind: bytes behind the end.
    """

    tensors: tuple[Tensor, ...] = ()
    names: bytes | None = None
    skeleton: bytes = field(default_factory=lambda: packed(b""))
    manifest: bytes = field(default_factory=lambda: packed(b"{}"))
    tensor_section: bytes | None = None
    payload: bytes | None = None
    extra: tuple[tuple[int, bytes], ...] = ()
    header: Mapping[str, Any] = field(default_factory=dict)
    directory: Mapping[tuple[int, str], int] = field(default_factory=dict)
    header_check: int | None = None
    header_zeros: int = 0
    padding: bytes = b"\0"
    gap: bytes = b""
    sha256: bytes | None = None
    behind: bytes = b""

    def to_bytes(self) -> bytes:
        """The file."""
        names = "".join(f"{tensor.truth.name}\0" for tensor in self.tensors).encode()
        records = b"".join(tensor.record for tensor in self.tensors)
        chunks = b"".join(tensor.payload for tensor in self.tensors)
        sections = [
            (1, records if self.tensor_section is None else self.tensor_section),
            (2, chunks if self.payload is None else self.payload),
            (3, packed(names) if self.names is None else self.names),
            (4, self.skeleton),
            (5, self.manifest),
            *self.extra,
        ]
        offset = 40 + 24 * len(sections)
        directory = b""
        contents = b""
        for place, (kind, section) in enumerate(sections):
            entry = {
                "kind": kind,
                "crc32c": 0 if kind == 2 else crc32c(section),
                "offset": offset,
                "bytes": len(section),
            }
            entry |= {name: value for (at, name), value in self.directory.items() if at == place}
            directory += struct.pack("<IIQQ", *entry.values())
            padded = section + self.padding * (-len(section) % 8)
            contents += padded
            offset += len(padded)
        contents += self.gap
        offset += len(self.gap)
        header = {
            "magic": b"\x89EKP\r\n\x1a\n",
            "major": 1,
            "minor": 0,
            "features": _features({tensor.fields["coding"][0] for tensor in self.tensors}),
            "file_bytes": offset + 32,
            "tensor_count": len(self.tensors),
            "section_count": len(sections),
        } | dict(self.header)
        head = struct.pack("<8sHHIQII", *header.values()) + directory
        check = crc32c(head) if self.header_check is None else self.header_check
        body = head + struct.pack("<II", check, self.header_zeros) + contents
        digest = hashlib.sha256(body).digest() if self.sha256 is None else self.sha256
        return body + digest + self.behind
