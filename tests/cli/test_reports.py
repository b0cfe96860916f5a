"""`edgekit verify`, `inspect` and `bench` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import Cli


@pytest.fixture
def packed(cli: Cli, tiny_onnx_path: Path, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.ekp"
    assert cli("compress", tiny_onnx_path, "--bits", "4", "-o", path).exit_code == 0
    return path


def test_verify_says_that_a_file_is_sound(cli: Cli, packed: Path) -> None:
    outcome = cli("verify", packed)

    assert outcome.exit_code == 0
    assert "sound: 7 tensors" in outcome.stdout


def test_a_bound_that_is_not_met_ends_with_code_3(
    cli: Cli, packed: Path, tiny_onnx_path: Path
) -> None:
    outcome = cli("verify", packed, "--against", tiny_onnx_path, "--min-agreement", "1")

    met = json.loads(cli("verify", packed, "--against", tiny_onnx_path, "--format", "json").stdout)[
        "answers"
    ]["agreement"]
    assert outcome.exit_code == (0 if met == 1 else 3)
    assert "same top-1" in outcome.stdout


def test_a_damaged_file_ends_with_code_4_and_one_line(cli: Cli, packed: Path) -> None:
    packed.write_bytes(packed.read_bytes()[:-3])

    for verb in ("verify", "inspect", "bench"):
        outcome = cli(verb, packed)

        assert outcome.exit_code == 4
        assert len(outcome.stderr.splitlines()) == 1
        assert outcome.stdout == ""


def test_inspect_ends_with_the_file_s_bytes(cli: Cli, packed: Path) -> None:
    outcome = cli("inspect", packed)

    last = outcome.stdout.split()
    assert last[-2:] == ["total", f"{packed.stat().st_size:,}"]


def test_bench_measures_both_forms(cli: Cli, packed: Path, tiny_onnx_path: Path) -> None:
    outcome = cli(
        "bench", tiny_onnx_path, packed, "--runs", "7", "--warmup", "1", "--no-cold",
        "--format", "json",
    )  # fmt: skip

    report = json.loads(outcome.stdout)
    assert [case["kind"] for case in report["cases"]] == ["onnx", "ekp"]
    assert all(len(case["times_s"]) == 7 for case in report["cases"])
    assert report["settings"]["threads"] == [1]


def test_bench_times_cold_starts_in_fresh_processes(cli: Cli, packed: Path) -> None:
    outcome = cli("bench", packed, "--runs", "2", "--threads", "1,2")

    assert outcome.exit_code == 0
    assert "cold start, ms" in outcome.stdout
    assert "tiny.ekp, 2 threads" in outcome.stdout


def test_bench_refuses_threads_that_are_no_numbers(cli: Cli, packed: Path) -> None:
    outcome = cli("bench", packed, "--threads", "all")

    assert outcome.exit_code == 2
    assert "--threads takes positive integers" in outcome.stderr


def test_bench_names_an_input_shape_that_the_model_refuses(cli: Cli, packed: Path) -> None:
    outcome = cli("bench", packed, "--input-shape", "1,3,5,5")

    assert outcome.exit_code in {2, 4}
    assert len(outcome.stderr.splitlines()) == 1
