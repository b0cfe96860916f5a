"""The ledger adds up to the file, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.codec import native
from edgekit.compress.pipeline import compress
from edgekit.errors import InputError, ModelFileError
from edgekit.inspect import inspect


@pytest.mark.parametrize("method", ["uniform", "codebook"])
def test_tensors_and_parts_add_up_to_a_packed_file(
    tiny_onnx_path: Path, tmp_path: Path, method: str
) -> None:
    compress(tiny_onnx_path, tmp_path / "t.ekp", bits=5, method=method, sparsity=0.7)  # type: ignore[arg-type]  # one of the two literals

    report = inspect(tmp_path / "t.ekp")

    total = sum(entry.bytes for entry in report.tensors) + sum(size for _, size in report.parts)
    assert total == report.file_bytes == (tmp_path / "t.ekp").stat().st_size
    assert dict(report.parts)["padding"] >= 0
    assert sum(entry.elements for entry in report.tensors) == 3220
    pruned = [entry.sparsity for entry in report.tensors if entry.entropy_bits is not None]
    assert max(pruned) > 0.6


def test_tensors_and_graph_add_up_to_an_onnx_file(tiny_onnx_path: Path) -> None:
    report = inspect(tiny_onnx_path)

    total = sum(entry.bytes for entry in report.tensors) + sum(size for _, size in report.parts)
    assert total == report.file_bytes == tiny_onnx_path.stat().st_size
    assert report.inputs == (("input", "float Nx1x12x12"),)
    assert dict(report.operators)["Conv"] == 3
    assert report.multiply_adds == 32 * 9 * 144 + 32 * 9 * 144 + 60 * 32 * 144 + 600


def test_counts_survive_packing(tiny_onnx_path: Path, tmp_path: Path) -> None:
    compress(tiny_onnx_path, tmp_path / "t.ekp")

    packed, plain = inspect(tmp_path / "t.ekp"), inspect(tiny_onnx_path)

    assert packed.parameters == plain.parameters
    assert packed.multiply_adds == plain.multiply_adds


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("no model")

    with pytest.raises(ModelFileError):
        inspect(tmp_path / "x")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't read"):
        inspect(tmp_path / "x")


@pytest.mark.skipif(not native.available, reason="the compiled decoder isn't built")
def test_a_packed_file_is_opened_once_for_all_its_tensors(
    tiny_onnx_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compress(tiny_onnx_path, tmp_path / "t.ekp", bits=5)
    opened = []

    class Counted(native.StoredElements):
        def __init__(self, file: native.Buffer) -> None:
            opened.append(len(file))
            super().__init__(file)

    monkeypatch.setattr(native, "StoredElements", Counted)

    inspect(tmp_path / "t.ekp")

    assert len(opened) == 1
