"""Finds training data: by name, by path, by a factory in a file, or as a data set's object.

Where nothing says which samples validate, a share of them is held out: the same ones in every run.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgekit.data import FASHION_MNIST, check_fashion_folder, read_arrays
from edgekit.errors import DataError, UsageError
from edgekit.export.source import find_function
from edgekit.export.text import brief
from edgekit.images import is_picture_folder, list_pictures, read_picture
from edgekit.preprocess import Preprocess, make_preprocess
from edgekit.train.augment import flip_and_shift
from edgekit.train.datasets import SPLIT_SEED, Samples, Split, TrainingData, fashion_mnist
from edgekit.train.items import Dataset, Items, as_labels

HELD_OUT = 0.1
"""Share of the samples that validate where the data don't say."""
_PARTS = {"train": "train", "validation": "validation", "valid": "validation", "test": "test"}
"""Names that the parts of a data set go by."""

Source = str | os.PathLike[str] | Dataset | Mapping[str, Dataset]


@dataclass(frozen=True, slots=True, eq=False)
class Subset:
    """Some samples of a split, in an order of their own. positions: (n,) int64."""

    split: Split
    positions: Tensor

    def __len__(self) -> int:
        return len(self.positions)

    def batch(self, chosen: Tensor) -> tuple[Tensor, Tensor | None]:
        """The samples at `chosen` positions of this part."""
        return self.split.batch(self.positions[chosen])


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """A split of picture files, read when they are asked for. labels: (N,) int64 or None."""

    paths: Sequence[Path]
    labels: NDArray[np.int64] | None
    preprocess: Preprocess

    def __len__(self) -> int:
        return len(self.paths)

    def batch(self, chosen: Tensor) -> tuple[Tensor, Tensor | None]:
        """The pictures at `chosen` positions. Raises DataError that names the picture."""
        rows = chosen.tolist()
        inputs = np.stack([read_picture(self.paths[row], self.preprocess) for row in rows])
        labels = None if self.labels is None else torch.from_numpy(self.labels[rows])
        return torch.from_numpy(inputs), labels


def open_data(
    source: Source = FASHION_MNIST,
    *,
    input_shape: Sequence[int],
    preprocess: str | os.PathLike[str] | None = None,
    limit: int | None = None,
) -> TrainingData:
    """The splits of training data for a network.

    source: `fashion-mnist` or a folder with its four .gz files; a folder of pictures, in
    subfolders by class or with a labels.csv; an .npz file with `inputs` and, if known, `labels`;
    an .npy file of inputs; `file.py:function` or `package.module:function`, called without
    arguments for a data set; or such a data set itself: items by position, as Hugging Face's and
    torch's have them, or a mapping of them named train, validation and test.

    input_shape: of the network's input with its batch, 0 where a size is open. preprocess: how
    pictures become inputs, as edgekit.preprocess.make_preprocess takes it; arrays are inputs
    already. limit: of the training samples that are used.

    Raises DataError and UnknownModelError with one line about what is wrong.
    """
    settings = None if preprocess is None else make_preprocess(preprocess, input_shape)
    shape = tuple(input_shape[1:]) if input_shape else None
    if not isinstance(source, str | os.PathLike):
        return _from_object(source, settings, "the data set", shape, limit)
    text = os.fspath(source)
    if text == FASHION_MNIST:
        return fashion_mnist(limit=limit)
    if ":" in text and not Path(text).exists():
        return _from_object(_made(text), settings, text, shape, limit)
    path = Path(text)
    if path.is_dir() and is_picture_folder(path):
        if settings is None:
            raise DataError(
                f"{path} holds pictures; say how they become inputs with --preprocess, such as "
                "imagenet, unit or a .toml file"
            )
        pictures = Pictures(*list_pictures(path), settings)
        # Behind the border of a shifted picture lies the mean colour.
        augment = partial(flip_and_shift, fill=0.0) if settings.layout == "nchw" else None
        held = _held_out(pictures, path.name, text, limit)
        return TrainingData(held.name, held.training, held.validation, None, augment, text)
    if path.is_dir():
        check_fashion_folder(path)
        return fashion_mnist(path, limit)
    if path.suffix in {".npz", ".npy"}:
        return _held_out(_arrays(path), path.stem, text, limit)
    raise DataError(
        f"can't use {text!r} as training data; give {FASHION_MNIST!r}, a folder of pictures or "
        "with its idx .gz files, an .npz or .npy file, or file.py:function for a data set"
    )


def _made(source: str) -> Any:
    function = find_function(source)
    try:
        # What a factory prints isn't part of a report.
        with contextlib.redirect_stdout(sys.stderr):
            return function()
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"{source} failed with {brief(error)}; it takes no arguments and returns a data set"
        ) from error


def _from_object(
    made: Any,
    settings: Preprocess | None,
    name: str,
    shape: tuple[int, ...] | None,
    limit: int | None,
) -> TrainingData:
    if isinstance(made, Mapping):
        parts: dict[str, Items] = {}
        for key, part in made.items():
            if key not in _PARTS:
                continue
            if not isinstance(part, Dataset) or isinstance(part, Mapping):
                raise DataError(
                    f"{name}: the part {key} is a {type(part).__name__}; a data set has a length "
                    "and items by position"
                )
            if _PARTS[key] in parts:
                raise DataError(f"{name} has two parts for {_PARTS[key]}; leave one out")
            if _length(part, f"{name} ({key})") == 0:
                raise DataError(f"{name}: the part {key} has no samples; leave it out, or fill it")
            parts[_PARTS[key]] = Items(part, settings, f"{name} ({key})", shape)
        if "train" not in parts:
            listed = ", ".join(map(str, made)) or "none"
            raise DataError(f"{name} has no part named train; it has {listed}")
        if "validation" not in parts:
            held = _held_out(parts["train"], name, name, limit)
            return TrainingData(name, held.training, held.validation, parts.get("test"), None, name)
        training = Subset(parts["train"], torch.arange(len(parts["train"]))[:limit])
        return TrainingData(name, training, parts["validation"], parts.get("test"), None, name)
    if not isinstance(made, Dataset):
        raise DataError(
            f"{name} is a {type(made).__name__}; a data set has a length and items by position"
        )
    _length(made, name)
    return _held_out(Items(made, settings, name, shape), name, name, limit)


def _length(made: Dataset, name: str) -> int:
    try:
        return len(made)
    except Exception as error:
        raise DataError(f"{name}: its length failed with {brief(error)}") from error


def _held_out(split: Split, name: str, source: str, limit: int | None) -> TrainingData:
    """A share of the samples for validation, the rest for training, both in a fixed order."""
    count = len(split)
    if count == 0:
        raise DataError(f"{name} has no samples")
    held = round(count * HELD_OUT)
    if held < 1 or held >= count:
        samples = "1 sample" if count == 1 else f"{count} samples"
        raise DataError(f"{name} has {samples}, too few to hold a tenth out for validation")
    order = torch.from_numpy(np.random.default_rng(SPLIT_SEED).permutation(count))
    return TrainingData(
        name=name,
        training=Subset(split, order[held:][:limit]),
        validation=Subset(split, order[:held]),
        test=None,
        augment=None,
        source=source,
    )


def _arrays(path: Path) -> Samples:
    inputs, labels = read_arrays(path)
    if labels is None:
        return Samples(torch.from_numpy(inputs), None)
    if labels.ndim < 1 or len(labels) != len(inputs):
        raise DataError(
            f"{path}: 'labels' is {labels.dtype} of shape {labels.shape}; "
            f"it must have one entry for each of {len(inputs)} inputs"
        )
    return Samples(torch.from_numpy(inputs), torch.from_numpy(as_labels(labels, str(path))))
