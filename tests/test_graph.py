"""Weights are found wherever they lie, and taking them out changes nothing that is computed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgekit.errors import ModelFileError
from edgekit.graph import Graph, Role, Weight, load_graph
from tests.onnx_files import branch, constant, make_model, random_feeds, run

Rng = np.random.Generator


def normal(rng: Rng, *shape: int) -> NDArray[np.float32]:
    return rng.normal(0, 0.3, shape).astype(np.float32)


def weight(graph: Graph, name: str) -> Weight:
    return next(weight for weight in graph.weights if weight.name == name)


def assert_same_answers(model: ModelProto, graph: Graph) -> None:
    feeds = random_feeds(model)

    for left, right in zip(run(model, feeds), run(graph.model(), feeds), strict=True):
        np.testing.assert_array_equal(left, right)


def load(model: ModelProto) -> Graph:
    return load_graph(model.SerializeToString())


def two_layers(rng: Rng) -> ModelProto:
    return make_model(
        [
            helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv"),
            helper.make_node("Flatten", ["c"], ["f"]),
            helper.make_node("MatMul", ["f", "m"], ["p"], "dense"),
            helper.make_node("Add", ["p", "a"], ["y"]),
        ],
        {"x": ["N", 3, 8, 8]},
        {"y": ["N", 20]},
        {
            "w": normal(rng, 16, 3, 3, 3),
            "b": normal(rng, 16),
            "m": normal(rng, 576, 20),
            "a": normal(rng, 20),
        },
    )


def test_a_plain_model_is_split_into_skeleton_and_weights(rng: Rng) -> None:
    model = two_layers(rng)

    graph = load(model)

    assert [(w.name, w.role, w.axis) for w in graph.weights] == [
        ("w", Role.WEIGHT, 0),
        ("b", Role.BIAS, None),
        ("m", Role.WEIGHT, 1),
        ("a", Role.BIAS, None),
    ]
    assert len(graph.skeleton) < 1_000
    assert all(
        tensor.data_location == TensorProto.EXTERNAL and not tensor.raw_data
        for tensor in graph.empty_model().graph.initializer
    )
    assert_same_answers(model, graph)


def test_the_source_is_named_by_size_and_digest(tiny_onnx_path: Path) -> None:
    graph = load_graph(tiny_onnx_path)

    assert graph.name == "tiny"
    assert graph.source_bytes == tiny_onnx_path.stat().st_size
    assert len(graph.source_sha256) == 64


def test_weights_in_constant_nodes_become_initializers(rng: Rng) -> None:
    model = make_model(
        [
            constant("w", normal(rng, 16, 3, 3, 3)),
            constant("shape", np.array([0, -1], np.int64)),
            helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
            helper.make_node("Reshape", ["c", "shape"], ["y"]),
        ],
        {"x": ["N", 3, 8, 8]},
        {"y": ["N", 576]},
    )

    graph = load(model)

    assert [w.name for w in graph.weights] == ["w"]
    assert [kept.name for kept in graph.kept] == ["shape"]
    assert [node.op_type for node in graph.empty_model().graph.node] == [
        "Constant",
        "Conv",
        "Reshape",
    ]
    assert_same_answers(model, graph)


def if_model(rng: Rng) -> ModelProto:
    """Both branches use the name "w": one for an initializer, one for a Constant node."""
    then_branch = branch(
        [helper.make_node("MatMul", ["x", "w"], ["t"])],
        "t",
        [numpy_helper.from_array(normal(rng, 8, 30), "w")],
    )
    else_branch = branch(
        [constant("w", normal(rng, 8, 30)), helper.make_node("MatMul", ["x", "w"], ["e"])], "e"
    )
    return make_model(
        [
            helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
            helper.make_node("Greater", ["s", "limit"], ["positive"]),
            helper.make_node(
                "If", ["positive"], ["y"], then_branch=then_branch, else_branch=else_branch
            ),
        ],
        {"x": ["N", 8]},
        {"y": ["N", 30]},
        {"limit": np.zeros((), np.float32)},
    )


def test_weights_of_both_branches_of_if_are_found(rng: Rng) -> None:
    model = if_model(rng)

    graph = load(model)

    assert [(w.name, w.axis) for w in graph.weights] == [("w_hoisted", 1), ("w_hoisted_2", 1)]
    for sign in (1, -1):
        feeds = {"x": np.full((2, 8), sign, np.float32)}
        np.testing.assert_array_equal(run(model, feeds)[0], run(graph.model(), feeds)[0])


def test_a_constant_that_a_branch_returns_stays_there(rng: Rng) -> None:
    model = if_model(rng)
    table = normal(rng, 2, 30)
    returned = branch([constant("e", table)], "e")
    model.graph.node[2].attribute[0].g.CopyFrom(returned)

    graph = load(model)

    assert [w.name for w in graph.weights] == ["w_hoisted"]
    feeds = {"x": np.full((2, 8), -1, np.float32)}
    np.testing.assert_array_equal(run(graph.model(), feeds)[0], table)


def test_weights_of_a_nested_branch_are_found(rng: Rng) -> None:
    inner = if_model(rng)
    outer = make_model(
        [
            helper.make_node(
                "If",
                ["yes"],
                ["y"],
                then_branch=branch(
                    [
                        constant("limit", np.zeros((), np.float32)),
                        *inner.graph.node,
                    ],
                    "y",
                ),
                else_branch=branch([constant("z", np.zeros((2, 30), np.float32))], "z"),
            )
        ],
        {"x": ["N", 8]},
        {"y": ["N", 30]},
        {"yes": np.array(True)},
    )
    outer.graph.node[0].attribute[0].g.output[0].name = "inner_y"
    for attribute in outer.graph.node[0].attribute:
        if attribute.name == "then_branch":
            attribute.g.node[-1].output[0] = "inner_y"
            attribute.g.output[0].name = "inner_y"
        else:
            attribute.g.output[0].name = "z"

    graph = load(outer)

    assert len(graph.weights) == 2
    feeds = {"x": np.ones((2, 8), np.float32)}
    np.testing.assert_array_equal(run(outer, feeds)[0], run(graph.model(), feeds)[0])


def test_a_shared_weight_is_one_tensor(rng: Rng) -> None:
    model = make_model(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"], "first"),
            helper.make_node("MatMul", ["h", "w"], ["y"], "second"),
        ],
        {"x": ["N", 16]},
        {"y": ["N", 16]},
        {"w": normal(rng, 16, 16)},
    )

    graph = load(model)

    assert weight(graph, "w").nodes == ("first", "second")
    assert weight(graph, "w").axis == 1
    assert_same_answers(model, graph)


def test_uses_that_disagree_about_the_channel_leave_none(rng: Rng) -> None:
    model = make_model(
        [
            helper.make_node("Gemm", ["x", "w"], ["h"], transB=1),
            helper.make_node("Gemm", ["h", "w"], ["y"]),
        ],
        {"x": ["N", 16]},
        {"y": ["N", 16]},
        {"w": normal(rng, 16, 16)},
    )

    assert weight(load(model), "w").axis is None


def test_a_weight_with_another_use_is_kept_exactly(rng: Rng) -> None:
    model = make_model(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"]),
            helper.make_node("Mul", ["h", "w"], ["y"]),
        ],
        {"x": [16, 16]},
        {"y": [16, 16]},
        {"w": normal(rng, 16, 16)},
    )

    assert weight(load(model), "w").role is Role.CONSTANT


@pytest.mark.parametrize(
    ("op", "shape", "attributes", "axis"),
    [
        ("Conv", (8, 4, 3, 3), {}, 0),
        ("Conv", (4, 1, 5, 5), {"group": 4}, 0),
        ("ConvTranspose", (4, 8, 3, 3), {}, 1),
        ("ConvTranspose", (4, 1, 5, 5), {"group": 4}, 0),
    ],
)
def test_the_channel_axis_of_a_convolution(
    rng: Rng, op: str, shape: tuple[int, ...], attributes: dict[str, Any], axis: int
) -> None:
    model = make_model(
        [helper.make_node(op, ["x", "w"], ["y"], "layer", **attributes)],
        {"x": ["N", 4, 9, 9]},
        {"y": ["N", "C", "H", "W"]},
        {"w": normal(rng, *shape)},
    )

    graph = load(model)

    assert weight(graph, "w").axis == axis
    assert_same_answers(model, graph)


def test_the_channel_axis_is_followed_through_a_transpose(rng: Rng) -> None:
    """Converters from channels-last frameworks transpose inputs and weights in the graph."""
    model = make_model(
        [
            helper.make_node("Transpose", ["x"], ["nchw"], perm=[0, 3, 1, 2]),
            helper.make_node("Transpose", ["hwio"], ["oihw"], perm=[3, 2, 0, 1]),
            helper.make_node("Conv", ["nchw", "oihw"], ["c"], "conv"),
            helper.make_node("Transpose", ["c"], ["y"], perm=[0, 2, 3, 1]),
        ],
        {"x": ["N", 8, 8, 3]},
        {"y": ["N", 6, 6, 24]},
        {"hwio": normal(rng, 3, 3, 3, 24)},
    )

    graph = load(model)

    assert (weight(graph, "hwio").role, weight(graph, "hwio").axis) == (Role.WEIGHT, 3)
    assert_same_answers(model, graph)


def test_a_recurrent_layer_has_weights_and_a_bias(rng: Rng) -> None:
    model = make_model(
        [helper.make_node("LSTM", ["x", "w", "r", "b"], ["y"], "lstm", hidden_size=6)],
        {"x": [5, 2, 4]},
        {"y": [5, 1, 2, 6]},
        {"w": normal(rng, 1, 24, 4), "r": normal(rng, 1, 24, 6), "b": normal(rng, 1, 48)},
    )

    graph = load(model)

    assert [(w.role, w.axis) for w in graph.weights] == [
        (Role.WEIGHT, 1),
        (Role.WEIGHT, 1),
        (Role.BIAS, None),
    ]
    assert_same_answers(model, graph)


def test_an_embedding_with_integer_inputs_is_a_weight(rng: Rng) -> None:
    model = make_model(
        [helper.make_node("Gather", ["table", "ids"], ["y"])],
        {"ids": ["N", 3]},
        {"y": ["N", 3, 48]},
        {"table": normal(rng, 50, 48)},
        input_type=TensorProto.INT32,
    )

    graph = load(model)

    assert (weight(graph, "table").role, weight(graph, "table").axis) == (Role.WEIGHT, 0)
    feeds = {"ids": np.array([[0, 7, 49]], np.int32)}
    np.testing.assert_array_equal(run(model, feeds)[0], run(graph.model(), feeds)[0])


def test_old_initializers_leave_the_graph_inputs(rng: Rng) -> None:
    """Up to IR version 3 each initializer had to be an input too."""
    model = make_model(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
            helper.make_node("Reshape", ["c", "shape"], ["y"]),
        ],
        {"x": ["N", 3, 8, 8], "w": [16, 3, 3, 3]},
        {"y": ["N", 576]},
        {"w": normal(rng, 16, 3, 3, 3), "shape": np.array([0, -1], np.int64)},
        opset=9,
        ir_version=3,
    )
    model.graph.input.append(helper.make_tensor_value_info("shape", TensorProto.INT64, [2]))

    graph = load(model)

    assert [value.name for value in graph.empty_model().graph.input] == ["x"]
    assert_same_answers(model, graph)


def test_constant_of_shape_becomes_a_constant_tensor() -> None:
    model = make_model(
        [
            helper.make_node(
                "ConstantOfShape",
                ["shape"],
                ["w"],
                value=helper.make_tensor("value", TensorProto.FLOAT, [1], [0.02]),
            ),
            helper.make_node("Conv", ["x", "w"], ["y"], "conv"),
        ],
        {"x": ["N", 3, 8, 8]},
        {"y": ["N", 16, 6, 6]},
        {"shape": np.array([16, 3, 3, 3], np.int64)},
    )

    graph = load(model)

    assert weight(graph, "w").is_constant
    assert weight(graph, "w").shape == (16, 3, 3, 3)
    assert not graph.kept
    assert_same_answers(model, graph)


@pytest.mark.parametrize("name", ["float16", "float64", "bfloat16"])
def test_other_float_types_are_kept(rng: Rng, name: str) -> None:
    values = normal(rng, 16, 16)
    kind = {
        "float16": TensorProto.FLOAT16,
        "float64": TensorProto.DOUBLE,
        "bfloat16": TensorProto.BFLOAT16,
    }[name]
    model = make_model(
        [
            helper.make_node("Cast", ["x"], ["h"], to=kind),
            helper.make_node("MatMul", ["h", "w"], ["p"]),
            helper.make_node("Cast", ["p"], ["y"], to=TensorProto.FLOAT),
        ],
        {"x": ["N", 16]},
        {"y": ["N", 16]},
    )
    model.graph.initializer.append(helper.make_tensor("w", kind, [16, 16], values.reshape(-1)))

    found = weight(load(model), "w")

    assert found.dtype == name
    np.testing.assert_allclose(found.float32(), values, rtol=2**-7)


def test_large_integer_tables_are_weights_and_small_ones_stay(rng: Rng) -> None:
    model = make_model(
        [
            helper.make_node("MatMulInteger", ["q", "w8"], ["h"]),
            helper.make_node("Cast", ["h"], ["y"], to=TensorProto.FLOAT),
        ],
        {"q": ["N", 32]},
        {"y": ["N", 16]},
        {"w8": rng.integers(-127, 128, (32, 16)).astype(np.int8)},
        input_type=TensorProto.UINT8,
    )

    graph = load(model)

    assert (weight(graph, "w8").dtype, weight(graph, "w8").role) == ("int8", Role.CONSTANT)


@pytest.fixture
def external_path(rng: Rng, tmp_path: Path) -> Path:
    path = tmp_path / "model" / "outer.onnx"
    path.parent.mkdir()
    onnx.save(
        two_layers(rng), path, save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    return path


def test_external_data_are_read_and_counted(external_path: Path) -> None:
    graph = load_graph(external_path)

    data = external_path.with_name("weights.bin")
    assert [w.name for w in graph.weights] == ["w", "b", "m", "a"]
    assert graph.source_bytes <= external_path.stat().st_size + data.stat().st_size
    assert_same_answers(onnx.load(external_path), graph)


def test_missing_external_data_are_named(external_path: Path) -> None:
    external_path.with_name("weights.bin").unlink()

    with pytest.raises(ModelFileError, match=r"data of tensor w are missing: .*weights\.bin"):
        load_graph(external_path)


def test_short_external_data_are_refused(external_path: Path) -> None:
    data = external_path.with_name("weights.bin")
    data.write_bytes(data.read_bytes()[:100])

    with pytest.raises(ModelFileError, match=r"needs .* bytes at"):
        load_graph(external_path)


def test_external_data_need_a_path(external_path: Path) -> None:
    with pytest.raises(ModelFileError, match="give the model's path"):
        load_graph(external_path.read_bytes())


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "", "link.bin"])
def test_external_data_outside_the_folder_are_refused(external_path: Path, location: str) -> None:
    secret = external_path.parent.parent / "secret.bin"
    secret.write_bytes(bytes(100_000))
    external_path.with_name("link.bin").symlink_to(secret)
    model = onnx.load(external_path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    external_path.write_bytes(model.SerializeToString())

    with pytest.raises(ModelFileError, match="isn't inside the model's folder"):
        load_graph(external_path)


def break_offset(model: ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "some.bin"), ("offset", "ten")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def set_value(name: str, value: float) -> Callable[[ModelProto], None]:
    def change(model: ModelProto) -> None:
        for tensor in model.graph.initializer:
            if tensor.name == name:
                array = numpy_helper.to_array(tensor).copy()
                array.flat[-1] = value
                tensor.raw_data = array.tobytes()

    return change


def shorten(model: ModelProto) -> None:
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-1]


def negate(model: ModelProto) -> None:
    model.graph.initializer[0].dims[0] = -16


def double(model: ModelProto) -> None:
    model.graph.initializer.append(model.graph.initializer[0])


def unknown_operator(model: ModelProto) -> None:
    model.graph.node[0].op_type = "Convolute"


def no_producer(model: ModelProto) -> None:
    model.graph.node[1].input[0] = "nowhere"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_value("w", np.nan), "tensor w has values that are NaN or infinite"),
        (set_value("m", -np.inf), "tensor m has values that are NaN or infinite"),
        (set_value("b", np.inf), "tensor b has values that are NaN or infinite"),
        (shorten, r"tensor w of shape \(16, 3, 3, 3\) needs 1,728 bytes of float32, but has 1,727"),
        (negate, "tensor w has a size below 0"),
        (double, "two initializers named w"),
        (unknown_operator, "breaks the rules of ONNX: .*Convolute"),
        (no_producer, "breaks the rules of ONNX: .*"),
    ],
)
def test_a_broken_model_is_refused_in_one_line(
    rng: Rng, change: Callable[[ModelProto], None], message: str
) -> None:
    model = two_layers(rng)
    change(model)

    with pytest.raises(ModelFileError, match=message) as caught:
        load(model)

    assert "\n" not in str(caught.value)


def test_a_model_without_weights_is_refused() -> None:
    model = make_model([helper.make_node("Relu", ["x"], ["y"])], {"x": ["N", 3]}, {"y": ["N", 3]})

    with pytest.raises(ModelFileError, match="no weights to compress"):
        load(model)


@pytest.mark.parametrize(
    "data", [b"", b"hello world, this is no model\n" * 9, bytes(100), b"\x89PNG\r\n\x1a\n" * 4]
)
def test_bytes_that_are_no_model_are_refused(data: bytes) -> None:
    with pytest.raises(ModelFileError, match="isn't an ONNX model"):
        load_graph(data)


def test_every_cut_of_a_model_is_refused(tiny_model: ModelProto) -> None:
    data = tiny_model.SerializeToString()

    for length in range(0, len(data) - 1, 997):
        with pytest.raises(ModelFileError):
            load_graph(data[:length])


def test_a_name_that_is_no_text_is_refused(rng: Rng) -> None:
    data = two_layers(rng).SerializeToString().replace(b"awkward", b"\xff" * 7)

    with pytest.raises(ModelFileError, match="isn't UTF-8"):
        load_graph(data)


def test_damaged_bytes_give_our_errors_and_no_others(rng: Rng) -> None:
    data = np.frombuffer(if_model(rng).SerializeToString(), np.uint8)
    refused = 0

    for _ in range(200):
        damaged = data.copy()
        damaged[rng.integers(0, data.size, 3)] = rng.integers(0, 256, 3)
        damaged[rng.integers(0, 300)] = rng.integers(0, 256)
        try:
            load_graph(damaged.tobytes())
        except ModelFileError:
            refused += 1

    assert refused > 20


def test_a_packed_file_is_recognised() -> None:
    with pytest.raises(ModelFileError, match="packed file already"):
        load_graph(b"\x89EKP\r\n\x1a\n" + bytes(50))


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="No such file"):
        load_graph(tmp_path / "none.onnx")
    with pytest.raises(ModelFileError, match="directory"):
        load_graph(tmp_path)


def test_a_vector_added_behind_a_convolution_is_its_bias(rng: Rng) -> None:
    """Converters from Paddle reshape the bias in the graph and add it."""
    model = make_model(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
            helper.make_node("Reshape", ["b", "shape"], ["reshaped"]),
            helper.make_node("Add", ["c", "reshaped"], ["y"], "add"),
        ],
        {"x": ["N", 3, 8, 8]},
        {"y": ["N", 16, 6, 6]},
        {
            "w": normal(rng, 16, 3, 3, 3),
            "b": normal(rng, 16),
            "shape": np.array([1, -1, 1, 1], np.int64),
        },
    )

    graph = load(model)

    assert weight(graph, "b").role is Role.BIAS
    assert_same_answers(model, graph)
