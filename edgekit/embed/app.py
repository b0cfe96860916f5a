"""What every app folder is made from: the packed model, its tensors, and templates filled in."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path

from edgekit.data import CLASSES, FASHION_MNIST
from edgekit.errors import DataError, UsageError
from edgekit.packfile import PackedModel
from edgekit.packfile.layout import FLOAT_TYPES, TYPE_BYTES, Type
from edgekit.packfile.records import TensorRecord
from edgekit.preprocess import Preprocess

_DECODER_FLOATS = frozenset({Type.FLOAT32, Type.FLOAT16})
"""Stored types that ekd_decode_f32 takes."""


_MACROS = (
    *("H", "FORMAT", "DIGEST", "ARRAY", "NONE", "TENSOR_COUNT"),
    *("BUFFER_BYTES", "LARGEST_TENSOR_BYTES", "ALL_TENSORS_BYTES"),
)
"""What a C header calls its own, behind the prefix."""


class OutputType(StrEnum):
    """What an app decodes tensors to.

    RESTORED: the element types that the model has. FLOAT32: all of them that are floats.
    INT8: the codes of a uniform grid, for kernels of one's own. RAW: elements as they are stored.
    """

    RESTORED = "restored"
    FLOAT32 = "float32"
    INT8 = "int8"
    RAW = "raw"


@dataclass(frozen=True, slots=True)
class EmbeddedTensor:
    """A tensor of the app.

    id: its place in the packed file. constant: its name in C. dtype: element type in the model.
    scales: how many scales its codes have, one or one a channel; 0 without. decoded_dtype,
    decoded_bytes: what the app decodes it to.
    """

    id: int
    name: str
    constant: str
    shape: tuple[int, ...]
    dtype: str
    scales: int
    decoded_dtype: str
    decoded_bytes: int


@dataclass(frozen=True, slots=True)
class App:
    """A packed model that is sound, on its way into an app.

    packed: the file. tensors: those that the app decodes. prefix: begins the names of files and
    symbols; a C name in lower case. output_type: what tensors are decoded to. buffer_bytes: of the
    buffer that holds each in its turn. preprocess: how a picture becomes an input; None where the
    model takes no pictures. labels: names of the classes; empty where they aren't known.
    """

    packed: PackedModel
    tensors: tuple[EmbeddedTensor, ...]
    prefix: str
    output_type: OutputType
    buffer_bytes: int
    preprocess: Preprocess | None = None
    labels: tuple[str, ...] = ()

    @property
    def data(self) -> bytes:
        """The packed file's bytes."""
        return bytes(self.packed.data)

    @property
    def name(self) -> str:
        """The model's name, on one line."""
        return " ".join(str(self.packed.manifest.get("name", "model")).split())

    @property
    def largest_tensor_bytes(self) -> int:
        """Of the largest tensor as it is decoded."""
        return max((tensor.decoded_bytes for tensor in self.tensors), default=0)

    @property
    def decoded_bytes(self) -> int:
        """Of all tensors together."""
        return sum(tensor.decoded_bytes for tensor in self.tensors)


def make_app(
    packed: PackedModel,
    prefix: str,
    *,
    pattern: str = "*",
    output_type: OutputType = OutputType.RESTORED,
    static_buffer: int | None = None,
    preprocess: Preprocess | None = None,
    labels: tuple[str, ...] = (),
) -> App:
    """An app of the tensors whose names match a pattern (as in a shell: *, ? and [abc]).

    static_buffer: bytes of the buffer; by default the largest tensor's. Raises UsageError where no
    tensor matches, one can't be decoded to `output_type`, or the buffer is too small.
    """
    tensors = tuple(
        tensor
        for tensor in _tensors(packed, prefix.upper(), output_type)
        if fnmatchcase(tensor.name, pattern)
    )
    if packed.records and not tensors:
        raise UsageError(f"no tensor matches {pattern!r}; edgekit inspect lists their names")
    unfit = [tensor.name for tensor in tensors if not tensor.decoded_dtype]
    if unfit:
        raise UsageError(
            f"{len(unfit)} of {len(tensors)} tensors can't be decoded to {output_type.value}, such "
            f"as {unfit[0]}; choose others with --tensors, or --output-type restored or raw"
        )
    largest = max((tensor.decoded_bytes for tensor in tensors), default=0)
    if static_buffer is not None and static_buffer >= 1 << 31:
        raise UsageError(
            f"a buffer of {static_buffer:,} bytes can't be linked; give less than 2 GiB"
        )
    if static_buffer is not None and static_buffer < largest:
        raise UsageError(
            f"a buffer of {static_buffer:,} bytes is too small: the largest tensor needs "
            f"{largest:,}"
        )
    size = largest if static_buffer is None else static_buffer
    return App(packed, tensors, prefix, output_type, size, preprocess, labels)


def read_labels(spec: str | os.PathLike[str]) -> tuple[str, ...]:
    """Names of classes in their order: `fashion-mnist`, or a text file with one a line.

    Raises DataError.
    """
    if spec == FASHION_MNIST:
        return CLASSES
    try:
        # Some editors begin a file with a mark.
        lines = Path(spec).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"can't read labels from {os.fspath(spec)}: {error}") from error
    labels = tuple(line.strip() for line in lines)
    if not labels or not all(labels):
        raise DataError(f"{os.fspath(spec)} needs the name of a class on every line")
    return labels


def _tensors(model: PackedModel, prefix: str, output_type: OutputType) -> Iterator[EmbeddedTensor]:
    taken = {f"{prefix}_{word}" for word in _MACROS}
    for index, (record, name) in enumerate(zip(model.records, model.names, strict=True)):
        plain = f"{prefix}_{re.sub(r'[^A-Za-z0-9]+', '_', name).strip('_').upper() or 'TENSOR'}"
        constant = plain
        while constant in taken:
            constant = f"{plain}_{index}" if constant == plain else f"{constant}_"
        taken.add(constant)
        dtype, width = _decoded(record, output_type)
        scales = record.scale_array()
        yield EmbeddedTensor(
            index,
            name,
            constant,
            record.shape,
            record.restored.name.lower(),
            0 if scales is None else scales.size,
            dtype,
            record.elements * width,
        )


def _decoded(record: TensorRecord, output_type: OutputType) -> tuple[str, int]:
    """Element type and bytes that a tensor is decoded to; "" and 0 where it can't be."""
    is_coded = record.stored is Type.CODE
    has_grid = is_coded and record.codebook is None and record.restored is not Type.UINT8
    if output_type is OutputType.RESTORED:
        return record.restored.name.lower(), TYPE_BYTES[record.restored]
    if output_type is OutputType.RAW:
        stored = ("int8" if has_grid else "uint8") if is_coded else record.stored.name.lower()
        return stored, TYPE_BYTES[record.stored]
    if output_type is OutputType.INT8:
        return ("int8", 1) if has_grid else ("", 0)
    is_float = record.restored in FLOAT_TYPES if is_coded else record.stored in _DECODER_FLOATS
    return ("float32", 4) if is_float else ("", 0)


def filled(template: str, words: Mapping[str, str]) -> bytes:
    """A file of templates/ with each @word@ replaced."""
    text = resource(f"templates/{template}").decode()
    return re.sub(r"@(\w+)@", lambda match: words[match[1]], text).encode()


def resource(path: str) -> bytes:
    """A file that comes with this package, by its path below it."""
    return (resources.files("edgekit.embed") / path).read_bytes()
