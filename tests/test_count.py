"""Counts equal those of the papers and of arithmetic on the layer's sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

from edgekit.count import count
from edgekit.errors import UsageError
from edgekit.graph import load_graph
from tests.onnx_files import make_model

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"


@pytest.mark.parametrize(
    ("name", "weights", "parameters", "multiply_adds"),
    [
        # SqueezeNet 1.1 and ResNet-50 at 224, as their published models count.
        ("squeezenet", 1_231_552, 1_235_496, 349_151_936),
        ("resnet50", 25_502_912, 25_557_032, 4_089_184_256),
    ],
)
def test_published_networks_have_their_counts(
    name: str, weights: int, parameters: int, multiply_adds: int
) -> None:
    counts = count(load_graph(LIGHT / f"light_{name}.onnx"))

    assert counts.weights == weights
    assert counts.parameters == parameters
    assert counts.multiply_adds == multiply_adds


def test_each_layer_of_a_small_network_is_counted(tiny_model: ModelProto) -> None:
    counts = count(load_graph(tiny_model.SerializeToString()))

    assert [(layer.name, layer.weights, layer.biases) for layer in counts.layers] == [
        ("conv", 32 * 9, 32),
        ("depthwise", 32 * 9, 32),
        ("pointwise", 60 * 32, 60),
        ("gemm", 600, 10),
    ]
    convolutions = 144 * (32 * 9 + 32 * 9 + 60 * 32)
    assert counts.convolution_multiply_adds == convolutions
    assert counts.multiply_adds == convolutions + 600
    assert counts.weights_and_biases == counts.weights + 134
    assert counts.to_dict()["multiply_adds"] == counts.multiply_adds


def test_layers_are_summed_by_their_form(tiny_model: ModelProto) -> None:
    counts = count(load_graph(tiny_model.SerializeToString()))

    assert [(share.form, share.weights, share.multiply_adds) for share in counts.shares] == [
        ("pointwise", 1_920, 144 * 1_920),
        ("3x3", 288, 144 * 288),
        ("depthwise", 288, 144 * 288),
        ("fc", 600, 600),
    ]


def test_a_quantized_model_counts_as_its_float_form(
    tiny_onnx_path: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    class Inputs(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime isn't annotated
        rest = [{"input": rng.normal(size=(4, 1, 12, 12)).astype(np.float32)}]  # noqa: RUF012

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            return self.rest.pop() if self.rest else None

    expected = count(load_graph(tiny_onnx_path))
    for form in (QuantFormat.QDQ, QuantFormat.QOperator):
        Inputs.rest = [{"input": rng.normal(size=(4, 1, 12, 12)).astype(np.float32)}]
        quantize_static(tiny_onnx_path, tmp_path / "q.onnx", Inputs(), quant_format=form)

        counts = count(load_graph(tmp_path / "q.onnx"))

        convolutions = [layer for layer in counts.layers if layer.form != "fc"]
        assert [(layer.weights, layer.multiply_adds) for layer in convolutions] == [
            (layer.weights, layer.multiply_adds) for layer in expected.layers[:3]
        ]


def test_a_fixed_batch_is_told(tiny_model: ModelProto) -> None:
    free = count(load_graph(tiny_model.SerializeToString()))
    for value in (*tiny_model.graph.input, *tiny_model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 8

    fixed = count(load_graph(tiny_model.SerializeToString()))

    assert (free.batch, fixed.batch) == (1, 8)
    assert free.multiply_adds is not None
    assert fixed.multiply_adds == 8 * free.multiply_adds


def test_operators_that_are_not_counted_are_named() -> None:
    weights = {"w": np.ones((1, 32, 4), np.float32), "r": np.ones((1, 32, 8), np.float32)}
    node = helper.make_node("LSTM", ["x", "w", "r"], ["y"], "lstm", hidden_size=8)
    model = make_model([node], {"x": [3, 1, 4]}, {"y": [3, 1, 1, 8]}, weights)

    assert count(load_graph(model.SerializeToString())).uncounted == ("LSTM",)


def test_a_shared_bias_counts_once() -> None:
    weights = {"w": np.ones((8, 8), np.float32), "b": np.ones(8, np.float32)}
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"], "first"),
        helper.make_node("Gemm", ["h", "w", "b"], ["y"], "second"),
    ]
    model = make_model(nodes, {"x": ["N", 8]}, {"y": ["N", 8]}, weights)

    assert count(load_graph(model.SerializeToString())).weights_and_biases == 72


def test_batch_normalisation_adds_scale_and_shift_and_no_statistics() -> None:
    ones = np.ones(16, np.float32)
    model = make_model(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
            helper.make_node("BatchNormalization", ["c", "s", "o", "m", "v"], ["y"], "bn"),
        ],
        {"x": ["N", 3, 8, 8]},
        {"y": ["N", 16, 6, 6]},
        {"w": np.ones((16, 3, 3, 3), np.float32), "s": ones, "o": ones, "m": ones, "v": ones},
    )

    counts = count(load_graph(model.SerializeToString()))

    assert counts.weights_and_biases == 432
    assert counts.parameters == 432 + 32
    assert counts.weight_bytes == 4 * (432 + 64)


def test_a_transposed_convolution_counts_uses_of_its_inputs() -> None:
    model = make_model(
        [helper.make_node("ConvTranspose", ["x", "w"], ["y"], "up", strides=[2, 2])],
        {"x": ["N", 4, 5, 5]},
        {"y": ["N", 8, "H", "W"]},
        {"w": np.ones((4, 8, 2, 2), np.float32)},
    )

    assert count(load_graph(model.SerializeToString())).multiply_adds == 4 * 25 * 8 * 4


def test_a_product_counts_its_inner_size_and_an_added_vector_as_bias() -> None:
    model = make_model(
        [
            helper.make_node("MatMul", ["x", "w"], ["p"], "dense"),
            helper.make_node("Add", ["bias", "p"], ["y"]),
        ],
        {"x": ["N", 7, 32]},
        {"y": ["N", 7, 20]},
        {"w": np.ones((32, 20), np.float32), "bias": np.ones(20, np.float32)},
    )

    (layer,) = count(load_graph(model.SerializeToString())).layers

    assert (layer.weights, layer.biases, layer.multiply_adds) == (640, 20, 7 * 640)


def test_a_product_of_activations_uses_no_weight() -> None:
    model = make_model(
        [
            helper.make_node("MatMul", ["x", "w"], ["p"], "dense"),
            helper.make_node("Transpose", ["p"], ["t"], perm=[0, 2, 1]),
            helper.make_node("MatMul", ["p", "t"], ["y"], "attention"),
        ],
        {"x": ["N", 7, 32]},
        {"y": ["N", 7, 7]},
        {"w": np.ones((32, 20), np.float32)},
    )

    assert [c.name for c in count(load_graph(model.SerializeToString())).layers] == ["dense"]


def test_a_shared_weight_counts_once_and_its_uses_twice() -> None:
    model = make_model(
        [
            helper.make_node("Gemm", ["x", "w"], ["h"], "first", transB=1),
            helper.make_node("Gemm", ["h", "w"], ["y"], "second"),
        ],
        {"x": ["N", 16]},
        {"y": ["N", 16]},
        {"w": np.ones((16, 16), np.float32)},
    )

    counts = count(load_graph(model.SerializeToString()))

    assert counts.weights == 256
    assert counts.multiply_adds == 512


def open_sizes() -> ModelProto:
    return make_model(
        [helper.make_node("Conv", ["x", "w"], ["y"], "conv")],
        {"x": ["N", 3, "H", "W"]},
        {"y": ["N", 16, "h", "w_out"]},
        {"w": np.ones((16, 3, 3, 3), np.float32)},
    )


def test_open_sizes_leave_multiply_adds_open_until_they_are_given() -> None:
    graph = load_graph(open_sizes().SerializeToString())

    assert count(graph).multiply_adds is None
    assert count(graph, {"x": (1, 3, 10, 10)}).multiply_adds == 64 * 432


def test_an_input_that_does_not_exist_is_named() -> None:
    graph = load_graph(open_sizes().SerializeToString())

    with pytest.raises(UsageError, match="no input picture; it has x"):
        count(graph, {"picture": (1, 3, 10, 10)})
