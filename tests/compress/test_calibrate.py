"""What a model's layers see and what it answers, where neither is one row for each input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, helper

from edgekit.compress.answers import one_output, total_divergence
from edgekit.compress.calibrate import Probe
from edgekit.compress.goal import Goal
from edgekit.compress.layer_statistics import layer_statistics
from edgekit.compress.pipeline import compress
from edgekit.errors import DataError
from edgekit.graph import load_graph
from edgekit.graph.layers import find_layers
from tests.onnx_files import make_model


def folded(rng: np.random.Generator) -> ModelProto:
    """A convolution, then a dense layer over all its positions, which are rows of one matrix."""
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("Transpose", ["r"], ["t"], "last", perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["t", "rows"], ["q"], "fold"),
        helper.make_node("Gemm", ["q", "d", "e"], ["z"], "dense"),
        helper.make_node("Relu", ["z"], ["v"], "positive"),
        helper.make_node("Reshape", ["v", "pictures"], ["u"], "unfold"),
        helper.make_node("ReduceMean", ["u"], ["y"], "mean", axes=[1], keepdims=0),
    ]
    weights: dict[str, NDArray[Any]] = {
        "w": rng.normal(0, 0.2, (16, 3, 3, 3)).astype(np.float32),
        "b": rng.uniform(0, 0.5, 16).astype(np.float32),
        "rows": np.array([-1, 16], np.int64),
        "d": rng.normal(0, 1, (16, 32)).astype(np.float32),
        "e": rng.normal(0, 0.2, 32).astype(np.float32),
        "pictures": np.array([-1, 64, 32], np.int64),
    }
    return make_model(nodes, {"x": ["N", 3, 8, 8]}, {"y": ["N", 32]}, weights)


def test_the_mean_of_folded_positions_is_over_all_of_them(rng: np.random.Generator) -> None:
    graph = load_graph(folded(rng).SerializeToString())
    inputs = rng.normal(0, 1, (13, 3, 8, 8)).astype(np.float32)
    probe = Probe(graph, inputs)
    shapes = {weight.name: weight.shape for weight in graph.weights}

    found = layer_statistics(probe, find_layers(graph), shapes, rng)["d"]

    rows = np.concatenate([values["q"] for values in probe.values(["q"])])
    np.testing.assert_allclose(found.mean, rows.mean(axis=0), rtol=1e-5)
    assert (found.inputs, found.elements) == (13, 64 * 16)


@pytest.mark.parametrize("count", [0, 50, 400])
def test_a_layer_of_folded_positions_keeps_its_answers(
    rng: np.random.Generator, count: int
) -> None:
    model = folded(rng).SerializeToString()
    inputs: str | NDArray[np.float32] = "noise"
    if count:
        inputs = rng.normal(0, 1, (count, 3, 8, 8)).astype(np.float32)

    report = compress(model, None, bits=4, calibration=inputs, dry_run=True)

    assert report.metrics["divergence"] < 0.02


def two_heads(rng: np.random.Generator) -> ModelProto:
    """Boxes first, then scores, as detectors have them."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("Conv", ["r", "b"], ["boxes"], "boxes"),
        helper.make_node("Conv", ["r", "s"], ["scores"], "scores"),
    ]
    weights = {
        name: rng.normal(0, 0.2, shape).astype(np.float32)
        for name, shape in {"w": (16, 3, 3, 3), "b": (8, 16, 1, 1), "s": (24, 16, 1, 1)}.items()
    }
    outputs = {"boxes": (1, 8, 12, 12), "scores": (1, 24, 12, 12)}
    return make_model(nodes, {"x": (1, 3, 12, 12)}, outputs, weights)


@pytest.mark.parametrize("goal", [Goal(bits_per_weight=4), Goal(max_divergence=0.01), None])
def test_every_output_counts(rng: np.random.Generator, goal: Goal | None) -> None:
    model = two_heads(rng).SerializeToString()

    report = compress(
        model,
        None,
        calibration="noise",
        goal=goal or Goal(),
        sparsity=0.0 if goal else 0.3,
        dry_run=True,
    )

    [scores] = [layer for layer in report.layers if layer.fidelity.name == "s"]
    assert scores.fidelity.relative_error < 0.5


def test_outputs_without_a_row_for_each_input_are_one_row() -> None:
    parts = [np.ones((5, 2)), np.ones((5, 3))]

    assert one_output(parts, [2, 3]).shape == (1, 1, 25)
    assert one_output([np.ones((2, 4)), np.ones((3, 4))], [2, 3]).shape == (5, 4)
    assert one_output([np.ones(4), np.ones(4)], [1, 1]).shape == (2, 4)
    assert one_output([np.array(1.0), np.array(2.0)], [1, 1]).shape == (2,)


@pytest.mark.parametrize("then", ["time first", "a scalar"])
def test_answers_without_rows_calibrate(rng: np.random.Generator, then: str) -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], "conv")]
    if then == "a scalar":
        nodes.append(helper.make_node("ReduceMean", ["c"], ["y"], "mean", keepdims=0))
    else:
        nodes.append(helper.make_node("Transpose", ["c"], ["y"], "turn", perm=[3, 0, 1, 2]))
    weights = {"w": rng.normal(0, 0.2, (8, 3, 3, 3)).astype(np.float32)}
    model = make_model(
        nodes,
        {"x": ["N", 3, 8, 8]},
        {"y": ["A", "B", 8, 6] if then == "time first" else []},
        weights,
    ).SerializeToString()

    report = compress(model, None, bits=6, calibration="noise", dry_run=True)

    assert report.metrics["held_back"] == 13
    assert 0 < report.metrics["divergence"] < 0.1


def test_answers_that_cannot_be_compared_are_told() -> None:
    finite, broken = np.ones((3, 2), np.float32), np.full((3, 2), np.nan, np.float32)

    assert total_divergence((finite, broken), (finite, finite)) == 0
    with pytest.raises(DataError, match="aren't finite"):
        total_divergence((broken,), (finite,))
    with pytest.raises(DataError, match="depend on its weights"):
        total_divergence((finite,), (finite[:2],))
