"""Weights on grids whose steps learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgekit.tensors import dequantize
from edgekit.train.methods.grid import TrainedGrid, peak_grid


def some_weights(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@given(
    seed=st.integers(0, 1000), bits=st.floats(0.5, 9), limit=st.sampled_from([1, 7, 31, 127]),
    axis=st.sampled_from([None, 0, 1]),
)  # fmt: skip
def test_what_was_trained_is_what_the_codes_restore(
    seed: int, bits: float, limit: int, axis: int | None
) -> None:
    weights = some_weights(6, 5, 3, 3, seed=seed)
    grid = TrainedGrid(weights, bits=bits, limit=limit, axis=axis)

    values = grid(weights).detach().numpy()
    coded = grid.coded("w", "float32", weights)

    np.testing.assert_array_equal(dequantize(coded), values)
    assert np.abs(coded.codes.astype(int)).max() <= limit
    assert coded.scale is not None
    np.testing.assert_array_equal(coded.scale, coded.scale.astype(np.float16))


def test_weights_get_the_gradient_of_what_stands_for_them() -> None:
    weights = some_weights(40).requires_grad_()
    grid = TrainedGrid(weights.detach(), bits=3)
    wanted = some_weights(40, seed=1)

    (grid(weights) * wanted).sum().backward()

    assert weights.grad is not None
    torch.testing.assert_close(weights.grad, wanted)


def test_the_entropy_is_that_of_the_codes() -> None:
    weights = some_weights(4000)
    grid = TrainedGrid(weights, bits=2)

    grid(weights)

    codes = grid.coded("w", "float32", weights).codes
    shares = np.bincount(codes.astype(int) + 127) / codes.size
    expected = -codes.size * np.sum(shares[shares > 0] * np.log2(shares[shares > 0]))
    assert float(grid.entropy_bits) == pytest.approx(expected, rel=1e-4)
    # The interpolated length of weights between codes is near it.
    assert float(grid.length_bits.detach()) == pytest.approx(expected, rel=0.1)


def test_a_weight_feels_the_way_to_the_code_that_is_shorter() -> None:
    weights = torch.cat([torch.zeros(90), torch.ones(10)]) + 0.001
    grid = TrainedGrid(weights, bits=2, limit=1)
    weights = (weights * 0.6).requires_grad_()

    grid(weights)
    torch.autograd.backward(grid.length_bits)

    assert weights.grad is not None
    # Zero is the frequent code: downhill is towards it.
    assert bool((weights.grad[90:] > 0).all())


def slow_length(position: NDArray[np.float64], counts: NDArray[np.float64], limit: int) -> float:
    """Interpolated code lengths, one weight at a time."""
    length = -np.log2(counts / counts.sum())
    total = 0.0
    for value in position:
        below = min(max(int(np.floor(value)), -limit), limit - 1)
        low, high = length[below + limit], length[below + 1 + limit]
        total += low + float(np.clip(high - low, -4, 4)) * (value - below)
    return total


def test_the_length_is_interpolated_between_codes() -> None:
    weights = some_weights(300)
    grid = TrainedGrid(weights, bits=2, limit=7)

    grid(weights)

    step = grid.coded("w", "float32", weights).scale
    assert step is not None
    position = np.asarray(np.clip(weights.numpy() / step, -7, 7), np.float64)
    counts = np.asarray(np.bincount(np.rint(position).astype(int) + 7, minlength=15) + 0.03, float)
    assert float(grid.length_bits.detach()) == pytest.approx(
        slow_length(position, counts, 7), rel=1e-5
    )


def test_the_step_learns_to_fit() -> None:
    weights = torch.tensor([-0.3, 0.0, 0.3] * 20)
    grid = TrainedGrid(weights, bits=1, limit=1)
    torch.nn.init.constant_(grid.log_step, float(np.log(0.5)))
    optimizer = torch.optim.Adam([grid.log_step], lr=0.02)

    for _ in range(200):
        optimizer.zero_grad()
        torch.autograd.backward(torch.mean((grid(weights) - weights) ** 2))
        optimizer.step()

    scale = grid.coded("w", "float32", weights).scale
    assert float(np.asarray(scale)) == pytest.approx(0.3, rel=0.02)


@pytest.mark.parametrize("weights", [torch.zeros(70), torch.full((70,), 1e-12), torch.ones(70)])
def test_tensors_without_spread_stay_finite(weights: torch.Tensor) -> None:
    grid = TrainedGrid(weights, bits=3)

    values = grid(weights)

    assert bool(torch.isfinite(values).all())
    assert bool(torch.isfinite(grid.length_bits))


def test_a_bias_reaches_its_largest_number() -> None:
    bias = some_weights(33)

    values, step = peak_grid(bias, 127)

    assert float((values - bias).abs().max()) <= float(step) * 0.6
    assert float(step) == float(step.half())
