"""The uniform grid: codes in range, errors of at most half a step, harmless steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgekit.compress.quantize import code_limit, quantize_uniform
from edgekit.errors import PlanError

magnitudes = st.floats(-1e4, 1e4, width=32, allow_nan=False)
matrices = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=4, max_side=6), elements=magnitudes
)


@given(weights=matrices, bits=st.integers(2, 8), data=st.data())
def test_codes_stay_in_range_and_errors_within_half_a_step(
    weights: np.ndarray, bits: int, data: st.DataObject
) -> None:
    axis = data.draw(st.none() | st.integers(0, weights.ndim - 1))

    grid = quantize_uniform(weights, bits, axis)

    shape = [1] * weights.ndim
    if grid.scale.ndim:
        assert axis is not None
        shape[axis] = -1
    scale = np.broadcast_to(grid.scale.reshape(shape), weights.shape).astype(np.float64)
    assert grid.codes.dtype == np.int8
    assert np.abs(grid.codes.astype(int)).max() <= code_limit(bits)
    error = np.abs(weights - grid.codes * scale)
    # Quotients are float32: a tie may fall to either side.
    assert np.all(error <= scale * (0.5 + 2.0**-15))


@given(weights=matrices, bits=st.integers(2, 8))
def test_quantizing_twice_changes_nothing(weights: np.ndarray, bits: int) -> None:
    def restored(array: np.ndarray) -> np.ndarray:
        grid = quantize_uniform(array, bits, 0)
        scale = grid.scale.reshape([-1] + [1] * (array.ndim - 1)) if grid.scale.ndim else grid.scale
        return (grid.codes.astype(np.float32) * scale).astype(np.float32)

    once = restored(weights)

    # Up to one rounding of the step. Channels far below the coarsest may have a step among
    # float16's subnormal numbers, which lie 2^-24 apart.
    steps = quantize_uniform(weights, bits, 0).scale.reshape(-1)
    fine = (steps < 2.0**-14) & (steps <= 2.0**-10 * steps.max(initial=0.0))
    spacing = np.where(fine, code_limit(bits) * 2.0**-24, 0.0).reshape([-1] + [1] * (once.ndim - 1))
    assert np.all(np.abs(restored(once) - once) <= 2.0**-9 * np.abs(once) + spacing + 1e-30)


def test_steps_are_float16_numbers_for_weights_of_usual_size(rng: np.random.Generator) -> None:
    weights = rng.normal(0, 0.05, (32, 16, 3, 3)).astype(np.float32)
    weights[5] *= 1e-7

    scale = quantize_uniform(weights, 8, 0).scale

    np.testing.assert_array_equal(scale, scale.astype(np.float16).astype(np.float32))
    assert scale.min() > 0


def test_steps_stay_float32_where_float16_has_no_precision(rng: np.random.Generator) -> None:
    weights = rng.normal(0, 1e-7, (4, 100)).astype(np.float32)

    grid = quantize_uniform(weights, 8, 0)

    error = weights - grid.codes * grid.scale[:, None]
    assert np.sqrt(np.mean(error**2) / np.mean(weights**2)) < 0.01


def test_huge_weights_keep_finite_steps() -> None:
    weights = np.array([[3e38, -1e38], [1.1, 2.0]], np.float32)

    grid = quantize_uniform(weights, 4, 0)

    assert np.all(np.isfinite(grid.scale))
    assert grid.codes.tolist() == [[7, -2], [4, 7]]


def test_a_channel_of_zeros_gets_a_usable_step() -> None:
    weights = np.array([[0, 0], [1, -2]], np.float32)

    grid = quantize_uniform(weights, 8, 0)

    assert grid.codes[0].tolist() == [0, 0]
    assert np.all(grid.scale > 0)


def test_all_zeros_are_codes_of_zero() -> None:
    grid = quantize_uniform(np.zeros((3, 4), np.float32), 6, 0)

    assert not grid.codes.any()
    assert grid.scale.tolist() == 1.0


def test_two_bits_leave_three_values() -> None:
    weights = np.array([[-1, -0.4, 0, 0.6, 1]], np.float32)

    grid = quantize_uniform(weights, 2, None)

    assert grid.codes.tolist() == [[-1, 0, 0, 1, 1]]


def test_equal_steps_are_one_step() -> None:
    weights = np.array([[1, 0.3], [-1, 0.1]], np.float32)

    assert quantize_uniform(weights, 8, 0).scale.ndim == 0


@pytest.mark.parametrize("bits", [-1, 0, 1, 9, 32])
def test_bits_outside_2_to_8_are_refused(bits: int) -> None:
    with pytest.raises(PlanError, match="from 2 to 8"):
        quantize_uniform(np.ones((1, 1), np.float32), bits, None)
