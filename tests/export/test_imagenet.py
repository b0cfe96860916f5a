"""Published ImageNet weights through export, judged on photographs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import onnxruntime
import pytest

from edgekit.export.pytorch import export

SCRIPT = Path(__file__).parents[2] / "examples" / "imagenet_mobilenetv2" / "run.py"


@pytest.fixture
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("imagenet_mobilenetv2", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_published_weights_name_the_photographs(example: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "mobilenetv2.onnx"

    report = export("mobilenetv2", path, weights=example.fetch_weights(tmp_path))
    inputs, labels = example.fetch_photos(tmp_path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    first, among_five = example.right_answers(session, inputs, labels)

    assert report.parameters == 3_504_872
    assert len(labels) == 20
    assert first >= 18
    assert among_five == 20
