"""Reading labelled images: the good files, and every way a file can lie."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from edgekit import data
from edgekit.errors import DataError


def idx(magic: int, *shape: int, body: bytes) -> bytes:
    return gzip.compress(struct.pack(f">{1 + len(shape)}I", magic, *shape) + body)


def images(count: int) -> bytes:
    pixels = bytes(i % 256 for i in range(count * 784))
    return idx(0x803, count, 28, 28, body=pixels)


def labels(count: int) -> bytes:
    return idx(0x801, count, body=bytes(i % 10 for i in range(count)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for prefix, count in (("train", 7), ("t10k", 5)):
        (tmp_path / f"{prefix}-images-idx3-ubyte.gz").write_bytes(images(count))
        (tmp_path / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(labels(count))
    return tmp_path


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No data set in any of the usual places; the cache is a folder of this test."""
    monkeypatch.delenv("EDGEKIT_FASHION_MNIST", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(data, "_DEBIAN_FOLDER", tmp_path / "nowhere")
    return tmp_path


def test_both_splits_of_a_folder_are_read(folder: Path) -> None:
    train = data.read_fashion_mnist("train", folder=folder)
    test = data.read_fashion_mnist("test", folder=folder)

    assert (len(train.images), len(test.images)) == (7, 5)
    assert train.images[0, 0].tolist() == list(range(28))
    assert test.labels.tolist() == [0, 1, 2, 3, 4]
    assert test.source == str(folder)


def test_an_empty_name_is_no_folder() -> None:
    with pytest.raises(DataError, match="can't use '' as data"):
        data.load_labelled("")


def test_normalised_inputs_follow_the_contract() -> None:
    grey = np.array([[[0, 255]]], dtype=np.uint8)

    inputs = data.normalise(grey)

    assert inputs.shape == (1, 1, 1, 2)
    assert inputs.dtype == np.float32
    np.testing.assert_allclose(inputs[0, 0, 0], [-0.2860 / 0.3530, 0.7140 / 0.3530], rtol=1e-6)


def test_the_packaged_images_serve_where_nothing_else_is(bare_machine: Path) -> None:
    labelled = data.load_labelled("fashion-mnist")

    assert labelled.inputs.shape == (1000, 1, 28, 28)
    assert labelled.labels is not None
    assert np.bincount(labelled.labels).tolist() == [
        107, 105, 111, 93, 115, 87, 97, 95, 95, 95,
    ]  # fmt: skip
    assert labelled.split == "test[:1000]"
    assert "ship with edgekit" in labelled.source


def test_training_images_are_never_made_up(bare_machine: Path) -> None:
    with pytest.raises(DataError, match="dataset-fashion-mnist"):
        data.read_fashion_mnist("train")


def test_the_cache_comes_before_the_packaged_images(bare_machine: Path, folder: Path) -> None:
    cache = bare_machine / "edgekit" / "fashion-mnist"
    cache.mkdir(parents=True)
    for file in folder.glob("*.gz"):
        (cache / file.name).write_bytes(file.read_bytes())

    assert data.load_labelled().source == str(cache)


def test_the_variable_comes_before_the_cache(
    bare_machine: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEKIT_FASHION_MNIST", str(folder))

    assert data.load_labelled().source == str(folder)


def test_a_named_folder_that_is_wrong_is_not_passed_over(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEKIT_FASHION_MNIST", str(bare_machine / "typo"))

    with pytest.raises(DataError, match="typo"):
        data.load_labelled()


def test_a_named_folder_comes_before_all_else(
    bare_machine: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEKIT_FASHION_MNIST", str(bare_machine / "typo"))

    assert len(data.load_labelled(folder).inputs) == 5


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (labels(50), "magic number 0x0801 instead of 0x0803"),
        (images(5)[:-40], "damaged or cut gzip file"),
        (b"no gzip at all", "damaged or cut gzip file"),
        (gzip.compress(b"\x00\x00"), "ends inside its header"),
        (idx(0x803, 5, 28, 28, body=b"x" * 784), "claims 3920 bytes and only 784 follow"),
        (idx(0x803, 5, 28, 28, body=b"x" * 3921), "claims 3920 bytes and more follow"),
        (idx(0x803, 2**32 - 1, 2**32 - 1, 28, body=b""), "outside 1 to"),
        (idx(0x803, 0, 28, 28, body=b""), "outside 1 to"),
        (idx(0x803, 5, 14, 56, body=b"x" * 3920), "not 28x28 images"),
        (images(4), "4 test images but 5 labels"),
    ],
)
def test_a_bad_image_file_is_told_in_one_line(folder: Path, content: bytes, complaint: str) -> None:
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(content)

    with pytest.raises(DataError, match=complaint) as caught:
        data.read_fashion_mnist("test", folder=folder)

    assert "\n" not in str(caught.value)


def test_a_flipped_byte_in_the_stream_is_noticed(folder: Path) -> None:
    path = folder / "t10k-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)

    with pytest.raises(DataError):
        data.read_fashion_mnist("test", folder=folder)


def test_a_label_beyond_the_ten_classes_is_rejected(folder: Path) -> None:
    content = idx(0x801, 5, body=bytes([0, 1, 2, 3, 10]))
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(content)

    with pytest.raises(DataError, match="not Fashion-MNIST"):
        data.read_fashion_mnist("test", folder=folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()

    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.gz doesn't exist"):
        data.read_fashion_mnist("test", folder=folder)


def test_an_npz_gives_inputs_and_labels(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, inputs=np.ones((3, 2, 4, 4)), labels=np.array([0, 1, 2], dtype=np.int32))

    labelled = data.load_labelled(path)

    assert labelled.inputs.dtype == np.float32
    assert labelled.labels is not None
    assert labelled.labels.dtype == np.int64
    assert (labelled.name, labelled.split) == ("mine", "all")


def test_an_npz_may_leave_labels_out(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, inputs=np.ones((3, 4), dtype=np.float32))

    assert data.load_labelled(path).labels is None


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"x": np.ones(3)}, "holds x but no array named 'inputs'"),
        ({"inputs": np.ones((3, 2), dtype=np.int32)}, "must be floating point"),
        ({"inputs": np.ones((0, 2))}, "holds no samples"),
        ({"inputs": np.full((3, 2), np.nan)}, "NaN or infinity"),
        ({"inputs": np.full((3, 2), 1e200)}, "NaN or infinity"),
        ({"inputs": np.ones((3, 2)), "labels": np.array([1, 2])}, "must be 3 integers"),
        ({"inputs": np.ones((3, 2)), "labels": np.ones(3)}, "must be 3 integers"),
        ({"inputs": np.array([{}, {}], dtype=object)}, "of plain arrays"),
    ],
)
def test_a_bad_npz_is_told_in_one_line(
    tmp_path: Path, arrays: dict[str, np.ndarray], complaint: str
) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]  # the stub takes the names for flags

    with pytest.raises(DataError, match=complaint) as caught:
        data.load_labelled(path)

    assert "\n" not in str(caught.value)


def test_a_cut_npz_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, inputs=np.ones((30, 2)))
    path.write_bytes(path.read_bytes()[:200])

    with pytest.raises(DataError, match="of plain arrays"):
        data.load_labelled(path)


def test_any_other_spec_is_explained() -> None:
    with pytest.raises(DataError, match="give 'fashion-mnist', a folder"):
        data.load_labelled("cifar")
