"""A data set small enough to train on in seconds."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from edgekit.train import fit


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ten classes of 28x28 images, each a bright bar at its own height, in noise.

    192 training images beside 40 for validation, 50 test images.
    """
    monkeypatch.setattr(fit, "VALIDATION_IMAGES", 40)
    rng = np.random.default_rng(11)
    target = tmp_path / "data"
    target.mkdir()
    for prefix, count in (("train", 232), ("t10k", 50)):
        labels = rng.integers(0, 10, count).astype(np.uint8)
        images = rng.integers(0, 60, (count, 28, 28)).astype(np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[2 * label + 4 : 2 * label + 7] = 250
        for kind, header, array in (
            ("images-idx3", struct.pack(">4I", 0x803, count, 28, 28), images),
            ("labels-idx1", struct.pack(">2I", 0x801, count), labels),
        ):
            path = target / f"{prefix}-{kind}-ubyte.gz"
            path.write_bytes(gzip.compress(header + array.tobytes(), compresslevel=1))
    return target
