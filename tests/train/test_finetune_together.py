"""The finetune command under torchrun: the run of one process, shared among two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgekit
from tests.train.nets import samples, write_tiny

ROOT = Path(__file__).parents[2]
RECIPE = """
batch_size = 50
[distillation]
share = 0.1
[[stage]]
kind = "retrain"
epochs = 10
learning_rate = 0.1
[[stage]]
kind = "prune"
sparsity = 0.4
rank = "importance"
epochs = 2
[[stage]]
kind = "grid"
bits_per_weight = 2.5
epochs = 3
"""
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """The tiny model, a recipe and 223 samples: 201 train, so the last batch of 50 holds one."""
    write_tiny(tmp_path / "tiny.onnx")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    data = samples(223, 5)
    assert data.labels is not None
    np.savez(tmp_path / "data.npz", inputs=data.inputs.numpy(), labels=data.labels.numpy())
    return tmp_path


def finetune(folder: Path, out: str, *launcher: str, more: tuple[str, ...] = ()) -> str:
    command = [sys.executable, *launcher, "-m", "edgekit.cli.main", "finetune", "tiny.onnx"]
    command += ["--data", "data.npz", "--recipe", "recipe.toml", "-o", out, *more]
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "models")))
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_two_processes_finetune_as_one(inputs: Path) -> None:
    alone = finetune(inputs, "one")
    together = finetune(inputs, "two", *TORCHRUN)

    assert together.count("model.ekp") == alone.count("model.ekp") == 1
    one, two = log(inputs / "one"), log(inputs / "two")
    assert len(one) == len(two) == 15
    for ours, theirs in zip(two, one, strict=True):
        # Later stages round to a grid: a weight at an edge may fall to either side.
        close = 1e-3 if ours["stage"] == 1 else 0.02
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=close)
    assert one[9]["loss"] < 0.5 * one[0]["loss"]
    assert sorted(path.name for path in (inputs / "two").iterdir()) == sorted(
        path.name for path in (inputs / "one").iterdir()
    )
    assert json.loads((inputs / "two" / "finetune.json").read_text())["settings"]["workers"] == 2
    feed = {"x": samples(8, 9).inputs.numpy()}
    answers = [
        edgekit.load(inputs / run / "model.ekp").run(None, feed)[0] for run in ("one", "two")
    ]
    np.testing.assert_allclose(answers[1], answers[0], atol=0.1 * np.abs(answers[0]).max())


def test_the_error_of_one_worker_ends_all(inputs: Path) -> None:
    (inputs / "recipe.toml").write_text(RECIPE.replace("batch_size = 50", "batch_size = 1"))

    with pytest.raises(AssertionError, match="batch_size must be 2 to 1048576, got 1"):
        finetune(inputs, "out", *TORCHRUN)

    assert not (inputs / "out").exists()


def test_two_processes_begin_a_grid_anew_together(inputs: Path) -> None:
    finetune(inputs, "one")
    # A network that has something to lose.
    (inputs / "one" / "1-retrain.onnx").replace(inputs / "tiny.onnx")
    (inputs / "recipe.toml").write_text("""
batch_size = 50
[[stage]]
kind = "grid"
bits_per_weight = 0.02
start_bits = 0.8
max_drop = 0.5
epochs = 20
learning_rate = 0.3
""")

    finetune(inputs, "two", *TORCHRUN)

    report = json.loads((inputs / "two" / "finetune.json").read_text())
    attempts = report["stages"][-1]["attempts"]
    assert attempts > 1
    assert report["workers"] == 2
    assert report["failures"] == []
    lines = [(line["attempt"], line["epoch"]) for line in log(inputs / "two") if line["stage"] == 1]
    assert lines == [(number, epoch) for number in range(1, attempts + 1) for epoch in range(1, 21)]
    card = (inputs / "two" / "model.md").read_text()
    assert "torchrun --nproc-per-node 2 --no-python edgekit finetune tiny.onnx" in card
