"""Answers of every shape and of every output are compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, helper

from edgekit.compress.keep import Keep
from edgekit.compress.pipeline import compress
from edgekit.runtime.verify import verify
from tests.onnx_files import make_model
from tests.support import Cli


def _written(model: ModelProto, folder: Path, keep: dict[str, Keep]) -> tuple[Path, Path]:
    source, packed = folder / "m.onnx", folder / "m.ekp"
    source.write_bytes(model.SerializeToString())
    compress(source, packed, calibration="none", keep=keep)
    return source, packed


@pytest.fixture
def weights(rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    return {name: rng.normal(0, 0.2, (8, 3, 3, 3)).astype(np.float32) for name in ("a", "b")}


def test_a_second_output_that_broke_is_told(
    weights: dict[str, NDArray[np.float32]], tmp_path: Path, cli: Cli
) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["boxes"], "boxes"),
        helper.make_node("Conv", ["x", "b"], ["scores"], "scores"),
    ]
    shape: list[str | int] = ["N", 8, 6, 6]
    model = make_model(nodes, {"x": ["N", 3, 8, 8]}, {"boxes": shape, "scores": shape}, weights)
    source, packed = _written(model, tmp_path, {"b": 2})

    report = verify(packed, against=source, max_difference=0.1)

    assert report.answers is not None
    assert report.answers.output.relative < 0.02
    [scores] = report.answers.others
    assert scores.name == "scores"
    assert scores.relative > 0.1
    assert [failure.split(" differs")[0] for failure in report.failures] == ["the output scores"]
    assert "output scores" in cli("verify", packed, "--against", source).stdout


def test_outputs_that_have_time_first_are_compared_over_batches(
    weights: dict[str, NDArray[np.float32]], rng: np.random.Generator, tmp_path: Path
) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["c"], "conv"),
        helper.make_node("Transpose", ["c"], ["y"], "turn", perm=[3, 0, 1, 2]),
    ]
    model = make_model(nodes, {"x": ["N", 3, 8, 8]}, {"y": [6, "N", 8, 6]}, {"a": weights["a"]})
    source, packed = _written(model, tmp_path, {})
    np.save(tmp_path / "data.npy", rng.normal(0, 1, (70, 3, 8, 8)).astype(np.float32))

    answers = verify(packed, against=source, data=tmp_path / "data.npy").answers

    assert answers is not None
    assert answers.inputs == 70
    assert 0 < answers.output.relative < 0.02
