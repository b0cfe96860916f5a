"""Shared values: their gradients, zeros and codes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgekit.compress.cluster import Start
from edgekit.tensors import dequantize
from edgekit.train.methods.shared import SharedValues


def shared(*, pruned: bool = True, bits: int = 3, start: Start = "linear") -> SharedValues:
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((12, 10)).astype(np.float32)
    if pruned:
        weights[np.abs(weights) < 0.7] = 0
    return SharedValues(weights, bits, pruned=pruned, start=start, rng=rng)


@pytest.mark.parametrize("pruned", [False, True])
def test_a_value_gets_the_sum_of_its_weights_gradients(*, pruned: bool) -> None:
    """Figure 3 of the paper, weight by weight in numpy."""
    values = shared(pruned=pruned)
    gradient = np.random.default_rng(1).standard_normal((12, 10)).astype(np.float32)

    (values(torch.zeros(12, 10)) * torch.from_numpy(gradient)).sum().backward()

    expected = np.zeros(values.values.numel())
    for code, part in zip(values.codes.numpy().reshape(-1), gradient.reshape(-1), strict=True):
        expected[code] += part
    if pruned:
        expected[0] = 0
    assert values.values.grad is not None
    np.testing.assert_allclose(values.values.grad.numpy(), expected, atol=1e-5)


def test_a_step_down_moves_centroids_by_the_summed_gradient() -> None:
    values = shared()
    before = values.values.detach().clone()
    optimizer = torch.optim.SGD([values.values], lr=0.01)

    torch.autograd.backward(torch.sum(values(torch.zeros(12, 10)) ** 2))
    optimizer.step()

    counts = np.bincount(values.codes.numpy().reshape(-1), minlength=before.numel())
    expected = before.numpy() * (1 - 0.02 * counts)
    expected[0] = 0
    np.testing.assert_allclose(values.values.detach().numpy(), expected, atol=2e-3)


@pytest.mark.parametrize("start", ["linear", "density", "random"])
def test_codes_restore_what_the_layer_saw(start: Start) -> None:
    values = shared(start=start)
    torch.nn.init.normal_(values.values, generator=torch.Generator().manual_seed(3))

    coded = values.coded("w", "float32", torch.zeros(12, 10))

    np.testing.assert_array_equal(dequantize(coded), values(torch.zeros(12, 10)).detach().numpy())
    assert coded.codebook is not None
    assert coded.codebook.size <= 8
    assert coded.codebook[0] == 0
    # In order, whichever way training moved them.
    assert np.all(np.diff(coded.codebook[1:]) >= 0)


def test_pruned_weights_stay_zero() -> None:
    values = shared()
    torch.nn.init.constant_(values.values, 1.0)

    restored = values(torch.zeros(12, 10)).detach().numpy()

    assert np.all(restored[values.codes.numpy() == 0] == 0)
    assert np.count_nonzero(restored) == np.count_nonzero(values.codes.numpy())
