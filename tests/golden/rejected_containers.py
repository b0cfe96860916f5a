"""The vectors whose container is broken: header, directory, packed sections (chapter 2)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from edgekit.packfile.layout import Coder, Mode
from edgekit.tensors import StoredTensor
from tests.golden.accepted import WORKED_EXAMPLE, WORKED_TRELLIS, grid, signed
from tests.golden.building import File, coded, packed, stored

CORRUPT, TRUNCATED, VERSION = "CorruptError", "TruncatedError", "VersionError"
CHECKSUM, LIMIT = "ChecksumError", "LimitError"


EXAMPLE = WORKED_EXAMPLE
GOOD = File((EXAMPLE,))
TRELLIS = WORKED_TRELLIS
RAW = stored(StoredTensor("w", "float32", np.array([1, 2, 3], np.float32)))
RANS = coded(grid(signed(1, 2, 1, 3, 1, 1)), Mode.DIRECT, coder=Coder.RANS)


def rejected_containers() -> Iterator[tuple[str, str, str, File | bytes]]:
    """Name, error, rule and file of each vector."""
    yield from _header()
    yield from _directory()
    yield from _packed_sections()


def _header() -> Iterator[tuple[str, str, str, File | bytes]]:
    good = GOOD.to_bytes()
    yield "no_bytes", TRUNCATED, "2.1: an empty file", b""
    yield (
        "magic",
        CORRUPT,
        "2.1: the magic of a text-mode transfer",
        good.replace(b"\r\n", b"\n", 1),
    )
    yield "header_cut", TRUNCATED, "2.1: 20 bytes of the header", good[:20]
    yield "major", VERSION, "2.1: major version 2", replace(GOOD, header={"major": 2})
    yield "feature", VERSION, "2.4: feature bit 31", replace(GOOD, header={"features": 1 << 31})
    yield "file_cut", TRUNCATED, "2.1: the last byte is missing", good[:-1]
    yield "file_longer", CORRUPT, "2.1: a byte behind the end", replace(GOOD, behind=b"\0")
    yield (
        "claims_4_gib",
        TRUNCATED,
        "2.1: file_bytes says 4 GiB",
        replace(GOOD, header={"file_bytes": 2**32}),
    )
    yield "header_check", CHECKSUM, "2.2: the header's CRC-32C", replace(GOOD, header_check=1)
    yield "header_zeros", CORRUPT, "2.2: four bytes that must be 0", replace(GOOD, header_zeros=1)
    yield (
        "tensor_count",
        LIMIT,
        "8: 1,000,001 tensors",
        replace(GOOD, header={"tensor_count": 1_000_001}),
    )
    yield "sections_few", CORRUPT, "2.1: 4 sections", replace(GOOD, header={"section_count": 4})
    yield "sections_many", LIMIT, "8: 17 sections", replace(GOOD, header={"section_count": 17})
    yield (
        "directory_cut",
        TRUNCATED,
        "2.2: 16 sections in a file for 5",
        replace(File(), header={"section_count": 16}),
    )


def _directory() -> Iterator[tuple[str, str, str, File | bytes]]:
    def entry(place: int, name: str, value: int) -> File:
        return replace(GOOD, directory={(place, name): value})

    yield "section_order", CORRUPT, "2.2: section 3 in the place of section 2", entry(1, "kind", 3)
    yield (
        "section_unknown",
        CORRUPT,
        "2.2: section 6, between the known and the free",
        replace(GOOD, extra=((6, b""),)),
    )
    yield (
        "section_twice",
        CORRUPT,
        "2.2: section 256 twice",
        replace(GOOD, extra=((256, b""), (256, b""))),
    )
    yield (
        "section_offset",
        CORRUPT,
        "2.2: a section begins 8 bytes too late",
        entry(2, "offset", 232),
    )
    yield "section_end", TRUNCATED, "2.2: a section passes the end", entry(4, "bytes", 4096)
    yield (
        "section_huge",
        TRUNCATED,
        "2.2: a section of 2^64 - 1 bytes",
        entry(4, "bytes", 2**64 - 1),
    )
    yield "padding", CORRUPT, "2.2: padding of another value than 0", replace(GOOD, padding=b"\1")
    yield (
        "gap_before_sha256",
        CORRUPT,
        "2.2: 8 bytes between the last section and the SHA-256",
        replace(GOOD, gap=bytes(8)),
    )
    yield "section_check", CHECKSUM, "2.2: the CRC-32C of the tensor section", entry(0, "crc32c", 1)
    yield (
        "free_section_check",
        CHECKSUM,
        "2.3: the CRC-32C of a free section",
        replace(GOOD, extra=((256, b"later"),), directory={(5, "crc32c"): 1}),
    )
    yield "payload_check", CORRUPT, "2.2: the payload's entry has a CRC-32C", entry(1, "crc32c", 1)
    yield "sha256", CHECKSUM, "2.5: another SHA-256", replace(GOOD, sha256=bytes(32))


def _packed_sections() -> Iterator[tuple[str, str, str, File | bytes]]:
    stream = zlib.compress(b"w\0", 9)
    dictionary = zlib.compressobj(zdict=b"w\0")
    with_dictionary = dictionary.compress(b"w\0") + dictionary.flush()
    for name, error, rule, names in (
        ("packed_cut", TRUNCATED, "2.3: a packed section of 3 bytes", b"\2\0\0"),
        (
            "packed_limit",
            LIMIT,
            "8: names of 2^26 + 1 bytes",
            struct.pack("<I", 2**26 + 1) + stream,
        ),
        (
            "packed_ratio",
            CORRUPT,
            "2.3: more than 1032 times the stream",
            struct.pack("<I", 2**26) + stream,
        ),
        (
            "packed_shorter",
            CORRUPT,
            "2.3: gives fewer bytes than stated",
            struct.pack("<I", 3) + stream,
        ),
        (
            "packed_longer",
            CORRUPT,
            "2.3: gives more bytes than stated",
            struct.pack("<I", 1) + stream,
        ),
        ("packed_stream", CORRUPT, "2.3: no zlib stream", struct.pack("<I", 2) + b"abcdefgh"),
        (
            "packed_unfinished",
            CORRUPT,
            "2.3: the zlib stream's end is missing",
            struct.pack("<I", 2) + stream[:-1],
        ),
        (
            "packed_behind",
            CORRUPT,
            "2.3: a byte behind the zlib stream",
            struct.pack("<I", 2) + stream + b"\0",
        ),
        (
            "packed_dictionary",
            CORRUPT,
            "2.3: a zlib stream with a preset dictionary",
            struct.pack("<I", 2) + with_dictionary,
        ),
        ("names_few", CORRUPT, "2.3: no name for a tensor", packed(b"")),
        ("names_many", CORRUPT, "2.3: two names for a tensor", packed(b"v\0w\0")),
        ("names_unended", CORRUPT, "2.3: bytes behind the last name's zero", packed(b"w\0v")),
        ("names_empty", CORRUPT, "2.3: an empty name", packed(b"\0")),
        ("names_utf8", CORRUPT, "2.3: a name that isn't UTF-8", packed(b"\xff\0")),
    ):
        yield name, error, rule, replace(GOOD, names=names)
    yield "names_twice", CORRUPT, "2.3: two tensors of one name", File((RAW, EXAMPLE))
    for name, rule, manifest in (
        ("manifest_json", "2.3: a manifest that isn't JSON", b"{"),
        ("manifest_array", "2.3: a manifest that isn't an object", b"[]"),
        ("manifest_nan", "2.3: NaN, which isn't JSON", b'{"a":NaN}'),
        ("manifest_utf8", "2.3: a manifest that isn't UTF-8", b'{"a":"\xff"}'),
        ("manifest_deep", "2.3: a manifest nested beyond reason", b'{"a":' + b"[" * 99999),
    ):
        yield name, CORRUPT, rule, replace(GOOD, manifest=packed(manifest))
    record = EXAMPLE.record
    for name, error, rule, section in (
        ("record_missing", TRUNCATED, "3: no record for a tensor", b""),
        ("record_extra", CORRUPT, "3: a record more than tensors", record + record),
        ("record_cut", TRUNCATED, "3: the record is longer than its section", record[:-1]),
    ):
        yield name, error, rule, replace(GOOD, tensor_section=section)
    yield (
        "payload_shorter",
        TRUNCATED,
        "3.4: a chunk passes the payload's end",
        replace(GOOD, payload=EXAMPLE.payload[:1]),
    )
    yield (
        "rans_feature",
        CORRUPT,
        "3.1: rANS without feature bit 0",
        File((RANS,), header={"features": 0}),
    )
    yield (
        "trellis_feature",
        CORRUPT,
        "3.1: a trellis without feature bit 1",
        File((TRELLIS,), header={"features": 0}),
    )
    yield (
        "payload_longer",
        CORRUPT,
        "4: a byte of no chunk",
        replace(GOOD, payload=EXAMPLE.payload + b"\0"),
    )
