"""Models that lost their answers to pruning are refused; those that work aren't."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, helper

from edgekit.compress.calibrate import Probe
from edgekit.compress.goal import noise_inputs
from edgekit.compress.pipeline import compress
from edgekit.compress.trust import Trust, constant_answer, measure_trust
from edgekit.data import load_labelled
from edgekit.errors import CheckFailedError
from edgekit.export.pytorch import export
from edgekit.graph import load_graph
from edgekit.packfile import read_packfile
from edgekit.tensors import dequantize
from tests.onnx_files import make_model
from tests.support import Cli


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trained") / "net.onnx"
    export("mobilenetv2_fashion", path)
    np.savez(path.parent / "data.npz", inputs=load_labelled().inputs[:40])
    return path


def test_no_constant_answer_is_nearer_than_the_mean_of_the_probabilities(
    rng: np.random.Generator,
) -> None:
    scores = rng.normal(0, 2, (50, 7)).astype(np.float32)
    best = measure_trust((scores,), (constant_answer(scores),))

    assert best.divergence == pytest.approx(best.constant)
    for _ in range(20):
        other = constant_answer(scores) + rng.normal(0, 0.3, 7).astype(np.float32)
        assert measure_trust((scores,), (other,)).divergence > best.constant


def test_outputs_that_are_no_scores_are_compared_with_their_mean(rng: np.random.Generator) -> None:
    maps = rng.normal(3, 2, (40, 2, 5)).astype(np.float32)

    assert measure_trust((maps,), (maps,)).divergence == 0
    assert measure_trust((maps,), (rng.permutation(maps),)).is_lost
    assert not measure_trust((maps,), (maps + 0.1,)).is_lost


@pytest.mark.parametrize(
    ("divergence", "constant", "agreement", "is_lost"),
    [
        (0.7, 1.0, 0.8, True),
        (0.5, 1.0, 0.8, False),  # most of what the answers told is there
        (0.7, 1.0, 0.95, False),  # nearly all largest outputs are the same
        (0.07, 0.09, 0.1, False),  # there was little to lose
    ],
)
def test_a_model_is_lost_by_what_it_tells_and_what_it_answers(
    divergence: float, constant: float, agreement: float, is_lost: bool
) -> None:
    assert Trust(divergence, constant, agreement, 64).is_lost == is_lost


def test_noise_that_a_model_was_calibrated_on_is_no_judge(trained: Path, tmp_path: Path) -> None:
    report = compress(trained, tmp_path / "net.ekp", sparsity=0.3)

    graph = load_graph(trained)
    weights = {
        tensor.name: dequantize(tensor) for tensor in read_packfile(tmp_path / "net.ekp").tensors
    }
    inputs = noise_inputs(graph, seed=1).inputs
    probe = Probe(graph, inputs)
    found = measure_trust(probe.answers(), probe.answers(weights))
    assert report.metrics["original"] == found.to_dict()
    assert found.inputs == len(inputs)


def test_nan_is_lost(rng: np.random.Generator) -> None:
    scores = rng.normal(0, 3, (50, 7)).astype(np.float32)

    assert measure_trust((scores,), (np.full_like(scores, np.nan),)).is_lost


def test_a_reference_that_says_nothing_is_no_judge(rng: np.random.Generator) -> None:
    scores = rng.normal(0, 0.05, (50, 7)).astype(np.float32)

    assert not measure_trust((scores,), (rng.normal(0, 0.05, (50, 7)).astype(np.float32),)).is_lost


def test_too_much_pruning_is_refused_with_the_reason(
    trained: Path, tmp_path: Path, cli: Cli
) -> None:
    packed = tmp_path / "net.ekp"

    refused = cli("compress", trained, "-o", packed, "--sparsity", "0.9")

    assert refused.exit_code == CheckFailedError.exit_code
    assert refused.stderr.count("\n") == 1
    for part in ("90% of the weights pruned", "same top-1", "1/f noise", "finetune", "--force"):
        assert part in refused.stderr
    assert not packed.exists()


def test_calibration_is_advised_only_where_none_was_given(trained: Path, cli: Cli) -> None:
    flags = ("compress", trained, "--dry-run", "--sparsity", "0.95")

    on_noise = cli(*flags)
    on_data = cli(*flags, "--calibration", trained.parent / "data.npz")

    assert on_noise.exit_code == on_data.exit_code == CheckFailedError.exit_code
    assert "give --calibration" in on_noise.stderr
    assert "--calibration" not in on_data.stderr


def test_force_writes_it_and_notes_how_it_answers(trained: Path, tmp_path: Path) -> None:
    packed = tmp_path / "net.ekp"

    compress(trained, packed, sparsity=0.9, force=True)

    noted = read_packfile(packed).manifest["metrics"]["original"]
    assert noted["divergence"] > 0.6 * noted["constant"]
    assert noted["agreement"] < 0.9


@pytest.mark.parametrize("sparsity", [0.2, 0.3, 0.5])
def test_pruning_that_works_is_not_refused(trained: Path, tmp_path: Path, sparsity: float) -> None:
    compress(trained, tmp_path / "net.ekp", sparsity=sparsity)

    noted = read_packfile(tmp_path / "net.ekp").manifest["metrics"]["original"]
    assert noted["divergence"] < noted["constant"]


def test_a_model_that_noise_cannot_ask_is_packed_without_a_word(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
    model: ModelProto = make_model(
        [helper.make_node("MatMul", ["a", "w"], ["c"]), helper.make_node("Add", ["c", "b"], ["y"])],
        {"a": ["N", 8], "b": ["N", 8]},
        {"y": ["N", 8]},
        {"w": weights},
    )

    compress(model.SerializeToString(), tmp_path / "m.ekp", sparsity=0.9)

    assert "original" not in read_packfile(tmp_path / "m.ekp").manifest["metrics"]
