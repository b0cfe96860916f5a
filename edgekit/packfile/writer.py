"""Writing packed files: the same model gives the same bytes (docs/format.md)."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgekit.codec.kernels import crc32c
from edgekit.errors import EdgekitError, UsageError
from edgekit.files import write_atomic
from edgekit.packfile import layout
from edgekit.packfile.decode import STORED_DTYPES
from edgekit.packfile.encode import encode_codes, encode_elements, varint
from edgekit.packfile.layout import Coder, Feature, ScaleKind, Section, Type
from edgekit.packfile.reader import open_packfile
from edgekit.tensors import (
    DTYPES,
    CodedTensor,
    CompressedModel,
    CompressedTensor,
    StoredTensor,
)

CoderName = Literal["huffman", "rans"]

_ZLIB_LEVEL = 9


@dataclass(frozen=True, slots=True)
class TensorSize:
    """What one tensor takes in the file.

    mode: raw, constant, direct, gap or mask. coder: huffman or rans, or "" in raw and constant.
    record_bytes: its record with scales, codebook, tables and chunk index.
    payload_bytes: its chunks.
    """

    name: str
    mode: str
    coder: str
    record_bytes: int
    payload_bytes: int


@dataclass(frozen=True, slots=True)
class SectionSize:
    """Bytes of one part of the file; padding belongs to the part before it."""

    name: str
    bytes: int


@dataclass(frozen=True, slots=True)
class PackReport:
    """The bytes of a packed file, twice: `sections` and, for two of them, `tensors`.

    sections add up to file_bytes. The tensors' record_bytes add up to the section "tensors" and
    their payload_bytes to "payload", each without the padding behind it.
    digest: SHA-256 of the file's contents in hexadecimal.
    """

    file_bytes: int
    digest: str
    sections: tuple[SectionSize, ...]
    tensors: tuple[TensorSize, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def pack(model: CompressedModel, *, coder: CoderName = "huffman") -> bytes:
    """The packed file of a model, read back and compared bit for bit.

    coder: "huffman" decodes fastest; "rans" also tries range ANS, for the smallest file.
    Raises UsageError for a tensor that the format has no place for.
    """
    tensors = [
        _Tensor(tensor, index, Coder[coder.upper()]) for index, tensor in enumerate(model.tensors)
    ]
    names = [tensor.name for tensor in model.tensors]
    if len(set(names)) != len(names) or any(not name or "\0" in name for name in names):
        raise UsageError("tensor names must be unique, not empty and without zero bytes")
    sections = {
        Section.TENSORS: b"".join(tensor.record for tensor in tensors),
        Section.PAYLOAD: b"".join(chunk for tensor in tensors for chunk in tensor.coding.chunks),
        Section.NAMES: _packed("".join(f"{name}\0" for name in names).encode()),
        Section.SKELETON: _packed(model.skeleton),
        Section.MANIFEST: _packed(_manifest(model.manifest)),
    }
    uses_rans = any(tensor.coding.coder is Coder.RANS for tensor in tensors)
    data = _assemble(sections, len(tensors), int(uses_rans) << Feature.RANS)
    _check(data, model)
    return data


def write_packfile(
    model: CompressedModel, path: str | os.PathLike[str], *, coder: CoderName = "huffman"
) -> PackReport:
    """Write a model's packed file to `path`, whole or not at all.

    Arguments as for pack. Raises UsageError and OutputError.
    """
    data = pack(model, coder=coder)
    write_atomic(path, data)
    return measure(data)


def measure(data: bytes) -> PackReport:
    """Where the bytes of a packed file are."""
    packed = open_packfile(data, max_bytes=2**63)
    starts = [section.offset for section in packed.sections]
    ends = [*starts[1:], len(data) - layout.SHA256_BYTES]
    sections = [SectionSize("header", starts[0])]
    for section, start, end in zip(packed.sections, starts, ends, strict=True):
        known = section.kind < layout.FIRST_FREE_SECTION
        name = Section(section.kind).name.lower() if known else f"section {section.kind}"
        sections.append(SectionSize(name, end - start))
    sections.append(SectionSize("sha256", layout.SHA256_BYTES))
    tensors = tuple(
        TensorSize(
            name,
            record.mode.name.lower(),
            record.coder.name.lower() if record.mode in layout.CODED_MODES else "",
            record.record_bytes,
            record.payload_bytes,
        )
        for name, record in zip(packed.names, packed.records, strict=True)
    )
    return PackReport(len(data), packed.digest, tuple(sections), tensors)


class _Tensor:
    """One tensor on its way into the file: its record and its coding."""

    def __init__(self, tensor: CompressedTensor, index: int, coder: Coder) -> None:
        if tensor.dtype not in DTYPES:
            raise UsageError(f"tensor {tensor.name}: the format has no type {tensor.dtype}")
        if len(tensor.shape) > layout.MAX_RANK:
            raise UsageError(f"tensor {tensor.name}: rank {len(tensor.shape)} is above 8")
        restored = Type[tensor.dtype.upper()]
        if isinstance(tensor, StoredTensor):
            stored = _stored_type(tensor, restored)
            elements = _bytes(tensor.values, stored)
            scaling, scales = ScaleKind.NONE.value, b""
            if stored in layout.INTEGER_CODE_TYPES:
                # Small integers are codes without a scale.
                stored = Type.CODE
                self.coding = encode_codes(elements, coder, zero_is_zero=True)
            else:
                self.coding = encode_elements(elements, layout.TYPE_BYTES[stored])
        else:
            stored = Type.CODE
            scaling, scales = _scaling(tensor)
            codebook = tensor.codebook
            self.coding = encode_codes(
                np.ascontiguousarray(tensor.codes).reshape(-1).view(np.uint8),
                coder,
                zero_is_zero=codebook is None
                or (codebook.size > 0 and int(codebook[:1].view(np.uint32)[0]) == 0),
            )
        coding = self.coding
        fields = bytes(
            [
                coding.mode | coding.coder << 4,
                restored | stored << 4,
                scaling,
                len(tensor.shape)
                | layout.STREAM_COUNTS.index(coding.streams) << layout.STREAMS_SHIFT,
                coding.chunk_log2,
            ]
        )
        dims = b"".join(varint(size) for size in tensor.shape)
        body = fields + dims + scales + coding.tables + coding.index
        self.record = varint(len(body)) + body
        self.index = index


def _stored_type(tensor: StoredTensor, restored: Type) -> Type:
    """The type of a stored tensor's values, which chapter 3.2 must allow."""
    dtype = tensor.values.dtype.newbyteorder("<")
    if restored is Type.FLOAT32 and dtype == STORED_DTYPES[Type.FLOAT16]:
        return Type.FLOAT16
    if dtype != STORED_DTYPES[restored]:
        raise UsageError(
            f"tensor {tensor.name}: values of type {tensor.values.dtype} can't be restored to "
            f"{tensor.dtype}"
        )
    return restored


def _bytes(values: NDArray[Any], stored: Type) -> NDArray[np.uint8]:
    flat = np.ascontiguousarray(values, STORED_DTYPES[stored]).reshape(-1)
    return flat.view(np.uint8)


def _scaling(tensor: CodedTensor) -> tuple[int, bytes]:
    """The `scaling` byte, and the fields from `axis` to `codebook` (3.3)."""
    scale, codebook = tensor.scale, tensor.codebook
    scaling = 0
    fields = b""
    if scale is not None and not (
        codebook is not None and scale.ndim == 0 and _same_bits(scale, np.float32(1))
    ):
        kind, is_half, fields = _scale_fields(tensor, np.asarray(scale, np.float32))
        scaling |= kind | (layout.SCALES_F16_FLAG if is_half else 0)
    if codebook is not None:
        is_half, values = _halves(np.asarray(codebook, np.float32))
        scaling |= layout.CODEBOOK_FLAG | (layout.CODEBOOK_F16_FLAG if is_half else 0)
        fields += bytes([codebook.size - 1]) + values
    return scaling, fields


def _scale_fields(tensor: CodedTensor, scale: NDArray[np.float32]) -> tuple[ScaleKind, bool, bytes]:
    """Kind, whether scales are f16, and the fields: kind 2 or 3 by exact size."""
    is_half, values = _halves(scale)
    if scale.ndim == 0:
        return ScaleKind.ONE, is_half, values
    axis = varint(tensor.axis)
    channels = axis + values
    if scale.size and tensor.codes.size:
        patterns = scale.view(np.uint32)
        options, counts = np.unique(patterns, return_counts=True)
        common = options[np.argmax(counts)]
        others = np.flatnonzero(patterns != common)
        if others.size:
            steps = np.diff(others, prepend=-1) - 1
            width = len(values) // scale.size
            first = int(np.flatnonzero(patterns == common)[0])
            exceptions = axis + values[first * width : (first + 1) * width] + varint(others.size)
            exceptions += b"".join(
                varint(int(step)) + values[channel * width : (channel + 1) * width]
                for step, channel in zip(steps, others.tolist(), strict=True)
            )
            if len(exceptions) < len(channels):
                return ScaleKind.EXCEPTIONS, is_half, exceptions
    return ScaleKind.CHANNELS, is_half, channels


def _halves(numbers: NDArray[np.float32]) -> tuple[bool, bytes]:
    """Numbers as f16 where each one is the same in f16, and as f32 otherwise."""
    with np.errstate(over="ignore"):
        short = numbers.astype("<f2")
    if _same_bits(short.astype(np.float32), numbers):
        return True, short.tobytes()
    return False, numbers.astype("<f4").tobytes()


def _same_bits(left: NDArray[Any] | np.float32, right: NDArray[Any] | np.float32) -> bool:
    return np.asarray(left).tobytes() == np.asarray(right).tobytes()


def _packed(text: bytes) -> bytes:
    """A packed section (2.3)."""
    return layout.UNPACKED_LENGTH.pack(len(text)) + zlib.compress(text, _ZLIB_LEVEL)


def _manifest(manifest: dict[str, Any]) -> bytes:
    try:
        text = json.dumps(
            manifest,
            sort_keys=True,
            allow_nan=False,
            ensure_ascii=False,
            separators=(",", ":"),
        )
    except (TypeError, ValueError) as error:
        raise UsageError(f"the manifest can't be written as JSON: {error}") from error
    return text.encode()


def _assemble(sections: dict[Section, bytes], tensor_count: int, features: int) -> bytes:
    """Header, directory, header check, sections and SHA-256 (chapter 2)."""
    check = layout.HEADER.size + len(sections) * layout.DIRECTORY_ENTRY.size
    offset = check + layout.HEADER_CHECK.size
    directory = []
    for kind, contents in sections.items():
        crc = 0 if kind is Section.PAYLOAD else crc32c(contents)
        directory.append(layout.DIRECTORY_ENTRY.pack(kind, crc, offset, len(contents)))
        offset = layout.aligned(offset + len(contents))
    head = layout.HEADER.pack(
        layout.MAGIC,
        layout.MAJOR,
        layout.MINOR,
        features,
        offset + layout.SHA256_BYTES,
        tensor_count,
        len(sections),
    ) + b"".join(directory)
    parts = [head, layout.HEADER_CHECK.pack(crc32c(head), 0)]
    for contents in sections.values():
        parts += [contents, bytes(layout.aligned(len(contents)) - len(contents))]
    data = b"".join(parts)
    return data + hashlib.sha256(data).digest()


class PackCheckError(EdgekitError):
    """A packed file that doesn't read back as what was packed: a bug, and no file is written."""


def _check(data: bytes, model: CompressedModel) -> None:
    """Read the file back and compare it with the model bit for bit."""
    back = open_packfile(data, max_bytes=2**63).model()
    same = (
        back.skeleton == model.skeleton
        and _manifest(back.manifest) == _manifest(model.manifest)
        and len(back.tensors) == len(model.tensors)
        and all(map(_same_tensor, back.tensors, model.tensors))
    )
    if not same:
        raise PackCheckError("the packed file doesn't read back as what was packed; report this")


def _same_tensor(back: CompressedTensor, tensor: CompressedTensor) -> bool:
    """Whether two tensors hold the same bits."""
    if (back.name, back.dtype, back.shape) != (tensor.name, tensor.dtype, tensor.shape):
        return False
    if isinstance(tensor, StoredTensor):
        elements = back.values if isinstance(back, StoredTensor) else back.codes
        return _same_array(elements, tensor.values)
    if not isinstance(back, CodedTensor):
        return False
    return (
        _same_array(back.codes, tensor.codes)
        and _same_array(back.scale, tensor.scale)
        and _same_array(back.codebook, tensor.codebook)
        and (back.axis == tensor.axis or back.scale is None or back.scale.ndim == 0)
    )


def _same_array(left: NDArray[Any] | None, right: NDArray[Any] | None) -> bool:
    if left is None or right is None:
        return left is right
    return left.shape == right.shape and left.dtype == right.dtype and _same_bits(left, right)
