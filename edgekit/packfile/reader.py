"""Reading packed files that may be damaged or hostile (docs/format.md).

```
bytes ─validate→ PackedModel ─┬─tensor(i)→ CompressedTensor
                              ├─model()→ CompressedModel
                              └─weights()→ {name: array}
```

`validate` is the one way from bytes to objects. It takes no memory for a number that it hasn't
checked against the bytes that are there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgekit.codec import native
from edgekit.errors import (
    CorruptError,
    InputError,
    LimitError,
    TruncatedError,
    UsageError,
)
from edgekit.packfile import layout
from edgekit.packfile.container import Container, SectionEntry, open_container
from edgekit.packfile.cursor import Cursor
from edgekit.packfile.decode import Fetch, decode_elements
from edgekit.packfile.layout import Mode, Section, Type
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


@dataclass(frozen=True, eq=False)
class PackedModel:
    """A validated packed file; its tensors are decoded when they are asked for.

    records, names: one a tensor, in the order of the file.
    skeleton: the serialized ONNX graph without weights. manifest: the JSON object.
    max_bytes: the most that the restored weights may take.
    """

    container: Container
    records: tuple[TensorRecord, ...]
    names: tuple[str, ...]
    skeleton: bytes
    manifest: dict[str, Any]
    max_bytes: int

    @property
    def data(self) -> memoryview:
        """The whole file."""
        return self.container.data

    @property
    def version(self) -> tuple[int, int]:
        """Major and minor version of the format."""
        return self.container.version

    @property
    def sections(self) -> tuple[SectionEntry, ...]:
        """The directory, in the order of the file."""
        return self.container.sections

    @property
    def digest(self) -> str:
        """The SHA-256 that the file ends with, in hexadecimal: of all bytes before it (2.5)."""
        return bytes(self.data[-layout.SHA256_BYTES :]).hex()

    @property
    def payload(self) -> NDArray[np.uint8]:
        """The payload section."""
        contents = self.container.contents(self.container.section(Section.PAYLOAD))
        return np.frombuffer(contents, np.uint8)

    def tensor(self, index: int, *, decoder: Decoder = "auto") -> CompressedTensor:
        """Tensor `index`, decoded. Raises a FormatError that names it."""
        (tensor,) = self.tensors(decoder=decoder, indices=[index])
        return tensor

    def tensors(
        self, *, decoder: Decoder = "auto", indices: Iterable[int] | None = None
    ) -> Iterator[CompressedTensor]:
        """All tensors in the order of the file, or those of `indices`, one after another."""
        chosen = range(len(self.records)) if indices is None else indices
        records = ((index, self.records[index]) for index in chosen)
        for index, elements in decode_elements(records, self.payload, self._fetch(decoder)):
            yield _compressed(self.records[index], self.names[index], elements)

    def model(self, *, decoder: Decoder = "auto") -> CompressedModel:
        """All tensors, decoded, with graph and manifest."""
        return CompressedModel(tuple(self.tensors(decoder=decoder)), self.skeleton, self.manifest)

    def weights(self, *, threads: int = 1, decoder: Decoder = "auto") -> dict[str, NDArray[Any]]:
        """The restored weights of all tensors by name; bfloat16 as 16-bit patterns in uint16.

        threads: used by the native decoder.
        """
        if use_native(decoder):
            arrays = native.decode_weights(self.data, threads=threads, max_bytes=self.max_bytes)
            return dict(zip(self.names, arrays, strict=True))
        return dict(self.numpy_weights(range(len(self.records))))

    def numpy_weights(self, indices: Iterable[int]) -> Iterator[tuple[str, NDArray[Any]]]:
        """Names and restored weights of these tensors, from the numpy decoder."""
        # A product outside the restored type's range is infinite, as chapter 6 says.
        with np.errstate(over="ignore", under="ignore"):
            for tensor in self.tensors(decoder="numpy", indices=indices):
                yield tensor.name, dequantize(tensor)

    def _fetch(self, decoder: Decoder) -> Fetch | None:
        return native.StoredElements(self.data).decode if use_native(decoder) else None


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """A packed file whose container is checked, without its tensors.

    names: of the tensors. skeleton, manifest: as in PackedModel.
    """

    container: Container
    names: tuple[str, ...]
    skeleton: bytes
    manifest: dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Restored:
    """What makes a session: the ONNX graph without weights, and the weights by name.

    skeleton: serialized. weights: each in its shape and type, bfloat16 as uint16 patterns.
    """

    skeleton: bytes
    weights: dict[str, NDArray[Any]]


def use_native(decoder: Decoder) -> bool:
    """Whether the native decoder is meant. Raises UsageError where it is asked for and missing."""
    if decoder == "native" and not native.available:
        raise UsageError(f"{native.reason}; decode with decoder='numpy'")
    return decoder != "numpy" and native.available


def open_packfile(source: Source, *, max_bytes: int = layout.MAX_RESTORED_BYTES) -> PackedModel:
    """A packed file, validated.

    source: a path, or the bytes of the file. max_bytes: the most that the restored weights may
    take; the numpy decoder works in several times the memory of the largest tensor.

    Raises InputError for a file that can't be read, and the FormatError of the rule that the file
    breaks.
    """
    return validate(_read(source), max_bytes=max_bytes)


def read_packfile(
    source: Source,
    *,
    decoder: Decoder = "auto",
    max_bytes: int = layout.MAX_RESTORED_BYTES,
) -> CompressedModel:
    """All that a packed file holds; arguments and errors as for read_weights."""
    return open_packfile(source, max_bytes=max_bytes).model(decoder=decoder)


def read_weights(
    source: Source,
    *,
    threads: int = 1,
    decoder: Decoder = "auto",
    max_bytes: int = layout.MAX_RESTORED_BYTES,
) -> dict[str, NDArray[Any]]:
    """The restored weights by name, each in its shape and type; bfloat16 as uint16 patterns.

    threads: used by the native decoder. decoder: "auto" takes the native one where it is built.
    Other arguments and errors as for open_packfile; the native decoder's messages say less.
    """
    return read_restored(source, threads=threads, decoder=decoder, max_bytes=max_bytes).weights


def read_restored(
    source: Source,
    *,
    threads: int = 1,
    decoder: Decoder = "auto",
    max_bytes: int = layout.MAX_RESTORED_BYTES,
) -> Restored:
    """All that a session needs of a packed file, by the shortest way; arguments as read_weights."""
    return restore(read_texts(source), threads=threads, decoder=decoder, max_bytes=max_bytes)


def read_texts(source: Source) -> Texts:
    """Everything of a packed file but its tensors. Raises InputError and FormatError."""
    container = open_container(_read(source))
    names, skeleton, manifest = _parse_texts(container)
    return Texts(container, names, skeleton, manifest)


def restore(
    texts: Texts,
    *,
    threads: int = 1,
    decoder: Decoder = "auto",
    max_bytes: int = layout.MAX_RESTORED_BYTES,
) -> Restored:
    """The weights of a file whose texts were read already; arguments as for read_weights."""
    # The native decoder checks the records itself, so that only the container had to be checked.
    if use_native(decoder):
        arrays = native.decode_weights(texts.container.data, threads=threads, max_bytes=max_bytes)
        return Restored(texts.skeleton, dict(zip(texts.names, arrays, strict=True)))
    model = packed_model(texts, max_bytes=max_bytes)
    return Restored(model.skeleton, model.weights(decoder=decoder))


def packed_model(texts: Texts, *, max_bytes: int = layout.MAX_RESTORED_BYTES) -> PackedModel:
    """A file whose texts were read already, with its records checked."""
    records = _parse_records(texts.container, max_bytes=max_bytes)
    return PackedModel(
        texts.container, records, texts.names, texts.skeleton, texts.manifest, max_bytes
    )


def validate(data: memoryview, *, max_bytes: int) -> PackedModel:
    """Check every rule of chapter 7 but those inside chunks, in the order given there."""
    container = open_container(data)
    records = _parse_records(container, max_bytes=max_bytes)
    names, skeleton, manifest = _parse_texts(container)
    return PackedModel(container, records, names, skeleton, manifest, max_bytes)


def _read(source: Source) -> memoryview:
    if isinstance(source, bytes | bytearray | memoryview):
        return memoryview(source).cast("B").toreadonly()
    try:
        return memoryview(Path(source).read_bytes())
    except OSError as error:
        raise InputError(f"can't read {os.fspath(source)}: {error.strerror or error}") from error


def _parse_records(container: Container, *, max_bytes: int) -> tuple[TensorRecord, ...]:
    """Chapter 3: all records, which fill their section and whose chunks fill the payload."""
    tensors, payload = container.section(Section.TENSORS), container.section(Section.PAYLOAD)
    cursor = Cursor(container.contents(tensors), tensors.offset)
    records = []
    payload_bytes = restored_bytes = 0
    for index in range(container.tensor_count):
        cursor.tensor = index
        record = parse_record(cursor, payload_bytes, container.features)
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


def _parse_texts(container: Container) -> tuple[tuple[str, ...], bytes, dict[str, Any]]:
    """Names, skeleton and manifest (2.3)."""
    return (
        _parse_names(container),
        container.unpacked(Section.SKELETON, layout.MAX_SKELETON_BYTES),
        _parse_manifest(container),
    )


def _parse_names(container: Container) -> tuple[str, ...]:
    """Chapter 2.3: one name a tensor, each followed by a zero byte, none twice."""
    text = container.unpacked(Section.NAMES, layout.MAX_NAMES_BYTES)
    tensor_count, entry = container.tensor_count, container.section(Section.NAMES)
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


def _parse_manifest(container: Container) -> dict[str, Any]:
    text = container.unpacked(Section.MANIFEST, layout.MAX_MANIFEST_BYTES)
    entry = container.section(Section.MANIFEST)
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
        scale = np.array(1, np.float32) if scale is None else scale
        return CodedTensor(name, dtype, codes, scale, record.axis, record.codebook)
    signed = scale is not None or record.restored is Type.INT8
    codes_ = values.view(np.int8) if signed else values.view(np.uint8)
    on_trellis = record.mode is Mode.TRELLIS
    return CodedTensor(name, dtype, codes_, scale, record.axis, on_trellis=on_trellis)
