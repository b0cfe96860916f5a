"""Packed file to plain ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgekit.errors import ChecksumError, CorruptError, OutputError
from edgekit.packfile import pack
from edgekit.packfile.onnx_model import decompress, to_model_proto
from edgekit.tensors import CodedTensor, CompressedModel, StoredTensor, dequantize


def emptied(model: ModelProto) -> tuple[ModelProto, dict[str, NDArray[np.float32]]]:
    """The skeleton of a model, and its weights."""
    skeleton = ModelProto()
    skeleton.CopyFrom(model)
    weights = {}
    for initializer in skeleton.graph.initializer:
        weights[initializer.name] = numpy_helper.to_array(initializer)
        initializer.ClearField("raw_data")
        initializer.data_location = TensorProto.EXTERNAL
    return skeleton, weights


def stored_model(model: ModelProto) -> CompressedModel:
    skeleton, weights = emptied(model)
    tensors = tuple(StoredTensor(name, "float32", array) for name, array in weights.items())
    return CompressedModel(tensors, skeleton.SerializeToString(), {})


def test_plain_weights_give_the_model_back(tiny_model: ModelProto) -> None:
    restored = to_model_proto(stored_model(tiny_model))

    assert restored == tiny_model


def test_decompress_writes_a_valid_model(tiny_model: ModelProto, tmp_path: Path) -> None:
    packed = tmp_path / "tiny.ekp"
    packed.write_bytes(pack(stored_model(tiny_model)))

    decompress(packed, tmp_path / "tiny.onnx")

    restored = onnx.load(tmp_path / "tiny.onnx")
    onnx.checker.check_model(restored, full_check=True)
    assert restored == tiny_model


def test_coded_weights_are_restored(tiny_model: ModelProto, rng: np.random.Generator) -> None:
    model = stored_model(tiny_model)
    scale = rng.uniform(0.01, 0.1, 32).astype(np.float32)
    codes = rng.integers(-127, 128, (32, 1, 3, 3), np.int8)
    coded = CodedTensor("conv.weight", "float32", codes, scale, 0)
    tensors = tuple(coded if t.name == coded.name else t for t in model.tensors)

    restored = to_model_proto(CompressedModel(tensors, model.skeleton, {}))

    arrays = {i.name: numpy_helper.to_array(i) for i in restored.graph.initializer}
    assert np.array_equal(arrays["conv.weight"], dequantize(coded))


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("bfloat16", np.array([0x3F80, 0xC020], np.uint16)),
        ("float16", np.array([0.5, 2], np.float16)),
        ("float64", np.array([0.5, 2])),
        ("int64", np.array([1, -1])),
        ("int8", np.array([1, -1], np.int8)),
        ("uint8", np.array([1, 255], np.uint8)),
        ("int32", np.array([1, -1], np.int32)),
    ],
)
def test_every_type_reaches_the_initializer(dtype: str, values: NDArray[np.generic]) -> None:
    onnx_type = {"float64": "DOUBLE"}.get(dtype, dtype.upper())
    empty = TensorProto(
        name="w",
        dims=[2],
        data_type=TensorProto.DataType.Value(onnx_type),
        data_location=TensorProto.EXTERNAL,
    )
    skeleton = helper.make_model(helper.make_graph([], "g", [], [], [empty]))

    model = to_model_proto(
        CompressedModel((StoredTensor("w", dtype, values),), skeleton.SerializeToString(), {})
    )

    (initializer,) = model.graph.initializer
    assert initializer.raw_data == values.tobytes()
    assert not initializer.HasField("data_location")


def test_an_initializer_of_a_subgraph_is_filled() -> None:
    empty = TensorProto(
        name="inner", dims=[2], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL
    )
    branch = helper.make_graph(
        [helper.make_node("Identity", ["inner"], ["out"])],
        "branch",
        [],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [2])],
        [empty],
    )
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    node.attribute[1].g.initializer[0].name = "other"
    model = helper.make_model(helper.make_graph([node], "g", [], []))
    tensors = tuple(
        StoredTensor(name, "float32", np.array([1, 2], np.float32)) for name in ("inner", "other")
    )

    filled = to_model_proto(CompressedModel(tensors, model.SerializeToString(), {}))

    graphs = [attribute.g for attribute in filled.graph.node[0].attribute]
    assert all(graph.initializer[0].raw_data == tensors[0].values.tobytes() for graph in graphs)


def test_a_skeleton_that_is_no_model_is_corrupt() -> None:
    with pytest.raises(CorruptError, match="isn't an ONNX model"):
        to_model_proto(CompressedModel((), b"\xff\xff", {}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "another"}, "no empty initializer"),
        ({"dims": [5]}, r"float32 \(32, 1, 3, 3\)"),
        ({"data_type": TensorProto.INT64}, "INT64"),
    ],
)
def test_a_skeleton_that_disagrees_with_its_tensors_is_corrupt(
    tiny_model: ModelProto, change: dict[str, object], message: str
) -> None:
    skeleton, weights = emptied(tiny_model)
    for field, value in change.items():
        first = skeleton.graph.initializer[0]
        first.ClearField(field)
        first.MergeFrom(TensorProto(**{field: value}))  # type: ignore[arg-type]  # one field
    tensors = tuple(StoredTensor(name, "float32", array) for name, array in weights.items())

    with pytest.raises(CorruptError, match=message):
        to_model_proto(CompressedModel(tensors, skeleton.SerializeToString(), {}))


def test_an_initializer_without_weights_is_corrupt(tiny_model: ModelProto) -> None:
    model = stored_model(tiny_model)

    with pytest.raises(CorruptError, match=r"no weights for the initializer conv\.weight"):
        to_model_proto(CompressedModel(model.tensors[1:], model.skeleton, {}))


def test_a_skeleton_that_points_to_another_file_is_corrupt(tiny_model: ModelProto) -> None:
    skeleton, _ = emptied(tiny_model)
    outside = TensorProto(
        name="secret", dims=[1], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL
    )
    outside.external_data.add(key="location", value="../../etc/passwd")
    skeleton.graph.node.append(helper.make_node("Constant", [], ["s"], value=outside))
    model = stored_model(tiny_model)

    with pytest.raises(CorruptError, match="isn't an initializer has no data"):
        to_model_proto(CompressedModel(model.tensors, skeleton.SerializeToString(), {}))


def test_two_empty_initializers_of_one_name_are_corrupt(tiny_model: ModelProto) -> None:
    skeleton, _ = emptied(tiny_model)
    skeleton.graph.initializer.append(skeleton.graph.initializer[0])

    with pytest.raises(CorruptError, match="two initializers"):
        to_model_proto(CompressedModel((), skeleton.SerializeToString(), {}))


def test_a_broken_file_leaves_the_old_output(tiny_model: ModelProto, tmp_path: Path) -> None:
    output = tmp_path / "old.onnx"
    output.write_bytes(b"old")
    data = bytearray(pack(stored_model(tiny_model)))
    data[200] ^= 1

    with pytest.raises(ChecksumError):
        decompress(bytes(data), output)

    assert output.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [output]


def test_a_missing_output_folder_is_one_line(tiny_model: ModelProto, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="doesn't exist"):
        decompress(pack(stored_model(tiny_model)), tmp_path / "none" / "x.onnx")


def test_a_node_without_an_operator_is_corrupt(tiny_model: ModelProto, tmp_path: Path) -> None:
    skeleton, _ = emptied(tiny_model)
    skeleton.graph.node.add()
    model = stored_model(tiny_model)
    packed = pack(CompressedModel(model.tensors, skeleton.SerializeToString(), {}))

    with pytest.raises(CorruptError, match="a node of the skeleton has no operator"):
        decompress(packed, tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()
