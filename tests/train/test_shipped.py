"""The shipped checkpoints are as good as their cards say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch

import edgekit_models
from edgekit import data
from edgekit.train.datasets import Samples
from edgekit.train.loop import evaluate
from edgekit.train.task import Classification

FLOOR = 0.92
NAMES = [name for name in edgekit_models.names() if edgekit_models.spec(name).checkpoint]


def checkpoint(name: str) -> Path:
    path = edgekit_models.spec(name).checkpoint_path
    assert path is not None
    return path


def stated_top1(name: str) -> tuple[float, int]:
    """The card's test accuracy, and the number of images it was measured on."""
    card = checkpoint(name).with_suffix(".md").read_text(encoding="utf-8")
    match = re.search(r"\| test top-1 \| ([0-9.]+)% of ([0-9,]+) images", card)
    assert match is not None
    return float(match[1]) / 100, int(match[2].replace(",", ""))


def measured_top1(name: str, raw: data.RawImages) -> float:
    model = edgekit_models.build(name)
    model.load_state_dict(safetensors.torch.load_file(checkpoint(name)))
    samples = Samples(
        torch.from_numpy(data.normalise(raw.images)),
        torch.from_numpy(raw.labels.astype(np.int64)),
    )
    return evaluate(model, samples, Classification())[1]


@pytest.mark.parametrize("name", NAMES)
def test_the_card_states_an_accuracy_on_all_test_images_above_the_floor(name: str) -> None:
    top1, count = stated_top1(name)

    assert count == 10_000
    assert top1 >= FLOOR


@pytest.mark.parametrize("name", NAMES)
def test_the_packaged_images_are_recognised(name: str) -> None:
    top1 = measured_top1(name, data._read_packaged())

    # Of 1,000 images, three standard deviations are 2.6 points.
    assert top1 == pytest.approx(stated_top1(name)[0], abs=0.026)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_stated_accuracy_is_measured_again(name: str) -> None:
    raw = data.read_fashion_mnist("test")
    if len(raw.labels) < 10_000:
        pytest.skip("needs all test images: the Debian package dataset-fashion-mnist")

    top1 = measured_top1(name, raw)

    # One image of 10,000 may fall the other way on another processor.
    assert top1 == pytest.approx(stated_top1(name)[0], abs=2e-4)


@pytest.mark.parametrize("name", NAMES)
def test_the_log_and_the_metadata_tell_the_same_run(name: str) -> None:
    path = checkpoint(name)
    lines = path.with_suffix(".log.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    with safetensors.safe_open(path, "pt") as file:
        facts = file.metadata()

    best = max(records, key=lambda record: record["validation_top1"])

    assert facts["name"] == name
    assert int(facts["epochs"]) == len(records)
    assert int(facts["best_epoch"]) == best["epoch"]
    assert float(facts["test_top1"]) == pytest.approx(stated_top1(name)[0], abs=1e-9)
