"""The packed files that the recipes made: their cards tell the truth."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import edgekit
import edgekit_models
from edgekit import data
from edgekit.packfile import open_packfile
from edgekit.packfile.activations import recorded_form
from edgekit.train.datasets import Samples
from edgekit.train.judge import measure_file
from edgekit.train.task import Classification
from edgekit.train.workers import ALONE

FOLDER = Path(edgekit_models.__file__).parent / "packed"
FILES = sorted(FOLDER.glob("*.ekp"))
NAMES = [path.stem for path in FILES]
TOLERANCE = {"float": 0.05, "int8": 0.3}
"""Points of 10,000 images that another processor may be off. Some add up pairs of 8-bit products in
16 bits, which cuts large sums."""


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


def stated_top1(path: Path) -> list[float]:
    """The card's test accuracies in per cent, a stage each."""
    return [float(cell) for cell in re.findall(r"\| [0-9.]+% \| ([0-9.]+)% \|", card(path))]


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_the_card_names_the_form_that_was_measured(path: Path) -> None:
    form = recorded_form(open_packfile(path).manifest)

    assert f"test is of the packed file, run as {form} in onnxruntime." in card(path)


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_all_test_images_are_recognised_as_the_card_says(path: Path) -> None:
    raw = data.read_fashion_mnist("test")
    if len(raw.labels) < 10_000:
        pytest.skip("needs all test images: the Debian package dataset-fashion-mnist")
    split = Samples(
        torch.from_numpy(data.normalise(raw.images)),
        torch.from_numpy(raw.labels.astype(np.int64)),
    )

    top1 = 100 * measure_file(path, split, Classification(), ALONE)

    form = recorded_form(open_packfile(path).manifest)
    assert top1 == pytest.approx(stated_top1(path)[-1], abs=TOLERANCE[form])


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_the_packaged_images_are_recognised_as_the_card_says(path: Path) -> None:
    stated = stated_top1(path)
    raw = data._read_packaged()
    inputs = data.normalise(raw.images)

    outputs = edgekit.load(path, threads=1).run(None, {"input": inputs})[0]

    # Of 1,000 images, three standard deviations are 2.6 points.
    top1 = 100 * float(np.mean(outputs.argmax(axis=1) == raw.labels))
    assert top1 == pytest.approx(stated[-1], abs=2.6)
    # No more than half a point below the float model, on all 10,000 test images.
    assert stated[0] - stated[-1] <= 0.5
