"""Answers behind a layer: those of the whole model, whatever flows before it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgekit.compress import stages
from edgekit.compress.answers_behind import answers_behind
from edgekit.compress.calibrate import Probe
from edgekit.compress.stages import UnwalkableError
from edgekit.graph import Graph, load_graph
from edgekit.graph.layers import find_layers
from tests.compress.unwalkable import unwalkable_models
from tests.onnx_files import make_model


def test_answers_behind_a_layer_are_those_of_the_whole_model(
    graph: Graph, inputs: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    probe, layers = Probe(graph, inputs), find_layers(graph)
    weights = {weight.name: weight for weight in graph.weights}
    ran = []
    answers = probe.answers
    monkeypatch.setattr(probe, "answers", lambda *given, **named: ran.append(given))

    for layer, answering in answers_behind(probe, layers, inputs):
        changed = {layer.weight: np.float32(0.9) * weights[layer.weight].float32()}
        [found] = answering(changed)
        np.testing.assert_allclose(found, answers(changed)[0], rtol=1e-4, atol=1e-5)

    assert not ran


@pytest.mark.parametrize(
    "what", [*sorted(unwalkable_models()), "float8", "an output that is a weight"]
)
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
    graph = load_graph((others | unwalkable_models())[what].SerializeToString())
    probe = Probe(graph, data)
    values = {weight.name: weight.float32() for weight in graph.weights}
    layers = find_layers(graph)
    assert len(layers) > 1

    for first in range(len(layers) + 1):
        for layer, answering in answers_behind(probe, layers, data, first):
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
    for layer, answering in answers_behind(probe, layers, inputs):
        changed = {layer.weight: np.float32(0.9) * weights[layer.weight]}
        np.testing.assert_array_equal(answering(changed)[0], probe.answers(changed)[0])
