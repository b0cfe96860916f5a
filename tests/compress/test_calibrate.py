"""What a model's layers see and what it answers, where neither is one row for each input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, helper

from edgekit.compress.calibrate import Probe, layer_statistics
from edgekit.compress.pipeline import compress
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
