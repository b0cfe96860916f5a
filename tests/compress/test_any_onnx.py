"""ONNX models of every kind are compressed: operator sets, layers, places of their weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

import edgekit
from edgekit.compress.pipeline import compress
from edgekit.packfile import read_packfile
from edgekit.tensors import CodedTensor
from tests.onnx_files import branch, constant, make_model, random_feeds, run

Rng = np.random.Generator

OLDEST, NEWEST = 9, onnx.defs.onnx_opset_version()
"""Operator sets of the onnx that is installed."""


def normal(rng: Rng, *shape: int) -> NDArray[np.float32]:
    return rng.normal(0, 1, shape).astype(np.float32)


def assert_compressed(model: ModelProto, path: Path, coded: set[str]) -> None:
    """At 8 bits these tensors are coded, and the answers stay near."""
    feeds = random_feeds(model)

    compress(model.SerializeToString(), path, bits=8)

    tensors = read_packfile(path).tensors
    assert {tensor.name for tensor in tensors if isinstance(tensor, CodedTensor)} == coded
    (expected, *_), (found, *_) = run(model, feeds), edgekit.load(path).run(None, feeds)
    assert not np.array_equal(found, expected)
    np.testing.assert_allclose(found, expected, atol=0.03 * np.abs(expected).max())


@pytest.mark.parametrize("opset", range(OLDEST, NEWEST + 1))
def test_every_operator_set_from_9_on(opset: int, rng: Rng, tmp_path: Path) -> None:
    model = make_model(
        [
            helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["r"]),
            helper.make_node("GlobalAveragePool", ["r"], ["p"]),
            helper.make_node("Flatten", ["p"], ["f"]),
            helper.make_node("Gemm", ["f", "g", "o"], ["y"], transB=1),
        ],
        {"x": ["N", 3, 8, 8]},
        {"y": ["N", 10]},
        {
            "w": normal(rng, 16, 3, 3, 3),
            "b": normal(rng, 16),
            "g": normal(rng, 10, 16),
            "o": normal(rng, 10),
        },
        opset=opset,
        ir_version=4 if opset == OLDEST else 9,
    )

    assert_compressed(model, tmp_path / "m.ekp", {"w", "g"})


def test_tensors_that_nothing_reads_are_left_out(rng: Rng, tmp_path: Path) -> None:
    model = make_model(
        [
            constant("unread_constant", normal(rng, 16, 16)),
            helper.make_node("MatMul", ["x", "w"], ["y"]),
        ],
        {"x": ["N", 16]},
        {"y": ["N", 10]},
        {"w": normal(rng, 16, 10), "unread": normal(rng, 16, 16), "input": normal(rng, 16, 16)},
    )
    # With this version an initializer among the inputs is a default that may be fed.
    model.graph.input.append(helper.make_tensor_value_info("input", TensorProto.FLOAT, [16, 16]))
    feeds = {"x": normal(rng, 3, 16)}

    compress(model.SerializeToString(), tmp_path / "m.ekp")

    assert [tensor.name for tensor in read_packfile(tmp_path / "m.ekp").tensors] == ["w"]
    session = edgekit.load(tmp_path / "m.ekp")
    assert [value.name for value in session.get_inputs()] == ["x"]
    (found,), (expected, *_) = session.run(None, feeds), run(model, feeds)
    np.testing.assert_allclose(found, expected, atol=0.03 * np.abs(expected).max())


def grouped(rng: Rng) -> ModelProto:
    return make_model(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], group=2),
            helper.make_node("Conv", ["c", "d"], ["y"], group=16),
        ],
        {"x": ["N", 8, 8, 8]},
        {"y": ["N", 16, 4, 4]},
        {"w": normal(rng, 16, 4, 3, 3), "d": normal(rng, 16, 1, 3, 3)},
    )


def transposed(rng: Rng) -> ModelProto:
    return make_model(
        [
            helper.make_node("ConvTranspose", ["x", "w"], ["c"], strides=[2, 2]),
            helper.make_node("ConvTranspose", ["c", "d"], ["y"], group=8),
        ],
        {"x": ["N", 4, 5, 5]},
        {"y": ["N", 8, 13, 13]},
        {"w": normal(rng, 4, 8, 3, 3), "d": normal(rng, 8, 1, 3, 3)},
    )


def recurrent(rng: Rng) -> ModelProto:
    return make_model(
        [
            helper.make_node("LSTM", ["x", "w", "r"], ["h"], hidden_size=8),
            helper.make_node("Squeeze", ["h", "axis"], ["s"]),
            helper.make_node("GRU", ["s", "v", "u"], ["y"], hidden_size=4),
        ],
        {"x": [5, 2, 6]},
        {"y": [5, 1, 2, 4]},
        {
            "w": normal(rng, 1, 32, 6),
            "r": normal(rng, 1, 32, 8),
            "axis": np.array([1]),
            "v": normal(rng, 1, 12, 8),
            "u": normal(rng, 1, 12, 4),
        },
    )


def embedding(rng: Rng) -> ModelProto:
    return make_model(
        [
            helper.make_node("Cast", ["x"], ["ids"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "ids"], ["y"]),
        ],
        {"x": ["N", 3]},
        {"y": ["N", 3, 48]},
        {"table": normal(rng, 50, 48)},
    )


def shared(rng: Rng) -> ModelProto:
    return make_model(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"]),
            helper.make_node("MatMul", ["h", "w"], ["y"]),
        ],
        {"x": ["N", 16]},
        {"y": ["N", 16]},
        {"w": normal(rng, 16, 16)},
    )


def in_constant_node(rng: Rng) -> ModelProto:
    return make_model(
        [constant("w", normal(rng, 16, 8)), helper.make_node("MatMul", ["x", "w"], ["y"])],
        {"x": ["N", 16]},
        {"y": ["N", 8]},
    )


def in_subgraphs(rng: Rng) -> ModelProto:
    held = numpy_helper.from_array(normal(rng, 16, 8), "w")
    product = helper.make_node("MatMul", ["x", "w"], ["t"])
    other = helper.make_node("MatMul", ["x", "v"], ["e"])
    return make_model(
        [
            helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
            helper.make_node("Greater", ["sum", "zero"], ["is_positive"]),
            helper.make_node(
                "If",
                ["is_positive"],
                ["y"],
                then_branch=branch([product], "t", [held]),
                else_branch=branch([constant("v", normal(rng, 16, 8)), other], "e"),
            ),
        ],
        {"x": ["N", 16]},
        {"y": ["N", 8]},
        {"zero": np.array(0, np.float32)},
    )


@pytest.mark.parametrize(
    ("build", "coded"),
    [
        (grouped, {"w", "d"}),
        (transposed, {"w", "d"}),
        (recurrent, {"w", "r", "v"}),
        (embedding, {"table"}),
        (shared, {"w"}),
        (in_constant_node, {"w"}),
        (in_subgraphs, {"w_hoisted", "v_hoisted"}),
    ],
)
def test_layers_of_every_kind(
    build: Callable[[Rng], ModelProto], coded: set[str], rng: Rng, tmp_path: Path
) -> None:
    assert_compressed(build(rng), tmp_path / "m.ekp", coded)


def test_external_data(rng: Rng, tmp_path: Path) -> None:
    model, source, packed = grouped(rng), tmp_path / "outer.onnx", tmp_path / "m.ekp"
    feeds = random_feeds(model)
    (expected,) = run(model, feeds)
    onnx.save(model, source, save_as_external_data=True, location="w.bin", size_threshold=0)

    report = compress(source, packed, bits=8)

    assert report.source_bytes == source.stat().st_size + (tmp_path / "w.bin").stat().st_size
    (found,) = edgekit.load(packed).run(None, feeds)
    np.testing.assert_allclose(found, expected, atol=0.03 * np.abs(expected).max())


def test_what_is_not_compressed_is_listed_with_the_reason(rng: Rng, tmp_path: Path) -> None:
    weights: dict[str, NDArray[Any]] = {
        "w": normal(rng, 16, 8),
        "few": normal(rng, 8),
        "shape": np.array([-1, 2, 4]),
    }
    model = make_model(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"]),
            helper.make_node("Mul", ["h", "few"], ["m"]),
            helper.make_node("Reshape", ["m", "shape"], ["y"]),
        ],
        {"x": ["N", 16]},
        {"y": ["N", 2, 4]},
        weights,
    )

    report = compress(model.SerializeToString(), tmp_path / "m.ekp")

    assert [layer.fidelity.name for layer in report.layers] == ["w"]
    assert {tensor.name: tensor.reason for tensor in report.kept} == {
        "few": "fewer than 16 elements",
        "shape": "a small integer table",
    }
