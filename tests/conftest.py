"""Fixtures that many tests share."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import settings
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgekit.cli.main import main
from tests.support import Cli, Outcome

# The same examples in every run; a failure prints the one that failed.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers that are the same in every run."""
    return np.random.default_rng(20240229)


@pytest.fixture
def tiny_model() -> onnx.ModelProto:
    """A light CNN in small, 3,230 numbers: input (N, 1, 12, 12), output (N, 10).

    Conv 3x3 -> Relu -> depthwise Conv 3x3 -> Relu -> Conv 1x1 -> Relu -> GlobalAveragePool ->
    Flatten -> Gemm. Weights are normal numbers with the spread of a trained layer.
    """
    rng = np.random.default_rng(7)

    def normal(*shape: int) -> NDArray[np.float32]:
        fan_in = int(np.prod(shape[1:]))
        return rng.normal(0, np.sqrt(2 / fan_in), shape).astype(np.float32)

    weights = {
        "conv.weight": normal(32, 1, 3, 3),
        "conv.bias": rng.normal(0, 0.1, 32).astype(np.float32),
        "depthwise.weight": normal(32, 1, 3, 3),
        "depthwise.bias": rng.normal(0, 0.1, 32).astype(np.float32),
        "pointwise.weight": normal(60, 32, 1, 1),
        "pointwise.bias": rng.normal(0, 0.1, 60).astype(np.float32),
        "gemm.weight": normal(10, 60),
        "gemm.bias": rng.normal(0, 0.1, 10).astype(np.float32),
    }
    pads = [1, 1, 1, 1]
    nodes = [
        helper.make_node("Conv", ["input", "conv.weight", "conv.bias"], ["c1"], "conv", pads=pads),
        helper.make_node("Relu", ["c1"], ["r1"], "relu1"),
        helper.make_node(
            "Conv",
            ["r1", "depthwise.weight", "depthwise.bias"],
            ["c2"],
            "depthwise",
            pads=pads,
            group=32,
        ),
        helper.make_node("Relu", ["c2"], ["r2"], "relu2"),
        helper.make_node("Conv", ["r2", "pointwise.weight", "pointwise.bias"], ["c3"], "pointwise"),
        helper.make_node("Relu", ["c3"], ["r3"], "relu3"),
        helper.make_node("GlobalAveragePool", ["r3"], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], "flatten"),
        helper.make_node(
            "Gemm", ["flat", "gemm.weight", "gemm.bias"], ["output"], "gemm", transB=1
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 1, 12, 12])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


@pytest.fixture
def tiny_data(tmp_path: Path, rng: np.random.Generator) -> Path:
    """60 inputs of the tiny model, normal numbers, with labels that mean nothing."""
    path = tmp_path / "data.npz"
    np.savez(
        path,
        inputs=rng.standard_normal((60, 1, 12, 12)).astype(np.float32),
        labels=rng.integers(0, 10, 60),
    )
    return path


@pytest.fixture
def tiny_onnx_path(tiny_model: onnx.ModelProto, tmp_path: Path) -> Path:
    """`tiny_model` as a file."""
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_model.SerializeToString())
    return path


@pytest.fixture
def cli() -> Cli:
    """The command line in this process: `cli("inspect", path).stdout`."""

    def run(*arguments: str | Path) -> Outcome:
        stdout, stderr = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            exit_code = main([str(argument) for argument in arguments])
        return Outcome(exit_code, stdout.getvalue(), stderr.getvalue())

    return run
