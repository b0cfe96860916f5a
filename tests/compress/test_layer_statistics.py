"""What layers see: what joins the Hessians of few inputs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgekit.compress import calibrated
from edgekit.compress.calibrate import Probe
from edgekit.compress.calibrated import Calibration
from edgekit.compress.feedback import error_feedback
from edgekit.compress.layer_statistics import (
    LayerStatistics,
    add_hessians,
    blend_hessians,
    blend_weights,
    joined,
    layer_statistics,
    weight_products,
)
from edgekit.compress.levels import GridLevels
from edgekit.compress.noise import natural_noise
from edgekit.compress.split_inputs import ENOUGH_INPUTS
from edgekit.graph import Graph, load_graph
from edgekit.graph.layers import find_layers


def test_hessians_blend_at_one_size(graph: Graph, inputs: NDArray[np.float32]) -> None:
    layers = find_layers(graph)
    shapes = {weight.name: weight.shape for weight in graph.weights}
    first, second = (
        layer_statistics(
            Probe(graph, inputs), layers, shapes, np.random.default_rng(0), scale * inputs
        )
        for scale in (1, 3)
    )

    blended = blend_hessians(first, second, 0.25)["conv.weight"].hessian

    own, other = first["conv.weight"].hessian, second["conv.weight"].hessian
    assert own is not None
    assert other is not None
    assert blended is not None
    assert np.trace(blended) == pytest.approx(np.trace(own))
    assert not np.allclose(blended, 0.75 * own + 0.25 * other)


def test_samples_are_those_of_both(graph: Graph, inputs: NDArray[np.float32]) -> None:
    layers = find_layers(graph)
    shapes = {weight.name: weight.shape for weight in graph.weights}
    first, second = (
        layer_statistics(Probe(graph, part), layers, shapes, np.random.default_rng(0))
        for part in (inputs[:30], inputs[30:])
    )

    found = joined(first, second)

    assert found["gemm.weight"].samples == len(inputs)
    assert found["conv.weight"].samples == 96 * len(inputs)


def test_further_hessians_leave_the_means(graph: Graph, inputs: NDArray[np.float32]) -> None:
    layers, probe = find_layers(graph), Probe(graph, inputs)
    shapes = {weight.name: weight.shape for weight in graph.weights}
    own, further = (
        layer_statistics(probe, layers, shapes, np.random.default_rng(0), some)
        for some in (inputs[:30], 3 * inputs[30:])
    )

    found = add_hessians(own, further)

    for name, both in joined(own, further).items():
        np.testing.assert_array_equal(found[name].hessian, both.hessian)
        assert found[name].samples == both.samples
        np.testing.assert_array_equal(found[name].mean, own[name].mean)
        assert found[name].inputs == 30


def test_weights_join_by_how_few_samples_there_are() -> None:
    seen = LayerStatistics(np.ones(3), np.diag([1.0, 2.0, 3.0]), samples=9)
    product = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])

    blended = blend_weights({"fc": seen, "depthwise": seen}, {"fc": product})

    # 3 inputs, 9 samples: a third of these, at their mean diagonal of 2.
    expected = np.diag([1.0, 2.0, 3.0]) + 2 / 3 * product
    np.testing.assert_allclose(np.asarray(blended["fc"].hessian), expected)
    np.testing.assert_array_equal(blended["fc"].mean, seen.mean)
    assert blended["depthwise"] is seen


@pytest.mark.parametrize(
    ("op", "is_transposed"),
    [("Conv", False), ("Gemm", False), ("Gemm", True), ("MatMul", False)],
)
def test_products_are_of_filters_however_they_are_stored(
    op: str, rng: np.random.Generator, *, is_transposed: bool
) -> None:
    filters = rng.standard_normal((5, 27)).astype(np.float32)
    stored = filters if is_transposed else filters.T
    stored = filters.reshape(5, 3, 3, 3) if op == "Conv" else stored
    node = helper.make_node(op, ["input", "weight"], ["output"])
    if op == "Gemm":
        node.attribute.append(helper.make_attribute("transB", int(is_transposed)))
    shape: tuple[str | int, ...] = ("N", 3, 8, 8) if op == "Conv" else ("N", 27)
    answer: tuple[str | int, ...] = ("N", 5, 6, 6) if op == "Conv" else ("N", 5)
    model = helper.make_model(
        helper.make_graph(
            [node],
            "one",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, answer)],
            [numpy_helper.from_array(np.ascontiguousarray(stored), "weight")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    graph = load_graph(model.SerializeToString())

    products = weight_products(find_layers(graph), {one.name: one for one in graph.weights})

    np.testing.assert_allclose(products["weight"], filters.T @ filters, rtol=1e-5, atol=1e-5)


def test_filters_that_are_sums_of_inputs_stand_in_for_samples(rng: np.random.Generator) -> None:
    outputs, width = 40, 60
    # Inputs vary along a dozen directions and a little along all others.
    mixing = np.concatenate([rng.standard_normal((12, width)), 0.1 * np.eye(width)])
    sizes = (500, 8, 2000)
    trained, few, fresh = (rng.standard_normal((size, len(mixing))) @ mixing for size in sizes)
    filters = np.asarray(rng.standard_normal((outputs, 500)) @ trained, np.float32)
    own = LayerStatistics(few.mean(axis=0), few.T @ few, samples=len(few))
    product = np.asarray(filters.T @ filters, np.float64)
    blended = blend_weights({"fc": own}, {"fc": product})["fc"]
    levels = GridLevels(np.full(outputs, filters.std() / 2, np.float32))

    def off(hessian: NDArray[np.float64] | None) -> float:
        assert hessian is not None
        codes = error_feedback(filters, levels, hessian, damping=0.1)
        return float(np.square(fresh @ (levels.restored(codes) - filters).T).mean())

    assert off(blended.hessian) < 0.8 * off(own.hessian)


@pytest.mark.parametrize(("count", "is_noise"), [(40, False), (40, True), (330, False)])
def test_calibration_on_few_inputs_believes_the_weights(
    graph: Graph, count: int, *, is_noise: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = natural_noise(count, (1, 12, 12), np.random.default_rng(0))

    def codes() -> NDArray[np.int8]:
        found = Calibration(graph, inputs, is_noise=is_noise).at_bits(4)
        return np.asarray(found.coded["gemm.weight"].codes)

    with_weights = codes()
    monkeypatch.setattr(calibrated, "blend_weights", lambda found, _: found)

    assert np.array_equal(codes(), with_weights) is (count >= ENOUGH_INPUTS)
