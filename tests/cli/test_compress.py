"""`edgekit compress` from the command line."""

from __future__ import annotations

import errno
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from tests.onnx_files import make_model
from tests.support import Cli


def test_the_table_ends_with_the_size_of_the_file(
    cli: Cli, tiny_onnx_path: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "tiny.ekp"

    outcome = cli("compress", tiny_onnx_path, "--bits", "6", "-o", packed)

    assert outcome.exit_code == 0
    total = next(line for line in outcome.stdout.splitlines() if line.startswith("total"))
    assert total.split()[-1] == f"{packed.stat().st_size:,}"
    assert "pointwise " in outcome.stdout
    assert outcome.stderr == ""


def test_json_holds_the_same_numbers(cli: Cli, tiny_onnx_path: Path, tmp_path: Path) -> None:
    packed = tmp_path / "tiny.ekp"

    outcome = cli(
        "compress", tiny_onnx_path, "--bits", "4", "--method", "codebook", "--sparsity", "0.5",
        "--coder", "rans", "--format", "json", "-o", packed,
    )  # fmt: skip

    report = json.loads(outcome.stdout)
    assert report["file_bytes"] == packed.stat().st_size
    assert report["recipe"] == {
        "bits": 4,
        "method": "codebook",
        "sparsity": 0.5,
        "scope": "global",
        "coder": "rans",
        "calibration": "1/f noise, seed 0",
        "seed": 0,
        "run_as": "float",
    }
    assert report["uncalibrated"] == ""


def test_a_dry_run_writes_nothing(cli: Cli, tiny_onnx_path: Path, tmp_path: Path) -> None:
    outcome = cli("compress", tiny_onnx_path, "--dry-run")

    assert outcome.exit_code == 0
    assert "dry run, nothing written" in outcome.stdout
    assert list(tmp_path.iterdir()) == [tiny_onnx_path]


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--bits", "9"], 2, "bits must be from 2 to 8, got 9"),
        (["--bits", "1"], 2, "bits must be from 2 to 8, got 1"),
        (["--sparsity", "1.5"], 2, "sparsity must be at least 0 and below 1, got 1.5"),
        (["--sparsity", "-1"], 2, "sparsity must be at least 0 and below 1, got -1"),
        (["-o", "nowhere/m.ekp"], 1, "the folder nowhere doesn't exist; create it first"),
        (["-o", "."], 1, "can't write .: it is a folder; name a file"),
        (["--save-plan", "nowhere/p.toml"], 1, "the folder nowhere doesn't exist"),
        (["--max-kl", "inf"], 2, "the bound must be a number above 0, got inf"),
    ],
)
def test_impossible_flags_are_one_line_and_leave_the_old_file(
    cli: Cli,
    tiny_onnx_path: Path,
    flags: list[str],
    code: int,
    message: str,
) -> None:
    packed = tiny_onnx_path.with_name("old.ekp")
    packed.write_bytes(b"the old file")

    outcome = cli("compress", tiny_onnx_path, "-o", packed, *flags)

    assert outcome.exit_code == code
    assert outcome.stdout == ""
    assert outcome.stderr.startswith("edgekit: error: ")
    assert outcome.stderr.count("\n") == 1
    assert message in outcome.stderr
    assert packed.read_bytes() == b"the old file"


def test_an_unknown_method_is_a_usage_error(cli: Cli, tiny_onnx_path: Path, tmp_path: Path) -> None:
    outcome = cli("compress", tiny_onnx_path, "--method", "magic", "-o", tmp_path / "m.ekp")

    assert outcome.exit_code == 2
    assert "magic" in outcome.stderr


def test_no_output_is_a_usage_error(cli: Cli, tiny_onnx_path: Path) -> None:
    outcome = cli("compress", tiny_onnx_path)

    assert outcome.exit_code == 2
    assert "-o model.ekp" in outcome.stderr


@pytest.mark.parametrize("damage", ["text", "empty", "cut", "missing", "nan", "no weights"])
def test_a_model_that_cannot_be_read_is_one_line(
    cli: Cli, tiny_onnx_path: Path, tmp_path: Path, damage: str
) -> None:
    data = tiny_onnx_path.read_bytes()
    weights = np.full((16, 3), np.nan, np.float32)
    bad = {
        "text": b"not a model\n" * 50,
        "empty": b"",
        "cut": data[: len(data) // 2],
        "nan": make_model(
            [helper.make_node("MatMul", ["x", "w"], ["y"])],
            {"x": ["N", 16]},
            {"y": ["N", 3]},
            {"w": weights},
        ).SerializeToString(),
        "no weights": make_model(
            [helper.make_node("Relu", ["x"], ["y"])], {"x": ["N", 3]}, {"y": ["N", 3]}
        ).SerializeToString(),
    }
    source = tmp_path / "bad.onnx"
    if damage in bad:
        source.write_bytes(bad[damage])
    packed = tmp_path / "old.ekp"
    packed.write_bytes(b"the old file")

    outcome = cli("compress", source, "-o", packed)

    assert outcome.exit_code == 4
    assert outcome.stderr.startswith("edgekit: error: ")
    assert outcome.stderr.count("\n") == 1
    assert packed.read_bytes() == b"the old file"
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".part"]


def test_a_read_only_folder_is_one_line(
    cli: Cli, tiny_onnx_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    # Root, who runs the tests in a container, may write into any folder.
    monkeypatch.setattr(tempfile, "mkstemp", refuse)

    outcome = cli("compress", tiny_onnx_path, "-o", tmp_path / "m.ekp")

    assert outcome.exit_code == 1
    assert outcome.stderr.startswith("edgekit: error: can't write ")
    assert "Permission denied" in outcome.stderr
    assert not (tmp_path / "m.ekp").exists()


@pytest.mark.parametrize(
    "flags",
    [
        ("-o", "tiny.onnx"),
        ("-o", "new.ekp", "--save-plan", "tiny.onnx"),
        ("-o", "new.ekp", "--save-plan", "new.ekp"),
        ("-o", "data.npz", "--calibration", "data.npz"),
        ("-o", "plan.toml", "--plan", "plan.toml"),
        ("-o", "new.ekp", "--plan", "uses_data.toml", "--save-plan", "data.npz"),
    ],
)
def test_no_result_takes_the_place_of_a_source_or_another_result(
    flags: tuple[str, ...],
    cli: Cli,
    tiny_onnx_path: Path,
    tiny_data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tiny_onnx_path.parent
    monkeypatch.chdir(folder)
    tiny_onnx_path.rename("tiny.onnx")
    tiny_data.rename("data.npz")
    Path("plan.toml").write_text("bits = 6\n")
    Path("uses_data.toml").write_text('calibration = "data.npz"\n')
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    outcome = cli("compress", "tiny.onnx", *flags)

    assert outcome.exit_code == 2
    assert "name" in outcome.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_plan_may_be_saved_in_its_own_place(
    cli: Cli, tiny_onnx_path: Path, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text("bits = 6\n")

    outcome = cli("compress", tiny_onnx_path, "--dry-run", "--plan", plan, "--save-plan", plan)

    assert outcome.exit_code == 0
    assert "source_sha256" in plan.read_text()


def test_json_says_why_a_model_was_not_calibrated(cli: Cli, tmp_path: Path) -> None:
    weights = np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    model = make_model(nodes, {"x": ["N", 16]}, {"y": ["N", 16]}, {"w": weights})
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())

    outcome = cli("compress", tmp_path / "m.onnx", "--dry-run", "--format", "json")

    report = json.loads(outcome.stdout)
    assert "isn't pictures of a fixed size" in report["uncalibrated"]
    assert report["recipe"]["calibration"] == "none"
