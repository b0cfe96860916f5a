"""The int8 run form against onnxruntime's own quantizer, given the same scales."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

from edgekit.compress.activations import find_values, measure_values, place_grids
from edgekit.compress.calibrate import Probe
from edgekit.compress.pipeline import apply_plan
from edgekit.compress.plan import make_plan
from edgekit.compress.run_form import graph_of
from edgekit.errors import CorruptError, UsageError
from edgekit.graph import load_graph
from edgekit.packfile import pack, read_packfile
from edgekit.packfile.activations import Activations, Quantized
from edgekit.packfile.int8_layers import int8_layers
from edgekit.packfile.onnx_model import to_model_proto
from edgekit.packfile.qdq import as_int8
from edgekit.tensors import CodedTensor, CompressedModel
from tests.int8_nets import branchy, inputs, mean_and_matmul
from tests.onnx_files import run


def packed(model: ModelProto, **options: Any) -> CompressedModel:
    graph = load_graph(model.SerializeToString())
    return apply_plan(graph, make_plan(graph.weights, **options))[0]


def calibrated(model: CompressedModel, floats: Sequence[str] = ()) -> Activations:
    values = find_values(model, floats)
    found = measure_values(Probe(graph_of(model), inputs(20)), list(values.sources))
    return place_grids(values, found, 0.0, floats)


def kernels(model: CompressedModel, tmp_path: Path) -> Counter[str]:
    """Operators that onnxruntime makes of a graph."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    data = to_model_proto(model).SerializeToString()
    onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(tmp_path / "optimized.onnx").graph.node
    return Counter(node.op_type for node in nodes)


class _Inputs(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no annotations
    def __init__(self) -> None:
        self._feeds = iter([{"input": inputs(4)}])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._feeds, None)


def onnxruntimes(
    model: CompressedModel, activations: Activations, floats: Sequence[str], tmp_path: Path
) -> ModelProto:
    """What onnxruntime's quantizer makes of the float form with our scales."""
    proto = to_model_proto(model)
    for number, node in enumerate(proto.graph.node):
        node.name = f"node_{number}"
    overrides: dict[str, list[dict[str, Any]]] = {
        name: [
            {
                "scale": np.array(grid.scale, np.float32),
                "zero_point": np.array(grid.zero_point, np.uint8),
                "quant_type": QuantType.QUInt8,
            }
        ]
        for name, grid in activations.tensors.items()
    }
    excluded = [
        node.name
        for node in proto.graph.node
        if set(floats) & set(node.input)
        # Joins of values that we leave in float.
        or (
            node.op_type in {"Concat", "GlobalAveragePool", "Flatten"}
            and not {*node.input, *node.output} <= activations.tensors.keys()
        )
    ]
    for layer in int8_layers(model):
        if layer.weight.name in floats:
            continue
        scale = np.asarray(layer.weight.scale, np.float32)
        each = np.broadcast_to(scale, layer.weight.shape[layer.axis])
        overrides[layer.weight.name] = [
            {
                "scale": np.array(step, np.float32),
                "zero_point": np.array(0, np.int8),
                "quant_type": QuantType.QInt8,
                "axis": layer.axis,
            }
            for step in each
        ]
    source, target = tmp_path / "source.onnx", tmp_path / "judge.onnx"
    onnx.save(proto, source)
    quantize_static(
        source,
        target,
        _Inputs(),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=excluded,
        extra_options={
            "TensorQuantOverrides": overrides,
            "OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"],
        },
    )
    return onnx.load(target)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("floats", [(), ("stem",), ("depthwise", "right"), ("head",)])
def test_answers_equal_those_of_onnxruntimes_quantizer_with_our_scales(
    floats: tuple[str, ...], tmp_path: Path
) -> None:
    model = packed(branchy(), bits=6)
    activations = calibrated(model, floats)
    ours = to_model_proto(as_int8(model, activations))
    judge = onnxruntimes(model, activations, floats, tmp_path)
    feed = {"input": inputs(16, seed=2)}

    (answers,), (expected,) = run(ours, feed), run(judge, feed)

    np.testing.assert_array_equal(answers, expected)
    theirs = {tensor.name: tensor for tensor in judge.graph.initializer}
    for layer in int8_layers(model):
        if layer.weight.name not in floats:
            codes = numpy_helper.to_array(theirs[f"{layer.weight.name}_quantized"])
            np.testing.assert_array_equal(codes, layer.weight.codes)


@pytest.mark.parametrize("net", [branchy(), mean_and_matmul()])
def test_weights_in_the_graph_are_the_stored_codes(net: ModelProto) -> None:
    model = packed(net, bits=5)
    back = read_packfile(pack(model))

    int8 = as_int8(back, calibrated(back))

    graph = {tensor.name: tensor for tensor in to_model_proto(int8).graph.initializer}
    coded = [tensor for tensor in model.tensors if isinstance(tensor, CodedTensor)]
    assert len(coded) >= 2
    for tensor in coded:
        found = numpy_helper.to_array(graph[tensor.name])
        assert found.dtype == np.int8
        np.testing.assert_array_equal(found, tensor.codes)


def test_every_layer_and_join_becomes_one_8_bit_kernel(tmp_path: Path) -> None:
    model = packed(branchy())

    found = kernels(as_int8(model, calibrated(model)), tmp_path)

    assert found["QLinearConv"] == 5
    assert found["QLinearAdd"] == found["QLinearConcat"] == found["QGemm"] == 1
    assert found["QuantizeLinear"] == 1
    assert not {"Conv", "Gemm", "Clip", "Relu", "DequantizeLinear"} & set(found)


def test_a_mean_over_positions_and_a_product_have_8_bit_kernels(tmp_path: Path) -> None:
    model = packed(mean_and_matmul())

    found = kernels(as_int8(model, calibrated(model)), tmp_path)

    assert found["QLinearGlobalAveragePool"] == found["QGemm"] == 1
    assert not {"ReduceMean", "Gemm", "DequantizeLinear"} & set(found)


def test_answers_are_near_those_of_the_float_form() -> None:
    for net in (branchy(), mean_and_matmul()):
        model = packed(net)
        feed = {"input": inputs(16, seed=3)}

        (answers,) = run(to_model_proto(as_int8(model, calibrated(model))), feed)
        (expected,) = run(to_model_proto(model), feed)

        assert np.abs(answers - expected).max() < 0.06 * np.abs(expected).max()


def test_the_same_model_gives_the_same_graph() -> None:
    model = packed(branchy())
    activations = calibrated(model)

    assert as_int8(model, activations).skeleton == as_int8(model, activations).skeleton


@pytest.mark.parametrize("opset", [11, 12, 13])
def test_older_operator_sets_give_the_same_answers(opset: int, tmp_path: Path) -> None:
    model, newer = packed(branchy(opset)), packed(branchy(17))
    feed = {"input": inputs(8, seed=3)}

    int8 = as_int8(model, calibrated(model))

    (answers,) = run(to_model_proto(int8), feed)
    (expected,) = run(to_model_proto(as_int8(newer, calibrated(newer))), feed)
    np.testing.assert_array_equal(answers, expected)
    assert kernels(int8, tmp_path)["QLinearConv"] == 5


def test_an_operator_set_without_8_bit_nodes_is_refused_with_the_way_out() -> None:
    model = packed(mean_and_matmul())
    proto = onnx.ModelProto()
    proto.ParseFromString(model.skeleton)
    proto.opset_import[0].version = 9
    old = CompressedModel(model.tensors, proto.SerializeToString(), model.manifest)

    with pytest.raises(UsageError, match=r"opset 9.*opset 13"):
        as_int8(old, Activations({}))


@pytest.mark.parametrize("options", [{"method": "codebook"}, {"keep": {"*": "float"}}])
def test_layers_without_int8_codes_stay_float(options: dict[str, Any]) -> None:
    model = packed(branchy(), **options)

    assert int8_layers(model) == ()
    assert find_values(model).sources == {}


def test_a_bias_beyond_32_bits_leaves_its_layer_in_float() -> None:
    net = mean_and_matmul()
    (bias,) = (tensor for tensor in net.graph.initializer if tensor.name == "b0")
    bias.CopyFrom(numpy_helper.from_array(np.full(32, 3e4, np.float32), "b0"))
    model = packed(net)
    activations = calibrated(model)
    tiny = {name: Quantized(1e-9, 0) for name in activations.tensors}

    proto = to_model_proto(as_int8(model, Activations(tiny)))

    (weight,) = (tensor for tensor in proto.graph.initializer if tensor.name == "w0")
    assert weight.data_type == onnx.TensorProto.FLOAT


@pytest.mark.parametrize(
    "activations",
    [
        Activations({"nowhere": Quantized(1.0, 0)}),
        Activations({"output": Quantized(1.0, 0)}),
        Activations({"stem": Quantized(1.0, 0)}),
        Activations({}, ("nowhere",)),
    ],
)
def test_names_that_the_graph_has_not_are_refused(activations: Activations) -> None:
    with pytest.raises(CorruptError, match="manifest"):
        as_int8(packed(branchy()), activations)
