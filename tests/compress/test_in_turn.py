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
from onnx import ModelProto, NodeProto, TensorProto, helper

from edgekit.compress import calibrated, rounding, stages
from edgekit.compress.calibrate import Probe
from edgekit.compress.calibrated import Calibration
from edgekit.compress.layer_statistics import layer_statistics
from edgekit.compress.levels import GridLevels
from edgekit.compress.noise import natural_noise
from edgekit.compress.paired import make_up, paired_statistics
from edgekit.compress.rounding import Calibrated, Measured, in_turn, on_levels
from edgekit.compress.stages import (
    Seen,
    UnwalkableError,
    Walkers,
    answers_in_turn,
    layers_in_turn,
)
from edgekit.compress.views import Views
from edgekit.graph import Graph, load_graph
from edgekit.graph.layers import find_layers
from tests.onnx_files import make_model


def test_stages_see_what_the_whole_model_sees(graph: Graph, inputs: NDArray[np.float32]) -> None:
    probe, layers = Probe(graph, inputs), find_layers(graph)
    rounded = {
        weight.name: np.float32(0.5) * weight.float32()
        for weight in graph.weights
        if weight.name == "conv.weight"
    }

    seen = list(layers_in_turn(probe, layers, [Walkers(inputs)], rounded))

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


def test_layers_behind_which_too_much_is_held_are_rounded_alone(
    graph: Graph, inputs: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    def firsts(held_bytes: int) -> int:
        monkeypatch.setattr(calibrated, "_HELD_BYTES", held_bytes)
        seen = []

        def walk(*rest: Any) -> Calibrated:
            seen.append(rest[-1][0].first)
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


@pytest.mark.parametrize("count", [300, 319, 1300])
def test_both_walks_begin_at_one_layer_with_as_many_inputs_as_go(
    graph: Graph, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = natural_noise(count, (1, 12, 12), np.random.default_rng(0))
    seen = []

    def walk(*rest: Any) -> Calibrated:
        [walkers] = rest[3]
        seen.append((len(walkers.inputs), walkers.first))
        return in_turn(*rest)

    monkeypatch.setattr(calibrated, "in_turn", walk)
    Calibration(graph, many).at_factor(0.01)

    held_back = -(-count // 5)
    assert seen == ([(256, 0), (count - held_back, 0)] if count < 320 else [(256, 0)])


def test_views_join_where_they_can_be_held(
    graph: Graph, inputs: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = find_layers(graph)
    shapes = {weight.name: weight.shape for weight in graph.weights}
    statistics = layer_statistics(
        Probe(graph, inputs), layers, shapes, np.random.default_rng(0), inputs
    )
    sizes = [4 * statistics[layer.weight].elements for layer in layers]
    calibration = Calibration(graph, inputs)

    def joining() -> list[tuple[type, int, int]]:
        walkers = calibration._walkers(inputs)
        return [(type(one.inputs), len(one.inputs), one.first) for one in walkers]

    assert joining() == [(np.ndarray, 40, 0), *[(Views, 40, 0)] * 4]
    # All pictures can be held from the start on, one view of each beside them at the end.
    monkeypatch.setattr(calibrated, "_HELD_BYTES", 40 * max(*sizes, 2 * sizes[-1]))
    firsts = [first for _, _, first in joining()]
    assert firsts[0] == 0
    assert sorted(firsts) == firsts
    for count, first in enumerate(firsts, 1):
        room = calibrated._HELD_BYTES // (40 * count)
        assert all(size <= room for size in sizes[first:])
        assert first == 0 or sizes[first - 1] > room
    assert 0 < firsts[1] <= len(layers)
    found = calibration.codes_at(0.01)
    assert calibration._is_walkable
    assert calibration.judged(found).divergence < 0.01


def test_those_who_join_see_what_the_whole_model_sees(
    graph: Graph, inputs: NDArray[np.float32]
) -> None:
    probe, layers = Probe(graph, inputs), find_layers(graph)
    rounded = {
        weight.name: np.float32(0.5) * weight.float32()
        for weight in graph.weights
        if weight.name == "conv.weight"
    }

    walkers = [Walkers(inputs, 1), Walkers(Views(inputs, 0), 3)]
    seen = list(layers_in_turn(probe, layers, walkers, rounded))

    assert [one.layer for one in seen] == list(layers[1:])
    assert [sum(map(len, one.original)) for one in seen] == [40, 40, 80]
    last = layers[3].source
    for weights, side in (({}, "original"), (rounded, "rounded")):
        found = np.concatenate(getattr(seen[-1], side))
        everything = np.concatenate([inputs, Views(inputs, 0)[:]])
        whole = [batch[last] for batch in probe.values([last], weights, everything)]
        np.testing.assert_allclose(found, np.concatenate(whole), rtol=1e-4, atol=1e-5)


def test_answers_behind_a_layer_are_those_of_the_whole_model(
    graph: Graph, inputs: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    probe, layers = Probe(graph, inputs), find_layers(graph)
    weights = {weight.name: weight for weight in graph.weights}
    ran = []
    answers = probe.answers
    monkeypatch.setattr(probe, "answers", lambda *given, **named: ran.append(given))

    for layer, answering in answers_in_turn(probe, layers, inputs):
        changed = {layer.weight: np.float32(0.9) * weights[layer.weight].float32()}
        [found] = answering(changed)
        np.testing.assert_allclose(found, answers(changed)[0], rtol=1e-4, atol=1e-5)

    assert not ran


def _awkward() -> dict[str, ModelProto]:
    """Models whose outputs are left out, and with what a walk can't hold or compare."""
    rng = np.random.default_rng(0)
    node = helper.make_node

    def wide(*shape: int) -> NDArray[np.float32]:
        return (0.2 * rng.normal(size=shape)).astype(np.float32)

    convs = {"w1": wide(16, 3, 3, 3), "w2": wide(16, 16, 3, 3), "w3": wide(16, 10)}
    first = node("Conv", ["x", "w1"], ["c"], pads=[1] * 4)
    ends = [
        node("GlobalAveragePool", ["f"], ["g"]),
        node("Flatten", ["g"], ["h"]),
        node("MatMul", ["h", "w3"], ["y"]),
    ]

    def model(nodes: list[NodeProto], others: dict[str, NDArray[Any]]) -> ModelProto:
        return make_model(nodes, {"x": ["n", 3, 8, 8]}, {"y": ["m", 10]}, convs | others)

    second = node("Conv", ["c", "w2"], ["d"], pads=[1] * 4)
    one = np.array([1], np.int64)
    return {
        "a sequence": model(
            [
                node("SplitToSequence", ["x"], ["s"], axis=1, keepdims=1),
                *(first, second),
                node("SequenceAt", ["s", "at"], ["e"]),
                node("Add", ["d", "e"], ["f"]),
                *ends,
            ],
            {"at": np.array(0, np.int64)},
        ),
        "bfloat16": model(
            [
                node("Cast", ["x"], ["b"], to=TensorProto.BFLOAT16),
                *(first, second),
                node("Cast", ["b"], ["b32"], to=TensorProto.FLOAT),
                node("ReduceMean", ["b32"], ["e"], axes=[1]),
                node("Add", ["d", "e"], ["f"]),
                *ends,
            ],
            {},
        ),
        "outputs left out": model(
            [
                first,
                node("MaxPool", ["c"], ["p", ""], kernel_shape=[2, 2]),
                node("Resize", ["p", "", "scales"], ["q"]),
                node("Conv", ["q", "w2"], ["d"], pads=[1] * 4),
                node("Resize", ["d", "", "scales"], ["f"]),
                *ends,
            ],
            {"scales": np.array([1, 1, 2, 2], np.float32)},
        ),
        "an input that is a weight": model(
            [
                node("MatMul", ["queries", "wq"], ["k"]),
                node("Conv", ["x", "w1"], ["f"], pads=[1] * 4),
                *ends[:2],
                node("MatMul", ["h", "k"], ["a"]),
                node("MatMul", ["a", "w3"], ["y"]),
            ],
            {"queries": wide(16, 32), "wq": wide(32, 16)},
        ),
        "rows chosen by value": model(
            [
                first,
                node("Transpose", ["c"], ["t"], perm=[0, 2, 3, 1]),
                node("Reshape", ["t", "rows"], ["r"]),
                node("ReduceSum", ["r", "one"], ["sums"], keepdims=0),
                node("Greater", ["sums", "zero"], ["positive"]),
                node("Compress", ["r", "positive"], ["p"], axis=0),
                node("MatMul", ["p", "w4"], ["q"]),
                node("ReduceMean", ["q"], ["m"], axes=[0], keepdims=1),
                node("MatMul", ["m", "w3"], ["y"]),
            ],
            {
                "rows": np.array([-1, 16], np.int64),
                "one": one,
                "zero": np.array(0, np.float32),
                "w4": wide(16, 16),
            },
        ),
    }


@pytest.mark.parametrize("what", sorted(_awkward()))
def test_what_a_walk_cannot_hold_is_rounded_alone(what: str, rng: np.random.Generator) -> None:
    data = rng.normal(size=(40, 3, 8, 8)).astype(np.float32)
    calibration = Calibration(load_graph(_awkward()[what].SerializeToString()), data)

    found = calibration.at_bits(8)

    assert found.divergence < 0.01
    alone = on_levels(calibration._measured_on_all, found.levels, found.damping)
    is_alone = all(
        np.array_equal(tensor.codes, alone.coded[name].codes)
        for name, tensor in found.coded.items()
    )
    assert is_alone is (what != "outputs left out")


@pytest.mark.parametrize("what", [*sorted(_awkward()), "float8", "an output that is a weight"])
def test_answers_behind_a_layer_hold_whatever_flows(what: str, rng: np.random.Generator) -> None:
    data = rng.normal(size=(20, 3, 8, 8)).astype(np.float32)
    node = helper.make_node
    weights = {
        "w1": (0.2 * rng.normal(size=(16, 3, 3, 3))).astype(np.float32),
        "w2": (0.2 * rng.normal(size=(16, 16, 3, 3))).astype(np.float32),
        "k": rng.normal(size=(16, 1, 1)).astype(np.float32),
    }
    ends = [node("Conv", ["c", "w2"], ["d"]), node("Add", ["d", "e"], ["y"])]
    others = {
        "float8": make_model(
            [
                node("Cast", ["x"], ["f"], to=TensorProto.FLOAT8E4M3FN),
                node("Conv", ["x", "w1"], ["c"], pads=[1] * 4),
                node("Cast", ["f"], ["f32"], to=TensorProto.FLOAT),
                node("ReduceMean", ["f32"], ["e"]),
                *ends,
            ],
            {"x": ["n", 3, 8, 8]},
            {"y": ["n", 16, 6, 6]},
            weights,
            opset=19,
        ),
        "an output that is a weight": make_model(
            [node("Conv", ["x", "w1"], ["c"]), node("Relu", ["k"], ["e"]), *ends],
            {"x": ["n", 3, 8, 8]},
            {"y": ["n", 16, 4, 4], "k": [16, 1, 1]},
            weights,
        ),
    }
    graph = load_graph((others | _awkward())[what].SerializeToString())
    probe = Probe(graph, data)
    values = {weight.name: weight.float32() for weight in graph.weights}
    layers = find_layers(graph)
    assert len(layers) > 1

    for first in range(len(layers) + 1):
        for layer, answering in answers_in_turn(probe, layers, data, first):
            changed = {layer.weight: np.float32(0.9) * values[layer.weight]}
            for found, whole in zip(answering(changed), probe.answers(changed), strict=True):
                np.testing.assert_allclose(found, whole, rtol=1e-3, atol=1e-4)


def test_where_the_last_nodes_do_not_run_the_whole_model_answers(
    graph: Graph, inputs: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    probe, layers = Probe(graph, inputs), find_layers(graph)
    weights = {weight.name: weight.float32() for weight in graph.weights}
    session, last = stages._session, probe.model.graph.node[-1]

    def refusing(*given: Any) -> Any:
        if last in given[1]:
            raise UnwalkableError("refused")
        return session(*given)

    monkeypatch.setattr(stages, "_session", refusing)
    for layer, answering in answers_in_turn(probe, layers, inputs):
        changed = {layer.weight: np.float32(0.9) * weights[layer.weight]}
        np.testing.assert_array_equal(answering(changed)[0], probe.answers(changed)[0])


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
