"""The packed files that the recipes made: their cards tell the truth."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest

import edgekit
import edgekit_models
from edgekit import data
from edgekit.packfile import open_packfile

FOLDER = Path(edgekit_models.__file__).parent / "packed"
FILES = sorted(FOLDER.glob("*.ekp"))
NAMES = [path.stem for path in FILES]


def card(path: Path) -> str:
    return path.with_suffix(".md").read_text(encoding="utf-8")


def test_each_network_comes_in_its_smallest_and_its_fastest_form() -> None:
    forms = {(network, recipe) for network, recipe in (name.split(".") for name in NAMES)}

    for network in ("squeezenet_fashion", "mobilenetv2_fashion"):
        assert {(network, "tiny"), (network, "int8")} <= forms
    assert ("squeezenet_fashion", "deep-compression") in forms


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_int8_files_open_in_int8(path: Path) -> None:
    manifest = open_packfile(path).manifest

    assert (manifest.get("run_as") == "int8") == path.stem.endswith(".int8")


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_the_card_tells_size_and_digest(path: Path) -> None:
    blob = path.read_bytes()

    assert f"`{path.name}`: {len(blob):,} bytes" in card(path)
    assert hashlib.sha256(blob).hexdigest() in card(path)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_the_packaged_images_are_recognised_as_the_card_says(path: Path) -> None:
    stated = [float(cell) for cell in re.findall(r"\| [0-9.]+% \| ([0-9.]+)% \|", card(path))]
    raw = data._read_packaged()
    inputs = data.normalise(raw.images)

    outputs = edgekit.load(path, threads=1).run(None, {"input": inputs})[0]

    # Of 1,000 images, three standard deviations are 2.6 points.
    top1 = 100 * float(np.mean(outputs.argmax(axis=1) == raw.labels))
    assert top1 == pytest.approx(stated[-1], abs=2.6)
    # No more than half a point below the float model, on all 10,000 test images.
    assert stated[0] - stated[-1] <= 0.5
