"""Arrays of files, and the one that an input takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekit.arrays import array_for, as_type, read_inputs
from edgekit.errors import DataError


def test_inputs_are_read_from_an_archive_a_file_and_a_folder(tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", x=np.ones(2), y=np.zeros(3))
    folder = tmp_path / "folder"
    folder.mkdir()
    np.save(folder / "x.npy", np.ones(2))
    np.save(folder / "y.npy", np.zeros(3))

    assert {name: array.size for name, array in read_inputs(tmp_path / "two.npz").items()} == {
        "x": 2,
        "y": 3,
    }
    assert sorted(read_inputs(folder)) == ["x", "y"]
    assert sorted(read_inputs(folder / "x.npy")) == ["x"]


def test_files_that_hold_no_plain_arrays_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no archive")
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "empty").mkdir()

    with pytest.raises(DataError, match=r"text\.npz isn't an \.npz or \.npy file"):
        read_inputs(tmp_path / "text.npz")
    with pytest.raises(DataError, match=r"objects\.npy isn't"):
        read_inputs(tmp_path / "objects.npy")
    with pytest.raises(DataError, match="No such file"):
        read_inputs(tmp_path / "none.npz")
    with pytest.raises(DataError, match=r"holds no \.npy files"):
        read_inputs(tmp_path / "empty")


def test_an_array_that_is_alone_needs_no_name() -> None:
    one, two = np.zeros(1), np.ones(2)

    assert array_for({"any": one}, "x", alone=True, model="m") is one
    assert array_for({"a_b": one, "c": two}, "a/b", alone=False, model="m") is one
    assert array_for({"inputs": one, "other": two}, "x", alone=True, model="m") is one
    with pytest.raises(DataError, match="m takes an input x, the data hold any"):
        array_for({"any": one}, "x", alone=False, model="m")


def test_numbers_keep_their_kind_and_a_scalar_its_shape() -> None:
    assert as_type(np.array(3), np.dtype(np.float32), "x").shape == ()
    with pytest.raises(DataError, match="x takes int64, the data are float32"):
        as_type(np.zeros(2, np.float32), np.dtype(np.int64), "x")
