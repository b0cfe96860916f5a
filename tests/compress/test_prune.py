"""Pruning takes exactly as many weights as asked, and the smallest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgekit.compress.prune import check_sparsity, global_counts, layer_counts, smallest
from edgekit.errors import PlanError

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
arrays = hnp.arrays(np.float32, st.integers(1, 60), elements=finite)
# Few different values, so that ties are common.
tied = hnp.arrays(np.float32, st.integers(1, 60), elements=st.sampled_from([0.0, -0.0, 1, -1, 2]))


@given(weights=arrays | tied, share=st.floats(0, 1))
def test_the_mask_has_the_asked_count_and_no_survivor_is_smaller(
    weights: np.ndarray, share: float
) -> None:
    count = int(share * weights.size)

    mask = smallest(weights, count)

    assert np.count_nonzero(mask) == count
    if 0 < count < weights.size:
        assert np.abs(weights[mask]).max() <= np.abs(weights[~mask]).min()


@given(layers=st.lists(arrays | tied, min_size=1, max_size=4), sparsity=st.floats(0, 0.999))
@settings(max_examples=50)
def test_global_counts_are_those_of_one_sorted_list(
    layers: list[np.ndarray], sparsity: float
) -> None:
    owners = np.repeat(np.arange(len(layers)), [layer.size for layer in layers])
    order = np.argsort(np.abs(np.concatenate(layers)), kind="stable")
    count = round(sparsity * owners.size)
    expected = np.bincount(owners[order[:count]], minlength=len(layers))

    counts = global_counts(layers, sparsity)

    assert counts == expected.tolist()


def test_equal_magnitudes_go_from_the_front() -> None:
    weights = np.array([[1, -1], [1, 0.5]], np.float32)

    mask = smallest(weights, 2)

    assert mask.tolist() == [[True, False], [False, True]]


def test_a_threshold_is_found_across_blocks(rng: np.random.Generator) -> None:
    weights = rng.normal(size=(3, 700_000)).astype(np.float32)

    mask = smallest(weights, 1_400_000)

    assert np.count_nonzero(mask) == 1_400_000
    assert np.abs(weights[mask]).max() <= np.abs(weights[~mask]).min()


def test_each_layer_loses_the_same_share_with_layer_counts() -> None:
    layers = [np.ones(10, np.float32), np.full(20, 9, np.float32)]

    assert layer_counts(layers, 0.5) == [5, 10]
    assert global_counts(layers, 0.5) == [10, 5]


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, 1.5, float("nan")])
def test_a_sparsity_outside_its_range_is_refused(sparsity: float) -> None:
    with pytest.raises(PlanError, match="at least 0 and below 1"):
        check_sparsity(sparsity)
