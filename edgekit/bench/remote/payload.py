"""What a device is sent: models under neutral names, and the Python files that it lacks."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import edgekit
from edgekit.errors import InputError, ModelFileError
from edgekit.runtime.session import is_packed

PACKAGE = Path(edgekit.__file__).parent

_LEFT_OUT = ("cli", "compress", "embed", "export", "inspect", "report", "train")
"""Packages that a benchmark doesn't import."""

_HEADERS = ("codec/kernels.h", "codec/trellis.h", "embed/edgekit_decode.h")
"""What compiling the decoder on the device takes."""


_DATA = ("input_data", "evaluate", "preprocess")
"""Settings of a benchmark that may be paths."""


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


def data_to_send(settings: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[Item, ...]]:
    """The settings as the device needs them, and the files that they name.

    Where data is a path here, the device gets a copy and its name there; anything else is a name
    that edgekit knows, or is refused there.
    """
    changed, items = dict(settings), []
    for key in _DATA:
        if settings.get(key) is None:
            continue
        path = Path(settings[key])
        changed[key] = os.fspath(settings[key])
        if path.is_dir():
            changed[key] = f"data/{key}"
            inner = [file for file in sorted(path.rglob("*")) if file.is_file()]
            items += [
                _item(f"data/{key}/{file.relative_to(path).as_posix()}", file) for file in inner
            ]
        elif path.is_file():
            changed[key] = f"data/{key}/given{path.suffix}"
            items.append(_item(changed[key], path))
    return changed, tuple(items)


def sources_to_send(machine: str | None, *, test_images: bool = False) -> tuple[Item, ...]:
    """The files of edgekit itself, as far as a benchmark needs them.

    machine: of a device that has cffi, which loads compiled modules, else None. The compiled
    decoder goes along where the machine is the same as ours. test_images: whether the package's
    own are needed.
    """
    paths = [
        path
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0] not in _LEFT_OUT
    ]
    paths += [PACKAGE / name for name in _HEADERS]
    if machine == platform.machine():
        paths += sorted((PACKAGE / "codec").glob("_native.*.so"))
    if test_images:
        paths += sorted((PACKAGE / "assets").glob("*.npz"))
    return tuple(_item(f"src/edgekit/{p.relative_to(PACKAGE).as_posix()}", p) for p in paths)


def _model(path: Path, number: int) -> Model:
    try:
        with path.open("rb") as file:
            packed = is_packed(memoryview(file.read(16)))
        folder = f"model{number}"
        name = f"{folder}/edgekit-model-{number}.{'ekp' if packed else 'onnx'}"
        items = [_item(name, path)]
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
    return _item(f"{folder}/{path.relative_to(root).as_posix()}", path)


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


def _item(name: str, path: Path) -> Item:
    return Item(name, path, path.stat().st_size)
