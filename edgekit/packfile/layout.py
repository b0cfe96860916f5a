"""The numbers of docs/format.md, and nothing else: chapter by chapter, parsing nothing.

A test reads the tables of that document and compares them with this file.
"""

from __future__ import annotations

import struct
from enum import IntEnum

# Chapter 2.1: header

MAGIC = b"\x89EKP\r\n\x1a\n"
MAJOR = 1
MINOR = 0
HEADER = struct.Struct("<8sHHIQII")
HEADER_FIELDS = (
    "magic",
    "major",
    "minor",
    "features",
    "file_bytes",
    "tensor_count",
    "section_count",
)

# Chapter 2.2: directory

DIRECTORY_ENTRY = struct.Struct("<IIQQ")
DIRECTORY_FIELDS = ("kind", "crc32c", "offset", "bytes")
HEADER_CHECK = struct.Struct("<II")
"""CRC-32C of header and directory, and four zero bytes."""
SECTION_ALIGNMENT = 8

# Chapter 2.3: sections


class Section(IntEnum):
    """Kinds of sections, in the order of the file."""

    TENSORS = 1
    PAYLOAD = 2
    NAMES = 3
    SKELETON = 4
    MANIFEST = 5


FIRST_FREE_SECTION = 256
"""Kinds from here on are skipped by readers that don't know them."""

UNPACKED_LENGTH = struct.Struct("<I")
MAX_DEFLATE_RATIO = 1032

# Chapter 2.4: features


class Feature(IntEnum):
    """Bits of the header's `features`."""

    RANS = 0
    TRELLIS = 1


KNOWN_FEATURES = sum(1 << feature for feature in Feature)

# Chapter 2.5: SHA-256

SHA256_BYTES = 32

# Chapter 3: tensor records

RECORD_FIELDS = (
    "record_bytes",
    "coding",
    "types",
    "scaling",
    "layout",
    "chunk_log2",
    "dims",
    "axis",
    "scales",
    "codebook_last",
    "codebook",
    "constant",
    "value table",
    "position table",
    "chunk index",
)
CHUNK_FIELDS = ("chunk_bytes", "crc32c", "value_count", "gap_count", "stream_bytes")


class Coder(IntEnum):
    """High four bits of `coding`."""

    HUFFMAN = 0
    RANS = 1


class Mode(IntEnum):
    """Low four bits of `coding` (3.1): what a chunk holds."""

    RAW = 0
    CONSTANT = 1
    DIRECT = 2
    GAP = 3
    MASK = 4
    TRELLIS = 5


CODED_MODES = frozenset({Mode.DIRECT, Mode.GAP, Mode.MASK, Mode.TRELLIS})
SPARSE_MODES = frozenset({Mode.GAP, Mode.MASK})


class Type(IntEnum):
    """Element types (3.2), restored and stored."""

    CODE = 0
    FLOAT32 = 1
    FLOAT16 = 2
    BFLOAT16 = 3
    FLOAT64 = 4
    INT8 = 5
    UINT8 = 6
    INT32 = 7
    INT64 = 8


TYPE_BYTES = {
    Type.CODE: 1,
    Type.FLOAT32: 4,
    Type.FLOAT16: 2,
    Type.BFLOAT16: 2,
    Type.FLOAT64: 8,
    Type.INT8: 1,
    Type.UINT8: 1,
    Type.INT32: 4,
    Type.INT64: 8,
}
RESTORED_TYPES = frozenset(Type) - {Type.CODE}
STORED_TYPES = frozenset(Type) - {Type.INT8, Type.UINT8}
FLOAT_TYPES = frozenset({Type.FLOAT32, Type.FLOAT16, Type.BFLOAT16, Type.FLOAT64})
"""Restored types of codes with a scale or a codebook."""
INTEGER_CODE_TYPES = frozenset({Type.INT8, Type.UINT8})
"""Restored types of codes without either."""


class ScaleKind(IntEnum):
    """Bits 0 and 1 of `scaling` (3.3)."""

    NONE = 0
    ONE = 1
    CHANNELS = 2
    EXCEPTIONS = 3


CHANNEL_SCALES = frozenset({ScaleKind.CHANNELS, ScaleKind.EXCEPTIONS})
"""Kinds with a scale for each index of the axis."""

SCALE_KIND_MASK = 0b00011
CODEBOOK_FLAG = 0b00100
SCALES_F16_FLAG = 0b01000
CODEBOOK_F16_FLAG = 0b10000
SCALING_MASK = 0b11111

RANK_MASK = 0x0F
STREAMS_SHIFT = 4
STREAM_COUNTS = (1, 4, 8)
"""The number of streams by bits 4-5 of `layout`."""

# Chapter 4: payload

REPEAT_NIBBLE, ZERO_RUN_NIBBLE, LONG_ZERO_RUN_NIBBLE = 13, 14, 15

# Chapter 8: limits

MAX_TENSORS = 1_000_000
MIN_SECTIONS = len(Section)
MAX_SECTIONS = 16
MAX_RANK = 8
MAX_ELEMENTS = 2**32 - 1
MAX_CONSTANT_ELEMENTS = 2**24
MIN_CHUNK_LOG2 = 8
MAX_CHUNK_LOG2 = 20
MAX_CODE_LENGTH = 12
MAX_CODEBOOK_VALUES = 256
MAX_NAMES_BYTES = 2**26
MAX_SKELETON_BYTES = 2**28
MAX_MANIFEST_BYTES = 2**24
MAX_RESTORED_BYTES = 2**32


def aligned(offset: int) -> int:
    """`offset` rounded up to where a section may begin (2.2)."""
    return -(-offset // SECTION_ALIGNMENT) * SECTION_ALIGNMENT
