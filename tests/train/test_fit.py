"""Training: the same result whether interrupted or not, and a log that tells what happened."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch

import edgekit_models
from edgekit.errors import (
    CheckFailedError,
    DataError,
    InputError,
    OutputError,
    UnknownModelError,
    UsageError,
)
from edgekit.train import datasets, fit
from edgekit.train.datasets import fashion_mnist
from edgekit.train.fit import train
from edgekit.train.state import EpochRecord
from tests.fashion import write_fashion_mnist

NAME = "mobilenetv2_fashion"


class KilledError(Exception):
    """Stands for a kill."""


class StopAfter:
    """Ends the run in the middle of an epoch."""

    def __init__(self, epoch: int, step: int) -> None:
        self.place = (epoch, step)

    def step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        if (epoch, step) == self.place:
            raise KilledError

    def epoch(self, record: EpochRecord) -> None:
        pass


def quick(output: Path, folder: Path, **options: Any) -> fit.TrainReport:
    settings: dict[str, Any] = {"epochs": 3, "batch_size": 32, "seed": 4, "train_limit": 96}
    return train(NAME, output, data=folder, **(settings | options))


def test_a_network_of_ones_own_is_trained(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from torch import nn\n"
        "def build(): return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))\n"
        "def wide(): return nn.Sequential(nn.Flatten(), nn.Linear(784, 12))\n"
    )
    settings: dict[str, Any] = {"data": folder, "epochs": 4, "batch_size": 32}

    report = train(f"{tmp_path / 'own.py'}:build", tmp_path / "own.safetensors", **settings)

    assert report.parameters == report.multiply_adds + 10 == 7_850
    # Chance is 0.1.
    assert report.test_top1 > 0.3
    with pytest.raises(UsageError, match="one row of 10 scores"):
        train(f"{tmp_path / 'own.py'}:wide", tmp_path / "w.safetensors", **settings)


def test_a_killed_run_resumes_to_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole.safetensors", tmp_path / "broken.safetensors"
    expected = quick(whole, folder)

    with pytest.raises(KilledError):
        quick(broken, folder, observer=StopAfter(epoch=3, step=2))
    assert not broken.exists()
    report = quick(broken, folder, resume=True)

    assert broken.read_bytes() == whole.read_bytes()
    assert report.sha256 == expected.sha256
    assert report.test_top1 == expected.test_top1
    logs = [(tmp_path / f"{stem}.log.jsonl").read_text() for stem in ("whole", "broken")]
    plain, resumed = (
        [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in log.splitlines()]
        for log in logs
    )
    assert plain == resumed


def test_a_run_learns_and_tells_so(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "weights.safetensors"

    report = quick(output, folder, epochs=6, batch_size=16, train_limit=None)

    lines = output.with_suffix(".log.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["epoch"] for record in records] == [1, 2, 3, 4, 5, 6]
    assert records[-1]["train_loss"] < records[0]["train_loss"]
    assert report.test_top1 > 0.25  # chance is 0.1
    assert report.validation_top1 == max(record["validation_top1"] for record in records)
    assert (report.train_images, report.validation_images, report.test_images) == (192, 40, 50)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "data",
        "weights.log.jsonl",
        "weights.safetensors",
    ]


def test_the_weights_fit_the_network_and_tell_where_they_come_from(
    folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "weights.safetensors"

    report = quick(output, folder, epochs=1)

    edgekit_models.build(NAME).load_state_dict(safetensors.torch.load_file(output))
    with safetensors.safe_open(output, "pt") as file:
        facts = file.metadata()
    assert facts["name"] == NAME
    assert facts["seed"] == "4"
    assert facts["test_top1"] == f"{report.test_top1:.4f}"


def test_another_seed_gives_other_weights(folder: Path, tmp_path: Path) -> None:
    first = quick(tmp_path / "a.safetensors", folder, epochs=1)
    second = quick(tmp_path / "b.safetensors", folder, epochs=1, seed=5)

    assert first.sha256 != second.sha256


def test_torch_is_left_as_it_was(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(9)
    expected = torch.rand(3)
    torch.manual_seed(9)

    quick(tmp_path / "a.safetensors", folder, epochs=1)

    assert torch.equal(torch.rand(3), expected)
    assert not torch.are_deterministic_algorithms_enabled()


def test_validation_images_are_never_trained_on(folder: Path) -> None:
    splits = fashion_mnist(folder)

    training, validation = (
        split.batch(torch.arange(len(split)))[0] for split in (splits.training, splits.validation)
    )
    seen = {image.numpy().tobytes() for image in training}
    held = {image.numpy().tobytes() for image in validation}

    assert (len(seen), len(held)) == (192, 40)
    assert not seen & held


def test_other_settings_than_the_state_s_are_refused(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "weights.safetensors"
    with pytest.raises(KilledError):
        quick(output, folder, observer=StopAfter(epoch=2, step=1))

    with pytest.raises(UsageError, match=r"seed 4 \(now 5\)"):
        quick(output, folder, resume=True, seed=5)


def test_a_damaged_state_is_told_in_one_line(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "weights.safetensors"
    output.with_suffix(".state.pt").write_bytes(b"not a state")

    with pytest.raises(InputError, match="delete it to start from the beginning"):
        quick(output, folder, resume=True)


STATE_DAMAGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "no model": lambda state: {**state, "model": {}},
    "other best weights": lambda state: {**state, "best": dict(list(state["best"].items())[1:])},
    "weights that aren't finite": lambda state: {
        **state,
        "model": {name: values * math.nan for name, values in state["model"].items()},
    },
    "no optimizer": lambda state: {**state, "optimizer": {}},
    "no momenta": lambda state: {**state, "optimizer": {**state["optimizer"], "state": {}}},
    "a short momentum": lambda state: {
        **state,
        "optimizer": {**state["optimizer"], "state": {0: {"momentum_buffer": torch.zeros(1)}}},
    },
    "another decay": lambda state: {
        **state,
        "optimizer": {
            **state["optimizer"],
            "param_groups": [
                {**group, "weight_decay": 0.5} for group in state["optimizer"]["param_groups"]
            ],
        },
    },
    "no schedule": lambda state: {**state, "scheduler": {}},
    "a later schedule": lambda state: {
        **state,
        "scheduler": {**state["scheduler"], "last_epoch": 10**6},
    },
    "no history": lambda state: {**state, "history": []},
    "an epoch twice": lambda state: {**state, "history": state["history"] * 2},
    "a generator": lambda state: {**state, "rng": torch.zeros(3)},
    "words for a loss": lambda state: {
        **state,
        "history": [{**line, "train_loss": "low"} for line in state["history"]],
    },
    "a seed in words": lambda state: {**state, "settings": {**state["settings"], "seed": "4"}},
}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A folder with data, and the state of a training after its first epoch."""
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "VALIDATION_IMAGES", 40)
        write_fashion_mnist(folder / "data")
        with pytest.raises(KilledError):
            quick(folder / "w.safetensors", folder / "data", observer=StopAfter(epoch=2, step=1))
    return folder, (folder / "w.state.pt").read_bytes()


@pytest.mark.parametrize("damage", STATE_DAMAGES)
def test_a_state_with_other_contents_is_told_in_one_line(
    stopped: tuple[Path, bytes], monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    folder, whole = stopped
    monkeypatch.setattr(datasets, "VALIDATION_IMAGES", 40)
    path = folder / "w.state.pt"
    path.write_bytes(whole)
    torch.save(STATE_DAMAGES[damage](torch.load(path, weights_only=True)), path)

    with pytest.raises(InputError, match=r"isn't the state of this training run.*; delete it") as e:
        quick(folder / "w.safetensors", folder / "data", resume=True)

    assert "\n" not in str(e.value)


def test_a_missing_output_folder_is_told_before_the_first_epoch(
    folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match="doesn't exist"):
        quick(tmp_path / "nowhere" / "w.safetensors", folder, observer=StopAfter(1, 1))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"batch_size": 1}, "batch_size must be at least 2"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be above 0"),
        ({"label_smoothing": 1.0}, "label_smoothing must be in"),
        ({"weight_decay": -1.0}, "weight_decay must be at least 0"),
        ({"train_limit": 3}, "must hold a batch of 32"),
        ({"threads": 0}, "threads must be 1 to 256"),
    ],
)
def test_impossible_settings_are_refused(
    folder: Path, tmp_path: Path, options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        quick(tmp_path / "w.safetensors", folder, **options)


def test_a_loss_that_is_no_number_ends_the_run(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckFailedError, match="training diverged: the loss at epoch 1"):
        quick(tmp_path / "w.safetensors", folder, learning_rate=1e30)


def test_only_networks_of_the_data_s_shape_are_trained(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match="did you mean"):
        train("mobilenetv3", tmp_path / "w.safetensors", data=folder)
    with pytest.raises(UsageError, match=r"takes inputs of shape \(3, 224, 224\)"):
        train("mobilenetv2", tmp_path / "w.safetensors", data=folder)


def test_a_folder_without_the_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="train-images-idx3-ubyte"):
        train(NAME, tmp_path / "w.safetensors", data=tmp_path)
