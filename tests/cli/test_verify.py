"""`edgekit verify` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgekit.compress.pipeline import compress
from tests.support import Cli


@pytest.fixture
def packed(tiny_onnx_path: Path, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.ekp"
    compress(tiny_onnx_path, path, bits=4)
    return path


def test_a_sound_file_is_said_to_be_sound(cli: Cli, packed: Path) -> None:
    outcome = cli("verify", packed)

    assert outcome.exit_code == 0
    assert f"{packed.stat().st_size:,} bytes" in outcome.stdout
    assert "sound: 7 tensors, 3,220 weights" in outcome.stdout
    assert outcome.stderr == ""


def test_the_table_says_what_was_compared(
    cli: Cli, packed: Path, tiny_onnx_path: Path, tiny_data: Path
) -> None:
    outcome = cli("verify", packed, "--against", tiny_onnx_path, "--data", tiny_data)

    assert outcome.exit_code == 0
    assert "60 of data (all)" in outcome.stdout
    for words in ("same top-1", "layer output that differs most", "gemm.weight", " points)"):
        assert words in outcome.stdout


def test_json_holds_the_numbers_of_the_table(cli: Cli, packed: Path, tiny_onnx_path: Path) -> None:
    words = ("verify", packed, "--against", tiny_onnx_path, "--seed", "3", "--format", "json")

    first, second = cli(*words), cli(*words)

    report = json.loads(first.stdout)
    assert report["integrity"]["file_bytes"] == packed.stat().st_size
    assert report["answers"]["split"] == "seed 3"
    assert report["answers"]["output"]["largest"] > 0
    assert first.stdout == second.stdout


def test_a_bound_that_is_not_met_is_3_after_the_report(
    cli: Cli, packed: Path, tiny_onnx_path: Path
) -> None:
    outcome = cli(
        "verify", packed, "--against", tiny_onnx_path, "--max-difference", "1e-6",
        "--format", "json",
    )  # fmt: skip

    assert outcome.exit_code == 3
    (failure,) = json.loads(outcome.stdout)["failures"]
    assert outcome.stderr == f"edgekit: error: {failure}\n"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--min-agreement", "0.9"), "needs a model to compare with: --against"),
        (("--min-agreement", "1.1"), "--min-agreement"),
        (("--max-difference", "-1"), "--max-difference"),
    ],
)
def test_bounds_that_make_no_sense_are_usage_errors(
    cli: Cli, packed: Path, flags: tuple[str, ...], message: str
) -> None:
    outcome = cli("verify", packed, *flags)

    assert outcome.exit_code == 2
    assert message in outcome.stderr
    assert outcome.stdout == ""


def test_a_changed_byte_is_one_line_and_4(cli: Cli, packed: Path) -> None:
    data = bytearray(packed.read_bytes())
    data[-100] ^= 1
    packed.write_bytes(data)

    outcome = cli("verify", packed)

    assert outcome.exit_code == 4
    assert outcome.stdout == ""
    assert outcome.stderr.startswith("edgekit: error: ")
    assert outcome.stderr.count("\n") == 1


@pytest.mark.parametrize("kept", [0, 3, 40, -1])
def test_a_cut_file_is_one_line_and_4(cli: Cli, packed: Path, kept: int) -> None:
    packed.write_bytes(packed.read_bytes()[:kept])

    outcome = cli("verify", packed)

    assert outcome.exit_code == 4
    assert outcome.stderr.count("\n") == 1


def test_an_onnx_file_is_no_packed_file(cli: Cli, tiny_onnx_path: Path) -> None:
    outcome = cli("verify", tiny_onnx_path)

    assert outcome.exit_code == 4
    assert outcome.stderr.count("\n") == 1


def test_a_reference_that_is_no_model_is_4(cli: Cli, packed: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.onnx").write_text("no model at all")

    outcome = cli("verify", packed, "--against", tmp_path / "notes.onnx")

    assert outcome.exit_code == 4
    assert "notes.onnx" in outcome.stderr


def test_inputs_of_another_shape_are_refused_in_one_line(
    cli: Cli, packed: Path, tiny_onnx_path: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "wide.npz", inputs=np.zeros((4, 3, 12, 12), np.float32))

    outcome = cli("verify", packed, "--against", tiny_onnx_path, "--data", tmp_path / "wide.npz")

    assert outcome.exit_code == 4
    assert "refuses inputs input (4, 3, 12, 12)" in outcome.stderr
    assert outcome.stderr.count("\n") == 1
