"""Inputs of a model: made up for shapes that may be open, or from files."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from edgekit.errors import DataError, ModelFileError, UsageError

_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int8)": np.int8,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
    "tensor(uint16)": np.uint16,
    "tensor(uint32)": np.uint32,
    "tensor(uint64)": np.uint64,
    "tensor(bool)": np.bool_,
}

Feed = dict[str, NDArray[Any]]


def make_feed(
    session: ort.InferenceSession,
    name: str,
    *,
    input_shape: Sequence[int] | None = None,
    batch: int = 1,
    seed: int = 0,
    given: Mapping[str, NDArray[Any]] | None = None,
) -> Feed:
    """Values for every input of a session.

    name: of the model, for messages. input_shape: of a model's only input; without it open
    dimensions are 1, except an open first one, which is `batch`. given: arrays by input name, of
    which the first rows are taken, as many as the model's first dimension or `batch`; a model with
    one input takes an array of any name where it is the only one.

    Without `given`, floats are standard normal numbers; integers and booleans are 0 or 1, which is
    a valid index anywhere. Raises UsageError for a shape or batch that the model doesn't take,
    DataError for arrays that it doesn't, ModelFileError for an input that isn't numbers.
    """
    inputs = session.get_inputs()
    if input_shape is not None and len(inputs) != 1:
        raise UsageError(f"an input shape is for models with one input; {name} has {len(inputs)}")
    rng = np.random.default_rng(seed)
    feed: Feed = {}
    for node in inputs:
        dtype = _DTYPES.get(node.type)
        if dtype is None:
            raise ModelFileError(f"{name}: can't make up input {node.name} of type {node.type}")
        declared = tuple(size if isinstance(size, int) else None for size in node.shape)
        if given is not None:
            array = _named(given, node.name, alone=len(inputs) == 1, model=name)
            feed[node.name] = _cut(
                array, np.dtype(dtype), declared, batch, f"{name}: input {node.name}"
            )
            continue
        if input_shape is None:
            shape = _filled(declared, batch, f"{name}: input {node.name}")
        else:
            shape = _checked(tuple(input_shape), declared, f"{name}: input {node.name}")
        feed[node.name] = _random(shape, np.dtype(dtype), rng)
    return feed


def read_inputs(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays by input name: of an .npz file, an .npy file, or a folder of .npy files.

    Raises DataError.
    """
    if path.is_dir():
        files = sorted(path.glob("*.npy"))
        if not files:
            raise DataError(f"{path} holds no .npy files; name each for an input, as in input.npy")
        return {file.stem: array for file in files for array in _arrays(file).values()}
    return _arrays(path)


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            arrays = {path.stem: loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    except OSError as error:
        raise DataError(f"can't read {path}: {error.strerror or error}") from error
    except (ValueError, TypeError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} isn't an .npz or .npy file of plain arrays: {error}") from error
    if not arrays:
        raise DataError(f"{path} holds no arrays")
    return arrays


def _named(
    given: Mapping[str, NDArray[Any]], name: str, *, alone: bool, model: str
) -> NDArray[Any]:
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


def _cut(
    array: NDArray[Any],
    dtype: np.dtype[Any],
    declared: tuple[int | None, ...],
    batch: int,
    where: str,
) -> NDArray[Any]:
    takes = ",".join("?" if size is None else str(size) for size in declared)
    rows = (declared[0] or batch) if declared else 0
    fits = array.ndim == len(declared) and all(
        size is None or size == found
        for size, found in zip(declared[1:], array.shape[1:], strict=True)
    )
    if not fits or (declared and len(array) < rows):
        found = ",".join(map(str, array.shape))
        raise DataError(f"{where} takes the shape {takes} with {rows} rows, the data have {found}")
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise DataError(f"{where} takes {dtype}, the data are {array.dtype}")
    return np.ascontiguousarray(array[:rows] if declared else array, dtype)


def _filled(declared: tuple[int | None, ...], batch: int, where: str) -> tuple[int, ...]:
    if batch != 1 and declared and declared[0] not in {None, batch}:
        raise UsageError(f"{where} has a fixed first dimension of {declared[0]}, not {batch}")
    sizes = [1 if size is None else size for size in declared]
    if declared and declared[0] is None:
        sizes[0] = batch
    return tuple(sizes)


def _checked(
    wanted: tuple[int, ...], declared: tuple[int | None, ...], where: str
) -> tuple[int, ...]:
    fits = len(wanted) == len(declared) and all(
        size is None or size == asked for asked, size in zip(wanted, declared, strict=True)
    )
    if not fits or min(wanted, default=1) < 1:
        takes = ",".join("?" if size is None else str(size) for size in declared)
        asked = ",".join(map(str, wanted))
        raise UsageError(f"{where} takes the shape {takes}, not {asked}")
    return wanted


def _random(shape: tuple[int, ...], dtype: np.dtype[Any], rng: np.random.Generator) -> NDArray[Any]:
    try:
        if dtype.kind == "f":
            return rng.standard_normal(shape, dtype=np.float32).astype(dtype)
        return rng.integers(2, size=shape).astype(dtype)
    except (MemoryError, ValueError) as error:
        # numpy has words for sizes that pass what an array can index, and for memory.
        raise UsageError(
            f"there is no memory for an input of shape {'x'.join(map(str, shape))}; take a smaller "
            "batch or input shape"
        ) from error
