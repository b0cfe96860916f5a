"""Which weights are pruned, and when."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.train.methods.masks import pattern_mask, scheduled_sparsity, smallest_masks


def test_the_cubic_schedule_is_that_of_the_paper() -> None:
    """Zhu and Gupta, equation 1, from 0 to 0.8 at a quarter, a half and the end."""
    found = [scheduled_sparsity("cubic", progress, 0.8) for progress in (0, 0.25, 0.5, 1, 2)]

    assert found == pytest.approx([0, 0.4625, 0.7, 0.8, 0.8])


def test_the_other_schedules_step() -> None:
    assert scheduled_sparsity("one-shot", 0, 0.6) == 0.6
    iterative = [scheduled_sparsity("iterative", p, 0.8) for p in (0, 0.3, 0.5, 0.8, 1)]
    assert iterative == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8])


@given(seed=st.integers(0, 99), sparsity=st.floats(0, 0.95))
def test_the_smallest_of_all_tensors_go(seed: int, sparsity: float) -> None:
    rng = np.random.default_rng(seed)
    weights = {
        "a": rng.standard_normal((9, 7)).astype(np.float32),
        "b": (3 * rng.standard_normal((5, 4))).astype(np.float32),
    }

    masks = smallest_masks(weights, sparsity)

    kept = np.concatenate([np.abs(weights[name][masks[name]]) for name in weights])
    gone = np.concatenate([np.abs(weights[name][~masks[name]]) for name in weights])
    assert gone.size == round(sparsity * 83)
    assert not gone.size or not kept.size or gone.max() <= kept.min()


def test_importance_weighs_tensors() -> None:
    weights = {"a": np.full((4, 4), 1, np.float32), "b": np.full((4, 4), 2, np.float32)}

    masks = smallest_masks(weights, 0.5, {"a": 10.0, "b": 1.0})

    assert masks["a"].all()
    assert not masks["b"].any()


@given(seed=st.integers(0, 99), shape=st.sampled_from([(3, 8), (2, 4, 3, 3), (5, 12, 1, 1)]))
def test_two_of_four_neighbours_stay(seed: int, shape: tuple[int, ...]) -> None:
    weights = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)

    mask = pattern_mask(weights, 2, 4)

    assert mask is not None
    groups = np.moveaxis(mask, 1, -1).reshape(-1, 4)
    assert np.all(groups.sum(axis=1) == 2)
    sizes = np.moveaxis(np.abs(weights), 1, -1).reshape(-1, 4)
    assert np.all(np.where(groups, sizes, 9).min(axis=1) >= np.where(groups, 0, sizes).max(axis=1))


def test_inputs_that_make_no_groups_stay_dense() -> None:
    assert pattern_mask(np.ones((4, 6, 3, 3), np.float32), 2, 4) is None
    assert pattern_mask(np.ones(8, np.float32), 2, 4) is None
