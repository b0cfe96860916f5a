"""The example of a network of one's own: the commands of its README, in order."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import edgekit
from tests.support import Cli

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_model"


def test_the_commands_of_the_readme_work(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copy(EXAMPLE / "net.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    lines = (EXAMPLE / "README.md").read_text(encoding="utf-8").splitlines()
    commands = [line.split()[1:] for line in lines if line.startswith("edgekit ")]

    outcomes = [cli(*command) for command in commands]

    assert [command[0] for command in commands] == ["export", "compress", "inspect"]
    assert [(outcome.exit_code, outcome.stderr) for outcome in outcomes] == [(0, "")] * 3
    session = edgekit.load("spotter.ekp")
    assert session.get_inputs()[0].shape[1:] == [1, 40, 98]
