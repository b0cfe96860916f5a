"""Writing a buildable app folder around a packed file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from edgekit.errors import OutputError, UsageError
from edgekit.files import write_atomic
from edgekit.packfile import PackedModel, open_packfile
from edgekit.packfile.layout import TYPE_BYTES

TARGETS = ("c",)

_PREFIX = re.compile(r"[a-z][a-z0-9_]*")
_ARRAY_BYTES = 1 << 20
"""Larger models aren't written as a C array: compilers take minutes and gigabytes for one."""


@dataclass(frozen=True, slots=True)
class EmbeddedTensor:
    """A tensor of the app: its id in the packed file, its C constant, and what it restores to."""

    id: int
    name: str
    constant: str
    shape: tuple[int, ...]
    dtype: str
    restored_bytes: int


@dataclass(frozen=True, slots=True)
class EmbedReport:
    """An app folder.

    files: names of what was written and their bytes. largest_tensor_bytes: of the buffer that
    holds each tensor in its turn. restored_bytes: of all tensors together.
    """

    output: str
    target: str
    packed_bytes: int
    largest_tensor_bytes: int
    restored_bytes: int
    tensors: tuple[EmbeddedTensor, ...]
    files: tuple[tuple[str, int], ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def embed(
    packed: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    target: str = "c",
    prefix: str = "model",
) -> EmbedReport:
    """Write an app folder that carries a packed file and decodes it.

    packed: the packed file. output: the folder, made if it isn't there; files of the same names
    in it are replaced. target: "c". prefix: begins the names of files and C symbols.

    Raises the FormatError of a broken packed file, UsageError for an unknown target or a prefix
    that isn't a C name in lower case, and OutputError.
    """
    if target not in TARGETS:
        raise UsageError(f"no target {target!r}; known: {', '.join(TARGETS)}")
    if not _PREFIX.fullmatch(prefix):
        raise UsageError(f"the prefix {prefix!r} isn't a C name in lower case, such as 'model'")
    model = open_packfile(packed)
    # Decoding shows that every chunk is sound before an app is built on it.
    model.weights()
    tensors = tuple(_tensors(model, prefix.upper()))
    folder = Path(output)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"can't make the folder {folder}: {error.strerror or error}") from error
    contents = _c_files(model, tensors, prefix)
    for name, data in contents.items():
        write_atomic(folder / name, data)
    return EmbedReport(
        os.fspath(output),
        target,
        len(model.data),
        max((tensor.restored_bytes for tensor in tensors), default=0),
        sum(tensor.restored_bytes for tensor in tensors),
        tensors,
        tuple((name, len(data)) for name, data in contents.items()),
    )


def _tensors(model: PackedModel, prefix: str) -> Iterable[EmbeddedTensor]:
    taken: set[str] = set()
    for index, (record, name) in enumerate(zip(model.records, model.names, strict=True)):
        plain = f"{prefix}_{re.sub(r'[^A-Za-z0-9]+', '_', name).strip('_').upper() or 'TENSOR'}"
        constant = plain
        while constant in taken:
            constant = f"{plain}_{index}" if constant == plain else f"{constant}_"
        taken.add(constant)
        yield EmbeddedTensor(
            index,
            name,
            constant,
            record.shape,
            record.restored.name.lower(),
            record.elements * TYPE_BYTES[record.restored],
        )


def _c_files(
    model: PackedModel, tensors: tuple[EmbeddedTensor, ...], prefix: str
) -> dict[str, bytes]:
    data = bytes(model.data)
    words = {
        "prefix": prefix,
        "PREFIX": prefix.upper(),
        "name": _comment(str(model.manifest.get("name", "model"))),
        "packed_bytes": str(len(data)),
        "tensor_count": str(len(tensors)),
        # A buffer of no bytes isn't C.
        "largest_bytes": str(max((tensor.restored_bytes for tensor in tensors), default=0) or 1),
        "restored_bytes": str(sum(tensor.restored_bytes for tensor in tensors)),
        "digest": model.digest,
        "ids": "\n".join(_id_line(tensor) for tensor in tensors) or f"    {prefix.upper()}_NONE",
        "names": "\n".join(f"    {_literal(tensor.name)}," for tensor in tensors) or '    "",',
        "array": _array(data, prefix),
    }
    return {
        "edgekit_decode.h": (_resource("edgekit_decode.h")).encode(),
        f"{prefix}.ekp": data,
        f"{prefix}.h": _filled("c/model.h.in", words),
        f"{prefix}.c": _filled("c/data.c.in", words),
        "main.c": _filled("c/main.c.in", words),
        "Makefile": _filled("c/Makefile.in", words),
    }


def _id_line(tensor: EmbeddedTensor) -> str:
    shape = "x".join(map(str, tensor.shape)) or "scalar"
    return f"    {tensor.constant} = {tensor.id}, /* {tensor.dtype} {shape} */"


def _array(data: bytes, prefix: str) -> str:
    if len(data) > _ARRAY_BYTES:
        return (
            '#error "this model is too large for a C array; use a compiler with .incbin or #embed"'
        )
    rows = (
        "    " + ",".join(map(str, data[start : start + 24])) + ","
        for start in range(0, len(data), 24)
    )
    end = f"const uint8_t *const {prefix}_data_end = {prefix}_data + sizeof {prefix}_data;"
    return "\n".join([f"const uint8_t {prefix}_data[] = {{", *rows, "};", end])


def _comment(text: str) -> str:
    """Text that can't end a C comment, on one line."""
    return " ".join(text.replace("*/", "* /").split())


def _literal(text: str) -> str:
    """A C string literal; bytes outside printable ASCII, and ? of trigraphs, as octal escapes."""
    quoted = "".join(
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}"
        for byte in text.encode()
    )
    return f'"{quoted}"'


def _filled(template: str, words: dict[str, str]) -> bytes:
    text = _resource(f"templates/{template}")
    return re.sub(r"@(\w+)@", lambda match: words[match[1]], text).encode()


def _resource(path: str) -> str:
    return (resources.files("edgekit.embed") / path).read_text(encoding="utf-8")
