"""Inputs of a model: made up for shapes that may be open, or cut from given arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from edgekit.arrays import array_for, as_type
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
            array = array_for(given, node.name, alone=len(inputs) == 1, model=name)
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
    return as_type(array[:rows] if declared else array, dtype, where)


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
