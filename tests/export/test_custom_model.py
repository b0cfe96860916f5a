"""The example of a network of one's own: the commands of its README, in order."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import edgekit
from edgekit.train import datasets
from tests.fashion import write_fashion_mnist
from tests.support import Cli

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_model"


def test_the_commands_of_the_readme_work(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copy(EXAMPLE / "net.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    # A few images of noise stand in for the data set.
    monkeypatch.setattr(datasets, "VALIDATION_IMAGES", 40)
    monkeypatch.setenv("EDGEKIT_FASHION_MNIST", str(write_fashion_mnist(tmp_path / "data")))
    lines = (EXAMPLE / "README.md").read_text(encoding="utf-8").splitlines()
    commands = [line.split()[1:] for line in lines if line.startswith("edgekit ")]

    outcomes = [cli(*command) for command in commands]

    assert [(outcome.exit_code, "error" in outcome.stderr) for outcome in outcomes] == [
        (0, False)
    ] * len(commands)
    assert [command[0] for command in commands] == [
        "models",
        "export",
        "inspect",
        "compress",
        "verify",
        "bench",
        "embed",
        "decompress",
        "train",
        "export",
    ]
    for path in ("spotter.ekp", "restored.onnx"):
        assert edgekit.load(path).get_inputs()[0].shape[1:] == [1, 40, 98]
    assert edgekit.load("trained.onnx").get_outputs()[0].shape[1:] == [10]
