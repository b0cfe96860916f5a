"""A run's folder: what it keeps, what goes on in it, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgekit.errors import CheckFailedError, DataError, InputError, OutputError, UsageError
from edgekit.train.chain import LOG, PACKED, REPORT, STATE
from edgekit.train.datasets import Samples
from edgekit.train.finetune import finetune
from edgekit.train.recipe import (
    Distillation,
    Grid,
    Retrain,
    Share,
    Stage,
    Train,
)
from edgekit.train.task import Classification
from edgekit.train.tuning import Progress
from tests.train.nets import samples, tiny_data
from tests.train.runs import CHAIN, IMPORTANT, STEERED, recipe, run


class _KilledError(Exception):
    """Stands for a signal between two epochs."""


@pytest.mark.parametrize(
    ("stages", "epochs_before"),
    [(CHAIN, 1), (CHAIN, 7), (CHAIN, 10), (STEERED, 6), (STEERED, 7), (IMPORTANT, 1)],
)
def test_a_resumed_run_ends_like_an_uninterrupted_one(
    model: Path, tmp_path: Path, stages: tuple[Stage, ...], epochs_before: int
) -> None:
    chosen = recipe(*stages, distillation=None)
    whole = run(model, tmp_path / "whole", chosen)
    seen = 0

    def kill(_stage: str, _line: Progress) -> None:
        nonlocal seen
        seen += 1
        if seen == epochs_before:
            raise _KilledError

    with pytest.raises(_KilledError):
        run(model, tmp_path / "cut", chosen, watch=kill)
    assert (tmp_path / "cut" / STATE).exists()
    resumed = run(model, tmp_path / "cut", chosen, resume=True)

    assert resumed.sha256 == whole.sha256
    assert resumed.test == whole.test
    assert not (tmp_path / "cut" / STATE).exists()
    logs = [
        [
            {key: value for key, value in json.loads(line).items() if key != "seconds"}
            for line in (tmp_path / folder / LOG).read_text().splitlines()
        ]
        for folder in ("whole", "cut")
    ]
    assert logs[0] == logs[1]
    assert len(logs[0]) == sum(stage.epochs for stage in stages)


def test_a_folder_keeps_its_run(model: Path, tmp_path: Path) -> None:
    chosen = recipe(Grid(epochs=1))
    run(model, tmp_path / "out", chosen)
    before = (tmp_path / "out" / PACKED).read_bytes()

    with pytest.raises(UsageError, match="holds a run already; continue it with --resume"):
        run(model, tmp_path / "out", chosen)
    with pytest.raises(UsageError, match=r"other settings \(recipe, seed\)"):
        run(model, tmp_path / "out", recipe(Grid(epochs=2)), resume=True, seed=3)
    # As a run is that was begun before there was such a setting.
    report = json.loads((tmp_path / "out" / REPORT).read_text())
    assert report["settings"].pop("teacher") is None
    (tmp_path / "out" / REPORT).write_text(json.dumps(report))
    again = run(model, tmp_path / "out", chosen, resume=True)

    assert (tmp_path / "out" / PACKED).read_bytes() == before
    assert again.packed_bytes == len(before)


@pytest.mark.parametrize(
    "damage",
    [b"", b"{}", b'{"settings": 3, "stages": [{}]}', b'{"settings": [], "stages": []}', b"\xff"],
)
def test_a_broken_report_is_refused(model: Path, tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / REPORT).write_bytes(damage)

    with pytest.raises(InputError, match="isn't the report of a run"):
        run(model, tmp_path / "out", recipe(Grid(epochs=1)), resume=True)


def test_a_broken_state_is_refused(model: Path, tmp_path: Path) -> None:
    chosen = recipe(Grid(epochs=2))

    def kill(_stage: str, _line: Progress) -> None:
        raise _KilledError

    with pytest.raises(_KilledError):
        run(model, tmp_path / "out", chosen, watch=kill)
    state = tmp_path / "out" / STATE
    whole = torch.load(state, weights_only=True)

    damaged = [{**whole, "module": {}}, {**whole, "generator": torch.zeros(3)}, [1], torch.ones(2)]
    for content in [b"not a state", *damaged]:
        if isinstance(content, bytes):
            state.write_bytes(content)
        else:
            torch.save(content, state)
        with pytest.raises(InputError, match="delete it to begin the stage anew"):
            run(model, tmp_path / "out", chosen, resume=True)


def test_a_run_whose_inputs_have_changed_is_not_resumed(model: Path, tmp_path: Path) -> None:
    rows = samples(64, 1)
    chosen, data = recipe(Grid(epochs=1)), tmp_path / "rows.npz"
    np.savez(data, inputs=rows.inputs.numpy(), labels=np.asarray(rows.labels))
    finetune(str(model), tmp_path / "out", recipe=chosen, data=data)
    before = data.read_bytes()
    np.savez(data, inputs=rows.inputs.numpy() + 1, labels=np.asarray(rows.labels))

    with pytest.raises(UsageError, match=r"other settings \(data\)"):
        finetune(str(model), tmp_path / "out", recipe=chosen, data=data, resume=True)
    data.write_bytes(before)
    for missing in (PACKED, "0-float.onnx"):
        (tmp_path / "out" / missing).unlink()
        with pytest.raises(InputError, match="another folder"):
            finetune(str(model), tmp_path / "out", recipe=chosen, data=data, resume=True)


def test_bad_data_leave_no_run_behind(model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't use"):
        finetune(str(model), tmp_path / "out", recipe=recipe(Grid()), data="nowhere")

    assert not (tmp_path / "out").exists()


def test_labels_that_are_no_class_leave_no_run_behind(model: Path, tmp_path: Path) -> None:
    data = tiny_data()
    shifted = dataclasses.replace(
        data, training=Samples(samples(256, 1).inputs, torch.full((256,), 9))
    )

    with pytest.raises(DataError, match="sample 0 has the label 9, but the network's 3 classes"):
        finetune(str(model), tmp_path / "out", recipe=recipe(Grid()), data=shifted)

    assert not (tmp_path / "out").exists()


def test_a_loss_that_is_no_number_at_first_is_told_before_a_run_begins(
    model: Path, tmp_path: Path
) -> None:
    class Endless(Classification):
        def loss(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return super().loss(outputs, labels) * torch.inf

    with pytest.raises(CheckFailedError, match="before any training the loss is inf; look at"):
        run(model, tmp_path / "out", recipe(Grid(epochs=1)), task=Endless())

    assert not (tmp_path / "out").exists()


def test_another_run_s_training_is_not_taken_up_unasked(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "0-train.safetensors").write_bytes(b"another run's")

    with pytest.raises(UsageError, match="holds a training already; continue it with --resume"):
        finetune("squeezenet_fashion", out, recipe=recipe(Train(epochs=1), Share(epochs=0)))


def test_a_packed_file_that_isnt_of_its_run_is_refused(model: Path, tmp_path: Path) -> None:
    chosen = recipe(Grid(bits=4, epochs=1))
    data = dataclasses.replace(tiny_data(), test=None)
    for seed in (0, 1):
        finetune(str(model), tmp_path / str(seed), recipe=chosen, data=data, seed=seed)
    packed = tmp_path / "0" / PACKED
    whole = packed.read_bytes()

    packed.write_bytes((tmp_path / "1" / PACKED).read_bytes())
    with pytest.raises(InputError, match=r"isn't made of .*1-grid\.onnx"):
        finetune(str(model), tmp_path / "0", recipe=chosen, data=data, resume=True)
    packed.write_bytes(whole[:100])
    with pytest.raises(InputError, match="begin anew in another folder"):
        finetune(str(model), tmp_path / "0", recipe=chosen, data=data, resume=True)


def test_changed_code_of_a_task_is_another_run(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    text = (
        "from edgekit.train.task import Classification\nclass Own(Classification): metric_name = "
    )
    path.write_text(text + "'a'\n")
    chosen = recipe(Grid(epochs=1))
    run(model, tmp_path / "out", chosen, task=f"{path}:Own")
    path.write_text(text + "'b'\n")

    with pytest.raises(UsageError, match=r"holds a run with other settings \(task\)"):
        run(model, tmp_path / "out", chosen, task=f"{path}:Own", resume=True)


@pytest.mark.parametrize("part", ["training", "validation", "test"])
@pytest.mark.parametrize("label", [-100, 3])
def test_a_label_of_no_class_is_told_with_its_sample_before_training(
    model: Path, tmp_path: Path, part: str, label: int
) -> None:
    data = tiny_data()
    split = getattr(data, part)
    labels = split.labels.clone()
    labels[71] = label
    changed: dict[str, Any] = {part: Samples(split.inputs, labels)}
    wrong = dataclasses.replace(data, **changed)

    with pytest.raises(DataError, match=f"the {part} split of rows: sample 71 has the label"):
        finetune(str(model), tmp_path / "out", recipe=recipe(Grid()), data=wrong)

    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_one_line(model: Path, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(_stage: str, _line: Progress) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))

    try:
        with pytest.raises(OutputError, match=r"can't write .*state\.pt: File too large"):
            run(model, tmp_path / "out", recipe(Grid(epochs=3)), watch=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert not [*(tmp_path / "out").glob(".*")]


def test_a_stage_that_has_changed_is_refused(model: Path, tmp_path: Path) -> None:
    chosen = recipe(Retrain(epochs=1), Grid(epochs=1))
    run(model, tmp_path / "out", chosen)
    path = tmp_path / "out" / "0-float.onnx"
    whole = path.read_bytes()

    path.write_bytes(whole[:400] + bytes(200) + whole[600:])
    with pytest.raises(InputError, match=r"0-float\.onnx has changed since its run wrote it"):
        run(model, tmp_path / "out", chosen, resume=True)
    path.write_bytes(whole)
    # As a run is that was begun before digests were kept.
    report = json.loads((tmp_path / "out" / REPORT).read_text())
    for stage in report["stages"]:
        assert len(stage.pop("file_sha256")) == 64
    (tmp_path / "out" / REPORT).write_text(json.dumps(report))
    run(model, tmp_path / "out", chosen, resume=True)


def test_what_is_no_folder_of_a_run_is_refused(model: Path, tmp_path: Path) -> None:
    chosen = recipe(Grid(epochs=0))

    with pytest.raises(OutputError, match=r"/dev/full is no folder; name one"):
        run(model, Path("/dev/full"), chosen)
    with pytest.raises(OutputError, match="File name too long"):
        run(model, tmp_path / ("n" * 300), chosen)
    with pytest.raises(UsageError, match="the output folder has no name"):
        finetune(str(model), "", recipe=chosen, data=tiny_data())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / PACKED).write_bytes(b"somebody's")
    with pytest.raises(UsageError, match=r"holds a model\.ekp of no run; name another folder"):
        run(model, tmp_path / "out", chosen)
    assert (tmp_path / "out" / PACKED).read_bytes() == b"somebody's"


@pytest.mark.parametrize("wrong", ["data", "teacher"])
def test_what_follows_a_training_is_looked_at_before_it(tmp_path: Path, wrong: str) -> None:
    chosen = recipe(Train(epochs=1), Share(epochs=0), distillation=Distillation())
    missing = str(tmp_path / "none.npy" if wrong == "data" else tmp_path / "none.onnx")

    with pytest.raises((DataError, InputError), match=r"none\.(npy|onnx)"):
        finetune("squeezenet_fashion", tmp_path / "out", recipe=chosen, **{wrong: missing})  # type: ignore[arg-type]  # a path for either
    assert not (tmp_path / "out").exists()
