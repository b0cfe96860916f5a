"""`edgekit train`."""

from __future__ import annotations

import gzip
import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import pytest

from edgekit.train import datasets
from tests.support import Cli


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """48 random training images beside 16 for validation, and 10 test images."""
    monkeypatch.setattr(datasets, "VALIDATION_IMAGES", 16)
    rng = np.random.default_rng(1)
    for prefix, count in (("train", 64), ("t10k", 10)):
        images = struct.pack(">4I", 0x803, count, 28, 28) + rng.bytes(count * 784)
        labels = struct.pack(">2I", 0x801, count) + bytes(i % 10 for i in range(count))
        for kind, content in (("images-idx3", images), ("labels-idx1", labels)):
            (tmp_path / f"{prefix}-{kind}-ubyte.gz").write_bytes(gzip.compress(content))
    return tmp_path


def test_a_run_leaves_weights_log_and_card(cli: Cli, folder: Path) -> None:
    output = folder / "out.safetensors"

    outcome = cli(
        "train", "mobilenetv2_fashion", "--data", folder, "--epochs", "1", "--batch-size", "16",
        "--seed", "3", "-o", output, "--format", "json",
    )  # fmt: skip

    assert outcome.exit_code == 0, outcome.stderr
    report = json.loads(outcome.stdout)
    assert report["sha256"] == hashlib.sha256(output.read_bytes()).hexdigest()
    card = output.with_suffix(".md").read_text(encoding="utf-8")
    assert report["sha256"] in card
    assert "edgekit train mobilenetv2_fashion --epochs 1 --batch-size 16" in card
    assert "of 10 images" in card
    assert "with seed 3" in outcome.stderr
    assert "epoch 1/1" in outcome.stderr
    assert len((folder / "out.log.jsonl").read_text().splitlines()) == 1


def test_missing_data_are_told_in_one_line(cli: Cli, tmp_path: Path) -> None:
    outcome = cli(
        "train", "mobilenetv2_fashion", "--data", tmp_path, "-o", tmp_path / "out.safetensors"
    )

    assert outcome.exit_code == 4
    assert "train-images-idx3-ubyte.gz doesn't exist" in outcome.stderr
    assert not list(tmp_path.iterdir())


def test_weights_aren_t_written_over_the_network_s_own_file(cli: Cli, folder: Path) -> None:
    (folder / "net.py").write_text("def net():\n    raise AssertionError\n")

    outcome = cli("train", f"{folder / 'net.py'}:net", "--data", folder, "-o", folder / "net.py")

    assert outcome.exit_code == 2
    assert (folder / "net.py").read_text().startswith("def net")
