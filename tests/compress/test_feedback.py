"""Error feedback against plain rounding and against the textbook's one-by-one form."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.compress.feedback import error_feedback, grouped_feedback
from edgekit.compress.levels import GridLevels
from edgekit.errors import PlanError


def _layer(
    rng: np.random.Generator, outputs: int = 12, inputs: int = 90
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    mixing = rng.standard_normal((inputs, inputs)) * (rng.random((inputs, inputs)) < 0.1)
    samples = rng.standard_normal((400, inputs)) @ (np.eye(inputs) + mixing)
    weights = rng.laplace(0, 0.1, (outputs, inputs)).astype(np.float32)
    steps = rng.uniform(0.1, 0.2, outputs).astype(np.float32)
    return weights, steps, samples.T @ samples


def _output_error(
    weights: np.ndarray, codes: np.ndarray, steps: np.ndarray, hessian: np.ndarray
) -> float:
    error = weights - codes * steps[:, None]
    return float(np.einsum("oi,ij,oj->", error, hessian, error))


def test_feedback_lowers_the_error_of_the_outputs(rng: np.random.Generator) -> None:
    weights, steps, hessian = _layer(rng)
    plain = np.rint(weights / steps[:, None]).astype(np.int8)

    codes = error_feedback(weights, GridLevels(steps), hessian, damping=0.01)

    assert _output_error(weights, codes, steps, hessian) < 0.6 * _output_error(
        weights, plain, steps, hessian
    )


def test_blocks_give_the_codes_of_the_one_by_one_algorithm(rng: np.random.Generator) -> None:
    weights, steps, hessian = _layer(rng)
    order = np.argsort(-np.diagonal(hessian), kind="stable")
    damped = hessian / np.mean(np.diagonal(hessian)) + 0.1 * np.eye(len(hessian))
    expected = np.zeros(weights.shape, np.int8)
    left = weights.astype(np.float64)
    remaining = list(order)
    # Optimal Brain Surgeon's update with the inverse of what is left, computed anew at each step.
    while remaining:
        inverse = np.linalg.inv(damped[np.ix_(remaining, remaining)])
        column = remaining[0]
        rounded = np.clip(np.rint(left[:, column] / steps), -127, 127)
        expected[:, column] = rounded
        error = (left[:, column] - rounded * steps) / inverse[0, 0]
        left[:, remaining] -= np.outer(error, inverse[0])
        remaining.pop(0)

    codes = error_feedback(weights, GridLevels(steps), hessian, damping=0.1)

    np.testing.assert_array_equal(codes, expected)


def test_independent_inputs_are_rounded_plainly(rng: np.random.Generator) -> None:
    weights, steps, _ = _layer(rng)

    codes = error_feedback(weights, GridLevels(steps), np.diag(rng.uniform(1, 2, 90)), damping=0.1)

    np.testing.assert_array_equal(codes, np.rint(weights / steps[:, None]).astype(np.int8))


def test_inputs_that_never_fire_don_t_break_the_inverse(rng: np.random.Generator) -> None:
    weights, steps, _ = _layer(rng)

    codes = error_feedback(weights, GridLevels(steps), np.zeros((90, 90)), damping=0.1)

    np.testing.assert_array_equal(codes, np.rint(weights / steps[:, None]).astype(np.int8))


def test_pruned_weights_stay_zero_and_the_rest_makes_up(rng: np.random.Generator) -> None:
    weights, steps, hessian = _layer(rng)
    kept = np.abs(weights) > 0.05
    plain = (np.rint(weights / steps[:, None]) * kept).astype(np.int8)

    codes = error_feedback(weights, GridLevels(steps), hessian, damping=0.01, kept=kept)

    assert not codes[~kept].any()
    assert _output_error(weights, codes, steps, hessian) < _output_error(
        weights, plain, steps, hessian
    )


def test_codes_stay_within_the_limit(rng: np.random.Generator) -> None:
    weights, steps, hessian = _layer(rng)

    codes = error_feedback(weights * 10, GridLevels(steps, 7), hessian, damping=0.1)

    assert np.abs(codes).max() == 7


def test_a_damping_of_zero_is_refused(rng: np.random.Generator) -> None:
    weights, steps, hessian = _layer(rng)

    with pytest.raises(PlanError, match="damping must be above 0"):
        error_feedback(weights, GridLevels(steps), hessian, damping=0.0)


@pytest.mark.parametrize("is_pruned", [False, True])
def test_groups_together_give_the_codes_of_each_by_itself(
    rng: np.random.Generator, is_pruned: bool
) -> None:
    groups, filters, inputs = 5, 2, 9
    samples = rng.standard_normal((groups, 60, inputs)).cumsum(axis=2)
    hessians = samples.swapaxes(1, 2) @ samples
    weights = rng.laplace(0, 0.1, (groups * filters, inputs)).astype(np.float32)
    steps = rng.uniform(0.05, 0.2, len(weights)).astype(np.float32)
    kept = rng.random(weights.shape) < 0.6 if is_pruned else None

    codes = grouped_feedback(weights, GridLevels(steps), hessians, damping=0.1, kept=kept)

    for group, hessian in enumerate(hessians):
        rows = slice(group * filters, (group + 1) * filters)
        mask = None if kept is None else kept[rows]
        expected = error_feedback(
            weights[rows], GridLevels(steps[rows]), hessian, damping=0.1, kept=mask
        )
        np.testing.assert_array_equal(codes[rows], expected)


def test_feedback_in_groups_refuses_no_damping(rng: np.random.Generator) -> None:
    with pytest.raises(PlanError, match="damping"):
        grouped_feedback(
            np.ones((2, 4), np.float32),
            GridLevels(np.ones(2, np.float32)),
            np.ones((2, 4, 4)),
            damping=0,
        )
