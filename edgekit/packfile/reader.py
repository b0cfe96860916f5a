"""Reading packed files that may be damaged or hostile (docs/format.md).

```
bytes ─validate→ PackedModel ─tensor(i)→ CompressedTensor
                     ├─model()→ CompressedModel
                     └─weights()→ {name: array}
```

`validate` is the one way from bytes to objects. It takes no memory for a number that it hasn't
checked against the bytes that are there.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgekit.codec.kernels import crc32c
from edgekit.errors import (
    ChecksumError,
    CorruptError,
    InputError,
    LimitError,
    TruncatedError,
    VersionError,
)
from edgekit.packfile import layout
from edgekit.packfile.cursor import Cursor
from edgekit.packfile.decode import decode_elements
from edgekit.packfile.layout import Feature, Section, Type
from edgekit.packfile.records import TensorRecord, parse_record
from edgekit.tensors import (
    CodedTensor,
    CompressedModel,
    CompressedTensor,
    StoredTensor,
    dequantize,
)

Source = str | os.PathLike[str] | bytes | bytearray | memoryview
Decoder = Literal["auto", "native", "numpy"]


@dataclass(frozen=True, slots=True)
class SectionEntry:
    """One entry of the directory (2.2). kind: a Section, or 256 and above."""

    kind: int
    crc32c: int
    offset: int
    bytes: int


@dataclass(frozen=True, eq=False)
class PackedModel:
    """A validated packed file; its tensors are decoded when they are asked for.

    data: the whole file. version: major and minor. sections: in the order of the file.
    records, names: one a tensor, in the order of the file.
    skeleton: the serialized ONNX graph without weights. manifest: the JSON object.
    """

    data: memoryview
    version: tuple[int, int]
    sections: tuple[SectionEntry, ...]
    records: tuple[TensorRecord, ...]
    names: tuple[str, ...]
    skeleton: bytes
    manifest: dict[str, Any]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file's contents in hexadecimal (2.5)."""
        return bytes(self.data[-layout.SHA256_BYTES :]).hex()

    def section(self, kind: Section) -> SectionEntry:
        """The directory's entry of one of the five sections."""
        return self.sections[kind - 1]

    @property
    def payload(self) -> NDArray[np.uint8]:
        """The payload section."""
        return np.frombuffer(_contents(self.data, self.section(Section.PAYLOAD)), np.uint8)

    def tensor(self, index: int) -> CompressedTensor:
        """Tensor `index`, decoded. Raises a FormatError that names it."""
        record = self.records[index]
        ((_, elements),) = decode_elements([(index, record)], self.payload)
        return _compressed(record, self.names[index], elements)

    def model(self) -> CompressedModel:
        """All tensors, decoded, with graph and manifest."""
        tensors = tuple(
            _compressed(self.records[index], self.names[index], elements)
            for index, elements in decode_elements(enumerate(self.records), self.payload)
        )
        return CompressedModel(tensors, self.skeleton, self.manifest)

    def weights(self) -> dict[str, NDArray[Any]]:
        """The restored weights of all tensors by name; bfloat16 as 16-bit patterns in uint16."""
        return {
            self.names[index]: dequantize(
                _compressed(self.records[index], self.names[index], elements)
            )
            for index, elements in decode_elements(enumerate(self.records), self.payload)
        }


def open_packfile(source: Source, *, max_bytes: int = layout.MAX_RESTORED_BYTES) -> PackedModel:
    """A packed file, validated.

    source: a path, or the bytes of the file. max_bytes: the most that the restored weights may
    take. Raises InputError for a file that can't be read, and the FormatError of the rule that
    the file breaks.
    """
    return validate(_read(source), max_bytes=max_bytes)


def read_packfile(source: Source, *, max_bytes: int = layout.MAX_RESTORED_BYTES) -> CompressedModel:
    """All that a packed file holds; arguments and errors as for open_packfile."""
    return open_packfile(source, max_bytes=max_bytes).model()


def read_weights(
    source: Source,
    *,
    threads: int = 1,
    decoder: Decoder = "auto",
    max_bytes: int = layout.MAX_RESTORED_BYTES,
) -> dict[str, NDArray[Any]]:
    """The restored weights by name, each in its shape and type; bfloat16 as uint16 patterns.

    threads: used by the native decoder. decoder: "auto" takes the native one where it is built.
    Other arguments and errors as for open_packfile.
    """
    del threads, decoder
    return open_packfile(source, max_bytes=max_bytes).weights()


def validate(data: memoryview, *, max_bytes: int) -> PackedModel:
    """Check every rule of chapter 7 but those inside chunks, in the order given there."""
    version, features, tensor_count, section_count = _check_header(data)
    sections = _check_directory(data, section_count)
    for entry in sections:
        if entry.kind == Section.PAYLOAD:
            if entry.crc32c:
                raise CorruptError("the payload's own CRC-32C isn't 0", offset=entry.offset)
        elif crc32c(_contents(data, entry)) != entry.crc32c:
            raise ChecksumError(
                f"section {entry.kind} doesn't match its CRC-32C; get the file again",
                offset=entry.offset,
            )
    content, digest = data[: -layout.SHA256_BYTES], data[-layout.SHA256_BYTES :]
    if hashlib.sha256(content).digest() != digest:
        raise ChecksumError("the file doesn't match its SHA-256; get it again")
    records = _parse_records(
        data,
        sections,
        tensor_count,
        allow_rans=bool(features >> Feature.RANS & 1),
        max_bytes=max_bytes,
    )
    unpacked = {
        kind: _unpack(data, sections[kind - 1], limit)
        for kind, limit in (
            (Section.NAMES, layout.MAX_NAMES_BYTES),
            (Section.SKELETON, layout.MAX_SKELETON_BYTES),
            (Section.MANIFEST, layout.MAX_MANIFEST_BYTES),
        )
    }
    return PackedModel(
        data=data,
        version=version,
        sections=sections,
        records=records,
        names=_parse_names(unpacked[Section.NAMES], tensor_count, sections[Section.NAMES - 1]),
        skeleton=unpacked[Section.SKELETON],
        manifest=_parse_manifest(unpacked[Section.MANIFEST], sections[Section.MANIFEST - 1]),
    )


def _read(source: Source) -> memoryview:
    if isinstance(source, bytes | bytearray | memoryview):
        return memoryview(source).cast("B").toreadonly()
    try:
        return memoryview(Path(source).read_bytes())
    except OSError as error:
        raise InputError(f"can't read {os.fspath(source)}: {error.strerror or error}") from error


def _contents(data: memoryview, entry: SectionEntry) -> memoryview:
    return data[entry.offset : entry.offset + entry.bytes]


def _check_header(data: memoryview) -> tuple[tuple[int, int], int, int, int]:
    """Chapter 2.1: version, features, tensor count and section count."""
    if data[: len(layout.MAGIC)] != layout.MAGIC[: len(data)]:
        raise CorruptError("not a packed file: it doesn't begin with the magic bytes", offset=0)
    if len(data) < layout.HEADER.size:
        raise TruncatedError(f"{len(data)} bytes are too few for the header; get the file again")
    _, major, minor, features, file_bytes, tensors, sections = layout.HEADER.unpack_from(data)
    if major != layout.MAJOR:
        raise VersionError(
            f"version {major}.{minor} of the format, but this reader knows {layout.MAJOR}; "
            "use a newer edgekit",
            offset=8,
        )
    if unknown := features & ~layout.KNOWN_FEATURES:
        raise VersionError(f"unknown feature bits {unknown:#x}; use a newer edgekit", offset=12)
    if file_bytes > len(data):
        raise TruncatedError(
            f"{len(data)} bytes of {file_bytes}; get the file again", offset=len(data)
        )
    if file_bytes < len(data):
        raise CorruptError("bytes behind the end of the file", offset=file_bytes)
    return (major, minor), features, tensors, sections


def _check_directory(data: memoryview, section_count: int) -> tuple[SectionEntry, ...]:
    """Chapter 2.2: the header check, and that every byte of the file has its place."""
    if section_count > layout.MAX_SECTIONS:
        raise LimitError(f"{section_count} sections are more than {layout.MAX_SECTIONS}", offset=28)
    if section_count < layout.MIN_SECTIONS:
        raise CorruptError(
            f"{section_count} sections are fewer than {layout.MIN_SECTIONS}", offset=28
        )
    check = layout.HEADER.size + section_count * layout.DIRECTORY_ENTRY.size
    begin = check + layout.HEADER_CHECK.size
    if begin + layout.SHA256_BYTES > len(data):
        raise TruncatedError("the file ends inside its directory; get it again", offset=check)
    crc, zeros = layout.HEADER_CHECK.unpack_from(data, check)
    if crc32c(data[:check]) != crc:
        raise ChecksumError(
            "header and directory don't match their CRC-32C; get the file again", offset=check
        )
    if zeros:
        raise CorruptError("the bytes behind the header check aren't 0", offset=check + 4)
    entries = layout.DIRECTORY_ENTRY.iter_unpack(data[layout.HEADER.size : check])
    sections = tuple(SectionEntry(*entry) for entry in entries)
    end = begin
    last = len(data) - layout.SHA256_BYTES
    for number, section in enumerate(sections):
        _check_kind(sections, number)
        if section.offset != layout.aligned(end):
            raise CorruptError(
                f"section {section.kind} doesn't begin where the one before it ends",
                offset=layout.HEADER.size + number * layout.DIRECTORY_ENTRY.size + 8,
            )
        if section.offset + section.bytes > last:
            raise TruncatedError(
                f"section {section.kind} passes the end of the file", offset=section.offset
            )
        _check_padding(data, end, section.offset)
        end = section.offset + section.bytes
    if layout.aligned(end) != last:
        raise CorruptError("the SHA-256 doesn't stand behind the last section", offset=end)
    _check_padding(data, end, last)
    return sections


def _check_kind(sections: tuple[SectionEntry, ...], number: int) -> None:
    kind = sections[number].kind
    if number < len(Section):
        is_right = kind == number + 1
    else:
        is_right = kind >= layout.FIRST_FREE_SECTION and kind > sections[number - 1].kind
    if not is_right:
        raise CorruptError(
            f"a section of kind {kind} stands in place {number}",
            offset=layout.HEADER.size + number * layout.DIRECTORY_ENTRY.size,
        )


def _check_padding(data: memoryview, start: int, end: int) -> None:
    if any(data[start:end]):
        raise CorruptError("the bytes between two sections aren't 0", offset=start)


def _parse_records(
    data: memoryview,
    sections: tuple[SectionEntry, ...],
    tensor_count: int,
    *,
    allow_rans: bool,
    max_bytes: int,
) -> tuple[TensorRecord, ...]:
    """Chapter 3: all records, which fill their section and whose chunks fill the payload."""
    if tensor_count > layout.MAX_TENSORS:
        raise LimitError(f"{tensor_count} tensors are more than {layout.MAX_TENSORS}", offset=24)
    tensors, payload = sections[Section.TENSORS - 1], sections[Section.PAYLOAD - 1]
    cursor = Cursor(_contents(data, tensors), tensors.offset)
    records = []
    payload_bytes = restored_bytes = 0
    for index in range(tensor_count):
        cursor.tensor = index
        record = parse_record(cursor, payload_bytes, allow_rans=allow_rans)
        payload_bytes += record.payload_bytes
        restored_bytes += record.restored_bytes
        if payload_bytes > payload.bytes:
            raise TruncatedError(
                "a chunk passes the end of the payload", offset=record.offset, tensor=index
            )
        if restored_bytes > max_bytes:
            raise LimitError(
                f"the weights take more than the {max_bytes} bytes that the caller allows",
                offset=record.offset,
                tensor=index,
            )
        records.append(record)
    cursor.tensor = None
    cursor.check_used("the tensor section")
    if payload_bytes != payload.bytes:
        raise CorruptError(
            "the payload has bytes that belong to no tensor", offset=payload.offset + payload_bytes
        )
    return tuple(records)


def _unpack(data: memoryview, entry: SectionEntry, limit: int) -> bytes:
    """The contents of a packed section (2.3)."""
    name = Section(entry.kind).name.lower()
    packed = _contents(data, entry)
    if len(packed) < layout.UNPACKED_LENGTH.size:
        raise TruncatedError(f"the {name} section ends inside its length", offset=entry.offset)
    (length,) = layout.UNPACKED_LENGTH.unpack_from(packed)
    stream = packed[layout.UNPACKED_LENGTH.size :]
    if length > limit:
        raise LimitError(
            f"the {name} section unpacks to {length} bytes, more than {limit}", offset=entry.offset
        )
    if length > layout.MAX_DEFLATE_RATIO * len(stream):
        raise CorruptError(f"{len(stream)} bytes can't unpack to {length}", offset=entry.offset)
    inflate = zlib.decompressobj()
    try:
        # One byte more than promised, so that a longer text shows itself. 0 would mean no limit.
        text = inflate.decompress(stream, length + 1)
    except zlib.error as error:
        raise CorruptError(f"the {name} section: {error}", offset=entry.offset) from error
    if len(text) != length or not inflate.eof or inflate.unused_data:
        raise CorruptError(
            f"the {name} section doesn't unpack to exactly {length} bytes", offset=entry.offset
        )
    return text


def _parse_names(text: bytes, tensor_count: int, entry: SectionEntry) -> tuple[str, ...]:
    """Chapter 2.3: one name a tensor, each followed by a zero byte, none twice."""
    if text.count(0) != tensor_count or (text and text[-1] != 0):
        raise CorruptError(f"not {tensor_count} names", offset=entry.offset)
    try:
        names = text.decode("utf-8").split("\0")[:-1]
    except UnicodeDecodeError as error:
        raise CorruptError("a name isn't UTF-8", offset=entry.offset) from error
    if "" in names:
        raise CorruptError("a tensor has no name", offset=entry.offset)
    if len(set(names)) != len(names):
        raise CorruptError("two tensors have the same name", offset=entry.offset)
    return tuple(names)


def _parse_manifest(text: bytes, entry: SectionEntry) -> dict[str, Any]:
    try:
        manifest = json.loads(text.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise CorruptError("the manifest isn't JSON", offset=entry.offset) from error
    if not isinstance(manifest, dict):
        raise CorruptError("the manifest isn't a JSON object", offset=entry.offset)
    return manifest


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _compressed(record: TensorRecord, name: str, elements: NDArray[np.generic]) -> CompressedTensor:
    """The tensor as compression made it."""
    dtype = record.restored.name.lower()
    # In the machine's own byte order from here on.
    values = elements.astype(elements.dtype.newbyteorder("="), copy=False).reshape(record.shape)
    if record.stored is not Type.CODE:
        return StoredTensor(name, dtype, values)
    scale = record.scale_array()
    if record.codebook is not None:
        codes = values.astype(np.uint8, copy=False)
        scale = np.float32(1).reshape(()) if scale is None else scale
        return CodedTensor(name, dtype, codes, scale, record.axis, record.codebook)
    signed = scale is not None or record.restored is Type.INT8
    codes_ = values.view(np.int8) if signed else values.view(np.uint8)
    return CodedTensor(name, dtype, codes_, scale, record.axis)
