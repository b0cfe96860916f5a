"""Verification: integrity, differences that are really there, bounds that are really checked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper

from edgekit.codec import native
from edgekit.compress.pipeline import compress
from edgekit.errors import DataError, FormatError, UsageError
from edgekit.runtime.parity import difference, softmax_divergence
from edgekit.runtime.verify import verify
from edgekit.top1 import agreement
from tests.onnx_files import make_model


@pytest.fixture
def packed(tiny_onnx_path: Path, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.ekp"
    compress(tiny_onnx_path, path, bits=4)
    return path


def test_a_sound_file_is_told_with_its_decoders(packed: Path) -> None:
    report = verify(packed)

    assert report.integrity.tensors == 7
    assert "numpy" in report.integrity.decoders
    assert report.answers is None
    assert report.failures == ()


def test_every_weight_and_layer_is_compared(
    packed: Path, tiny_onnx_path: Path, tiny_data: Path
) -> None:
    report = verify(packed, against=tiny_onnx_path, data=tiny_data)

    assert report.answers is not None
    assert {entry.name for entry in report.answers.weights} >= {"conv.weight", "gemm.weight"}
    assert [entry.name for entry in report.answers.layers][:2] == ["c1", "r1"]
    assert all(entry.relative > 0 for entry in report.answers.layers)
    assert report.answers.inputs == 60
    assert report.answers.accuracy is not None


def test_a_model_against_itself_differs_nowhere(packed: Path, tiny_data: Path) -> None:
    report = verify(packed, against=packed, data=tiny_data, min_agreement=1.0, max_drop=0.0)

    assert report.answers is not None
    assert report.answers.output.largest == 0
    assert report.answers.agreement == 1
    assert report.failures == ()


def test_bounds_that_are_not_met_are_listed(
    packed: Path, tiny_model: onnx.ModelProto, tmp_path: Path, tiny_data: Path
) -> None:
    for tensor in tiny_model.graph.initializer:
        if tensor.name == "gemm.weight":
            values = onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(-values, tensor.name))
    (tmp_path / "other.onnx").write_bytes(tiny_model.SerializeToString())

    report = verify(packed, against=tmp_path / "other.onnx", data=tiny_data, min_agreement=0.9)

    assert len(report.failures) == 1
    assert "is below 0.9" in report.failures[0]


def test_a_drop_of_exactly_the_bound_is_within_it(tmp_path: Path) -> None:
    def write(name: str, weights: NDArray[np.float32]) -> Path:
        nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
        model = make_model(nodes, {"x": ["N", 8]}, {"y": ["N", 8]}, {"w": weights})
        (tmp_path / name).write_bytes(model.SerializeToString())
        return tmp_path / name

    one = np.eye(8, dtype=np.float32)
    reference, other = write("a.onnx", one), write("b.onnx", one[[0, 1, 2, 3, 4, 5, 7, 6]])
    compress(other, tmp_path / "b.ekp", calibration="none")
    classes = np.repeat([0, 6], [1990, 10])
    # 93.65 % are right, and 93.15 % are where 10 inputs get other answers; in floating-point
    # numbers that is a little more than half a point.
    labels = np.where(np.arange(2000) < 1863, 0, 6)
    labels[1863:1990] = 1
    np.savez(tmp_path / "data.npz", inputs=one[classes], labels=labels)

    kept, missed = (
        verify(tmp_path / "b.ekp", against=reference, data=tmp_path / "data.npz", max_drop=most)
        for most in (0.5, 0.49)
    )

    assert kept.answers is not None
    assert (kept.answers.reference_accuracy, kept.answers.accuracy) == (0.9365, 0.9315)
    assert kept.failures == ()
    assert len(missed.failures) == 1


def test_random_inputs_are_drawn_and_said_without_data(packed: Path, tiny_onnx_path: Path) -> None:
    report = verify(packed, against=tiny_onnx_path, seed=5)

    assert report.answers is not None
    assert (report.answers.data, report.answers.split) == ("random numbers", "seed 5")
    assert report.answers.inputs == 8


def test_a_bound_without_its_reference_is_a_usage_error(packed: Path) -> None:
    with pytest.raises(UsageError, match="--against"):
        verify(packed, min_agreement=0.5)


def test_a_drop_without_labels_is_a_usage_error(packed: Path, tiny_onnx_path: Path) -> None:
    with pytest.raises(UsageError, match="needs data with labels"):
        verify(packed, against=tiny_onnx_path, max_drop=0.5)


def test_any_changed_byte_of_the_payload_is_found(packed: Path) -> None:
    data = bytearray(packed.read_bytes())
    data[len(data) // 2] ^= 4
    packed.write_bytes(data)

    with pytest.raises(FormatError):
        verify(packed)


def test_a_bound_on_the_difference_is_checked(packed: Path, tiny_onnx_path: Path) -> None:
    loose = verify(packed, against=tiny_onnx_path, max_difference=1e6)
    tight = verify(packed, against=tiny_onnx_path, max_difference=1e-6)

    assert loose.failures == ()
    assert len(tight.failures) == 1
    assert "more than 1e-06" in tight.failures[0]


def test_answers_of_nan_fail_without_any_bound(tmp_path: Path) -> None:
    def division(divisor: float) -> onnx.ModelProto:
        return make_model(
            [
                onnx.helper.make_node("MatMul", ["x", "w"], ["product"]),
                onnx.helper.make_node("Mul", ["product", "d"], ["zero"]),
                onnx.helper.make_node("Div", ["zero", "d"], ["y"]),
            ],
            {"x": ["N", 64]},
            {"y": ["N", 16]},
            {"w": np.linspace(-1, 1, 1024, dtype=np.float32).reshape(64, 16),
             "d": np.full(1, divisor, np.float32)},
        )  # fmt: skip

    compress(division(0).SerializeToString(), tmp_path / "nan.ekp")
    (tmp_path / "sound.onnx").write_bytes(division(1).SerializeToString())

    report = verify(tmp_path / "nan.ekp", against=tmp_path / "sound.onnx")

    assert report.answers is not None
    assert report.answers.not_finite == report.answers.inputs == 8
    assert report.answers.agreement == 0
    assert "NaN or infinity" in report.failures[0]
    json.dumps(report.to_dict(), allow_nan=False)


@pytest.fixture
def two_inputs(tmp_path: Path) -> Path:
    """A model that adds rows of a table, chosen by integers, to a product; and its packed file."""
    model = make_model(
        [
            onnx.helper.make_node("Cast", ["number"], ["index"], to=onnx.TensorProto.INT64),
            onnx.helper.make_node("Gather", ["w", "index"], ["row"]),
            onnx.helper.make_node("MatMul", ["x", "w"], ["product"]),
            onnx.helper.make_node("Add", ["row", "product"], ["y"]),
        ],
        {"x": ["N", 64], "number": ["N"]},
        {"y": ["N", 16]},
        {"w": np.linspace(-1, 1, 1024, dtype=np.float32).reshape(64, 16)},
    )
    model.graph.input[1].type.tensor_type.elem_type = onnx.TensorProto.INT32
    path = tmp_path / "two.onnx"
    path.write_bytes(model.SerializeToString())
    compress(path, tmp_path / "two.ekp", bits=6)
    return path


def test_every_input_is_drawn_in_its_own_type(two_inputs: Path) -> None:
    report = verify(two_inputs.with_suffix(".ekp"), against=two_inputs)

    assert report.answers is not None
    assert report.answers.inputs == 8
    assert 0 < report.answers.output.relative < 0.1


def test_data_for_one_of_two_inputs_are_refused(two_inputs: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", inputs=np.zeros((4, 64), np.float32))

    with pytest.raises(DataError, match="the model also takes number"):
        verify(two_inputs.with_suffix(".ekp"), against=two_inputs, data=tmp_path / "one.npz")


def test_bfloat16_weights_are_compared_as_numbers(tmp_path: Path) -> None:
    model = make_model(
        [
            onnx.helper.make_node("Cast", ["w"], ["wide"], to=onnx.TensorProto.FLOAT),
            onnx.helper.make_node("MatMul", ["x", "wide"], ["y"]),
        ],
        {"x": ["N", 64]},
        {"y": ["N", 16]},
    )
    numbers = np.linspace(-1, 1, 1024).tolist()
    bfloat16 = onnx.TensorProto.BFLOAT16
    model.graph.initializer.append(onnx.helper.make_tensor("w", bfloat16, [64, 16], numbers))
    (tmp_path / "b.onnx").write_bytes(model.SerializeToString())
    compress(tmp_path / "b.onnx", tmp_path / "b.ekp", bits=4)

    report = verify(tmp_path / "b.ekp", against=tmp_path / "b.onnx")

    assert report.answers is not None
    (weight,) = report.answers.weights
    # Half a step of a grid of 15 values from -1 to 1.
    assert 0.03 < weight.largest < 0.08


def test_difference_of_known_arrays() -> None:
    found = difference("x", np.array([3.0, 4.0]), np.array([3.0, 4.5]))

    assert found.largest == 0.5
    assert found.relative == pytest.approx(0.1)


def test_agreement_counts_rows() -> None:
    first = np.array([[1, 2], [2, 1], [0, 3], [5, 4]])
    second = np.array([[0, 9], [1, 2], [1, 2], [9, 0]])

    assert agreement(first, second) == 0.75


def test_divergence_of_known_distributions() -> None:
    first, second = np.log([[0.5, 0.5]]), np.log([[0.25, 0.75]])

    expected = 0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75)
    assert softmax_divergence(first, second) == pytest.approx(expected)


@pytest.mark.skipif(not native.available, reason="the compiled decoder isn't built")
def test_the_slower_decoder_restores_as_many_weights_as_there_is_time_for(
    packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = verify(packed).integrity
    monkeypatch.setattr("edgekit.runtime.verify._COMPARED_WEIGHTS", 1000)
    part = verify(packed).integrity

    assert whole.compared == whole.weights == part.weights
    assert 0 < part.compared <= 1000
    assert whole.decoders == part.decoders == ("numpy", "native")
