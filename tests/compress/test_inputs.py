"""What a model is calibrated on when nobody says: noise for pictures, else none and why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, helper

from edgekit.compress import inputs as chosen
from edgekit.compress.goal import Goal, noise_inputs
from edgekit.compress.keep import Keep
from edgekit.compress.pipeline import compress
from edgekit.errors import PlanError, UsageError
from edgekit.graph import load_graph
from edgekit.packfile import read_packfile
from edgekit.tensors import CodedTensor, dequantize
from tests.onnx_files import make_model
from tests.support import Cli


def convolution(
    weights: NDArray[np.float32], shape: list[str | int], then: str = "Relu"
) -> ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node(then, ["c"], ["y"], "then"),
    ]
    return make_model(nodes, {"x": shape}, {"y": ["N", 8, "H", "W"]}, {"w": weights})


@pytest.fixture
def weights(rng: np.random.Generator) -> NDArray[np.float32]:
    return rng.normal(0, 0.2, (8, 3, 3, 3)).astype(np.float32)


def test_pictures_get_noise_unasked(tiny_onnx_path: Path) -> None:
    unasked = compress(tiny_onnx_path, None, bits=4, dry_run=True)
    asked = compress(tiny_onnx_path, None, bits=4, calibration="noise", dry_run=True)
    plain = compress(tiny_onnx_path, None, bits=4, calibration="none", dry_run=True)

    assert unasked.recipe["calibration"] == "1/f noise, seed 0"
    assert unasked.sha256 == asked.sha256 != plain.sha256
    assert plain.recipe["calibration"] == "none"
    assert not plain.uncalibrated


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        (["N", 3, "H", "W"], "input x isn't pictures of a fixed size"),
        ([300, 3, 64, 64], "the model wants batches of 300"),
        ([1, 3, 641, 640], "pictures of 641x640 take long"),
    ],
)
def test_other_models_are_rounded_plainly_and_say_why(
    weights: NDArray[np.float32], shape: list[str | int], reason: str
) -> None:
    model = convolution(weights, shape).SerializeToString()

    report = compress(model, None, dry_run=True)

    assert reason in report.uncalibrated
    assert report.sha256 == compress(model, None, calibration="none", dry_run=True).sha256


@pytest.mark.parametrize("batch", [1, 8, 40])
@pytest.mark.parametrize("goal", [Goal(), Goal(bits_per_weight=4)])
def test_batches_of_a_fixed_size_are_filled_with_noise(
    weights: NDArray[np.float32], batch: int, goal: Goal
) -> None:
    model = convolution(weights, [batch, 3, 8, 8]).SerializeToString()

    report = compress(model, None, bits=4, goal=goal, dry_run=True)

    assert not report.uncalibrated
    assert report.metrics["held_back"] >= batch
    assert report.metrics["held_back"] % batch == 0


def test_a_model_without_a_layer_to_follow_is_rounded_plainly(
    weights: NDArray[np.float32],
) -> None:
    constant = convolution(np.full_like(weights, 0.5), ["N", 3, 8, 8]).SerializeToString()
    kept = convolution(weights, ["N", 3, 8, 8]).SerializeToString()

    keep: dict[str, Keep] = {"w": "float"}
    assert "can follow none" in compress(constant, None, dry_run=True).uncalibrated
    report = compress(kept, None, keep=keep, dry_run=True)
    assert report.uncalibrated == "every layer stays float"


def test_answers_that_are_not_finite_judge_nothing(weights: NDArray[np.float32]) -> None:
    # The logarithm of a negative number.
    model = convolution(weights, ["N", 3, 8, 8], then="Log").SerializeToString()

    assert "finite" in compress(model, None, dry_run=True).uncalibrated


@pytest.mark.parametrize("operator", ["NonZero", "RandomNormalLike"])
def test_operators_whose_answers_cannot_be_compared_are_named(
    weights: NDArray[np.float32], operator: str
) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node(operator, ["c"], ["n"], "unfit"),
        helper.make_node("Cast", ["n"], ["y"], "cast", to=1),
    ]
    shape: list[str | int] = ["A", "B"] if operator == "NonZero" else ["N", 8, 6, 6]
    model = make_model(nodes, {"x": ["N", 3, 8, 8]}, {"y": shape}, {"w": weights})

    report = compress(model.SerializeToString(), None, dry_run=True)

    assert f"the model has {operator}" in report.uncalibrated


def test_a_model_that_refuses_noise_is_told_in_one_line(weights: NDArray[np.float32]) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("Reshape", ["c", "one"], ["r"], "one_row"),
        helper.make_node("MatMul", ["r", "d"], ["y"], "dense"),
    ]
    given = {"w": weights, "one": np.array([1, -1]), "d": np.ones((288, 4), np.float32)}
    model = make_model(nodes, {"x": ["N", 3, 8, 8]}, {"y": ["N", 4]}, given)

    report = compress(model.SerializeToString(), None, dry_run=True)

    assert report.uncalibrated == "the model doesn't run on noise of shape (10, 3, 8, 8)"


def test_large_pictures_of_noise_are_few(weights: NDArray[np.float32]) -> None:
    graph = load_graph(convolution(weights, ["N", 3, 512, 512]).SerializeToString())

    assert noise_inputs(graph, 0).array.shape == (24, 3, 512, 512)


def test_a_model_too_large_is_not_measured_unasked(
    tiny_onnx_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chosen, "_MOST_WEIGHTS", 100)

    assert "over 100 weights" in compress(tiny_onnx_path, None, dry_run=True).uncalibrated


def test_ranking_by_layer_is_by_magnitude(tiny_onnx_path: Path) -> None:
    by_layer = compress(tiny_onnx_path, None, sparsity=0.5, scope="layer", dry_run=True)

    assert by_layer.recipe["calibration"] == "none"
    assert all(
        layer.fidelity.sparsity == pytest.approx(0.5, abs=0.02)
        for layer in by_layer.layers
        if layer.fidelity.method == "uniform"
    )


def test_a_bound_cannot_be_met_without_calibration(tiny_onnx_path: Path) -> None:
    with pytest.raises(UsageError, match="leave out --calibration none"):
        compress(
            tiny_onnx_path, None, calibration="none", goal=Goal(max_divergence=0.1), dry_run=True
        )
    with pytest.raises(PlanError, match="global scope"):
        compress(tiny_onnx_path, None, calibration="noise", scope="layer", dry_run=True)


def test_zeros_of_a_model_stay_zeros(
    weights: NDArray[np.float32], rng: np.random.Generator, tmp_path: Path
) -> None:
    pruned = weights * (rng.random(weights.shape) > 0.6)
    model = convolution(pruned.astype(np.float32), ["N", 3, 8, 8]).SerializeToString()

    for sparsity in (0.0, 0.3, 0.7):
        compress(model, tmp_path / "m.ekp", bits=4, sparsity=sparsity, force=True)
        [tensor] = [t for t in read_packfile(tmp_path / "m.ekp").tensors if t.name == "w"]
        assert not dequantize(tensor)[pruned == 0].any()


def test_weights_on_a_grid_stay_as_they_are(rng: np.random.Generator, tmp_path: Path) -> None:
    """Training for a grid would be lost otherwise."""
    codes = rng.integers(-31, 32, (8, 3, 3, 3))
    codes[:, 0, 0, 0] = 31
    weights = (codes * np.float32(0.0078125)).astype(np.float32)
    model = convolution(weights, ["N", 3, 8, 8]).SerializeToString()

    compress(model, tmp_path / "m.ekp", bits=6)

    [tensor] = [t for t in read_packfile(tmp_path / "m.ekp").tensors if t.name == "w"]
    assert isinstance(tensor, CodedTensor)
    np.testing.assert_array_equal(dequantize(tensor), weights)


def test_the_reason_is_in_the_terminal(
    cli: Cli, weights: NDArray[np.float32], tmp_path: Path
) -> None:
    source = tmp_path / "open.onnx"
    source.write_bytes(convolution(weights, ["N", 3, "H", "W"]).SerializeToString())

    outcome = cli("compress", source, "-o", tmp_path / "open.ekp")

    assert (
        "not calibrated (input x isn't pictures of a fixed size; --calibration takes data)"
        in outcome.stdout
    )
