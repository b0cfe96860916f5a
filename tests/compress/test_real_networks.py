"""Real networks of others, compressed at 6 bits, loaded, run and compared.

EDGEKIT_TEST_CACHE names a folder that keeps what is fetched; without it, each run fetches anew.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

import edgekit
from edgekit.compress.pipeline import compress
from tests.onnx_files import random_feeds, run

pytestmark = pytest.mark.slow

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet"])
def test_a_light_model_of_onnx(name: str, tmp_path: Path) -> None:
    source = LIGHT / f"light_{name}.onnx"
    model = onnx.load(source)
    packed = tmp_path / f"{name}.ekp"
    feeds = random_feeds(model)

    compress(source, packed, bits=6)

    (found,) = edgekit.load(packed, threads=1).run(None, feeds)
    np.testing.assert_allclose(found, run(model, feeds)[0], rtol=1e-3, atol=1e-6)


@pytest.fixture(scope="module")
def text_direction(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network of rapidocr that tells upright text from text upside down."""
    kept = os.environ.get("EDGEKIT_TEST_CACHE")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("fetched")
    pattern = "rapidocr_onnxruntime-1.4.4-*.whl"
    if not list(folder.glob(pattern)):
        wheel = ["rapidocr-onnxruntime==1.4.4", "--no-deps", "--dest", str(folder)]
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", *wheel],
            check=True,
            capture_output=True,
        )
    with zipfile.ZipFile(next(folder.glob(pattern))) as archive:
        path = tmp_path_factory.mktemp("rapidocr") / "direction.onnx"
        member = "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx"
        path.write_bytes(archive.read(member))
    return path


_LETTERS = {
    "A": "01110 10001 10001 11111 10001 10001 10001",
    "D": "11110 10001 10001 10001 10001 10001 11110",
    "E": "11111 10000 10000 11110 10000 10000 11111",
    "F": "11111 10000 10000 11110 10000 10000 10000",
    "G": "01110 10001 10000 10111 10001 10001 01111",
    "K": "10001 10010 10100 11000 10100 10010 10001",
    "L": "10000 10000 10000 10000 10000 10000 11111",
    "R": "11110 10001 10001 11110 10100 10010 10001",
    "T": "11111 00100 00100 00100 00100 00100 00100",
    "Y": "10001 10001 01010 00100 00100 00100 00100",
}
"""Letters that look different upside down, 5 x 7 dots, one row a word."""


def text_line(letters: list[str]) -> NDArray[np.float32]:
    """(48, 192) dark letters of 20 x 28 pixels on a light ground, in -1..1."""
    glyphs = [
        np.array([[int(dot) for dot in row] + [0] for row in _LETTERS[letter].split()])
        for letter in letters
    ]
    dots = np.kron(np.hstack(glyphs), np.ones((4, 4)))
    picture = np.full((48, 192), 0.9, np.float32)
    picture[10 : 10 + dots.shape[0], 6 : 6 + dots.shape[1]][dots > 0] = -0.8
    return picture


@pytest.mark.parametrize(("bits", "tolerance"), [(6, 0.1), (8, 0.05)])
def test_the_text_direction_network_of_rapidocr(
    text_direction: Path, tmp_path: Path, bits: int, tolerance: float
) -> None:
    packed = tmp_path / "direction.ekp"
    rng = np.random.default_rng(11)
    upright = [text_line(rng.choice(sorted(_LETTERS), 7).tolist()) for _ in range(24)]
    lines = np.array([*upright, *(line[::-1, ::-1] for line in upright)])
    pictures = np.repeat(lines[:, None], 3, axis=1)

    report = compress(text_direction, packed, bits=bits)

    (found,) = edgekit.load(packed, threads=1).run(None, {"x": pictures})
    expected = run(text_direction.read_bytes(), {"x": pictures})[0]
    assert report.file_bytes == packed.stat().st_size
    assert report.ratio > {6: 4.5, 8: 3.6}[bits]
    assert expected.argmax(axis=1).tolist() == [0] * 24 + [1] * 24
    assert found.argmax(axis=1).tolist() == [0] * 24 + [1] * 24
    assert np.abs(found - expected).max() < tolerance
