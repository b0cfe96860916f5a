"""The example of another task than classification."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import edgekit
from tests.support import Cli

EXAMPLE = Path(__file__).parents[2] / "examples" / "segmentation"


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The README's command, in a folder with the example's files."""
    for name in ("shapes.py", "recipe.toml"):
        shutil.copy(EXAMPLE / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    text = (EXAMPLE / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    # The block under torchrun begins with another word.
    (line,) = re.findall(r"^edgekit (finetune .*)$", text, re.MULTILINE)
    words: list[str] = line.split()
    return words


def test_the_command_of_the_readme_works(cli: Cli, command: list[str], tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(re.sub(r"epochs = \d+", "epochs = 1", recipe.read_text()))

    outcome = cli(*command, "--train-limit", "100")

    assert outcome.exit_code == 0, outcome.stderr
    assert "mean IoU on 300 validation and 500 test samples of shapes.py:data" in outcome.stdout
    (scores,) = edgekit.load("out/model.ekp").run(
        None, {"input": np.zeros((2, 1, 32, 32), np.float32)}
    )
    assert scores.shape == (2, 3, 32, 32)


@pytest.mark.slow
def test_the_network_finds_the_shapes(cli: Cli, command: list[str]) -> None:
    outcome = cli(*command)

    assert outcome.exit_code == 0, outcome.stderr
    report = json.loads(Path("out/finetune.json").read_text())
    assert report["test"][0] < 0.4
    assert min(report["test"][1:]) > 0.7
    assert report["ratio"] > 18
