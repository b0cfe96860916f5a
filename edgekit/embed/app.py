"""What every app folder is made from: the packed model, its tensors, and templates filled in."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from edgekit.data import CLASSES, FASHION_MNIST
from edgekit.errors import DataError
from edgekit.packfile import PackedModel
from edgekit.packfile.layout import TYPE_BYTES
from edgekit.preprocess import Preprocess


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
class App:
    """A packed model that is sound, on its way into an app.

    packed: the file. tensors: those that the app decodes. prefix: begins the names of files and
    symbols; a C name in lower case. preprocess: how a picture becomes an input; None where the
    model takes no pictures. labels: names of the classes; empty where they aren't known.
    """

    packed: PackedModel
    tensors: tuple[EmbeddedTensor, ...]
    prefix: str
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
        """Of the buffer that holds each tensor in its turn."""
        return max((tensor.restored_bytes for tensor in self.tensors), default=0)

    @property
    def restored_bytes(self) -> int:
        """Of all tensors together."""
        return sum(tensor.restored_bytes for tensor in self.tensors)


def make_app(
    packed: PackedModel,
    prefix: str,
    *,
    preprocess: Preprocess | None = None,
    labels: tuple[str, ...] = (),
) -> App:
    """An app of every tensor of a packed file."""
    return App(packed, tuple(_tensors(packed, prefix.upper())), prefix, preprocess, labels)


def read_labels(spec: str | os.PathLike[str]) -> tuple[str, ...]:
    """Names of classes in their order: `fashion-mnist`, or a text file with one a line.

    Raises DataError.
    """
    if spec == FASHION_MNIST:
        return CLASSES
    try:
        lines = Path(spec).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"can't read labels from {os.fspath(spec)}: {error}") from error
    labels = tuple(line.strip() for line in lines)
    if not labels or not all(labels):
        raise DataError(f"{os.fspath(spec)} needs the name of a class on every line")
    return labels


def _tensors(model: PackedModel, prefix: str) -> Iterator[EmbeddedTensor]:
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


def filled(template: str, words: Mapping[str, str]) -> bytes:
    """A file of templates/ with each @word@ replaced."""
    text = resource(f"templates/{template}").decode()
    return re.sub(r"@(\w+)@", lambda match: words[match[1]], text).encode()


def resource(path: str) -> bytes:
    """A file that comes with this package, by its path below it."""
    return (resources.files("edgekit.embed") / path).read_bytes()
