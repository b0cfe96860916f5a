"""`edgekit bench` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgekit.cli.bench import _seconds
from tests.support import Cli


def test_the_table_names_runs_threads_and_machine(cli: Cli, tiny_onnx_path: Path) -> None:
    outcome = cli("bench", tiny_onnx_path, "--runs", "30", "--no-cold")

    assert outcome.exit_code == 0
    assert outcome.stderr == ""
    words = outcome.stdout.split()
    for word in ("p50", "p90", "p95", "p99", "min", "max", "mean", "std", "items/s", "processor"):
        assert word in words
    assert "threads 1, 10 warm-up runs, batch 1, seed 0, spin-wait off" in outcome.stdout
    row = next(line.split() for line in outcome.stdout.splitlines() if line.startswith("tiny.onnx"))
    assert row[1] == "30"


def test_json_holds_every_setting(cli: Cli, tiny_onnx_path: Path) -> None:
    outcome = cli(
        "bench", tiny_onnx_path, "--runs", "3", "--warmup", "2", "--threads", "1,2", "--seed", "9",
        "--input-shape", "4,1,12,12", "--max-seconds", "60", "--precision", "0.05", "--no-cold",
        "--format", "json",
    )  # fmt: skip

    report = json.loads(outcome.stdout)
    assert report["settings"] == {
        "warmup": 2,
        "runs": 3,
        "threads": [1, 2],
        "max_seconds": 60.0,
        "precision": 0.05,
        "batch": 1,
        "input_shape": [4, 1, 12, 12],
        "seed": 9,
        "cold": False,
        "spinning": False,
        "provider": "CPUExecutionProvider",
        "affinity": None,
        "input_data": None,
        "profile": False,
        "sustain_s": None,
        "evaluate": None,
        "preprocess": None,
        "run_as": None,
        "turn": 10,
    }
    assert [case["items"] for case in report["cases"]] == [4, 4]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--threads", "1,0"], "--threads takes positive integers"),
        (["--threads", ""], "--threads takes positive integers"),
        (["--input-shape", "1x1x12x12"], "--input-shape takes positive integers"),
        (["--input-shape", "1,2,12,12"], "takes the shape ?,1,12,12, not 1,2,12,12"),
        (["--precision", "2"], "precision is a share"),
        (["--max-seconds", "-1"], "max_seconds must be above 0"),
        (["--sustain", "5 weeks"], "--sustain takes a length of time such as 90s or 5m"),
        (["--sustain", "-1s"], "--sustain takes a length of time"),
        (["--affinity", "-1"], "--affinity takes integers from 0 on"),
        (["--affinity", "4095"], "core 4095 isn't among the usable ones"),
        (["--provider", "abacus"], "no provider 'abacus'"),
    ],
)
def test_a_bad_flag_is_one_line_and_code_2(
    cli: Cli, tiny_onnx_path: Path, flags: list[str], words: str
) -> None:
    outcome = cli("bench", tiny_onnx_path, *flags)

    assert outcome.exit_code == 2
    assert words in outcome.stderr
    assert len(outcome.stderr.splitlines()) == 1
    assert outcome.stdout == ""


def test_no_runs_are_a_usage_error(cli: Cli, tiny_onnx_path: Path) -> None:
    outcome = cli("bench", tiny_onnx_path, "--runs", "0")

    assert outcome.exit_code == 2
    assert "--runs" in outcome.stderr.splitlines()[-1]
    assert outcome.stdout == ""


def test_a_missing_file_is_one_line_and_code_4(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("bench", tmp_path / "none.onnx")

    assert outcome.exit_code == 4
    assert "none.onnx: No such file" in outcome.stderr
    assert len(outcome.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90.0), ("90s", 90.0), ("1.5m", 90.0), ("2h", 7200.0)]
)
def test_lengths_of_time_have_units(text: str, seconds: float) -> None:
    assert _seconds(text, "--sustain") == seconds


def test_inputs_can_come_from_a_file(cli: Cli, tiny_onnx_path: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.npy"
    np.save(data, np.zeros((5, 1, 12, 12), np.float32))

    outcome = cli(
        "bench", tiny_onnx_path, "--runs", "2", "--input-data", data, "--batch", "4",
        "--format", "json",
    )  # fmt: skip

    (found,) = json.loads(outcome.stdout)["cases"]
    assert found["inputs"]["input"]["shape"] == [4, 1, 12, 12]
    assert len(found["cold"]) == 3


def test_inputs_that_do_not_fit_are_one_line_and_code_4(
    cli: Cli, tiny_onnx_path: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data.npy"
    np.save(data, np.zeros((5, 3, 12, 12), np.float32))

    outcome = cli("bench", tiny_onnx_path, "--input-data", data)

    assert outcome.exit_code == 4
    assert "tiny.onnx: input input takes the shape ?,1,12,12" in outcome.stderr
    assert len(outcome.stderr.splitlines()) == 1
