"""Numbers of a comparison, against values worked out by hand or by another formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.runtime.parity import (
    difference,
    softmax_divergence,
    weight_differences,
)


def test_equal_arrays_differ_by_nothing() -> None:
    zeros = np.zeros((2, 3), np.float32)

    found = difference("x", zeros, zeros)

    assert (found.largest, found.relative) == (0, 0)


def test_noise_over_a_silent_reference_is_infinitely_large() -> None:
    found = difference("x", np.zeros(3, np.float32), np.full(3, 0.5, np.float32))

    assert found.largest == 0.5
    assert found.relative == float("inf")


def test_half_precision_is_compared_without_overflow() -> None:
    found = difference("x", np.full(4, 60000, np.float16), np.full(4, -60000, np.float16))

    assert found.largest == 120_000
    assert found.relative == pytest.approx(2)


def test_an_empty_array_differs_by_nothing() -> None:
    found = difference("x", np.zeros((0, 3)), np.zeros((0, 3)))

    assert (found.largest, found.relative) == (0, 0)


def test_divergence_is_that_of_probabilities(rng: np.random.Generator) -> None:
    first, second = rng.normal(0, 2, (2, 5, 7))
    p, q = (np.exp(s) / np.exp(s).sum(axis=1, keepdims=True) for s in (first, second))

    found = softmax_divergence(first, second)

    assert found == pytest.approx(np.mean(np.sum(p * np.log(p / q), axis=1)))


def test_divergence_of_large_scores_stays_finite() -> None:
    first, second = np.array([[1e4, 0.0]]), np.array([[1e4 - 1, 0.0]])

    assert softmax_divergence(first, second) == pytest.approx(0, abs=1e-12)


def test_only_float_weights_of_equal_name_and_shape_are_compared() -> None:
    reference: dict[str, NDArray[Any]] = {
        "same": np.ones(3, np.float32),
        "reshaped": np.ones(3, np.float32),
        "gone": np.ones(3, np.float32),
        "index": np.ones(3, np.int64),
    }
    other: dict[str, NDArray[Any]] = {
        "index": np.zeros(3, np.int64),
        "reshaped": np.ones((3, 1), np.float32),
        "same": np.full(3, 1.5, np.float32),
    }

    found = weight_differences(reference, other)

    assert [(entry.name, entry.largest) for entry in found] == [("same", 0.5)]
