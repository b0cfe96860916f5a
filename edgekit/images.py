"""Folders of pictures as a network's inputs, with labels from subfolders or a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataError, MissingDependencyError
from edgekit.preprocess import Preprocess, prepare

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
LABELS_FILE = "labels.csv"
"""Beside the pictures: lines of `file,class number`; a first line of `file,label` is a heading."""


def is_picture_folder(folder: Path) -> bool:
    """Whether pictures lie in a folder or one level below it."""
    return any(path.suffix.lower() in SUFFIXES for path in folder.glob("*")) or any(
        path.suffix.lower() in SUFFIXES for path in folder.glob("*/*")
    )


def read_pictures(
    folder: Path, settings: Preprocess, *, most: int | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
    """Inputs (N, *settings.shape) float32 and labels (N,) int64, or None without labels.

    most: take this many, evenly spread. Raises DataError that names the picture, and
    MissingDependencyError without Pillow.
    """
    paths, labels = list_pictures(folder)
    if most is not None and len(paths) > most:
        chosen = [index * len(paths) // most for index in range(most)]
        paths = [paths[index] for index in chosen]
        labels = None if labels is None else labels[chosen]
    inputs = np.empty((len(paths), *settings.shape), np.float32)
    for row, path in zip(inputs, paths, strict=True):
        row[...] = read_picture(path, settings)
    return inputs, labels


def list_pictures(folder: Path) -> tuple[list[Path], NDArray[np.int64] | None]:
    """The pictures of a folder in the order of their paths, and their labels (N,), if it has any.

    Labels come from labels.csv, or where every picture lies in a subfolder from the subfolders'
    order by name, or by number where all names are numbers. Raises DataError.
    """
    paths = sorted(
        path
        for pattern in ("*", "*/*")
        for path in folder.glob(pattern)
        if path.suffix.lower() in SUFFIXES and path.is_file()
    )
    if not paths:
        raise DataError(f"{folder} holds no pictures ({', '.join(SUFFIXES)})")
    return paths, _labels(folder, paths)


def read_picture(path: Path, settings: Preprocess) -> NDArray[np.float32]:
    """One input of settings.shape, without its batch axis, from a picture file.

    As `prepare_picture`. Raises DataError and MissingDependencyError.
    """
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise MissingDependencyError("Pillow", "images") from error
    try:
        with Image.open(path) as opened:
            return prepare_picture(opened, settings)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        # Pillow reports damage in any of these ways.
        raise DataError(f"can't read the picture {path}: {error}") from error


def prepare_picture(opened: Image.Image, settings: Preprocess) -> NDArray[np.float32]:
    """One input of settings.shape, without its batch axis, from a picture of any size.

    It is turned upright by its Exif data, and shrunk with an antialiasing bilinear filter.
    """
    from PIL import Image, ImageOps

    picture = ImageOps.exif_transpose(opened).convert("RGB")
    width, height = settings.width, settings.height
    if settings.resize is None:
        sized = picture.resize((width, height), Image.Resampling.BILINEAR)
    else:
        shorter = min(picture.size)
        wide, high = (round(side * settings.resize / shorter) for side in picture.size)
        left, top = (wide - width) // 2, (high - height) // 2
        sized = picture.resize((wide, high), Image.Resampling.BILINEAR).crop(
            (left, top, left + width, top + height)
        )
    return prepare(np.asarray(sized, np.uint8), settings)


def _labels(folder: Path, paths: Sequence[Path]) -> NDArray[np.int64] | None:
    listed = folder / LABELS_FILE
    if listed.is_file():
        return _listed_labels(listed, [str(path.relative_to(folder)) for path in paths])
    groups = [path.parent for path in paths]
    if folder in groups:
        return None
    ordered = sorted(set(groups))
    if all(group.name.isdecimal() for group in ordered):
        ordered.sort(key=lambda group: int(group.name))
    numbers = {group: number for number, group in enumerate(ordered)}
    return np.array([numbers[group] for group in groups], np.int64)


def _listed_labels(path: Path, names: Sequence[str]) -> NDArray[np.int64]:
    numbers: dict[str, int] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for number, row in enumerate(csv.reader(file), start=1):
                if not row or (number == 1 and row[1:] == ["label"]):
                    continue
                if len(row) != 2 or not row[1].strip().isdecimal():
                    raise DataError(f"{path}, line {number}: expected file,class number")
                numbers[row[0]] = int(row[1])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"can't read {path}: {error}") from error
    for name in names:
        if name not in numbers:
            raise DataError(f"{path} has no line for {name}")
    for name in numbers.keys() - set(names):
        raise DataError(f"{path} names {name}, but there is no such picture")
    return np.array([numbers[name] for name in names], np.int64)
