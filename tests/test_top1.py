"""Classes that outputs name, and how often two agree."""

from __future__ import annotations

import numpy as np

from edgekit.top1 import accuracy, agreement, classes


def test_a_row_with_nan_names_no_class() -> None:
    outputs = np.array([[1.0, 3.0, 2.0], [np.nan, 3.0, 2.0]], np.float32)

    assert classes(outputs).tolist() == [1, -1]
    assert accuracy(outputs, np.array([1, 0])) == 0.5


def test_a_row_of_nan_agrees_with_no_row_of_numbers() -> None:
    # The largest number is at 0, where argmax sees the NaN of the other row.
    reference = np.array([[9.0, 1.0], [1.0, 9.0]])
    broken = np.array([[np.nan, np.nan], [1.0, 9.0]])

    assert agreement(reference, broken) == 0.5
    assert agreement(broken, broken) == 1


def test_agreement_takes_rows_of_any_shape() -> None:
    maps = np.arange(24.0).reshape(2, 3, 2, 2)

    assert agreement(maps, maps) == 1
    assert agreement(maps, -maps) == 0


def test_accuracy_counts_the_largest_output() -> None:
    scores = np.array([[1, 5], [7, 2], [0, 1], [3, 4]])

    assert accuracy(scores, np.array([1, 0, 0, 1])) == 0.75
