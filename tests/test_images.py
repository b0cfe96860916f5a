"""Folders of pictures: sizes, labels and every picture that can't be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekit.data import load_labelled
from edgekit.errors import DataError
from edgekit.images import read_picture, read_pictures
from edgekit.preprocess import Preprocess, make_preprocess

SETTINGS = make_preprocess("bytes", (1, 3, 4, 4))


def _save(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (8, 8)) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def test_a_centre_is_cut_out_of_the_shorter_side(tmp_path: Path) -> None:
    pixels = np.zeros((4, 12, 3), np.uint8)
    pixels[:, 4:8] = 200
    Image.fromarray(pixels).save(tmp_path / "wide.png")

    found = read_picture(tmp_path / "wide.png", SETTINGS)

    np.testing.assert_allclose(found, 200, rtol=1e-5)


def test_without_resize_a_picture_is_stretched(tmp_path: Path) -> None:
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, :4] = 100
    Image.fromarray(pixels).save(tmp_path / "half.png")
    stretched = Preprocess(4, 4, None, "rgb", (0.0,) * 3, (1 / 255,) * 3)

    found = read_picture(tmp_path / "half.png", stretched)

    np.testing.assert_allclose(found[0, 0, [0, 3]], [100, 0], atol=1e-4)


def test_a_picture_is_turned_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 4))
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by half a circle
    image.save(tmp_path / "turned.png", exif=exif)

    found = read_picture(tmp_path / "turned.png", SETTINGS)

    assert found[0, 3, 3] == pytest.approx(255, rel=1e-5)
    assert found[0, 0, 0] == 0


def test_subfolders_are_classes_in_the_order_of_their_names(tmp_path: Path) -> None:
    _save(tmp_path / "cat" / "1.png", (1, 1, 1))
    _save(tmp_path / "ant" / "2.jpg", (2, 2, 2))
    _save(tmp_path / "cat" / "3.PNG", (3, 3, 3))

    inputs, labels = read_pictures(tmp_path, SETTINGS)

    assert labels is not None
    assert labels.tolist() == [0, 1, 1]
    assert inputs.shape == (3, 3, 4, 4)
    np.testing.assert_allclose(inputs[:, 0, 0, 0], [2, 1, 3], rtol=1e-5)


def test_subfolders_named_by_numbers_are_classes_in_the_order_of_the_numbers(
    tmp_path: Path,
) -> None:
    for name in ("0", "1", "10", "2"):
        _save(tmp_path / name / "a.png", (int(name), 0, 0))

    inputs, labels = read_pictures(tmp_path, SETTINGS)

    assert labels is not None
    reds = np.rint(inputs[:, 0, 0, 0]).tolist()
    assert dict(zip(reds, labels.tolist(), strict=True)) == {0: 0, 1: 1, 2: 2, 10: 3}


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    _save(tmp_path / "a.png", (1, 1, 1))

    assert read_pictures(tmp_path, SETTINGS)[1] is None


def test_labels_come_from_the_csv_file(tmp_path: Path) -> None:
    _save(tmp_path / "a.png", (1, 1, 1))
    _save(tmp_path / "sub" / "b.png", (1, 1, 1))
    (tmp_path / "labels.csv").write_text("file,label\nsub/b.png,7\na.png,3\n")

    assert read_pictures(tmp_path, SETTINGS)[1].tolist() == [3, 7]  # type: ignore[union-attr]  # it has labels


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.png,three\n", "line 1: expected file,class number"),
        ("file,label\na.png\n", "line 2: expected file,class number"),
        ("b.png,1\n", "has no line for a.png"),
        ("\xff", "has no line|can't read"),
    ],
)
def test_a_csv_file_that_cannot_be_used_is_named(tmp_path: Path, text: str, message: str) -> None:
    _save(tmp_path / "a.png", (1, 1, 1))
    (tmp_path / "labels.csv").write_text(text, encoding="latin-1")

    with pytest.raises(DataError, match=message):
        read_pictures(tmp_path, SETTINGS)


def test_a_line_for_no_picture_is_told(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text("a.png,3\nb.png,1\n")

    with pytest.raises(DataError, match=r"labels\.csv names b\.png, but there is no such picture"):
        read_pictures(tmp_path, SETTINGS)


def test_fewer_are_evenly_spread_with_their_labels(tmp_path: Path) -> None:
    for value in range(10):
        _save(tmp_path / f"{value}" / "x.png", (value, value, value))

    inputs, labels = read_pictures(tmp_path, SETTINGS, most=5)

    assert labels is not None
    assert labels.tolist() == [0, 2, 4, 6, 8]
    np.testing.assert_allclose(inputs[:, 0, 0, 0], labels, rtol=1e-5)


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    _save(tmp_path / "a.png", (1, 1, 1))
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[: len(data) // 2])

    with pytest.raises(DataError, match=r"can't read the picture .*a\.png"):
        read_pictures(tmp_path, SETTINGS)


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no pictures"):
        read_pictures(tmp_path, SETTINGS)


def test_data_from_a_folder_of_pictures_ask_for_preprocessing(tmp_path: Path) -> None:
    _save(tmp_path / "a.png", (1, 1, 1))

    with pytest.raises(DataError, match="--preprocess"):
        load_labelled(tmp_path)


def test_data_from_a_folder_of_pictures(tmp_path: Path) -> None:
    _save(tmp_path / "zero" / "a.png", (9, 9, 9))

    found = load_labelled(tmp_path, preprocess=SETTINGS)

    assert found.inputs.shape == (1, 3, 4, 4)
    assert found.labels is not None
    assert found.name == tmp_path.name


def test_a_folder_whose_pictures_are_out_of_reach_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "deep" / "train").mkdir(parents=True)
    _save(tmp_path / "deep" / "train" / "cat" / "a.png", (1, 1, 1))

    for folder in ("empty", "deep"):
        with pytest.raises(DataError, match=f"no pictures lie in .*{folder} or one level below"):
            load_labelled(tmp_path / folder, preprocess=SETTINGS)
