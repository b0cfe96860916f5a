"""Rounding layers in turn: what each sees behind rounded ones, what its weights make up for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.compress import rounding
from edgekit.compress.calibrate import Probe
from edgekit.compress.calibrated import Calibration
from edgekit.compress.layer_statistics import layer_statistics
from edgekit.compress.layers_in_turn import Seen, Walkers
from edgekit.compress.levels import GridLevels
from edgekit.compress.noise import natural_noise
from edgekit.compress.paired import make_up, paired_statistics
from edgekit.compress.rounding import Measured, in_turn, on_levels
from edgekit.graph import Graph, load_graph
from edgekit.graph.layers import find_layers
from tests.compress.unwalkable import unwalkable_models


def test_weights_make_up_for_inputs_that_have_changed(rng: np.random.Generator) -> None:
    before = rng.normal(size=(4000, 6)).astype(np.float32)
    after = before @ (np.eye(6) + rng.normal(0, 0.1, (6, 6))).astype(np.float32)
    filters = rng.normal(size=(3, 6)).astype(np.float32)

    found = make_up(filters, (after.T @ after).astype(np.float64), (before - after).T @ after)

    missed = np.square(before @ filters.T - after @ filters.T).sum()
    assert np.square(before @ filters.T - after @ found.T).sum() < 0.2 * missed


def test_samples_that_nothing_changed_keep_the_weights(rng: np.random.Generator) -> None:
    # Only the first three inputs were seen; the other three are known to have stayed.
    before = np.zeros((40, 6), np.float32)
    before[:, :3] = rng.normal(size=(40, 3))
    after = before @ (np.eye(6) + rng.normal(0, 0.3, (6, 6))).astype(np.float32)
    filters = rng.normal(size=(3, 6)).astype(np.float32)
    others = np.diag([0.0, 0.0, 0.0, 1.0, 1.0, 1.0]) * 1e6
    products = (after.T @ after).astype(np.float64), (before - after).T @ after

    free, held = make_up(filters, *products), make_up(filters, *products, unchanged=others)

    assert np.abs(free - filters)[:, 3:].max() > 0.01
    assert np.abs(held - filters)[:, 3:].max() < 1e-4
    assert np.abs(held - filters)[:, :3].max() > 0.01


def test_inputs_that_stayed_leave_the_weights(rng: np.random.Generator) -> None:
    filters = rng.normal(size=(3, 6)).astype(np.float32)

    np.testing.assert_array_equal(make_up(filters, np.eye(6), np.zeros((6, 6))), filters)
    np.testing.assert_array_equal(make_up(filters, np.zeros((6, 6)), np.zeros((6, 6))), filters)


def test_paired_patches_are_of_one_place(graph: Graph, inputs: NDArray[np.float32]) -> None:
    layer = find_layers(graph)[0]
    seen = Seen(layer, [inputs], [2 * inputs])

    found = paired_statistics(seen, (16, 1, 3, 3), np.random.default_rng(0))

    assert found.hessian is not None
    assert found.gap is not None
    # x - z is -z/2 in every patch.
    np.testing.assert_allclose(found.gap, -found.hessian / 2, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found.mean_gap, inputs.mean(axis=(0, 2, 3)), atol=1e-5)


def test_rounding_in_turn_comes_closer_where_there_are_many_inputs(
    graph: Graph, rng: np.random.Generator
) -> None:
    many = natural_noise(300, (1, 12, 12), rng)
    layers = find_layers(graph)
    probe = Probe(graph, many)
    weights = {weight.name: weight for weight in graph.weights}
    statistics = layer_statistics(
        probe, layers, {name: weight.shape for name, weight in weights.items()}, rng
    )
    model = Measured(probe, layers, weights, statistics, {}, {})
    filters = {layer.weight: weights[layer.weight].filters() for layer in layers}
    levels = {
        name: GridLevels(np.full(len(rows), rows.std(), np.float32))
        for name, rows in filters.items()
    }
    fresh = natural_noise(100, (1, 12, 12), rng)
    expected = probe.outputs({}, fresh)

    alone, turned = (
        np.square(probe.outputs(model.restored(found), fresh) - expected).mean()
        for found in (on_levels(model, levels, 0.1), in_turn(model, levels, 0.1, [Walkers(many)]))
    )

    assert turned < 0.8 * alone


def test_layers_before_the_first_in_turn_are_rounded_alone(
    graph: Graph, inputs: NDArray[np.float32]
) -> None:
    calibration = Calibration(graph, inputs)
    levels = calibration.codes_at(0.01).levels
    model, count = calibration._measured, len(find_layers(graph))

    alone = on_levels(model, levels, 0.1)
    by_first = [in_turn(model, levels, 0.1, [Walkers(inputs, first)]) for first in range(count + 1)]

    names = [layer.weight for layer in find_layers(graph)]
    for first, found in enumerate(by_first):
        is_same = [
            np.array_equal(found.coded[name].codes, alone.coded[name].codes) for name in names
        ]
        assert all(is_same[: max(first, 1)])
        assert all(is_same) is (first == count)


def test_few_inputs_round_in_turn_and_others_gain(graph: Graph, rng: np.random.Generator) -> None:
    few, fresh = natural_noise(40, (1, 12, 12), rng), natural_noise(200, (1, 12, 12), rng)
    calibration = Calibration(graph, few)
    expected = calibration.outputs(fresh, None)

    found = calibration.codes_at(0.02)
    alone = on_levels(calibration._measured_on_all, found.levels, found.damping)

    turned, plain = (
        np.square(calibration.outputs(fresh, one) - expected).mean() for one in (found, alone)
    )
    assert turned < 0.5 * plain


def test_with_few_inputs_the_weights_hold_what_makes_up(
    graph: Graph, inputs: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    calibration = Calibration(graph, inputs)
    model = calibration._measured_on_all
    levels = calibration.codes_at(0.01).levels
    held: list[NDArray[np.float64]] = []

    def watched(filters: Any, hessian: Any, gap: Any, unchanged: Any) -> Any:
        product = filters.T.astype(np.float64) @ filters
        held.append(unchanged / product)
        return make_up(filters, hessian, gap, unchanged)

    monkeypatch.setattr(rounding, "make_up", watched)
    in_turn(model, levels, 0.3, [Walkers(inputs)])

    # The gemm sees one sample an input, so its weights count most.
    assert len(held) == 3
    for ratio in held:
        np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-4)
        assert ratio[0, 0] > 0


@pytest.mark.parametrize("what", sorted(unwalkable_models()))
def test_what_a_walk_cannot_hold_is_rounded_alone(what: str, rng: np.random.Generator) -> None:
    data = rng.normal(size=(40, 3, 8, 8)).astype(np.float32)
    calibration = Calibration(load_graph(unwalkable_models()[what].SerializeToString()), data)

    found = calibration.at_bits(8)

    assert found.divergence < 0.01
    alone = on_levels(calibration._measured_on_all, found.levels, found.damping)
    is_alone = all(
        np.array_equal(tensor.codes, alone.coded[name].codes)
        for name, tensor in found.coded.items()
    )
    assert is_alone is (what != "outputs left out")


_PRODUCTS = """
import sys
import numpy as np
from edgekit.compress.paired import paired_statistics
from edgekit.compress.layers_in_turn import Seen
from edgekit.graph import load_graph
from edgekit.graph.layers import find_layers
layer = find_layers(load_graph(sys.argv[1]))[-1]
rng = np.random.default_rng(0)
before, after = rng.normal(size=(2, 1100, 320)).astype(np.float32)
found = paired_statistics(Seen(layer, [before], [after]), (10, 320), rng)
print(found.hessian.tobytes().hex()[-4000:], found.gap.tobytes().hex()[-4000:])
"""


def test_products_are_the_same_whatever_the_threads(tiny_onnx_path: Path) -> None:
    printed = {
        subprocess.run(
            [sys.executable, "-c", _PRODUCTS, str(tiny_onnx_path)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads},
        ).stdout
        for threads in ("1", "2")
    }

    assert len(printed) == 1
