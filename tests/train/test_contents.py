"""What a run remembers of its data."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekit.errors import UsageError
from edgekit.train import contents
from edgekit.train.finetune import finetune
from edgekit.train.recipe import Share
from tests.train.nets import samples, tiny_data
from tests.train.runs import recipe


def write_pictures(folder: Path) -> Path:
    for name in ("dark", "light"):
        (folder / name).mkdir(parents=True)
        for index in range(6):
            Image.fromarray(np.full((6, 6), index, np.uint8)).save(folder / name / f"{index}.bmp")
    return folder


@pytest.mark.parametrize("change", ["pixels", "one less", "another name"])
def test_a_run_does_not_go_on_with_other_pictures(model: Path, tmp_path: Path, change: str) -> None:
    pictures, chosen = write_pictures(tmp_path / "pictures"), recipe(Share(epochs=0))
    finetune(str(model), tmp_path / "out", recipe=chosen, data=pictures, preprocess="unit")
    (pictures / "notes.txt").write_text("of no account")
    finetune(
        str(model), tmp_path / "out", recipe=chosen, data=pictures, preprocess="unit", resume=True
    )
    path = pictures / "dark" / "3.bmp"
    if change == "pixels":
        Image.fromarray(np.full((6, 6), 99, np.uint8)).save(path)
    elif change == "one less":
        path.unlink()
    else:
        path.rename(path.with_name("new.bmp"))

    with pytest.raises(UsageError, match=r"the data have changed since the run in .* was begun"):
        finetune(
            str(model),
            tmp_path / "out",
            recipe=chosen,
            data=pictures,
            preprocess="unit",
            resume=True,
        )


def test_of_a_large_folder_names_and_sizes_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_pictures(tmp_path / "pictures")
    path = folder / "dark" / "3.bmp"

    def changed() -> bool:
        before, data = contents.folder_digest(folder), path.read_bytes()
        path.write_bytes(data[:-1] + b"\7")
        after = contents.folder_digest(folder)
        path.write_bytes(data)
        return before != after

    assert changed()
    monkeypatch.setattr(contents, "READ_BYTES", 100)
    assert not changed()
    before = contents.folder_digest(folder)
    path.write_bytes(b"longer" * 1000)
    assert contents.folder_digest(folder) != before


def test_a_run_does_not_go_on_with_more_samples(model: Path, tmp_path: Path) -> None:
    chosen, data = recipe(Share(epochs=0)), tiny_data()
    finetune(str(model), tmp_path / "out", recipe=chosen, data=data)
    more = dataclasses.replace(data, training=samples(257, 1))

    with pytest.raises(UsageError, match="the data have changed"):
        finetune(str(model), tmp_path / "out", recipe=chosen, data=more, resume=True)
