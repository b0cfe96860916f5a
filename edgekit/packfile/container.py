"""The container of a packed file: header, directory, sections and check sums.

docs/format.md, chapter 2.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass

from edgekit.codec.kernels import crc32c
from edgekit.errors import (
    ChecksumError,
    CorruptError,
    LimitError,
    TruncatedError,
    VersionError,
)
from edgekit.packfile import layout
from edgekit.packfile.layout import Feature, Section


@dataclass(frozen=True, slots=True)
class SectionEntry:
    """One entry of the directory (2.2). kind: a Section, or 256 and above."""

    kind: int
    crc32c: int
    offset: int
    bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class Container:
    """A file whose header, directory and check sums hold.

    data: the whole file. version: major and minor. sections: in the order of the file.
    """

    data: memoryview
    version: tuple[int, int]
    features: frozenset[Feature]
    tensor_count: int
    sections: tuple[SectionEntry, ...]

    def section(self, kind: Section) -> SectionEntry:
        """The directory's entry of one of the five sections."""
        return self.sections[kind - 1]

    def contents(self, entry: SectionEntry) -> memoryview:
        """The bytes of a section."""
        return _contents(self.data, entry)

    def unpacked(self, kind: Section, limit: int) -> bytes:
        """The contents of a packed section (2.3), of at most `limit` bytes.

        Raises TruncatedError, LimitError and CorruptError.
        """
        return _unpack(self.data, self.section(kind), limit)


def open_container(data: memoryview) -> Container:
    """Check chapter 2 in the order of chapter 7. Raises a FormatError."""
    version, features, tensor_count, section_count = _check_header(data)
    sections = _check_directory(data, section_count)
    if tensor_count > layout.MAX_TENSORS:
        raise LimitError(f"{tensor_count} tensors are more than {layout.MAX_TENSORS}", offset=24)
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
    known = frozenset(feature for feature in Feature if features >> feature & 1)
    return Container(data, version, known, tensor_count, sections)


def _contents(data: memoryview, entry: SectionEntry) -> memoryview:
    return data[entry.offset : entry.offset + entry.bytes]


def _check_header(data: memoryview) -> tuple[tuple[int, int], int, int, int]:
    """Chapter 2.1: version, features, tensor count and section count."""
    if data[: len(layout.MAGIC)] != layout.MAGIC[: len(data)]:
        raise CorruptError(
            "not a packed file: it doesn't begin with the magic bytes; edgekit compress makes one",
            offset=0,
        )
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
