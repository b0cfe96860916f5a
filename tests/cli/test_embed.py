"""`edgekit embed` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import Cli


@pytest.fixture
def packed(cli: Cli, tiny_onnx_path: Path, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.ekp"
    assert cli("compress", tiny_onnx_path, "-o", path).exit_code == 0
    return path


def test_the_table_names_each_file_and_the_next_command(
    cli: Cli, packed: Path, tmp_path: Path
) -> None:
    outcome = cli("embed", packed, "--to", "c", "-o", tmp_path / "app")

    assert outcome.exit_code == 0
    assert "edgekit_decode.h" in outcome.stdout
    assert f"make -C {tmp_path / 'app'} check" in outcome.stdout.replace("\n", "")


def test_json_lists_tensors_with_ids_and_shapes(cli: Cli, packed: Path, tmp_path: Path) -> None:
    outcome = cli("embed", packed, "-o", tmp_path / "app", "--format", "json")

    report = json.loads(outcome.stdout)
    assert [tensor["id"] for tensor in report["tensors"]] == list(range(len(report["tensors"])))
    assert report["tensors"][0]["shape"] == [32, 1, 3, 3]


def test_a_file_that_isn_t_packed_ends_with_code_4(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "x.ekp").write_text("no model")

    outcome = cli("embed", tmp_path / "x.ekp", "-o", tmp_path / "app")

    assert outcome.exit_code == 4
    assert len(outcome.stderr.splitlines()) == 1
    assert not (tmp_path / "app").exists()


def test_an_unknown_target_is_a_usage_error(cli: Cli, packed: Path, tmp_path: Path) -> None:
    assert cli("embed", packed, "--to", "cobol", "-o", tmp_path / "app").exit_code == 2
