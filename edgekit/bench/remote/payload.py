"""What a device is sent: models under neutral names, and the Python files that it lacks."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import edgekit
from edgekit.errors import InputError, ModelFileError
from edgekit.runtime.session import is_packed

PACKAGE = Path(edgekit.__file__).parent

_LEFT_OUT = ("cli", "compress", "embed", "export", "inspect", "report", "train")
"""Packages that a benchmark doesn't import."""

_HEADERS = ("codec/kernels.h", "embed/edgekit_decode.h")
"""What compiling the decoder on the device takes."""


@dataclass(frozen=True, slots=True)
class Item:
    """A file to send. name: below the device's private folder."""

    name: str
    path: Path
    size: int


@dataclass(frozen=True, slots=True)
class Model:
    """A model to send. name: of its main file; items: that and its external data."""

    path: str
    name: str
    items: tuple[Item, ...]


def models_to_send(paths: Sequence[str | os.PathLike[str]]) -> tuple[Model, ...]:
    """The models, each in a folder of its own.

    Names on the device are ours, but for external data, which a model asks for by name. Raises
    InputError for a file that can't be read and ModelFileError for external data outside the
    model's folder.
    """
    return tuple(_model(Path(path), number) for number, path in enumerate(paths))


def sources_to_send(machine: str | None) -> tuple[Item, ...]:
    """The files of edgekit itself, as far as a benchmark needs them.

    machine: of a device that has cffi, which loads compiled modules, else None. The compiled
    decoder goes along where the machine is the same as ours.
    """
    paths = [
        path
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0] not in _LEFT_OUT
    ]
    paths += [PACKAGE / name for name in _HEADERS]
    if machine == platform.machine():
        paths += sorted((PACKAGE / "codec").glob("_native.*.so"))
    return tuple(
        Item(f"src/edgekit/{path.relative_to(PACKAGE).as_posix()}", path, path.stat().st_size)
        for path in paths
    )


def _model(path: Path, number: int) -> Model:
    try:
        with path.open("rb") as file:
            packed = is_packed(memoryview(file.read(16)))
        folder = f"model{number}"
        name = f"{folder}/edgekit-model-{number}.{'ekp' if packed else 'onnx'}"
        items = [Item(name, path, path.stat().st_size)]
        if not packed:
            items += [_external(path, place, folder) for place in sorted(_locations(path))]
    except OSError as error:
        place = error.filename or path
        raise InputError(f"can't read {place}: {error.strerror or error}") from error
    return Model(str(path), name, tuple(items))


def _external(model: Path, location: str, folder: str) -> Item:
    root = model.parent.resolve()
    path = (root / location).resolve()
    if not location or not path.is_relative_to(root) or path == root:
        raise ModelFileError(
            f"{model}: asks for {location or 'no file'!r}, which isn't inside the model's folder"
        )
    return Item(f"{folder}/{path.relative_to(root).as_posix()}", path, path.stat().st_size)


def _locations(path: Path) -> set[str]:
    """Files beside a model in which its weights lie."""
    from edgekit.graph.source import is_external, read_model
    from edgekit.graph.walk import nested_graphs

    graph = read_model(path).model.graph
    return {
        next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        for part in (graph, *nested_graphs(graph))
        for tensor in part.initializer
        if is_external(tensor)
    }
