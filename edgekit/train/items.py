"""Data sets in the manner of Hugging Face: anything with a length and items by position.

An item is a dictionary such as `{"image": picture, "label": 3}` or a tuple of input and label.
Inputs are pictures of Pillow, arrays of pixel bytes, or floating-point arrays that are taken as
they are; labels are numbers or arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgekit.errors import DataError, EdgekitError
from edgekit.export.text import brief
from edgekit.images import prepare_picture
from edgekit.preprocess import Preprocess, prepare
from edgekit.train.checked import fits, shown

INPUT_KEYS = ("image", "img", "pixel_values", "inputs", "input", "audio", "input_values", "x")
LABEL_KEYS = ("label", "labels", "fine_label", "target", "targets", "mask", "annotation", "y")


@runtime_checkable
class Dataset(Protocol):
    """What `datasets.Dataset` and `torch.utils.data.Dataset` have in common."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """A split whose samples are read when they are asked for.

    dataset: gives the items. preprocess: how pictures become inputs; None where items are inputs
    already. name: of the data set, for errors. shape: of the network's input, 0 where a size is
    open; None where it isn't known.
    """

    dataset: Dataset
    preprocess: Preprocess | None
    name: str
    shape: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.dataset)

    def batch(self, chosen: Tensor) -> tuple[Tensor, Tensor | None]:
        """The samples at `chosen` positions. Raises DataError that names the item."""
        indices = chosen.tolist()
        items = [self._item(index) for index in indices]
        labels = [label for _, label in items if label is not None]
        if labels and len(labels) != len(items):
            bare = indices[[label is None for _, label in items].index(True)]
            raise DataError(
                f"some items of {self.name} have a label and some have none, such as item {bare}"
            )
        inputs = self._stacked([value for value, _ in items], indices, "input")
        return inputs, self._stacked(labels, indices, "label") if labels else None

    def _item(self, index: int) -> tuple[NDArray[np.float32], NDArray[Any] | None]:
        where = f"item {index} of {self.name}"
        try:
            value, label = _parts(self.dataset[index], where)
            found = _input(value, self.preprocess, where)
            wanted = None if label is None else as_labels(np.asarray(label), where)
        except EdgekitError:
            raise
        except Exception as error:
            raise DataError(f"{where} failed with {brief(error)}") from error
        if self.shape is not None and not fits(found.shape, self.shape):
            raise DataError(
                f"{where}: an input of shape {found.shape}, but the network takes "
                f"{shown(self.shape)}"
            )
        if not np.isfinite(found).all():
            raise DataError(f"{where}: the input holds NaN or infinity")
        if wanted is not None and not np.isfinite(wanted).all():
            raise DataError(f"{where}: the label holds NaN or infinity")
        return found, wanted

    def _stacked(self, arrays: Sequence[NDArray[Any]], indices: Sequence[int], what: str) -> Tensor:
        for index, array in zip(indices, arrays, strict=True):
            if array.shape != arrays[0].shape:
                raise DataError(
                    f"item {index} of {self.name}: its {what} has shape {array.shape} and that of "
                    f"item {indices[0]} {arrays[0].shape}; bring them to one size first"
                )
        return torch.from_numpy(np.stack(arrays))


def as_labels(labels: NDArray[Any], where: str) -> NDArray[Any]:
    """Labels as int64, or float32 where they aren't whole. Raises DataError for anything else."""
    if labels.dtype.kind in "iub":
        return labels.astype(np.int64)
    if labels.dtype.kind == "f":
        return labels.astype(np.float32)
    raise DataError(f"{where}: a label of type {labels.dtype}; it must be a number or an array")


def _parts(item: Any, where: str) -> tuple[Any, Any]:
    """Input and label of an item."""
    if isinstance(item, Mapping):
        key = next((key for key in INPUT_KEYS if key in item), None)
        if key is None:
            raise DataError(
                f"{where} holds {', '.join(map(str, item)) or 'nothing'}; its input must be named "
                f"one of {', '.join(INPUT_KEYS)}"
            )
        return item[key], next((item[name] for name in LABEL_KEYS if name in item), None)
    if isinstance(item, tuple | list) and len(item) == 2:
        return item[0], item[1]
    if isinstance(item, tuple | list):
        raise DataError(f"{where} has {len(item)} parts; it must be a pair of input and label")
    return item, None


def _input(value: Any, preprocess: Preprocess | None, where: str) -> NDArray[np.float32]:
    if isinstance(value, Mapping) and "array" in value:
        # Sound comes as {"array": samples, "sampling_rate": hertz}.
        value = value["array"]
    is_picture = hasattr(value, "getexif")
    if not is_picture:
        array = np.asarray(value)
        if array.dtype.kind == "f":
            # What float32 can't hold becomes infinite, and is refused as such.
            with np.errstate(over="ignore"):
                return array.astype(np.float32)
        if array.dtype != np.uint8:
            raise DataError(
                f"{where}: an input of type {array.dtype}; it must be a picture, pixel bytes or "
                "floating point"
            )
    if preprocess is None:
        raise DataError(
            f"{where} is a picture; say how it becomes an input with --preprocess, such as "
            "imagenet, unit or a .toml file"
        )
    try:
        return prepare_picture(value, preprocess) if is_picture else prepare(array, preprocess)
    except (DataError, OSError, ValueError) as error:
        raise DataError(f"{where}: {error}") from error
