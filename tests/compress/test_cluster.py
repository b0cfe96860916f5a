"""Codebooks: k-means equals the textbook's, never gets worse, and keeps zeros."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgekit.compress.cluster import cluster, lloyd
from edgekit.errors import PlanError

weights_arrays = hnp.arrays(
    np.float32,
    st.integers(1, 200),
    elements=st.floats(-100, 100, width=32, allow_nan=False, allow_subnormal=False),
)


def textbook_kmeans(
    weights: np.ndarray, centroids: np.ndarray, iterations: int
) -> tuple[np.ndarray, float]:
    """Lloyd's algorithm by distances. Returns centroids and squared error of the last step."""
    centroids = centroids.astype(np.float64).copy()
    error = np.inf
    for _ in range(iterations):
        distance = np.abs(weights[:, None].astype(np.float64) - centroids[None, :])
        nearest = np.argmin(distance, axis=1)
        error = float(np.sum((weights - centroids[nearest]) ** 2))
        for index in range(centroids.size):
            if np.any(nearest == index):
                centroids[index] = np.mean(weights[nearest == index].astype(np.float64))
    return centroids, error


@pytest.mark.parametrize("bits", [2, 3, 5])
def test_lloyd_equals_the_textbook(rng: np.random.Generator, bits: int) -> None:
    ordered = np.sort(rng.laplace(0, 0.1, 5_000).astype(np.float32))
    start = np.linspace(ordered[0], ordered[-1], 2**bits).astype(np.float32)

    fast = lloyd(ordered, start, max_iterations=25)

    slow, _ = textbook_kmeans(ordered, start, 25)
    np.testing.assert_allclose(fast, slow, rtol=1e-5, atol=1e-7)


@given(weights=weights_arrays, size=st.integers(2, 9))
@settings(max_examples=60)
def test_the_squared_error_never_rises(weights: np.ndarray, size: int) -> None:
    ordered = np.sort(weights)
    start = np.linspace(ordered[0], ordered[-1], size).astype(np.float32)

    errors = []
    for iterations in range(6):
        centroids = lloyd(ordered, start, max_iterations=iterations).astype(np.float64)
        distance = np.abs(ordered[:, None] - centroids[None, :]).min(axis=1)
        errors.append(float(np.sum(distance**2)))

    scale = float(np.sum(ordered.astype(np.float64) ** 2))
    assert all(after <= before + 1e-6 * scale for before, after in itertools.pairwise(errors))


@given(weights=weights_arrays, size=st.integers(2, 9), equal=st.sampled_from([0.25, 1.0, 8.0]))
def test_equal_importance_is_plain_k_means(weights: np.ndarray, size: int, equal: float) -> None:
    ordered = np.sort(weights)
    start = np.linspace(ordered[0], ordered[-1], size).astype(np.float32)

    weighted = lloyd(ordered, start, importance=np.full(ordered.size, equal, np.float32))

    scale = max(1e-30, float(np.abs(ordered).max()))
    np.testing.assert_allclose(weighted, lloyd(ordered, start), rtol=0, atol=1e-6 * scale)


@given(weights=weights_arrays, size=st.integers(2, 9), data=st.data())
@settings(max_examples=60)
def test_the_weighted_squared_error_never_rises(
    weights: np.ndarray, size: int, data: st.DataObject
) -> None:
    ordered = np.sort(weights)
    counts = st.floats(0, 100, width=32, allow_subnormal=False)
    importance = data.draw(hnp.arrays(np.float32, ordered.size, elements=counts))
    start = np.linspace(ordered[0], ordered[-1], size).astype(np.float32)

    errors = []
    for iterations in range(6):
        centroids = lloyd(ordered, start, iterations, importance=importance).astype(np.float64)
        distance = np.abs(ordered[:, None] - centroids[None, :]).min(axis=1)
        errors.append(float(np.sum(importance * distance**2)))

    scale = float(np.sum(importance * ordered.astype(np.float64) ** 2))
    assert all(after <= before + 1e-6 * scale for before, after in itertools.pairwise(errors))


def test_a_weight_that_counts_for_many_is_as_if_it_were_many(rng: np.random.Generator) -> None:
    weights = rng.laplace(0, 0.1, 500).astype(np.float32)
    counts = rng.integers(1, 9, 500)

    weighted = cluster(weights, 3, importance=counts.astype(np.float32))

    repeated = cluster(np.repeat(weights, counts), 3)
    np.testing.assert_array_equal(weighted.values, repeated.values)


@given(weights=weights_arrays, bits=st.integers(2, 8), data=st.data())
@settings(max_examples=60)
def test_every_weight_takes_a_nearest_value_and_pruned_ones_zero(
    weights: np.ndarray, bits: int, data: st.DataObject
) -> None:
    pruned = data.draw(st.none() | hnp.arrays(np.bool_, weights.size))

    shared = cluster(weights, bits, pruned)

    kept = np.ones(weights.size, np.bool_) if pruned is None else ~pruned
    choices = shared.values if pruned is None else shared.values[1:]
    restored = shared.values[shared.codes]
    assert shared.values.size <= 2**bits
    if kept.any():
        nearest = np.abs(weights[kept, None] - choices[None, :]).min(axis=1)
        np.testing.assert_allclose(np.abs(weights[kept] - restored[kept]), nearest, atol=2e-5)
    if pruned is not None:
        assert shared.values[:1].view(np.uint32)[0] == 0
        assert not shared.codes[pruned].any()
        assert shared.codes[kept].all()


def test_few_different_values_are_kept_exactly() -> None:
    weights = np.array([[0.1, -0.7, 0.1], [3e-9, 0.1, -0.7]], np.float32)

    shared = cluster(weights, 2)

    np.testing.assert_array_equal(shared.values[shared.codes], weights)


def test_values_are_float16_numbers_for_weights_of_usual_size(rng: np.random.Generator) -> None:
    weights = rng.normal(0, 0.05, (64, 100)).astype(np.float32)

    values = cluster(weights, 5).values

    np.testing.assert_array_equal(values, values.astype(np.float16).astype(np.float32))


def test_more_bits_err_less(rng: np.random.Generator) -> None:
    weights = rng.normal(0, 0.05, 4_000).astype(np.float32)

    errors = [
        float(np.mean((weights - shared.values[shared.codes]) ** 2))
        for shared in (cluster(weights, bits) for bits in range(2, 9))
    ]

    assert errors == sorted(errors, reverse=True)


def test_a_layer_pruned_to_nothing_is_all_zero() -> None:
    shared = cluster(np.ones(5, np.float32), 4, np.ones(5, np.bool_))

    assert not shared.codes.any()
    assert shared.values.tolist() == [0.0]


def test_bits_outside_2_to_8_are_refused() -> None:
    with pytest.raises(PlanError, match="from 2 to 8"):
        cluster(np.ones(3, np.float32), 9)
