"""Tiny networks and data to finetune in a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from edgekit.train.datasets import Samples, TrainingData

CLASSES = 3
SIDE = 6


def tiny_model(seed: int = 0) -> onnx.ModelProto:
    """Conv, Relu, depthwise Conv, residual, pooling, Gemm: (N, 1, 6, 6) to (N, 3)."""
    rng = np.random.default_rng(seed)

    def number(name: str, *shape: int, scale: float = 0.4) -> TensorProto:
        values = (scale * rng.standard_normal(shape)).astype(np.float32)
        return numpy_helper.from_array(values, name)

    initializers = [
        number("stem.weight", 8, 1, 3, 3),
        number("stem.bias", 8, scale=0.1),
        number("deep.weight", 8, 1, 3, 3),
        number("deep.bias", 8, scale=0.1),
        number("point.weight", 8, 8, 1, 1),
        number("point.bias", 8, scale=0.1),
        number("head.weight", CLASSES, 32),
        number("head.bias", CLASSES, scale=0.1),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "stem.weight", "stem.bias"], ["s"], pads=[1] * 4),
        helper.make_node("Relu", ["s"], ["a"]),
        helper.make_node("Conv", ["a", "deep.weight", "deep.bias"], ["d"], pads=[1] * 4, group=8),
        helper.make_node("Relu", ["d"], ["b"]),
        helper.make_node("Conv", ["b", "point.weight", "point.bias"], ["p"]),
        helper.make_node("Add", ["a", "p"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["m"], kernel_shape=[3, 3], strides=[3, 3]),
        helper.make_node("Flatten", ["m"], ["f"]),
        helper.make_node("Gemm", ["f", "head.weight", "head.bias"], ["scores"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1, SIDE, SIDE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", CLASSES])],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write_tiny(path: Path) -> Path:
    """The tiny model as a file."""
    onnx.save(tiny_model(), path)
    return path


def samples(count: int, seed: int, *, labelled: bool = True) -> Samples:
    """Noise with a bright row, whose place is the class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (count,), generator=generator)
    inputs = 0.3 * torch.randn(count, 1, SIDE, SIDE, generator=generator)
    inputs[torch.arange(count), 0, 2 * labels] += 1
    return Samples(inputs, labels if labelled else None)


def tiny_data(*, labelled: bool = True) -> TrainingData:
    """256 samples to train on, 96 to validate, 96 to test."""
    return TrainingData(
        name="rows",
        training=samples(256, 1, labelled=labelled),
        validation=samples(96, 2, labelled=labelled),
        test=samples(96, 3) if labelled else None,
        augment=None,
        source="made up",
    )
