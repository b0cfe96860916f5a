"""Arrays of numbers from .npz and .npy files, and which of them an input of a model takes."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataError


def read_inputs(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays by input name: of an .npz file, an .npy file, or a folder of .npy files.

    Raises DataError.
    """
    if path.is_dir():
        files = sorted(path.glob("*.npy"))
        if not files:
            raise DataError(f"{path} holds no .npy files; name each for an input, as in input.npy")
        return {name: array for file in files for name, array in read_inputs(file).items()}
    found = read_file(path)
    return {path.stem: found} if isinstance(found, np.ndarray) else found


def read_file(path: Path) -> NDArray[Any] | dict[str, NDArray[Any]]:
    """The array of an .npy file, or those of an .npz file by name. Raises DataError."""
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            found = loaded if isinstance(loaded, np.ndarray) else dict(loaded)
    except OSError as error:
        raise DataError(f"can't read {path}: {error.strerror or error}") from error
    except (ValueError, TypeError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} isn't an .npz or .npy file of plain arrays: {error}") from error
    if isinstance(found, dict) and not found:
        raise DataError(f"{path} holds no arrays")
    return found


def array_for(
    given: Mapping[str, NDArray[Any]], name: str, *, alone: bool, model: str
) -> NDArray[Any]:
    """The array that an input takes.

    name: of the input. alone: whether the model has no other; it takes an array of any name where
    that is the only one. model: its name, for messages. Raises DataError.
    """
    # A file name can't hold the slashes that input names may have.
    for key in (name, name.replace("/", "_")):
        if key in given:
            return given[key]
    if alone and len(given) == 1:
        return next(iter(given.values()))
    if alone and "inputs" in given:
        # What edgekit's own data files call them; labels may lie beside.
        return given["inputs"]
    raise DataError(f"{model} takes an input {name}, the data hold {', '.join(sorted(given))}")


def as_type(array: NDArray[Any], dtype: np.dtype[Any], where: str) -> NDArray[Any]:
    """An array in C order, in the type that an input has.

    What a smaller float can't hold becomes infinite. where: of the input, for messages. Raises
    DataError for numbers of another kind, such as fractions for integers.
    """
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise DataError(f"{where} takes {dtype}, the data are {array.dtype}")
    with np.errstate(over="ignore"):
        # Unlike ascontiguousarray, this leaves a scalar without axes.
        return np.asarray(array, dtype, order="C")
