"""Data and a network small enough to train on in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.train import datasets
from tests.fashion import write_fashion_mnist
from tests.train.nets import write_tiny


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """192 training images beside 40 for validation, 50 test images."""
    monkeypatch.setattr(datasets, "VALIDATION_IMAGES", 40)
    return write_fashion_mnist(tmp_path / "data")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The tiny network as a file."""
    return write_tiny(tmp_path / "tiny.onnx")
