"""A data set small enough to train on in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.train import datasets
from tests.fashion import write_fashion_mnist


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """192 training images beside 40 for validation, 50 test images."""
    monkeypatch.setattr(datasets, "VALIDATION_IMAGES", 40)
    return write_fashion_mnist(tmp_path / "data")
