"""Equalised networks answer as before: across nothing, and across ReLU6 whose bounds move."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.equalisation import equalised, find_pairs
from edgekit.compress.calibrate import Probe
from edgekit.graph import load_graph


@pytest.fixture
def relu6_model(rng: np.random.Generator) -> onnx.ModelProto:
    """Conv -> ReLU6 -> depthwise Conv -> ReLU6 -> Conv -> Conv, of uneven channels."""
    shapes = {"a": (12, 3, 3, 3), "b": (12, 1, 3, 3), "c": (8, 12, 1, 1), "d": (10, 8, 1, 1)}
    numbers = {"low": np.zeros((), np.float32), "high": np.full((), 6, np.float32)}
    for name, shape in shapes.items():
        spread = np.geomspace(0.1, 10, shape[0]).reshape(-1, 1, 1, 1)
        numbers[name] = (rng.normal(size=shape) * spread).astype(np.float32)
        numbers[f"{name}_bias"] = rng.normal(size=shape[0]).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "a", "a_bias"], ["1"], "first"),
        helper.make_node("Clip", ["1", "low", "high"], ["2"]),
        helper.make_node("Conv", ["2", "b", "b_bias"], ["3"], "depthwise", group=12),
        helper.make_node("Clip", ["3", "low", "high"], ["4"]),
        helper.make_node("Conv", ["4", "c", "c_bias"], ["5"], "project"),
        helper.make_node("Conv", ["5", "d", "d_bias"], ["y"], "expand"),
    ]
    graph = helper.make_graph(
        nodes,
        "relu6",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 10, 10])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 10, 6, 6])],
        [numpy_helper.from_array(array, name) for name, array in numbers.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize("moves_bounds", [False, True])
def test_equalised_networks_answer_as_before(
    relu6_model: onnx.ModelProto, rng: np.random.Generator, *, moves_bounds: bool
) -> None:
    inputs = rng.normal(size=(5, 3, 10, 10)).astype(np.float32)
    pairs = [pair for pair in find_pairs(relu6_model) if moves_bounds or pair.clip is None]

    model = equalised(relu6_model, pairs)

    assert [pair.second.name for pair in pairs] == (
        ["depthwise", "project", "expand"] if moves_bounds else ["expand"]
    )
    before, after = (
        Probe(load_graph(each.SerializeToString()), inputs).outputs()
        for each in (relu6_model, model)
    )
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4 * np.abs(before).max())
    pointwise = next(t for t in model.graph.initializer if t.name == "d")
    largest = np.abs(numpy_helper.to_array(pointwise)).max(axis=(0, 2, 3))
    written = next(t for t in model.graph.initializer if t.name == "c")
    np.testing.assert_allclose(
        largest, np.abs(numpy_helper.to_array(written)).max(axis=(1, 2, 3)), rtol=0.05
    )
