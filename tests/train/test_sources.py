"""Training data from files, folders, factories and data sets of others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from edgekit.errors import DataError, UnknownModelError, UsageError
from edgekit.train.datasets import Split
from edgekit.train.sources import open_data

SHAPE = (0, 1, 6, 5)


def everything(split: Split) -> tuple[NDArray[Any], NDArray[Any]]:
    inputs, labels = split.batch(torch.arange(len(split)))
    assert labels is not None
    return inputs.numpy(), labels.numpy()


def write_pictures(folder: Path, each: int = 10) -> Path:
    """Two classes of grey pictures; pixel values name the picture."""
    for number, name in enumerate(("bird", "cat")):
        (folder / name).mkdir(parents=True)
        for index in range(each):
            pixels = np.full((6, 5), 100 * number + index, np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")
    return folder


def test_pictures_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    data = open_data(write_pictures(tmp_path / "p"), input_shape=SHAPE, preprocess="bytes")

    inputs, labels = everything(data.training)
    held, held_labels = everything(data.validation)

    assert inputs.shape == (18, 1, 6, 5)
    assert held.shape == (2, 1, 6, 5)
    np.testing.assert_array_equal(labels, inputs[:, 0, 0, 0] >= 100)
    values = np.concatenate([inputs, held])[:, 0, 0, 0].round().tolist()
    assert sorted(values) == [*range(10), *range(100, 110)]
    assert set(held_labels) <= {0, 1}
    assert data.augment is not None
    moved = data.augment(torch.from_numpy(inputs), torch.Generator().manual_seed(1))
    assert moved.shape == inputs.shape
    assert not torch.equal(moved, torch.from_numpy(inputs))


def test_a_picture_that_broke_later_is_named(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "p")
    data = open_data(folder, input_shape=SHAPE, preprocess="unit")
    for path in folder.glob("*/*.png"):
        path.write_bytes(b"no picture")

    with pytest.raises(DataError, match=r"can't read the picture .*\.png"):
        everything(data.training)


def test_the_same_tenth_is_held_out_in_every_run(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, inputs=np.arange(40.0).reshape(40, 1), labels=np.arange(40))

    first, second = (open_data(path, input_shape=(0, 1)) for _ in range(2))

    for one, other in zip(everything(first.training), everything(second.training), strict=True):
        np.testing.assert_array_equal(one, other)
    kept, held = everything(first.training)[1], everything(first.validation)[1]
    assert (len(kept), len(held)) == (36, 4)
    assert sorted([*kept, *held]) == list(range(40))
    assert list(kept) != sorted(kept)
    assert first.test is None


def test_labels_may_be_maps_or_measurements(tmp_path: Path) -> None:
    maps, measured = tmp_path / "maps.npz", tmp_path / "measured.npz"
    inputs = np.zeros((20, 1, 4, 4), np.float32)
    np.savez(maps, inputs=inputs, labels=np.ones((20, 4, 4), np.uint8))
    np.savez(measured, inputs=inputs, labels=np.linspace(0, 1, 20))

    of_maps, of_measured = (
        everything(open_data(path, input_shape=(0, 1, 4, 4)).training)[1]
        for path in (maps, measured)
    )

    assert of_maps.shape == (18, 4, 4)
    assert of_maps.dtype == np.int64
    assert of_measured.shape == (18,)
    assert of_measured.dtype == np.float32


def test_inputs_alone_are_data_without_labels(tmp_path: Path) -> None:
    path = tmp_path / "d.npy"
    np.save(path, np.zeros((20, 3), np.float32))

    data = open_data(path, input_shape=(0, 3), limit=7)

    assert data.training.batch(torch.arange(7))[1] is None
    assert (len(data.training), len(data.validation)) == (7, 2)


class Rows:
    """Stands for a data set of others: items by position."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


@pytest.mark.parametrize("kind", ["picture", "bytes", "pair", "torch", "sound"])
def test_items_of_every_kind_become_inputs(kind: str) -> None:
    def item(number: int) -> Any:
        pixels = np.full((6, 5), number, np.uint8)
        floats = np.full((1, 6, 5), number, np.float32)
        return {
            "picture": {"img": Image.fromarray(pixels), "fine_label": number},
            "bytes": {"image": pixels, "label": np.int32(number)},
            "pair": (floats.astype(np.float64), number),
            "torch": {"x": torch.from_numpy(floats), "y": torch.tensor(number)},
            "sound": {"audio": {"array": floats, "sampling_rate": 8000}, "label": number},
        }[kind]

    rows = Rows([item(number) for number in range(20)])
    data = open_data(rows, input_shape=SHAPE, preprocess="bytes")

    inputs, labels = everything(data.training)
    assert inputs.dtype == np.float32
    assert labels.dtype == np.int64
    assert inputs.shape == (18, 1, 6, 5)
    np.testing.assert_allclose(inputs[:, 0, 3, 2], labels, rtol=1e-5)


def test_parts_that_a_data_set_names_are_used_as_they_are() -> None:
    rows = {
        name: Rows([(np.full(3, number, np.float32), number) for number in numbers])
        for name, numbers in (("train", range(9)), ("valid", range(9, 12)), ("test", (12,)))
    }

    data = open_data(rows, input_shape=(0, 3), limit=4)
    only = open_data({"train": rows["train"], "test": rows["test"]}, input_shape=(0, 3))

    assert everything(data.training)[1].tolist() == [0, 1, 2, 3]
    assert everything(data.validation)[1].tolist() == [9, 10, 11]
    assert data.test is not None
    assert everything(data.test)[1].tolist() == [12]
    assert (len(only.training), len(only.validation)) == (8, 1)
    assert only.test is not None


def test_a_function_in_a_file_gives_a_data_set(tmp_path: Path) -> None:
    path = tmp_path / "own_rows.py"
    path.write_text(
        "import numpy as np\n"
        "def rows(): return [(np.zeros(3, np.float32), i % 2) for i in range(30)]\n"
        "def broken(): raise ValueError('no disc')\n"
        "def number(): return 7\n"
    )

    data = open_data(f"{path}:rows", input_shape=(0, 3))

    assert data.source == f"{path}:rows"
    assert everything(data.training)[0].shape == (27, 3)
    with pytest.raises(UsageError, match="broken failed with ValueError: no disc"):
        open_data(f"{path}:broken", input_shape=(0, 3))
    with pytest.raises(DataError, match="is a int; a data set has a length"):
        open_data(f"{path}:number", input_shape=(0, 3))
    with pytest.raises(UnknownModelError, match="has no function 'other'"):
        open_data(f"{path}:other", input_shape=(0, 3))


_ZEROS = np.zeros((3, 2), np.float32)


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([{"height": 1}], r"item \d+ of the data set holds height; its input must be named"),
        ([(1.0, 2, 3)], "has 3 parts"),
        ([("word", 1)], "an input of type <U4"),
        ([(np.zeros((6, 5), np.uint8), 1)], "is a picture; say how"),
        ([(_ZEROS, "cat")], "a label of type <U3"),
        ([(_ZEROS, 1), (_ZEROS, None)], "some items of the data set have a label and some"),
        ([(_ZEROS, 1), (_ZEROS[:2], 1)], r"item \d+ of .*: an input of shape \(2, 2\), but the"),
        ([(_ZEROS, [1, 2]), (_ZEROS, [1])], r"item \d+ of .*: its label has shape \(.,\) and that"),
        ([(_ZEROS, [1, [2]])], r"item \d+ of the data set failed with ValueError: "),
        ([(_ZEROS, 1), (_ZEROS * np.nan, 1)], r"item \d+ of .*: the input holds NaN or infinity"),
        (
            [(np.full((3, 2), 1e200), 1)],
            r"item \d+ of the data set: the input holds NaN or infinity",
        ),
        ([(_ZEROS, np.nan)], r"item \d+ of the data set: the label holds NaN or infinity"),
    ],
)
def test_items_that_cannot_be_used_are_named(items: list[Any], words: str) -> None:
    data = open_data(Rows(items * 10), input_shape=(0, 3, 2))

    with pytest.raises(DataError, match=words):
        everything(data.training)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"inputs": np.zeros((3, 2))}, "has 3 samples, too few to hold a tenth out"),
        ({"inputs": np.zeros((1, 2))}, "has 1 sample, too few to hold a tenth out"),
        ({"inputs": np.zeros((0, 2))}, "'inputs' holds no samples"),
        ({}, "holds no arrays"),
        ({"inputs": np.zeros((30, 2)), "labels": np.zeros(29)}, "one entry for each of 30 inputs"),
        ({"inputs": np.zeros((30, 2)), "labels": np.array(["a"] * 30)}, "a label of type <U1"),
    ],
)
def test_arrays_that_cannot_be_used_are_named(
    arrays: Mapping[str, NDArray[Any]], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, **dict(arrays))  # type: ignore[arg-type]  # arrays by name, as numpy wants them

    with pytest.raises(DataError, match=words):
        open_data(path, input_shape=(0, 2))


def test_items_of_open_size_are_alike_in_a_batch() -> None:
    rows = Rows([(np.zeros((3, size), np.float32), 1) for size in (4, 5)] * 10)
    data = open_data(rows, input_shape=(0, 3, 0))

    with pytest.raises(
        DataError, match=r"item \d+ of .*: its input has shape \(3, .\) and that of"
    ):
        everything(data.training)


class Faulty(Rows):
    """A data set with an item that can't be read."""

    def __getitem__(self, index: int) -> Any:
        if index == 11:
            raise OSError("bad sector")
        return super().__getitem__(index)


class Endless(Rows):
    """A data set that doesn't know its length."""

    def __len__(self) -> int:
        raise TypeError("a stream has no length")


def test_a_data_set_that_fails_is_named_with_its_item() -> None:
    rows = [(_ZEROS, 1)] * 20
    parts = {"train": Faulty(rows), "validation": Rows(rows)}

    with pytest.raises(DataError, match=r"item 11 of .* failed with OSError: bad sector"):
        everything(open_data(parts, input_shape=(0, 3, 2)).training)
    with pytest.raises(DataError, match="its length failed with TypeError: a stream has no length"):
        open_data(Endless(rows), input_shape=(0, 3, 2))


@pytest.mark.parametrize("empty", ["train", "validation", "test"])
def test_an_empty_part_is_named(empty: str) -> None:
    parts: dict[str, Any] = {
        name: Rows([(_ZEROS, 1)] * 20) for name in ("train", "validation", "test")
    }

    with pytest.raises(DataError, match=f"the part {empty} has no samples"):
        open_data(parts | {empty: Rows([])}, input_shape=(0, 3, 2))
    with pytest.raises(DataError, match=f"the part {empty} is a int; a data set has a length"):
        open_data(parts | {empty: 3}, input_shape=(0, 3, 2))
    with pytest.raises(DataError, match="two parts for validation"):
        open_data(parts | {"valid": parts["test"]}, input_shape=(0, 3, 2))
    with pytest.raises(DataError, match="the data set has no samples"):
        open_data(Rows([]), input_shape=(0, 3, 2))


def test_what_is_no_data_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"can't use 'nothing.txt' as training data; give"):
        open_data("nothing.txt", input_shape=SHAPE)
    with pytest.raises(DataError, match="holds pictures; say how"):
        open_data(write_pictures(tmp_path / "p"), input_shape=SHAPE)
    with pytest.raises(DataError, match="has no part named train; it has rest"):
        open_data({"rest": Rows([])}, input_shape=SHAPE)


def test_fashion_mnist_goes_by_its_name_or_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEKIT_FASHION_MNIST", str(folder))

    by_name = open_data(input_shape=(0, 1, 28, 28), limit=64)
    by_folder = open_data(folder, input_shape=(0, 1, 28, 28))

    assert (len(by_name.training), len(by_name.validation)) == (64, 40)
    assert len(by_folder.training) == 192
    assert by_folder.test is not None
    assert len(by_folder.test) == 50
