"""`edgekit finetune`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support import Cli
from tests.train.nets import samples, write_tiny

RECIPE = """
batch_size = 32
[distillation]
share = 0.5
[[stage]]
kind = "retrain"
epochs = 6
learning_rate = 0.1
[[stage]]
kind = "share"
bits = 4
epochs = 1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model, a recipe, labelled arrays to learn from, and the same without labels."""
    write_tiny(tmp_path / "tiny.onnx")
    (tmp_path / "r.toml").write_text(RECIPE)
    rows = samples(256, 1)
    assert rows.labels is not None
    np.savez(tmp_path / "rows.npz", inputs=rows.inputs.numpy(), labels=rows.labels.numpy())
    np.save(tmp_path / "rows.npy", rows.inputs.numpy())
    return tmp_path


def test_a_run_leaves_models_report_log_and_packed_file(cli: Cli, folder: Path) -> None:
    outcome = cli(
        "finetune", folder / "tiny.onnx", "--recipe", folder / "r.toml", "--data",
        folder / "rows.npz", "-o", folder / "out", "--format", "json",
    )  # fmt: skip

    assert outcome.exit_code == 0, outcome.stderr
    report = json.loads(outcome.stdout)
    assert [stage["kind"] for stage in report["stages"]] == ["float", "retrain", "share"]
    assert report["recipe"]["stages"][0]["kind"] == "retrain"
    assert "stage 1 retrain  epoch 6  loss" in outcome.stderr
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        "0-float.onnx", "1-retrain.onnx", "2-share.onnx", "finetune.json", "log.jsonl",
        "model.ekp", "model.md",
    ]  # fmt: skip
    kept = json.loads((folder / "out/finetune.json").read_text())
    assert kept["packed_bytes"] == report["packed_bytes"]
    card = (folder / "out/model.md").read_text()
    assert f"{report['packed_bytes']:,} bytes" in card
    assert report["sha256"] in card
    assert "| 1 retrain | 6 |" in card
    assert f"edgekit finetune {folder / 'tiny.onnx'} --recipe" in card
    verified = cli("verify", folder / "out/model.ekp", "--against", folder / "out/2-share.onnx")
    assert verified.exit_code == 0, verified.stderr


def test_what_a_task_prints_is_not_in_the_report(cli: Cli, folder: Path) -> None:
    (folder / "loud.py").write_text(
        "from edgekit.train.task import Classification\n"
        "class Loud(Classification):\n"
        "    def loss(self, outputs, labels):\n"
        "        print('loud')\n"
        "        return super().loss(outputs, labels)\n"
    )
    outcome = cli(
        "finetune", folder / "tiny.onnx", "--recipe", folder / "r.toml", "--data",
        folder / "rows.npz", "--task", f"{folder / 'loud.py'}:Loud", "-o", folder / "out",
        "--format", "json",
    )  # fmt: skip

    assert outcome.exit_code == 0, outcome.stderr
    assert json.loads(outcome.stdout)["metric"] == "top-1"
    assert "loud" in outcome.stderr


def test_the_table_shows_every_stage(cli: Cli, folder: Path) -> None:
    outcome = cli(
        "finetune", folder / "tiny.onnx", "--recipe", folder / "r.toml", "--data",
        folder / "rows.npy", "-o", folder / "out", "--seed", "2",
    )  # fmt: skip

    assert outcome.exit_code == 0, outcome.stderr
    for text in ("0 float", "1 retrain", "2 share", "seed 2", "times smaller"):
        assert text in outcome.stdout
    assert "agreement" in outcome.stdout


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--recipe", "tinny"], 2, "no recipe tinny: name a .toml file or one of"),
        (["-o", ""], 2, "the output folder has no name"),
        (["--data", "nowhere"], 4, "can't use 'nowhere' as training data"),
        (["--weights", "w.pt"], 2, "has its own weights and input shape"),
        (["--teacher", "none.onnx"], 4, "can't read none.onnx"),
        (["--task", "nope"], 2, "nope"),
        (["--threads", "0"], 2, "threads must be 1 to 256"),
        (["--threads", "99999"], 2, "threads must be 1 to 256"),
    ],
)
def test_bad_options_are_told_in_one_line_and_leave_nothing(
    cli: Cli, folder: Path, flags: list[str], code: int, message: str
) -> None:
    given: list[str | Path] = ["--recipe", folder / "r.toml", "--data", folder / "rows.npz"]
    outcome = cli("finetune", folder / "tiny.onnx", *given, "-o", folder / "out", *flags)

    assert outcome.exit_code == code, outcome.stderr
    assert message in outcome.stderr
    assert len(outcome.stderr.strip().splitlines()) == 1
    assert not (folder / "out").exists()


def test_a_source_in_the_run_s_folder_isn_t_overwritten(cli: Cli, folder: Path) -> None:
    (folder / "out").mkdir()
    source = (folder / "tiny.onnx").rename(folder / "out" / "0-float.onnx")
    before = source.read_bytes()

    outcome = cli(
        "finetune", source, "--recipe", folder / "r.toml", "--data", folder / "rows.npz",
        "-o", folder / "out",
    )  # fmt: skip

    assert outcome.exit_code == 2
    assert "0-float.onnx" in outcome.stderr
    assert source.read_bytes() == before
    assert len(list((folder / "out").iterdir())) == 1
