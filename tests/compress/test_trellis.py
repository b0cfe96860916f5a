"""Codes on a trellis: who gets them, that they err less at the same size, that files hold them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper

from edgekit.codec.trellis import CHUNK_LOG2, reach, search_trellis, split_trellis
from edgekit.compress import calibrated
from edgekit.compress.allocate import Layer, channel_steps, path_steps
from edgekit.compress.calibrated import Calibration
from edgekit.compress.feedback import error_feedback
from edgekit.compress.goal import Goal
from edgekit.compress.levels import GridLevels, TrellisLevels
from edgekit.compress.pipeline import compress
from edgekit.compress.search import within_entropy
from edgekit.graph import load_graph
from edgekit.packfile import open_packfile, read_packfile
from edgekit.runtime.forms import load
from edgekit.runtime.verify import check_integrity
from edgekit.tensors import CodedTensor
from tests.onnx_files import make_model


@pytest.fixture
def path(rng: np.random.Generator, tmp_path: Path) -> Path:
    """A convolution and two matrix products, one stored (inputs, outputs); 7,000 weights each."""
    filters = rng.laplace(0, 0.1, (40, 20, 3, 3)).astype(np.float32)
    dense = rng.laplace(0, 0.1, (40, 160)).astype(np.float32)
    last = rng.laplace(0, 0.1, (50, 160)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "filters"], ["a"], kernel_shape=[3, 3]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("MatMul", ["d", "dense"], ["e"]),
        helper.make_node("Relu", ["e"], ["f"]),
        helper.make_node("Gemm", ["f", "last"], ["y"], transB=1),
    ]
    weights = {"filters": filters, "dense": dense, "last": last}
    model = make_model(nodes, {"x": ("N", 20, 8, 8)}, {"y": ("N", 50)}, weights)
    onnx.save(model, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


@pytest.fixture
def data(rng: np.random.Generator) -> NDArray[np.float32]:
    return rng.normal(size=(60, 20, 8, 8)).astype(np.float32)


def test_paths_err_less_behind_error_feedback_too(rng: np.random.Generator) -> None:
    weights = rng.laplace(0, 0.1, (300, 60)).astype(np.float32)
    samples = rng.standard_normal((400, 60)) @ rng.standard_normal((60, 60))
    hessian = samples.T @ samples
    steps = np.full(300, 0.05, np.float32)
    begins = reach(weights.shape, 0, 1 << CHUNK_LOG2) == 0

    free, follow = GridLevels(steps), TrellisLevels(steps / np.float32(2), begins)
    errors = []
    for levels in (free, follow):
        codes = error_feedback(weights, levels, hessian, damping=0.1)
        error = weights - levels.restored(codes)
        errors.append(float(np.einsum("oi,ij,oj->", error, hessian, error)))
        if levels is follow:
            split_trellis(np.asarray(codes, np.int8), 0)

    assert errors[1] < 0.85 * errors[0]


def test_a_matrix_and_its_columns_have_the_same_nearest_codes(rng: np.random.Generator) -> None:
    weights = rng.normal(0, 0.1, (40, 30)).astype(np.float32)
    # Paths that begin anew at different places, and steps of their own.
    begins = reach(weights.shape, 0, 256) == 0
    levels = TrellisLevels(rng.uniform(0.01, 0.03, 40).astype(np.float32), begins)

    together = levels.nearest(weights)

    for column in range(30):
        assert np.array_equal(levels.nearest(weights[:, column], column), together[:, column])
    split_trellis(together, 0, 256)


def test_a_layer_goes_on_a_trellis_where_that_gains(rng: np.random.Generator) -> None:
    weights = rng.normal(0, 1, (64, 100)).astype(np.float32)

    def doubled(factor: float, weights: NDArray[np.float32] = weights) -> object:
        return path_steps(Layer(weights, 1.0, has_paths=True), factor)

    assert path_steps(Layer(weights, 1.0), 0.2) is None
    np.testing.assert_array_equal(doubled(0.2), channel_steps(Layer(weights, 1.0), 0.2))
    # The largest weights would need codes above 127, or most would be 0.
    assert doubled(0.03) is None
    assert doubled(1.5) is None
    # One channel with larger weights than that isn't reason enough.
    weights = weights.copy()
    weights[5] *= 5
    steps = doubled(0.2, weights)
    assert isinstance(steps, np.ndarray)
    assert steps[5] > 1.1 * steps[4]
    assert np.abs(weights / (steps / 2)[:, None]).max() < 127


def test_filters_below_a_step_keep_a_layer_off(rng: np.random.Generator) -> None:
    # Filters of many sizes, as folded normalisations make them: large ones would lead the paths.
    sizes = np.exp(2 * rng.normal(size=(64, 1)))
    weights = (rng.normal(size=(64, 100)) * sizes).astype(np.float32)
    spread = float(weights.std())

    assert path_steps(Layer(weights, 1.0, has_paths=True), 0.3 * spread) is None
    alike = (rng.normal(size=(64, 100)) * spread).astype(np.float32)
    assert path_steps(Layer(alike, 1.0, has_paths=True), 0.3 * spread) is not None
    # A width of two bits has no room for a trellis.
    assert path_steps(Layer(alike, 1.0, 1, has_paths=True), 0.3 * spread) is None


def test_numpy_searches_where_nothing_is_compiled(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = rng.normal(0, 0.1, (20, 30)).astype(np.float32)
    levels = TrellisLevels(rng.uniform(0.01, 0.03, 20).astype(np.float32), weights < -1)

    compiled = error_feedback(weights, levels, np.eye(30), damping=0.1)
    monkeypatch.setattr("edgekit.compress.levels.search_trellis", search_trellis)

    assert np.array_equal(error_feedback(weights, levels, np.eye(30), damping=0.1), compiled)


def test_steps_of_filters_weigh_their_errors(rng: np.random.Generator) -> None:
    weights = rng.normal(0, 1, (200, 40)).astype(np.float32)
    steps = np.where(np.arange(200) % 2, 0.2, 0.02).astype(np.float32)
    levels = TrellisLevels(steps, reach(weights.shape, 0, 1 << CHUNK_LOG2) == 0)

    off = np.square(levels.restored(levels.nearest(weights)) - weights).mean(axis=1) / steps**2

    # Those of long steps are spared, at the others' cost.
    assert off[steps > 0.1].mean() < 0.8 * off[steps < 0.1].mean()


def test_layers_of_several_chunks_and_grouped_ones(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = {
        "grouped": rng.normal(0, 0.1, (128, 32, 3, 3)).astype(np.float32),
        "long": rng.normal(0, 0.1, (700, 400)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "grouped"], ["a"], group=4),
        helper.make_node("GlobalAveragePool", ["a"], ["b"]),
        helper.make_node("Flatten", ["b"], ["c"]),
        helper.make_node("Gemm", ["c", "wide"], ["d"], transB=1),
        helper.make_node("Gemm", ["d", "long"], ["y"], transB=1),
    ]
    weights["wide"] = rng.normal(0, 0.1, (400, 128)).astype(np.float32)
    model = make_model(nodes, {"x": ("N", 128, 6, 6)}, {"y": ("N", 700)}, weights)
    onnx.save(model, tmp_path / "m.onnx")
    data = rng.normal(size=(20, 128, 6, 6)).astype(np.float32)

    report = compress(
        tmp_path / "m.onnx",
        tmp_path / "m.ekp",
        goal=Goal(bits_per_weight=4.0),
        calibration=data,
    )

    modes = {layer.fidelity.name: layer.mode for layer in report.layers}
    assert modes == {"grouped": "direct", "long": "trellis", "wide": "trellis"}
    (record,) = (one for one in open_packfile(tmp_path / "m.ekp").records if one.shape[0] == 700)
    assert len(record.chunks) == 2
    assert check_integrity(tmp_path / "m.ekp").tensors == 3


def test_files_hold_what_follows_a_trellis(
    path: Path, data: NDArray[np.float32], tmp_path: Path
) -> None:
    report = compress(
        path, tmp_path / "m.ekp", goal=Goal(bits_per_weight=3.5), calibration=data, coder="rans"
    )

    modes = {layer.fidelity.name: layer.mode for layer in report.layers}
    assert modes == {"filters": "trellis", "dense": "trellis", "last": "trellis"}
    assert {layer.fidelity.method for layer in report.layers} == {"uniform"}
    for layer, tensor in zip(report.layers, read_packfile(tmp_path / "m.ekp").tensors, strict=True):
        assert isinstance(tensor, CodedTensor)
        # The bits of the symbols, which are one less than those of the codes.
        lowest, highest = int(tensor.symbols.min()), int(tensor.symbols.max())
        half = 2 ** (layer.fidelity.bits - 1)
        assert half // 2 < max(-lowest, highest + 1) <= half
    packed = open_packfile(tmp_path / "m.ekp")
    taken = sum(record.payload_bytes for record in packed.records)
    elements = sum(record.elements for record in packed.records)
    # The entropy of what is coded, not that of codes with a bit more.
    assert taken * 8 / elements == pytest.approx(3.5, abs=0.1)
    entropies = [layer.fidelity.entropy_bits for layer in report.layers]
    assert np.mean(entropies) == pytest.approx(3.5, abs=0.05)
    # Whole in both decoders.
    assert check_integrity(tmp_path / "m.ekp").tensors == len(report.layers)


def test_answers_part_less_at_the_same_bits(
    path: Path,
    data: NDArray[np.float32],
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = load_graph(path)
    fresh = rng.normal(size=(300, 20, 8, 8)).astype(np.float32)
    errors = []
    for least in (calibrated._LEAST_PATH, 10**9):
        monkeypatch.setattr(calibrated, "_LEAST_PATH", least)
        calibration = Calibration(graph, data)
        expected = calibration.outputs(fresh, None)
        for bits in (3.0, 3.5, 4.0, 4.5):
            found = within_entropy(calibration, bits)
            assert [tensor.on_trellis for tensor in found.coded.values()] == [least < 100] * 3
            errors.append(np.square(calibration.outputs(fresh, found) - expected).mean())

    assert np.exp(np.log(errors).reshape(2, -1).mean(axis=1) @ [1, -1]) < 0.9


@pytest.mark.parametrize(
    ("goal", "settings"),
    [(Goal(), {"bits": 6}), (Goal(bits_per_weight=2.0), {"sparsity": 0.5})],
)
def test_widths_and_pruned_layers_have_no_trellis(
    path: Path, data: NDArray[np.float32], goal: Goal, settings: dict[str, Any]
) -> None:
    report = compress(path, None, goal=goal, calibration=data, dry_run=True, **settings)

    assert not [layer for layer in report.layers if layer.mode == "trellis"]


def test_codes_on_a_trellis_run_in_8_bits(
    path: Path, data: NDArray[np.float32], tmp_path: Path
) -> None:
    packed, goal = tmp_path / "m.ekp", Goal(bits_per_weight=4.0)
    compress(path, packed, goal=goal, calibration=data, run_as="int8")

    session, reference = load(packed, run_as="int8"), load(packed, run_as="float")

    ours, theirs = (one.run(None, {"x": data[:8]})[0] for one in (session, reference))
    assert np.abs(ours - theirs).max() < 0.1 * np.abs(theirs).max()
