"""Cold starts happen in processes of their own, wherever the caller stands."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from edgekit.bench.child import peak_bytes
from edgekit.bench.cold import cold_start
from edgekit.compress.pipeline import compress
from edgekit.errors import ModelFileError
from tests.bench.reports import SETTINGS


def start(path: Path) -> None:
    cold_start(path, 1, SETTINGS)


def test_a_file_in_the_caller_s_folder_is_not_imported(
    tiny_onnx_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('imported from the caller')")
    monkeypatch.chdir(tmp_path)

    found = cold_start(Path(tiny_onnx_path.name), 1, replace(SETTINGS, input_shape=(2, 1, 12, 12)))

    assert found.decode_s is None
    assert found.import_s > 0.01


def test_memory_of_the_caller_is_not_counted(tiny_onnx_path: Path) -> None:
    ballast = bytearray(os.urandom(1 << 20)) * 400

    found = cold_start(tiny_onnx_path, 1, SETTINGS)

    assert len(ballast) == 400 << 20
    assert found.peak_bytes is not None
    assert found.base_bytes is not None
    assert found.base_bytes < found.peak_bytes < 400 << 20
    assert (peak_bytes() or 0) > 400 << 20


def test_the_child_s_error_is_one_line(tiny_onnx_path: Path, tmp_path: Path) -> None:
    packed = tmp_path / "t.ekp"
    compress(tiny_onnx_path, packed)
    packed.write_bytes(packed.read_bytes()[:-40])

    with pytest.raises(ModelFileError, match=r"cold start of .*t\.ekp failed: .+") as caught:
        start(packed)

    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)
