"""Accuracy is counted on all inputs that fit, or the fault is named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from edgekit.bench.evaluate import evaluate, read_labelled
from edgekit.bench.findings import Accuracy
from edgekit.data import Labelled
from edgekit.errors import DataError, UsageError
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
        read_labelled(str(path), None, (1, 3))
