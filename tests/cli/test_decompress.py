"""`edgekit decompress` from the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto

from tests.onnx_files import random_feeds, run
from tests.support import Cli


def test_compress_and_decompress_give_a_plain_model_back(
    cli: Cli, tiny_model: ModelProto, tiny_onnx_path: Path, tmp_path: Path
) -> None:
    packed, plain = tmp_path / "tiny.ekp", tmp_path / "back.onnx"
    cli("compress", tiny_onnx_path, "-o", packed)

    outcome = cli("decompress", packed, "-o", plain)

    assert (outcome.exit_code, outcome.stdout) == (0, "")
    back = onnx.load(plain)
    onnx.checker.check_model(back, full_check=True)
    feeds = random_feeds(tiny_model)
    expected, found = run(tiny_model, feeds)[0], run(back, feeds)[0]
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())


def test_a_damaged_file_is_one_line_and_leaves_the_old_file(
    cli: Cli, tiny_onnx_path: Path, tmp_path: Path
) -> None:
    packed, plain = tmp_path / "tiny.ekp", tmp_path / "back.onnx"
    cli("compress", tiny_onnx_path, "-o", packed)
    packed.write_bytes(packed.read_bytes()[:-1])
    plain.write_bytes(b"the old file")

    outcome = cli("decompress", packed, "-o", plain)

    assert outcome.exit_code == 4
    assert outcome.stderr.startswith("edgekit: error: ")
    assert outcome.stderr.count("\n") == 1
    assert plain.read_bytes() == b"the old file"


def test_a_packed_file_isn_t_decompressed_into_itself(
    cli: Cli, tiny_onnx_path: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "tiny.ekp"
    cli("compress", tiny_onnx_path, "--calibration", "none", "-o", packed)
    before = packed.read_bytes()

    outcome = cli("decompress", packed, "-o", packed)

    assert outcome.exit_code == 2
    assert packed.read_bytes() == before
