"""Bounds on agreement and accuracy are met, by the coarsest grids that meet them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import edgekit
from edgekit.compress.goal import Goal
from edgekit.compress.noise import natural_noise
from edgekit.compress.pipeline import compress
from edgekit.errors import CheckFailedError, PlanError, UsageError
from edgekit.packfile import open_packfile
from tests.support import Cli

INPUTS = natural_noise(200, (1, 12, 12), np.random.default_rng(5))


@pytest.fixture
def model(tiny_model: onnx.ModelProto, tmp_path: Path) -> Path:
    """The tiny model with scores around zero, so that each class wins sometimes."""
    (scores,) = edgekit.load(tiny_model.SerializeToString()).run(None, {"input": INPUTS})
    (bias,) = (tensor for tensor in tiny_model.graph.initializer if tensor.name == "gemm.bias")
    centred = onnx.numpy_helper.to_array(bias) - scores.mean(axis=0)
    bias.CopyFrom(onnx.numpy_helper.from_array(centred, bias.name))
    onnx.save(tiny_model, tmp_path / "tiny.onnx")
    return tmp_path / "tiny.onnx"


@pytest.fixture
def data(model: Path, tmp_path: Path) -> Path:
    """Inputs whose labels are the float model's answers, but for every tenth."""
    (scores,) = edgekit.load(model).run(None, {"input": INPUTS})
    labels = scores.argmax(1)
    labels[::10] = (labels[::10] + 1) % 10
    path = tmp_path / "data.npz"
    np.savez(path, inputs=INPUTS, labels=labels)
    return path


def test_a_largest_drop_is_kept_and_used(model: Path, data: Path, tmp_path: Path) -> None:
    tight, loose = (
        compress(
            model,
            tmp_path / f"{drop}.ekp",
            calibration="noise",
            goal=Goal(max_drop=drop),
            evaluation=data,
        )
        for drop in (5.0, 25.0)
    )

    for report, drop in ((tight, 5.0), (loose, 25.0)):
        measured = report.metrics["evaluation"]
        assert measured["reference_accuracy"] == pytest.approx(0.9)
        assert 100 * (0.9 - measured["accuracy"]) <= drop + 1e-6
    assert loose.file_bytes < tight.file_bytes
    manifest = open_packfile(tmp_path / "5.0.ekp").manifest
    assert manifest["metrics"]["evaluation"]["inputs"] == 200


def test_a_least_agreement_is_kept_on_evaluation_data(
    model: Path, data: Path, tmp_path: Path
) -> None:
    report = compress(
        model,
        tmp_path / "m.ekp",
        calibration="noise",
        goal=Goal(min_agreement=0.95),
        evaluation=data,
    )

    assert 0.95 <= report.metrics["evaluation"]["agreement"] < 1


def test_a_least_agreement_without_data_is_that_of_held_back_inputs(
    model: Path, tmp_path: Path
) -> None:
    report = compress(model, tmp_path / "m.ekp", goal=Goal(min_agreement=0.9))

    assert report.metrics["agreement"] >= 0.9
    assert "evaluation" not in report.metrics


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        ({"max_drop": -0.1}, "above 0"),
        ({"min_agreement": 1.5}, "a share up to 1"),
        ({"min_agreement": 0.0}, "above 0"),
        ({"max_drop": 0.5, "max_divergence": 0.1}, "give one of"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(goal: dict[str, float], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        Goal(**goal)  # type: ignore[arg-type]  # sizes aren't among them


def test_a_drop_without_data_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--eval"):
        compress(model, tmp_path / "m.ekp", goal=Goal(max_drop=0.5))


def test_a_drop_without_labels_is_refused(
    model: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    np.savez(tmp_path / "bare.npz", inputs=natural_noise(10, (1, 12, 12), rng))

    with pytest.raises(UsageError, match="data with labels: --eval"):
        compress(
            model,
            tmp_path / "m.ekp",
            goal=Goal(max_drop=0.5),
            evaluation=tmp_path / "bare.npz",
        )


def test_evaluation_without_calibration_is_refused(model: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="edgekit verify"):
        compress(model, tmp_path / "m.ekp", calibration="none", evaluation=data)


def test_a_bound_that_no_grid_meets_is_told(model: Path, data: Path, tmp_path: Path) -> None:
    layers = ("conv", "depthwise", "pointwise", "gemm")

    with pytest.raises(CheckFailedError, match=r"it is 0.* on 13 held-back inputs"):
        compress(
            model,
            tmp_path / "m.ekp",
            goal=Goal(min_agreement=1.0),
            keep=dict.fromkeys(layers, 2),
        )
    with pytest.raises(
        CheckFailedError, match=r"\d points of top-1 are lost on 200 inputs of data"
    ):
        compress(
            model,
            tmp_path / "m.ekp",
            goal=Goal(max_drop=0),
            evaluation=data,
            keep=dict.fromkeys(layers, 2),
        )

    assert not (tmp_path / "m.ekp").exists()


def test_the_report_tells_both_accuracies(
    cli: Cli, model: Path, data: Path, tmp_path: Path
) -> None:
    outcome = cli(
        *("compress", model, "-o", tmp_path / "m.ekp", "--calibration", "noise"),
        *("--max-drop", "5", "--eval", data),
    )

    assert outcome.exit_code == 0
    assert "data all, 200 inputs: same top-1" in outcome.stdout
    assert "top-1 90.00% before" in outcome.stdout
