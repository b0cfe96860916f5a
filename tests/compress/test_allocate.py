"""One step a layer: the sum of bits is met, and no trade between two layers does better."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.compress.allocate import (
    Layer,
    channel_steps,
    coded_bits,
    factor_for_bits,
    round_to_grid,
)
from edgekit.errors import PlanError


@pytest.fixture
def layers(rng: np.random.Generator) -> list[Layer]:
    return [
        Layer(rng.laplace(0, spread, (16, 200)).astype(np.float32), curvature)
        for spread, curvature in ((0.05, 4.0), (0.2, 0.5), (0.1, 40.0))
    ]


def _bits(layer: Layer, factor: float) -> float:
    return coded_bits(round_to_grid(layer, channel_steps(layer, factor)))


def _divergence(layer: Layer, factor: float) -> float:
    steps = channel_steps(layer, factor)
    error = layer.weights - round_to_grid(layer, steps) * steps[:, None]
    return float(layer.curvature / 2 * np.sum(np.square(error, dtype=np.float64)))


def test_the_factor_meets_the_wanted_bits(layers: list[Layer]) -> None:
    target = 3.0 * sum(layer.weights.size for layer in layers)

    factor = factor_for_bits(layers, target)

    spent = sum(_bits(layer, factor) for layer in layers)
    assert 0.995 * target <= spent <= target


def test_no_trade_of_bits_between_two_layers_errs_less(layers: list[Layer]) -> None:
    factor = factor_for_bits(layers, 3.5 * sum(layer.weights.size for layer in layers))
    first, second = layers[0], layers[1]
    bits = _bits(first, factor) + _bits(second, factor)
    divergence = _divergence(first, factor) + _divergence(second, factor)

    for share in (0.5, 0.7, 1.4, 2.0):
        traded = _bits(first, factor * share)
        other = factor_for_bits([second], bits - traded)

        assert _divergence(first, factor * share) + _divergence(second, other) > divergence


def test_a_channel_out_of_range_gets_the_step_that_holds_it(rng: np.random.Generator) -> None:
    weights = rng.laplace(0, 0.01, (4, 50)).astype(np.float32)
    weights[2, 7] = 90.0
    layer = Layer(weights, 1e4)

    steps = channel_steps(layer, 0.5)
    codes = round_to_grid(layer, steps)

    assert steps[2] > steps[0] == steps[1] == steps[3]
    assert codes[2, 7] == 127
    assert abs(codes[2, 7] * steps[2] - 90.0) <= 0.6 * steps[2]


def test_steps_are_exact_in_float16(layers: list[Layer]) -> None:
    steps = channel_steps(layers[0], 0.0123)

    np.testing.assert_array_equal(steps, steps.astype(np.float16).astype(np.float32))


def test_an_all_zero_channel_gets_a_positive_step() -> None:
    layer = Layer(np.zeros((3, 8), np.float32), 1e12)

    assert (channel_steps(layer, 1e-4) > 0).all()


def test_a_size_below_the_coarsest_grid_is_refused(layers: list[Layer]) -> None:
    with pytest.raises(PlanError, match="can't be reached: the coarsest grid takes"):
        factor_for_bits(layers, 1.0)
