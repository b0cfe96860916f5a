"""What every report calls the SHA-256 of a file is what `sha256sum` prints of it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import Cli


@pytest.fixture
def packed(cli: Cli, tiny_onnx_path: Path, tmp_path: Path) -> Path:
    path = tmp_path / "packed.ekp"
    assert cli("compress", tiny_onnx_path, "-o", path).exit_code == 0
    return path


def sha256sum(path: Path) -> str:
    tool = shutil.which("sha256sum")
    if tool is None:
        pytest.skip("sha256sum isn't installed")
    return subprocess.run(
        [tool, path], check=True, capture_output=True, text=True, timeout=60
    ).stdout.split()[0]


def test_compress_prints_the_sum_of_the_file_that_it_writes(
    cli: Cli, tiny_onnx_path: Path, tmp_path: Path
) -> None:
    path = tmp_path / "packed.ekp"

    table = cli("compress", tiny_onnx_path, "-o", path).stdout
    report = json.loads(cli("compress", tiny_onnx_path, "-o", path, "--format", "json").stdout)

    assert f"SHA-256 {sha256sum(path)}" in table
    assert report["sha256"] == sha256sum(path)
    assert report["source_sha256"] == sha256sum(tiny_onnx_path)


def test_verify_prints_the_same(cli: Cli, packed: Path) -> None:
    table = cli("verify", packed).stdout
    report = json.loads(cli("verify", packed, "--format", "json").stdout)

    assert f"SHA-256    {sha256sum(packed)}" in table
    assert report["integrity"]["sha256"] == sha256sum(packed)


def test_inspect_prints_the_same_and_what_the_file_ends_with(cli: Cli, packed: Path) -> None:
    table = " ".join(cli("inspect", packed).stdout.split())
    report = json.loads(cli("inspect", packed, "--format", "json").stdout)

    digest = packed.read_bytes()[-32:].hex()
    assert digest != sha256sum(packed)
    assert f"SHA-256 {sha256sum(packed)} digest {digest}" in table
    assert (report["sha256"], report["digest"]) == (sha256sum(packed), digest)


def test_inspect_knows_one_sum_of_an_onnx_file(cli: Cli, tiny_onnx_path: Path) -> None:
    table = cli("inspect", tiny_onnx_path).stdout
    report = json.loads(cli("inspect", tiny_onnx_path, "--format", "json").stdout)

    assert "digest" not in table
    assert (report["sha256"], report["digest"]) == (sha256sum(tiny_onnx_path), None)
