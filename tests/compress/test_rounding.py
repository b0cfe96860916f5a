"""Rounding layers by themselves and in turn, and the model that is judged: the file's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import edgekit
from edgekit.compress import calibrated
from edgekit.compress.calibrate import Probe
from edgekit.compress.calibrated import ENOUGH_INPUTS, Calibration
from edgekit.compress.layer_statistics import layer_statistics
from edgekit.compress.levels import GridLevels
from edgekit.compress.noise import natural_noise
from edgekit.compress.paired import make_up, paired_statistics
from edgekit.compress.pipeline import apply_plan
from edgekit.compress.plan import make_plan
from edgekit.compress.rounding import Calibrated, Measured, in_turn, on_levels
from edgekit.compress.stages import Seen, layers_in_turn
from edgekit.graph import Graph
from edgekit.graph.layers import find_layers
from edgekit.packfile.writer import pack
from edgekit.tensors import dequantize


def test_stages_see_what_the_whole_model_sees(graph: Graph, inputs: NDArray[np.float32]) -> None:
    probe, layers = Probe(graph, inputs), find_layers(graph)
    rounded = {
        weight.name: np.float32(0.5) * weight.float32()
        for weight in graph.weights
        if weight.name == "conv.weight"
    }

    seen = list(layers_in_turn(probe, layers, inputs, rounded))

    assert [one.layer for one in seen] == list(layers)
    names = [layer.source for layer in layers]
    for weights, side in (({}, "original"), (rounded, "rounded")):
        batches = list(probe.values(names, weights))
        for one in seen:
            for found, whole in zip(getattr(one, side), batches, strict=True):
                np.testing.assert_allclose(found, whole[one.layer.source], rtol=1e-4, atol=1e-5)


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
        for found in (on_levels(model, levels, 0.1), in_turn(model, levels, 0.1, many))
    )

    assert turned < 0.8 * alone


def test_layers_before_the_first_in_turn_are_rounded_alone(
    graph: Graph, inputs: NDArray[np.float32]
) -> None:
    calibration = Calibration(graph, inputs)
    levels = calibration.codes_at(0.01).levels
    model, count = calibration._measured, len(find_layers(graph))

    alone = on_levels(model, levels, 0.1)
    by_first = [in_turn(model, levels, 0.1, inputs, first) for first in range(count + 1)]

    names = [layer.weight for layer in find_layers(graph)]
    for first, found in enumerate(by_first):
        is_same = [
            np.array_equal(found.coded[name].codes, alone.coded[name].codes) for name in names
        ]
        assert all(is_same[: max(first, 1)])
        assert all(is_same) is (first == count)


def test_layers_behind_which_too_much_is_held_are_rounded_alone(
    graph: Graph, inputs: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    def firsts(held_bytes: int) -> int:
        monkeypatch.setattr(calibrated, "_HELD_BYTES", held_bytes)
        seen = []

        def walk(*rest: Any) -> Calibrated:
            seen.append(rest[-1])
            return in_turn(*rest)

        monkeypatch.setattr(calibrated, "in_turn", walk)
        Calibration(graph, inputs).codes_at(0.01)
        return int(seen[0])

    layers = find_layers(graph)
    shapes = {weight.name: weight.shape for weight in graph.weights}
    rng = np.random.default_rng(0)
    elements = [
        layer_statistics(Probe(graph, inputs), layers, shapes, rng)[layer.weight].elements
        for layer in layers
    ]

    held = 4 * len(inputs) * max(elements)
    assert firsts(held) == 0
    assert firsts(held - 4) == len(elements) - elements[::-1].index(max(elements))
    assert firsts(0) == len(layers)


def test_few_inputs_round_in_turn_and_others_gain(graph: Graph, rng: np.random.Generator) -> None:
    few, fresh = natural_noise(40, (1, 12, 12), rng), natural_noise(200, (1, 12, 12), rng)
    calibration = Calibration(graph, few)
    expected = calibration.outputs(fresh, None)

    found = calibration.codes_at(0.3)
    alone = on_levels(calibration._measured_on_all, found.levels, found.damping)

    turned, plain = (
        np.square(calibration.outputs(fresh, one) - expected).mean() for one in (found, alone)
    )
    assert turned < 0.9 * plain


def test_codes_are_judged_without_the_inputs_that_judge(
    graph: Graph, inputs: NDArray[np.float32]
) -> None:
    calibration = Calibration(graph, inputs)
    codes = calibration.codes_at(0.1)

    found = calibration.judged(codes)

    assert not codes.is_judged
    assert found.is_judged
    assert found.is_rejoined
    assert found.held_back == codes.held_back == 8
    for name, tensor in codes.coded.items():
        np.testing.assert_array_equal(found.coded[name].codes, tensor.codes)
    spoiled = inputs.copy()
    spoiled[::5] *= 1.5
    other = Calibration(graph, spoiled)
    again = other._in_turn(other._measured, other._inputs, codes.levels, 0.1)
    before = calibration._in_turn(calibration._measured, calibration._inputs, codes.levels, 0.1)
    for name, tensor in before.coded.items():
        np.testing.assert_array_equal(again.coded[name].codes, tensor.codes)
    assert calibration.judged(found) is found


def test_what_is_judged_is_the_file(graph: Graph, inputs: NDArray[np.float32]) -> None:
    plan = make_plan(graph.weights, bits=4)
    calibration = Calibration(graph, inputs, plan)

    found = calibration.at_bits(4)

    session = edgekit.load(pack(apply_plan(graph, plan, found)[0]), threads=2)
    (outputs,) = session.run(None, {session.get_inputs()[0].name: inputs[:10]})
    np.testing.assert_array_equal(calibration.outputs(inputs[:10], found), outputs)


def test_held_back_inputs_are_no_part_of_the_statistics(graph: Graph) -> None:
    inputs = natural_noise(ENOUGH_INPUTS * 5 // 4 + 5, (1, 12, 12), np.random.default_rng(3))
    spoiled = inputs.copy()
    spoiled[::5] *= 1.5
    plan = make_plan(graph.weights)

    plain, other = (Calibration(graph, data, plan).at_bits(4) for data in (inputs, spoiled))

    assert plain.divergence != other.divergence
    assert plain.damping == other.damping
    for name, tensor in plain.coded.items():
        np.testing.assert_array_equal(dequantize(tensor), dequantize(other.coded[name]))


_THREADS = """
import sys
from edgekit.compress import calibrate
from edgekit.compress.goal import Goal
from edgekit.compress.pipeline import compress
threads = int(sys.argv[2])
original = calibrate.Probe.__init__
def init(self, *rest, **named):
    original(self, *rest, **(named | {"threads": threads}))
calibrate.Probe.__init__ = init
goal = Goal(bits_per_weight=3.0)
print(compress(sys.argv[1], None, dry_run=True, calibration="noise", goal=goal).sha256)
"""


def test_the_bytes_are_the_same_whatever_the_threads(tiny_onnx_path: Path) -> None:
    digests = set()
    for threads in ("1", "2"):
        named = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), threads)
        done = subprocess.run(
            [sys.executable, "-c", _THREADS, str(tiny_onnx_path), threads],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, **named},
        )
        digests.add(done.stdout)

    assert len(digests) == 1


_PRODUCTS = """
import sys
import numpy as np
from edgekit.compress.paired import paired_statistics
from edgekit.compress.stages import Seen
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
