"""A run that trains its network first."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgekit.data import RawImages, Split, read_fashion_mnist
from edgekit.errors import RecipeError, UsageError
from edgekit.train.chain import REPORT
from edgekit.train.finetune import finetune
from edgekit.train.recipe import Recipe, Share, Train
from edgekit.train.run import FinetuneReport
from edgekit.train.tuning import Progress
from tests.train.nets import samples
from tests.train.runs import recipe

CHOSEN = recipe(Train(epochs=2), Share(epochs=0))
NETWORK = """
from torch import nn


def small():
    return nn.Sequential(
        nn.Conv2d(1, 4, 5, stride=4), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(), nn.Linear(144, 10)
    )
"""


@pytest.fixture
def network(tmp_path: Path) -> str:
    path = tmp_path / "small_network.py"
    path.write_text(NETWORK)
    return f"{path}:small"


def tuned(
    network: str, out: Path, data: Path, chosen: Recipe = CHOSEN, **more: object
) -> FinetuneReport:
    return finetune(network, out, recipe=chosen, data=data, input_shape=(1, 1, 28, 28), **more)  # type: ignore[arg-type]  # flags


def test_a_training_tells_its_epochs_and_opens_its_data_once(
    network: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def counted(split: Split, *, folder: Path | None = None) -> RawImages:
        opened.append(split)
        return read_fashion_mnist(split, folder=folder)

    monkeypatch.setattr("edgekit.train.datasets.read_fashion_mnist", counted)
    told: list[tuple[str, Progress]] = []
    tuned(network, tmp_path / "out", folder, watch=lambda stage, line: told.append((stage, line)))

    assert [(stage, line.epoch) for stage, line in told] == [("0 train", 1), ("0 train", 2)]
    assert opened == ["train", "test"]
    log = (tmp_path / "out" / "0-train.log.jsonl").read_text().splitlines()
    assert [json.loads(line)["train_loss"] for line in log] == [line.loss for _, line in told]
    assert told[1][1].metric == json.loads(log[1])["validation_top1"]


def test_a_training_is_of_fashion_mnist(network: str, tmp_path: Path) -> None:
    rows = samples(60, 1)
    np.savez(tmp_path / "rows.npz", inputs=rows.inputs.numpy(), labels=np.asarray(rows.labels))

    with pytest.raises(RecipeError, match="learns Fashion-MNIST, and the data are rows; begin"):
        tuned(network, tmp_path / "out", tmp_path / "rows.npz")

    assert not (tmp_path / "out").exists()


def test_a_training_that_cannot_begin_leaves_nothing(
    network: str, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="train_limit must hold a batch"):
        tuned(network, tmp_path / "out", folder, train_limit=30)

    assert not (tmp_path / "out").exists()


class _KilledError(Exception):
    """Stands for a signal."""


def test_a_killed_training_goes_on_and_belongs_to_its_run(
    network: str, folder: Path, tmp_path: Path
) -> None:
    whole = tuned(network, tmp_path / "whole", folder)

    def kill(_stage: str, _line: Progress) -> None:
        raise _KilledError

    with pytest.raises(_KilledError):
        tuned(network, tmp_path / "cut", folder, watch=kill)
    assert json.loads((tmp_path / "cut" / REPORT).read_text())["stages"] == []
    with pytest.raises(UsageError, match=r"holds a run with other settings \(recipe\)"):
        tuned(network, tmp_path / "cut", folder, recipe(Train(epochs=3), Share()), resume=True)
    with pytest.raises(UsageError, match="holds a run already"):
        tuned(network, tmp_path / "cut", folder)
    resumed = tuned(network, tmp_path / "cut", folder, resume=True)

    assert resumed.sha256 == whole.sha256
    files = [sorted(path.name for path in (tmp_path / run).iterdir()) for run in ("cut", "whole")]
    assert files[0] == files[1]


def test_a_trained_network_of_other_settings_is_not_taken(
    network: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the process was killed between the training and the first file of its chain."""

    def killed(*_: object, **__: object) -> None:
        raise _KilledError

    with monkeypatch.context() as patch:
        patch.setattr("edgekit.train.start.export", killed)
        with pytest.raises(_KilledError):
            tuned(network, tmp_path / "out", folder)
    assert (tmp_path / "out" / "0-train.safetensors").exists()

    with pytest.raises(UsageError, match=r"holds a run with other settings \(seed\)"):
        tuned(network, tmp_path / "out", folder, seed=1, resume=True)
    assert tuned(network, tmp_path / "out", folder, resume=True).seed == 0


def test_the_state_of_a_finished_training_goes(
    network: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the process was killed between writing the weights and removing the state."""
    unlink, state = Path.unlink, tmp_path / "out" / "0-train.state.pt"

    def killed(self: Path, *, missing_ok: bool = False) -> None:
        if self == state:
            raise _KilledError
        unlink(self, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(_KilledError):
            tuned(network, tmp_path / "out", folder)
    assert state.exists()

    tuned(network, tmp_path / "out", folder, resume=True)

    assert not state.exists()
