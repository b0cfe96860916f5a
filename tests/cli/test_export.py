"""`edgekit export`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from edgekit.cli.export import parse_shape
from edgekit.errors import UsageError
from tests.support import Cli

FACTORY = """
from torch import nn

def net():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
"""


@pytest.fixture
def source(tmp_path: Path) -> str:
    path = tmp_path / "mine.py"
    path.write_text(FACTORY)
    return f"{path}:net"


def test_a_module_of_one_s_own_is_exported(cli: Cli, source: str, tmp_path: Path) -> None:
    output = tmp_path / "mine.onnx"

    outcome = cli("export", source, "--input", "1,1,8,8", "-o", output, "--format", "json")

    assert outcome.exit_code == 0, outcome.stderr
    report = json.loads(outcome.stdout)
    assert report["output_bytes"] == output.stat().st_size
    assert report["output_shape"] == ["batch", 144]
    assert report["parity"][2]["batch"] == 5


def test_the_table_names_file_exporter_and_parity(cli: Cli, source: str, tmp_path: Path) -> None:
    outcome = cli(
        "export", source, "--input", "1,1,8,8", "--no-simplify", "-o", tmp_path / "mine.onnx"
    )

    assert outcome.exit_code == 0, outcome.stderr
    assert "mine.onnx" in outcome.stdout
    assert "torch.export, opset 20" in outcome.stdout
    assert "parity at batch 5" in outcome.stdout


def test_a_pickle_that_runs_code_ends_with_4(cli: Cli, source: str, tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return print, ("attacked",)

    torch.save({"w": Attack()}, tmp_path / "evil.pth")
    output = tmp_path / "mine.onnx"
    output.write_bytes(b"old")

    outcome = cli(
        "export", source, "--input", "1,1,8,8", "--weights", tmp_path / "evil.pth", "-o", output
    )

    assert outcome.exit_code == 4
    assert "would run code" in outcome.stderr
    assert outcome.stderr.count("\n") == 1
    assert output.read_bytes() == b"old"


def test_a_missing_shape_is_a_usage_error(cli: Cli, source: str, tmp_path: Path) -> None:
    outcome = cli("export", source, "-o", tmp_path / "mine.onnx")

    assert outcome.exit_code == 2
    assert "--input" in outcome.stderr


@pytest.mark.parametrize("text", ["1,3,224,224", "1x3x224x224"])
def test_shapes_are_read(text: str) -> None:
    assert parse_shape(text) == (1, 3, 224, 224)


@pytest.mark.parametrize("text", ["", "3", "1,three", "1,-3,4", "1,0"])
def test_impossible_shapes_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--input"):
        parse_shape(text)


def test_a_module_isn_t_exported_over_its_own_file(cli: Cli, source: str, tmp_path: Path) -> None:
    outcome = cli("export", source, "--input", "1,1,8,8", "-o", tmp_path / "mine.py")

    assert outcome.exit_code == 2
    assert (tmp_path / "mine.py").read_text() == FACTORY
