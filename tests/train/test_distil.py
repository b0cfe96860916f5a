"""Losses of learning from a teacher, against plain arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgekit.errors import RecipeError
from edgekit.train.distil import (
    feature_distance,
    flow_distance,
    flow_matrix,
    softened_divergence,
    stage_ends,
)


def some(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_the_divergence_is_that_of_softened_answers() -> None:
    student, teacher = some(5, 4), some(5, 4, seed=1)

    found = softened_divergence(student, teacher, 3.0)

    p, q = (torch.softmax(x.double() / 3, dim=1).numpy() for x in (teacher, student))
    assert float(found) == pytest.approx(9 * float(np.mean(np.sum(p * np.log(p / q), axis=1))))


def test_equal_answers_have_no_divergence_and_no_gradient() -> None:
    student = some(5, 4).requires_grad_()

    loss = softened_divergence(student, student.detach(), 2.0)
    torch.autograd.backward(loss)

    assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
    assert student.grad is not None
    assert float(student.grad.abs().max()) < 1e-6


def test_a_flow_matrix_is_the_mean_product_over_places() -> None:
    before, after = some(2, 3, 4, 4), some(2, 5, 4, 4, seed=1)

    found = flow_matrix(before, after)

    expected = np.zeros((2, 3, 5))
    for i in range(3):
        for j in range(5):
            expected[:, i, j] = (before[:, i] * after[:, j]).mean(dim=(1, 2)).numpy()
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_features_of_other_sizes_are_pooled_before_they_flow() -> None:
    before, after = some(2, 3, 8, 8), some(2, 5, 4, 4, seed=1)

    found = flow_matrix(before, after)

    pooled = torch.nn.functional.avg_pool2d(before, 2)
    torch.testing.assert_close(found, flow_matrix(pooled, after))


def test_equal_features_have_no_distance() -> None:
    features = [some(2, 3, 8, 8), some(2, 5, 4, 4), some(2, 6, 2, 2)]

    assert float(feature_distance(features, features)) == 0
    assert float(flow_distance(features, features)) == 0
    assert float(flow_distance(features, [f + 1 for f in features])) > 0


def test_features_of_other_shapes_are_refused_in_one_line() -> None:
    with pytest.raises(RecipeError, match=r"differ in shape, \(3, 8, 8\) against \(4, 8, 8\)"):
        feature_distance([some(2, 3, 8, 8)], [some(2, 4, 8, 8)])


def test_the_last_features_of_each_size_are_compared() -> None:
    shapes = {"a": (8, 28, 28), "b": (16, 28, 28), "c": (16, 14, 14), "g": (16, 1, 1), "s": (10,)}

    assert stage_ends(shapes) == ("b", "c")
