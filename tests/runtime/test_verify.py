"""Verification: integrity, differences that are really there, bounds that are really checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from edgekit.compress.pipeline import compress
from edgekit.errors import FormatError, UsageError
from edgekit.runtime.parity import agreement, difference, softmax_divergence
from edgekit.runtime.verify import verify


@pytest.fixture
def packed(tiny_onnx_path: Path, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.ekp"
    compress(tiny_onnx_path, path, bits=4)
    return path


@pytest.fixture
def data(tmp_path: Path, rng: np.random.Generator) -> Path:
    path = tmp_path / "data.npz"
    np.savez(
        path,
        inputs=rng.standard_normal((60, 1, 12, 12)).astype(np.float32),
        labels=rng.integers(0, 10, 60),
    )
    return path


def test_a_sound_file_is_told_with_its_decoders(packed: Path) -> None:
    report = verify(packed)

    assert report.integrity.tensors == 7
    assert "numpy" in report.integrity.decoders
    assert report.answers is None
    assert report.failures == ()


def test_every_weight_and_layer_is_compared(packed: Path, tiny_onnx_path: Path, data: Path) -> None:
    report = verify(packed, against=tiny_onnx_path, data=data)

    assert report.answers is not None
    assert {entry.name for entry in report.answers.weights} >= {"conv.weight", "gemm.weight"}
    assert [entry.name for entry in report.answers.layers][:2] == ["c1", "r1"]
    assert all(entry.relative > 0 for entry in report.answers.layers)
    assert report.answers.inputs == 60
    assert report.answers.accuracy is not None


def test_a_model_against_itself_differs_nowhere(packed: Path, data: Path) -> None:
    report = verify(packed, against=packed, data=data, min_agreement=1.0, max_drop=0.0)

    assert report.answers is not None
    assert report.answers.output.largest == 0
    assert report.answers.agreement == 1
    assert report.failures == ()


def test_bounds_that_are_not_met_are_listed(
    packed: Path, tiny_model: onnx.ModelProto, tmp_path: Path, data: Path
) -> None:
    for tensor in tiny_model.graph.initializer:
        if tensor.name == "gemm.weight":
            values = onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(-values, tensor.name))
    (tmp_path / "other.onnx").write_bytes(tiny_model.SerializeToString())

    report = verify(packed, against=tmp_path / "other.onnx", data=data, min_agreement=0.9)

    assert len(report.failures) == 1
    assert "is below 0.9" in report.failures[0]


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
