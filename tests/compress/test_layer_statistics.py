"""What layers see: what joins the Hessians of few inputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.compress.calibrate import Probe
from edgekit.compress.feedback import error_feedback
from edgekit.compress.layer_statistics import (
    LayerStatistics,
    blend_hessians,
    blend_weights,
    layer_statistics,
)
from edgekit.compress.levels import GridLevels
from edgekit.compress.noise import natural_noise
from edgekit.graph import Graph, load_graph
from edgekit.graph.layers import find_layers


@pytest.fixture
def graph(tiny_onnx_path: Path) -> Graph:
    return load_graph(tiny_onnx_path)


@pytest.fixture
def inputs(rng: np.random.Generator) -> NDArray[np.float32]:
    return natural_noise(40, (1, 12, 12), rng)


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


def test_weights_join_by_how_few_samples_there_are(
    graph: Graph, inputs: NDArray[np.float32]
) -> None:
    layers = find_layers(graph)
    weights = {weight.name: weight for weight in graph.weights}
    shapes = {name: weight.shape for name, weight in weights.items()}
    statistics = layer_statistics(
        Probe(graph, inputs), layers, shapes, np.random.default_rng(0), inputs
    )

    blended = blend_weights(statistics, layers, weights)

    for layer in layers:
        own, found = statistics[layer.weight], blended[layer.weight]
        assert own.hessian is not None
        assert found.hessian is not None
        np.testing.assert_array_equal(found.mean, own.mean)
        if layer.mixes_channels:
            filters = weights[layer.weight].filters().astype(np.float64)
            count = filters.shape[1]
            share = count / (count + own.samples)
            product = filters.T @ filters * np.trace(own.hessian) / np.sum(filters**2)
            expected = (1 - share) * own.hessian + share * product
            np.testing.assert_allclose(found.hessian, expected, rtol=1e-6)
        else:
            np.testing.assert_array_equal(found.hessian, own.hessian)
    assert statistics["gemm.weight"].samples == len(inputs)
    assert statistics["conv.weight"].samples > 90 * len(inputs)


def test_filters_that_are_sums_of_inputs_stand_in_for_samples(
    graph: Graph, rng: np.random.Generator
) -> None:
    layer = next(layer for layer in find_layers(graph) if layer.weight == "gemm.weight")
    original = next(weight for weight in graph.weights if weight.name == layer.weight)
    outputs, width = 40, original.filters().shape[1]
    # Inputs vary along a dozen directions and a little along all others.
    mixing = np.concatenate([rng.standard_normal((12, width)), 0.1 * np.eye(width)])
    trained, few, fresh = (rng.standard_normal((count, len(mixing))) @ mixing
                           for count in (500, 8, 2000))  # fmt: skip
    filters = np.asarray(rng.standard_normal((outputs, 500)) @ trained, np.float32)
    weight = replace(original, values=filters)
    own = LayerStatistics(few.mean(axis=0), few.T @ few, samples=len(few))
    blended = blend_weights({layer.weight: own}, [layer], {layer.weight: weight})[layer.weight]
    levels = GridLevels(np.full(outputs, filters.std() / 2, np.float32))

    def off(hessian: NDArray[np.float64] | None) -> float:
        assert hessian is not None
        codes = error_feedback(filters, levels, hessian, damping=0.1)
        return float(np.square(fresh @ (levels.restored(codes) - filters).T).mean())

    assert off(blended.hessian) < 0.8 * off(own.hessian)
