"""Accuracy is counted on all inputs that fit, or the fault is named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekit.bench.evaluate import choose_preprocess, evaluate, read_labelled
from edgekit.bench.findings import Accuracy
from edgekit.bench.measure import bench
from edgekit.compress.pipeline import compress
from edgekit.data import Labelled
from edgekit.errors import DataError, UsageError
from edgekit.preprocess import make_preprocess
from tests.bench.test_feed import identity

FLOAT = 1


def labelled(count: int, right: int) -> Labelled:
    """Scores as inputs: the identity network is right for the first `right` of them."""
    labels = np.arange(count) % 3
    scores = np.eye(3, dtype=np.float32)[labels]
    scores[right:] = np.roll(scores[right:], 1, axis=1)
    return Labelled(scores, labels, "scores", "all", "scores.npz")


@pytest.mark.parametrize(("shape", "count"), [(["N", 3], 7), ([1, 3], 7), ([2, 3], 6), ([4, 3], 4)])
def test_the_share_of_right_answers_among_whole_batches(
    shape: Sequence[int | str], count: int
) -> None:
    found = evaluate(identity(x=(FLOAT, shape)), labelled(7, 4), "m.onnx")

    assert found == Accuracy(4 / count, count, "scores", "all")


def test_more_inputs_than_one_batch_are_all_counted() -> None:
    assert evaluate(identity(x=(FLOAT, ["N", 3])), labelled(1001, 500), "m").count == 1001


def test_a_network_or_data_that_do_not_fit_are_named() -> None:
    two = identity(x=(FLOAT, ["N", 3]), y=(FLOAT, ["N", 3]))

    with pytest.raises(UsageError, match=r"m\.onnx has 2"):
        evaluate(two, labelled(4, 4), "m.onnx")
    with pytest.raises(DataError, match=r"m\.onnx refuses the inputs of scores\.npz"):
        evaluate(identity(x=(FLOAT, ["N", 5])), labelled(4, 4), "m.onnx")
    with pytest.raises(DataError, match="takes batches of 8"):
        evaluate(identity(x=(FLOAT, [8, 3])), labelled(4, 4), "m.onnx")


def test_data_without_labels_have_no_accuracy(tmp_path: Path) -> None:
    path = tmp_path / "inputs.npz"
    np.savez(path, inputs=np.zeros((4, 3), np.float32))

    with pytest.raises(DataError, match="no labels"):
        read_labelled(str(path), None)


@pytest.fixture
def pictures(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Two classes of grey pictures."""
    for name in ("a", "b"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(3):
            pixels = rng.integers(0, 256, (12, 12), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{number}.png")
    return tmp_path / "pictures"


def test_pictures_become_inputs_as_the_packed_file_says(
    pictures: Path, tiny_onnx_path: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "tiny.ekp"
    compress(tiny_onnx_path, packed, calibration=pictures, preprocess="symmetric")

    quick: dict[str, Any] = {"runs": 1, "warmup": 0, "cold": False, "evaluate": pictures}
    by_file = bench([tiny_onnx_path, packed], **quick)
    by_name = bench([tiny_onnx_path, packed], preprocess="symmetric", **quick)

    assert [case.accuracy for case in by_file.cases] == [case.accuracy for case in by_name.cases]
    assert by_file.cases[1].accuracy is not None
    shape = (1, 1, 12, 12)
    found = choose_preprocess([tiny_onnx_path, packed], None, shape)
    assert found == make_preprocess("symmetric", shape)
    assert choose_preprocess([packed], "unit", shape) == make_preprocess("unit", shape)
    with pytest.raises(DataError, match="--preprocess"):
        bench(tiny_onnx_path, **quick)


def test_files_that_take_pictures_in_different_ways_are_named(
    pictures: Path, tiny_onnx_path: Path, tmp_path: Path
) -> None:
    paths = [tmp_path / "one.ekp", tmp_path / "two.ekp"]
    for path, preset in zip(paths, ("unit", "symmetric"), strict=True):
        compress(tiny_onnx_path, path, calibration=pictures, preprocess=preset)

    with pytest.raises(UsageError, match=r"one\.ekp and two\.ekp take pictures in different ways"):
        choose_preprocess(paths, None, (1, 1, 12, 12))
