"""Writing packed files: the same model gives the same bytes (docs/format.md)."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from dataclasses import asdict, dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from edgekit.codec.kernels import crc32c
from edgekit.errors import EdgekitError, UsageError
from edgekit.files import write_atomic
from edgekit.packfile import layout
from edgekit.packfile.layout import Coder, Feature, Mode, Section
from edgekit.packfile.reader import open_packfile
from edgekit.packfile.record_writer import common_scale, encode_tensor
from edgekit.tensors import (
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
    digest: the SHA-256 that the file ends with, in hexadecimal (2.5).
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

    Channels that all have one scale are stored, and read back, as a tensor of one scale.

    coder: "huffman" decodes fastest; "rans" also tries range ANS, for the smallest file.
    Raises UsageError for a tensor that the format has no place for.
    """
    names = [tensor.name for tensor in model.tensors]
    if len(set(names)) != len(names) or any(not name or "\0" in name for name in names):
        raise UsageError("tensor names must be unique, not empty and without zero bytes")
    tensors = [encode_tensor(tensor, Coder[coder.upper()]) for tensor in model.tensors]
    sections = {
        Section.TENSORS: b"".join(tensor.record for tensor in tensors),
        Section.PAYLOAD: b"".join(chunk for tensor in tensors for chunk in tensor.coding.chunks),
        Section.NAMES: _packed("".join(f"{name}\0" for name in names).encode()),
        Section.SKELETON: _packed(model.skeleton),
        Section.MANIFEST: _packed(_manifest(model.manifest)),
    }
    uses = {
        Feature.RANS: any(tensor.coding.coder is Coder.RANS for tensor in tensors),
        Feature.TRELLIS: any(tensor.coding.mode is Mode.TRELLIS for tensor in tensors),
    }
    features = sum(is_used << feature for feature, is_used in uses.items())
    data = _assemble(sections, len(tensors), features)
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
        and _same_array(back.scale, common_scale(tensor.scale))
        and _same_array(back.codebook, tensor.codebook)
        and (back.axis == tensor.axis or not _has_channels(back))
    )


def _has_channels(tensor: CodedTensor) -> bool:
    """Whether its axis says anything."""
    return tensor.on_trellis or (tensor.scale is not None and tensor.scale.ndim > 0)


def _same_array(left: NDArray[Any] | None, right: NDArray[Any] | None) -> bool:
    if left is None or right is None:
        return left is right
    return (
        left.shape == right.shape
        and left.dtype == right.dtype
        and left.tobytes() == right.tobytes()
    )
