"""`edgekit inspect` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgekit.compress.pipeline import compress
from tests.support import Cli


@pytest.fixture
def packed(tiny_onnx_path: Path, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.ekp"
    compress(tiny_onnx_path, path, bits=4, method="codebook", sparsity=0.6)
    return path


def test_the_ledger_ends_with_the_size_of_the_packed_file(cli: Cli, packed: Path) -> None:
    outcome = cli("inspect", packed)

    assert outcome.exit_code == 0
    assert outcome.stdout.splitlines()[-1].split() == ["total", f"{packed.stat().st_size:,}"]
    for words in ("pointwise.weight", "60x32x1x1", "codebook of", "multiply-adds", "manifest"):
        assert words in outcome.stdout
    assert outcome.stderr == ""


def test_the_ledger_ends_with_the_size_of_the_onnx_file(cli: Cli, tiny_onnx_path: Path) -> None:
    outcome = cli("inspect", tiny_onnx_path)

    total = f"{tiny_onnx_path.stat().st_size:,}"
    assert outcome.stdout.splitlines()[-1].split() == ["total", total]
    assert "3 Conv" in outcome.stdout
    assert "input: float Nx1x12x12" in outcome.stdout


@pytest.mark.parametrize("suffix", ["ekp", "onnx"])
def test_json_adds_up_to_the_file(cli: Cli, packed: Path, suffix: str) -> None:
    path = packed.with_suffix(f".{suffix}")

    outcome = cli("inspect", path, "--format", "json")

    report = json.loads(outcome.stdout)
    total = sum(entry["bytes"] for entry in report["tensors"])
    total += sum(size for _, size in report["parts"])
    assert total == report["file_bytes"] == path.stat().st_size
    assert report["parameters"] == 3230


def test_the_manifest_says_where_a_packed_file_comes_from(cli: Cli, packed: Path) -> None:
    report = json.loads(cli("inspect", packed, "--format", "json").stdout)

    assert report["manifest"]["name"] == "tiny"
    assert report["manifest"]["recipe"]["bits"] == 4


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x89EKP\r\n\x1a\n"])
def test_a_file_that_is_no_model_is_one_line_and_4(
    cli: Cli, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "x.onnx").write_bytes(content)

    outcome = cli("inspect", tmp_path / "x.onnx")

    assert outcome.exit_code == 4
    assert outcome.stdout == ""
    assert outcome.stderr.startswith("edgekit: error: ")
    assert outcome.stderr.count("\n") == 1


def test_a_changed_byte_is_found(cli: Cli, packed: Path) -> None:
    data = bytearray(packed.read_bytes())
    data[len(data) // 2] ^= 16
    packed.write_bytes(data)

    outcome = cli("inspect", packed)

    assert outcome.exit_code == 4
    assert outcome.stderr.count("\n") == 1


def test_a_missing_file_is_4(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("inspect", tmp_path / "none.ekp")

    assert outcome.exit_code == 4
    assert "No such file" in outcome.stderr
