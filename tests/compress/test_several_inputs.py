"""Calibration of models whose inputs are integers, other floats, or several."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from edgekit.compress.calibrate import Probe
from edgekit.compress.goal import CalibrationSource, Goal, calibration_inputs
from edgekit.compress.pipeline import compress
from edgekit.compress.samples import Samples
from edgekit.errors import DataError
from edgekit.graph import load_graph
from edgekit.graph.inputs import sample_inputs
from tests.onnx_files import make_model

Rng = np.random.Generator


def words(rng: Rng) -> ModelProto:
    """A table of words and a layer behind it."""
    return make_model(
        [
            helper.make_node("Gather", ["table", "ids"], ["rows"]),
            helper.make_node("ReduceMean", ["rows"], ["mean"], axes=[1], keepdims=0),
            helper.make_node("MatMul", ["mean", "w"], ["y"]),
        ],
        {"ids": ["N", 5]},
        {"y": ["N", 10]},
        {
            "table": rng.normal(0, 1, (60, 32)).astype(np.float32),
            "w": rng.normal(0, 1, (32, 10)).astype(np.float32),
        },
        input_type=TensorProto.INT64,
    )


def pair(rng: Rng) -> ModelProto:
    """Two inputs a sample, of two types, and a scale for all samples."""
    model = make_model(
        [
            helper.make_node("MatMul", ["x", "w"], ["a"]),
            helper.make_node("Cast", ["z"], ["wide"], to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["wide", "v"], ["b"]),
            helper.make_node("Add", ["a", "b"], ["sum"]),
            helper.make_node("Mul", ["sum", "scale"], ["y"]),
        ],
        {"x": ["N", 24], "z": ["N", 12], "scale": []},
        {"y": ["N", 10]},
        {
            "w": rng.normal(0, 1, (24, 10)).astype(np.float32),
            "v": rng.normal(0, 1, (12, 10)).astype(np.float32),
        },
    )
    model.graph.input[1].type.tensor_type.elem_type = TensorProto.FLOAT16
    return model


def of_pair(rng: Rng, count: int = 60) -> dict[str, NDArray[Any]]:
    return {
        "x": rng.normal(0, 1, (count, 24)),
        "z": rng.normal(0, 1, (count, 12)),
        "scale": np.array(2.0),
    }


@pytest.fixture
def ids(rng: Rng) -> NDArray[np.int64]:
    return rng.integers(0, 60, (50, 5))


def test_indices_calibrate_from_files_and_arrays_alike(
    rng: Rng, ids: NDArray[np.int64], tmp_path: Path
) -> None:
    model = words(rng).SerializeToString()
    np.save(tmp_path / "mine.npy", ids.astype(np.int32))
    np.savez(tmp_path / "mine.npz", ids=ids, labels=np.zeros(50, np.int64))

    sources: list[CalibrationSource] = [ids, {"ids": ids}, [ids[:20], ids[20:]]]

    reports = []
    for given in (*sources, tmp_path / "mine.npy", tmp_path / "mine.npz"):
        report = compress(
            model, None, calibration=given, goal=Goal(bits_per_weight=4), dry_run=True
        )
        assert report.metrics["held_back"] == 10
        reports.append(report)

    # The file says where its calibration came from, and is the same otherwise.
    assert [report.recipe["calibration"] for report in reports] == [
        *["given inputs"] * 3,
        *["mine all"] * 2,
    ]
    assert len({report.sha256 for report in reports}) == 2
    assert all(report.layers == reports[0].layers for report in reports)
    assert all(report.metrics == reports[0].metrics for report in reports)


def test_indices_are_never_made_up_nor_rounded(rng: Rng, ids: NDArray[np.int64]) -> None:
    model = words(rng).SerializeToString()

    with pytest.raises(DataError, match=r"the model takes ids \(int64\), and noise"):
        compress(model, None, goal=Goal(bits_per_weight=4), dry_run=True)
    with pytest.raises(DataError, match="input ids takes int64, the data are float32"):
        compress(model, None, calibration=ids.astype(np.float32), dry_run=True)
    assert "isn't float32" in compress(model, None, dry_run=True).uncalibrated


@pytest.mark.parametrize("count", [60, 400])
def test_several_inputs_calibrate(rng: Rng, count: int) -> None:
    model = pair(rng).SerializeToString()

    report = compress(
        model, None, bits=4, sparsity=0.2, calibration=of_pair(rng, count), dry_run=True
    )

    assert report.metrics["held_back"] == count // 5
    assert 0 < report.metrics["divergence"] < 0.2
    assert report.metrics["original"]["inputs"] == count // 5


def test_several_inputs_come_from_an_archive_a_folder_or_batches(rng: Rng, tmp_path: Path) -> None:
    graph = load_graph(pair(rng).SerializeToString())
    arrays = of_pair(rng)
    beside = {"labels": np.zeros(60), "other": np.zeros(3)}
    np.savez(tmp_path / "all.npz", **arrays, **beside)  # type: ignore[arg-type]  # names for flags
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)

    for given in (tmp_path / "all.npz", folder):
        found = calibration_inputs(graph, given).inputs

        assert isinstance(found, Samples)
        assert len(found) == 60
        assert {name: array.dtype for name, array in found.arrays.items()} == {
            "x": np.float32,
            "z": np.float16,
            "scale": np.float32,
        }
        np.testing.assert_allclose(found.rows["x"], arrays["x"], rtol=1e-6)
        assert found.whole["scale"].shape == ()


def test_batches_may_be_arrays_by_name(rng: Rng) -> None:
    names = {"x": 24, "z": 12}
    model = pair(rng)
    del model.graph.input[2]
    model.graph.initializer.append(helper.make_tensor("scale", TensorProto.FLOAT, [], [2.0]))
    graph = load_graph(model.SerializeToString())

    def batches() -> Iterable[dict[str, NDArray[Any]]]:
        for _ in range(300):
            yield {name: rng.normal(0, 1, (8, size)) for name, size in names.items()}

    found = calibration_inputs(graph, batches()).inputs

    assert len(found) == 1024


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"z": None}, "takes an input z, the data hold scale, x"),
        ({"z": np.zeros((30, 12))}, "alike in number, the data hold 60 of x, 30 of z"),
        ({"z": np.zeros((60, 13))}, r"input z takes the shape \?,12, the data have \(60, 13\)"),
        ({"z": np.zeros(60)}, "input z takes the shape"),
        ({"z": np.full((60, 12), 1e9)}, "input z hold NaN, infinity or numbers beyond 1e"),
        ({"z": np.full((60, 12), "a")}, "arrays of numbers"),
        ({"z": np.zeros((0, 12)), "x": np.zeros((0, 24))}, "hold no inputs"),
    ],
)
def test_arrays_that_do_not_fit_are_told_in_one_line(
    rng: Rng, change: dict[str, NDArray[Any] | None], words: str
) -> None:
    arrays = {name: array for name, array in (of_pair(rng) | change).items() if array is not None}

    with pytest.raises(DataError, match=words) as caught:
        compress(pair(rng).SerializeToString(), None, calibration=arrays, dry_run=True)

    assert "\n" not in str(caught.value)


def test_one_array_is_too_few_for_several_inputs(rng: Rng) -> None:
    graph = load_graph(pair(rng).SerializeToString())

    with pytest.raises(DataError, match=r"has 3 inputs \(x, z, scale\)"):
        Probe(graph, np.zeros((4, 24), np.float32))
    with pytest.raises(DataError, match="takes an input x, the data hold inputs"):
        calibration_inputs(graph, np.zeros((4, 24)))


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_other_floats_calibrate_on_arrays_and_on_noise_that_was_asked_for(
    rng: Rng, kind: int
) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["wide", "w"], ["y"]),
    ]
    weights = {"w": rng.normal(0, 0.2, (8, 3, 3, 3)).astype(np.float32)}
    model = make_model(
        nodes, {"x": ["N", 3, 8, 8]}, {"y": ["N", 8, 6, 6]}, weights, input_type=kind
    ).SerializeToString()

    for given in ("noise", rng.normal(0, 1, (40, 3, 8, 8)).astype(np.float32)):
        report = compress(model, None, bits=5, calibration=given, dry_run=True)
        assert 0 < report.metrics["divergence"] < 0.01
    assert "isn't float32" in compress(model, None, bits=5, dry_run=True).uncalibrated


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ({"a": ["N", 3], "b": ["N", 2]}, (("a", "b"), 0)),
        ({"a": [4, 3], "b": [4], "c": ["N", 2]}, (("a", "b", "c"), 4)),
        ({"scale": [], "a": ["N", 3], "anchors": [100, 4]}, (("a",), 0)),
        ({"scale": []}, ((), 0)),
    ],
)
def test_inputs_with_a_row_for_each_sample_are_found(
    shapes: dict[str, list[str | int]], expected: tuple[tuple[str, ...], int]
) -> None:
    assert sample_inputs(make_model([], shapes, {})) == expected
