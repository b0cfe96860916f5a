"""One exported network for many tests: the export itself takes seconds."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from edgekit.export.pytorch import ExportReport, export

NETS = Path(__file__).with_name("nets.py")


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ExportReport]:
    """`nets.py:net` as a file, with its report."""
    path = tmp_path_factory.mktemp("export") / "net.onnx"
    return path, export(f"{NETS}:net", path, input_shape=(1, 3, 12, 12))


@pytest.fixture
def exported_model(exported: tuple[Path, ExportReport]) -> onnx.ModelProto:
    """A copy of the exported model, free to be changed."""
    return onnx.load(exported[0])
