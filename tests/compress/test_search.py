"""Bounds: the coarsest or finest grids that keep them, by the file's own codes, or none, told."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import helper

import edgekit
from edgekit.compress import pipeline
from edgekit.compress.allocate import COARSEST, FINE
from edgekit.compress.answers import divergence
from edgekit.compress.calibrated import Calibration
from edgekit.compress.goal import Goal
from edgekit.compress.measure import bits_per_code
from edgekit.compress.noise import natural_noise
from edgekit.compress.pipeline import compress
from edgekit.compress.plan import Method, make_plan
from edgekit.compress.rounding import Calibrated
from edgekit.compress.search import within_divergence, within_entropy
from edgekit.compress.split_inputs import ENOUGH_INPUTS
from edgekit.errors import CheckFailedError
from edgekit.graph import load_graph
from edgekit.packfile import read_packfile
from edgekit.tensors import CodedTensor
from tests.onnx_files import make_model
from tests.support import Cli


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The factors that calibrations are put on."""
    factors: list[float] = []
    original = Calibration.codes_at

    def codes_at(self: Calibration, factor: float, damping: float | None = None) -> Calibrated:
        factors.append(factor)
        return original(self, factor, damping)

    monkeypatch.setattr(Calibration, "codes_at", codes_at)
    return factors


class _Curve:
    """A calibration of 1,000 weights whose divergence is a function of the factor."""

    weight_count = 1000
    most_bits = 8

    def __init__(self, divergence_of: Callable[[float], float]) -> None:
        self._divergence_of = divergence_of
        self.passed: dict[float, float] = {}

    def factor_for(self, bits: float) -> float:
        return float(2.0 ** -(bits / self.weight_count))

    def bits_at(self, factor: float) -> float:
        return self.weight_count * min(8.0, -float(np.log2(max(factor, 1e-9))))

    def at_factor(self, factor: float) -> Calibrated:
        self.passed[factor] = self._divergence_of(factor)
        return Calibrated({}, {}, 0.1, divergence=self.passed[factor], held_back=8)

    def with_file_judged(self, found: Calibrated) -> Calibrated:
        return found


@pytest.mark.parametrize("most", [1e-4, 0.003, 0.03, 0.2])
def test_the_coarsest_grid_that_keeps_a_divergence_is_taken(most: float) -> None:
    # Near every power of two the divergence is several times what its trend is.
    curve = _Curve(lambda g: 3 * g**2 * (1 + 4 * np.cos(np.pi * np.log2(max(g, 1e-9))) ** 8))

    found = within_divergence(cast("Calibration", curve), most)

    kept = {factor: value for factor, value in curve.passed.items() if value <= most}
    assert found.divergence == curve.passed[max(kept)]
    assert found.divergence > most / 8
    assert len(curve.passed) <= 7


def test_a_smooth_divergence_is_met_closely() -> None:
    curve = _Curve(lambda g: 3 * g**2.4)

    found = within_divergence(cast("Calibration", curve), 0.03)

    assert 0.9 * 0.03 <= found.divergence <= 0.03


@pytest.mark.parametrize("most", [0.001, 0.00251, 0.01])
def test_the_codes_of_the_file_keep_a_divergence(
    tiny_onnx_path: Path, tmp_path: Path, inputs: NDArray[np.float32], most: float
) -> None:
    report = compress(
        tiny_onnx_path, tmp_path / "m.ekp", calibration=inputs, goal=Goal(max_divergence=most)
    )

    expected, answers = (
        edgekit.load(path, threads=2).run(None, {"input": inputs[::5]})[0]
        for path in (tiny_onnx_path, tmp_path / "m.ekp")
    )
    reached = divergence(expected, answers)
    assert reached <= most
    assert report.metrics["divergence"] <= most
    assert report.metrics["rejoined"]
    assert report.metrics["of_file"]["divergence"] == pytest.approx(reached, abs=1e-6)


def test_the_codes_of_the_file_keep_an_agreement(
    tiny_onnx_path: Path, inputs: NDArray[np.float32]
) -> None:
    report = compress(
        tiny_onnx_path, None, dry_run=True, calibration=inputs, goal=Goal(min_agreement=0.75)
    )

    assert report.metrics["agreement"] >= 0.75
    assert report.metrics["of_file"]["agreement"] >= 0.75


def test_the_table_tells_what_the_codes_of_the_file_reach(cli: Cli, tiny_onnx_path: Path) -> None:
    outcome = cli("compress", tiny_onnx_path, "--dry-run", "--max-kl", "0.01")

    assert outcome.exit_code == 0
    assert "the file's codes were then made with all inputs: 0.0" in outcome.stdout
    assert "that was before" not in outcome.stdout


@pytest.mark.parametrize("bits", [1.2, 2.0, 3.5])
@pytest.mark.parametrize("count", [40, ENOUGH_INPUTS * 5 // 4 + 5])
def test_bits_a_weight_are_those_of_the_codes_after_feedback(
    tiny_onnx_path: Path, bits: float, count: int
) -> None:
    graph = load_graph(tiny_onnx_path)
    many = natural_noise(count, (1, 12, 12), np.random.default_rng(4))
    calibration = Calibration(graph, many, make_plan(graph.weights))

    found = within_entropy(calibration, bits)

    spent = sum(bits_per_code(tensor.codes) * tensor.codes.size for tensor in found.coded.values())
    assert 0.993 * bits <= spent / calibration.weight_count <= bits


def test_bits_that_cannot_be_reached_are_told_a_weight(cli: Cli, tiny_onnx_path: Path) -> None:
    outcome = cli("compress", tiny_onnx_path, "--dry-run", "--bits-per-weight", "0.0001")

    assert outcome.exit_code == 3
    assert "0.0001 bits a weight can't be reached: the coarsest grid takes 0.0" in outcome.stderr


@pytest.mark.parametrize("method", ["uniform", "codebook"])
@pytest.mark.parametrize(
    "goal",
    [
        Goal(bits_per_weight=6.0),
        Goal(target_bytes=9000),
        Goal(max_divergence=0.5),
        Goal(min_agreement=0.1),
    ],
)
def test_no_code_has_more_bits_than_asked_for_beside_a_bound(
    tiny_onnx_path: Path, tmp_path: Path, goal: Goal, method: Method
) -> None:
    compress(
        tiny_onnx_path,
        tmp_path / "m.ekp",
        bits=3,
        method=method,
        calibration="noise",
        goal=goal,
        keep={"gemm": 5},
    )

    coded = {
        tensor.name: tensor
        for tensor in read_packfile(tmp_path / "m.ekp").tensors
        if isinstance(tensor, CodedTensor)
    }
    for name, tensor in coded.items():
        bits = 5 if name == "gemm.weight" else 3
        levels = 2**bits if method == "codebook" else 2**bits - 1
        assert len(np.unique(tensor.codes)) <= levels
        assert np.abs(tensor.codes.astype(int)).max() < (levels + 1) / (2 - (method == "codebook"))


def test_a_size_with_room_for_the_finest_grid_takes_it_at_once(
    tiny_onnx_path: Path, inputs: NDArray[np.float32], tried: list[float]
) -> None:
    report = compress(
        tiny_onnx_path, None, dry_run=True, calibration=inputs, goal=Goal(target_bytes=99_000_000)
    )

    assert tried == [FINE]
    assert report.metrics["divergence"] < 1e-4


@pytest.fixture
def mostly_fixed(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A model most of whose file no bound can change: a Conv, and a table that isn't coded."""
    path = tmp_path / "fixed.onnx"
    weights = {
        "w": rng.normal(0, 0.2, (8, 1, 3, 3)).astype(np.float32),
        "table": rng.normal(0, 0.01, (1, 8, 12, 12)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["a", "table"], ["y"]),
    ]
    model = make_model(nodes, {"input": ["N", 1, 12, 12]}, {"y": ["N", 8, 12, 12]}, weights)
    path.write_bytes(model.SerializeToString())
    return path


def test_a_size_is_reached_where_most_of_the_file_is_fixed(
    mostly_fixed: Path, inputs: NDArray[np.float32]
) -> None:
    def size(goal: Goal) -> int:
        return compress(mostly_fixed, None, dry_run=True, calibration=inputs, goal=goal).file_bytes

    finest, coarse = size(Goal(target_bytes=10**6)), size(Goal(bits_per_weight=2.0))

    assert coarse < finest < 1.1 * coarse
    for target in range(coarse, finest, 8):
        assert size(Goal(target_bytes=target)) <= target


def test_a_size_below_what_no_weight_takes_is_told_before_anything_is_measured(
    tiny_onnx_path: Path, inputs: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("this takes long")

    def ask(target: int) -> int:
        goal = Goal(target_bytes=target)
        return compress(
            tiny_onnx_path, None, dry_run=True, calibration=inputs, goal=goal
        ).file_bytes

    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "Calibration", refuse)
        with pytest.raises(CheckFailedError) as caught:
            ask(300)

    told = re.search(r"still take ([\d,]+)", str(caught.value))
    assert told is not None
    least = int(told[1].replace(",", ""))
    assert least <= ask(least + 96) <= least + 96


def test_a_size_that_the_coarsest_grid_misses_is_told_with_its_own(
    tiny_onnx_path: Path, inputs: NDArray[np.float32], tried: list[float]
) -> None:
    def ask(target: int) -> int:
        # Codes of kept layers take bytes that only rounding tells.
        return compress(
            tiny_onnx_path,
            None,
            dry_run=True,
            calibration=inputs,
            goal=Goal(target_bytes=target),
            keep={"pointwise": 8},
        ).file_bytes

    with pytest.raises(CheckFailedError, match=r"the coarsest takes ([\d,]+)$") as caught:
        ask(2000)

    assert tried[-1] == COARSEST
    assert len(tried) <= 3
    least = int(str(caught.value).rpartition(" ")[2].replace(",", ""))
    assert ask(least) == least


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--max-kl", "1e-9"],
            r"8 bits keep a divergence of at most 1e-09 nats: the finest reach ",
        ),
        (["--target-size", "300"], r"no file of 300 bytes .* still take [\d,]+$"),
        (
            ["--max-kl", "0.001", "--bits", "2"],
            r"2 bits keep a divergence of at most 0\.001 nats: the finest reach 0\.\d+ on 13 held",
        ),
    ],
)
def test_a_bound_that_is_not_met_ends_with_3_and_says_what_was_reached(
    cli: Cli, tiny_onnx_path: Path, tmp_path: Path, flags: list[str], message: str
) -> None:
    outcome = cli("compress", tiny_onnx_path, "-o", tmp_path / "m.ekp", *flags)

    assert outcome.exit_code == 3
    assert re.search(message, outcome.stderr.strip())
    assert outcome.stderr.count("\n") == 1
    assert not (tmp_path / "m.ekp").exists()
