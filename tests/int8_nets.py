"""Small networks for the int8 run form: every kind of layer and join that it knows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper

from tests.onnx_files import make_model

CHANNELS = 16


def branchy(opset: int = 17) -> ModelProto:
    """Input (N, 3, 16, 16), output (N, 10), 6,538 numbers.

    Conv and Clip, depthwise Conv and Clip, a residual Add, a MaxPool, two branches with Relu that
    a Concat joins, GlobalAveragePool, Flatten, Gemm.
    """
    nodes, weights = _parts()
    nodes[1:1] = [helper.make_node("Clip", ["c0", "low", "high"], ["a0"])]
    weights |= {"low": np.array(0, np.float32), "high": np.array(6, np.float32)}
    return make_model(
        nodes, {"input": ["N", 3, 16, 16]}, {"output": ["N", 10]}, weights, opset=opset
    )


def mean_and_matmul() -> ModelProto:
    """Input (N, 3, 16, 16), output (N, 10): ReduceMean, Reshape and MatMul with an Add behind."""
    rng = np.random.default_rng(5)
    weights: dict[str, NDArray[Any]] = {
        "w0": _normal(rng, 32, 3, 3, 3),
        "b0": _normal(rng, 32),
        "w1": _normal(rng, 32, 10),
        "b1": _normal(rng, 10),
        "axes": np.array([2, 3], np.int64),
        "shape": np.array([0, -1], np.int64),
    }
    nodes = [
        helper.make_node("Conv", ["input", "w0", "b0"], ["c0"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c0"], ["r0"]),
        helper.make_node("ReduceMean", ["r0", "axes"], ["mean"], keepdims=1),
        helper.make_node("Reshape", ["mean", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w1"], ["product"]),
        helper.make_node("Add", ["product", "b1"], ["output"]),
    ]
    return make_model(nodes, {"input": ["N", 3, 16, 16]}, {"output": ["N", 10]}, weights, opset=18)


def inputs(count: int, seed: int = 11) -> NDArray[np.float32]:
    """Inputs of these networks."""
    return np.random.default_rng(seed).standard_normal((count, 3, 16, 16)).astype(np.float32)


def _parts() -> tuple[list[NodeProto], dict[str, NDArray[Any]]]:
    rng = np.random.default_rng(4)
    size = CHANNELS
    weights: dict[str, NDArray[Any]] = {
        "stem": _normal(rng, size, 3, 3, 3),
        "stem.bias": _normal(rng, size),
        "depthwise": _normal(rng, size, 1, 3, 3),
        "depthwise.bias": _normal(rng, size),
        "pointwise": _normal(rng, size, size, 1, 1),
        "pointwise.bias": _normal(rng, size),
        "left": _normal(rng, size, size, 1, 1),
        "right": _normal(rng, size, size, 3, 3),
        "right.bias": _normal(rng, size),
        "head": _normal(rng, 10, 2 * size),
        "head.bias": _normal(rng, 10),
    }
    pads = [1, 1, 1, 1]
    node = helper.make_node
    nodes = [
        node("Conv", ["input", "stem", "stem.bias"], ["c0"], pads=pads, strides=[2, 2]),
        node("Conv", ["a0", "depthwise", "depthwise.bias"], ["c1"], pads=pads, group=size),
        node("Clip", ["c1", "low", "high"], ["a1"]),
        node("Conv", ["a1", "pointwise", "pointwise.bias"], ["c2"]),
        node("Add", ["a0", "c2"], ["sum"]),
        node("MaxPool", ["sum"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["pooled", "left"], ["c3"]),
        node("Relu", ["c3"], ["a3"]),
        node("Conv", ["pooled", "right", "right.bias"], ["c4"], pads=pads),
        node("Relu", ["c4"], ["a4"]),
        node("Concat", ["a3", "a4"], ["both"], axis=1),
        node("GlobalAveragePool", ["both"], ["mean"]),
        node("Flatten", ["mean"], ["flat"]),
        node("Gemm", ["flat", "head", "head.bias"], ["output"], transB=1),
    ]
    return nodes, weights


def _normal(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 100
    return rng.normal(0, np.sqrt(2 / fan_in), shape).astype(np.float32)
