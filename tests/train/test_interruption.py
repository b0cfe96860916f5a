"""A run that was stopped, wherever it was, and what is found in its folder afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from edgekit.errors import InputError
from edgekit.train.chain import LOG, REPORT, STATE
from edgekit.train.recipe import Grid, Prune, Recipe, Retrain, Share
from edgekit.train.run import FinetuneReport
from edgekit.train.task import Classification
from tests.train.nets import write_tiny
from tests.train.runs import KilledError, kill_after, read_log, recipe, run

SHORT = recipe(Retrain(epochs=2), Prune(epochs=0), Share(bits=3, epochs=1))
ONCE = recipe(Retrain(epochs=1), Share(bits=3, epochs=0))
"""Whose first state is its stage's last."""
State = dict[str, Any]


class Noisy(Classification):
    """A loss that draws from torch's own generator, and so does the metric."""

    metric_name = "noisy"

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return super().loss(torch.nn.functional.dropout(outputs, 0.3), labels)

    def metric(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return super().metric(outputs + 0.1 * torch.randn_like(outputs), labels)


@pytest.mark.parametrize(("chosen", "epochs"), [(SHORT, 3), (ONCE, 1)], ids=["short", "once"])
def test_a_run_killed_at_any_file_ends_as_if_it_had_not_been(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    chosen: Recipe,
    epochs: int,
) -> None:
    """Before each file takes its place, and before each state is removed."""
    changes: list[str] = []
    replace, unlink = Path.replace, Path.unlink
    last: int | None = None

    def change(name: str) -> None:
        changes.append(name)
        if len(changes) - 1 == last:
            raise KilledError

    def replaced(self: Path, target: Path) -> Path:
        change(target.name)
        return replace(self, target)

    def unlinked(self: Path, *, missing_ok: bool = False) -> None:
        if self.name == STATE:
            change(f"no {STATE}")
        unlink(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "replace", replaced)
    monkeypatch.setattr(Path, "unlink", unlinked)
    whole = run(model, tmp_path / "whole", chosen, task=Noisy())
    steps = tuple(changes)
    assert steps.count(STATE) == steps.count(LOG) == epochs

    for number in range(len(steps)):
        changes.clear()
        last = number
        folder = tmp_path / str(number)
        with pytest.raises(KilledError):
            run(model, folder, chosen, task=Noisy())
        last = None
        resumed = run(model, folder, chosen, task=Noisy(), resume=True)

        assert resumed.sha256 == whole.sha256, steps[: number + 1]
        assert resumed.test == whole.test, steps[: number + 1]
        assert read_log(folder) == read_log(tmp_path / "whole"), steps[: number + 1]
        files = [sorted(path.name for path in f.iterdir()) for f in (folder, tmp_path / "whole")]
        assert files[0] == files[1], steps[: number + 1]


def test_what_a_kill_left_half_written_goes(model: Path, tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        run(model, tmp_path / "out", SHORT, watch=kill_after(1))
    for name in (".state.pt.1.part", ".model.ekp.2.part", ".1-retrain.onnx.3.part", ".mine.part"):
        (tmp_path / "out" / name).write_bytes(b"half")

    run(model, tmp_path / "out", SHORT, resume=True)

    left = [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]
    assert left == [".mine.part"]


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_a_loss_with_chance_of_its_own_resumes_as_it_would_have_gone_on(
    model: Path, tmp_path: Path, epochs: int
) -> None:
    chosen = recipe(Retrain(epochs=2), Share(bits=3, epochs=2))

    def tuned(name: str, **more: Any) -> FinetuneReport:
        return run(model, tmp_path / name, chosen, task=Noisy(), **more)

    whole = tuned("whole")
    with pytest.raises(KilledError):
        tuned("cut", watch=kill_after(epochs))
    # What this process draws in between is of no account.
    torch.rand(7)
    resumed = tuned("cut", resume=True)

    assert read_log(tmp_path / "cut") == read_log(tmp_path / "whole")
    assert resumed.sha256 == whole.sha256
    assert resumed.test == whole.test


def _moments(state: State, **new: Tensor) -> State:
    first = {**state["optimizer"]["state"][0], **new}
    moments = {**state["optimizer"]["state"], 0: first}
    return {**state, "optimizer": {**state["optimizer"], "state": moments}}


def _of_module(state: State, value: Callable[[Tensor], object]) -> State:
    name = next(iter(state["module"]))
    return {**state, "module": {**state["module"], name: value(state["module"][name])}}


def _of_method(state: State, key: str, value: Callable[[Tensor], object]) -> State:
    name = next(name for name in state["method"] if key in name)
    return {**state, "method": {**state["method"], name: value(state["method"][name])}}


DAMAGES: dict[str, Callable[[State], object]] = {
    "the shape of moments": lambda state: _moments(state, exp_avg=torch.zeros(2)),
    "moments below zero": lambda state: _moments(
        state, exp_avg_sq=-1 - state["optimizer"]["state"][0]["exp_avg_sq"]
    ),
    "moments of other steps": lambda state: _moments(state, step=torch.tensor(1e6)),
    "moments of no parameter": lambda state: (
        {**state, "optimizer": {"state": {999: state["optimizer"]["state"][0]}}}
    ),
    "an empty optimizer": lambda state: {**state, "optimizer": {}},
    "no moments": lambda state: {**state, "optimizer": {**state["optimizer"], "state": {}}},
    "many steps": lambda state: {**state, "done": 10**9},
    "steps below zero": lambda state: {**state, "done": -1},
    "steps that aren't whole": lambda state: {**state, "done": float(state["done"])},
    "a stage to come": lambda state: {**state, "number": 9},
    "no history": lambda state: {**state, "history": []},
    "an epoch twice": lambda state: {**state, "history": state["history"] * 2},
    "a loss in words": lambda state: (
        {**state, "history": [{**state["history"][0], "loss": "low"}]}
    ),
    "weights that aren't finite": lambda state: _of_module(state, lambda values: values / 0),
    "weights of another type": lambda state: _of_module(state, lambda values: values.double()),
    "weights in a list": lambda state: _of_module(state, lambda values: values.tolist()),
    "codes beyond the values": lambda state: _of_method(state, "codes", lambda codes: codes + 99),
    "a mask of halves": lambda state: _of_method(state, "mask", lambda mask: mask / 2),
    "torch's generator": lambda state: {**state, "torch_generator": torch.zeros(9)},
    "anything more": lambda state: {**state, "more": 1},
}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Recipe, bytes]:
    """A model and, in `out`, its run after the first of two epochs of a stage that shares."""
    folder = tmp_path_factory.mktemp("stopped")
    chosen = recipe(Prune(epochs=0), Share(bits=3, epochs=2))
    with pytest.raises(KilledError):
        run(write_tiny(folder / "m.onnx"), folder / "out", chosen, watch=kill_after(1))
    return folder, chosen, (folder / "out" / STATE).read_bytes()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_refused(stopped: tuple[Path, Recipe, bytes], damage: str) -> None:
    folder, chosen, whole = stopped
    (folder / "out" / STATE).write_bytes(whole)
    state = torch.load(folder / "out" / STATE, weights_only=True)
    torch.save(DAMAGES[damage](state), folder / "out" / STATE)

    with pytest.raises(InputError, match=r"state\.pt isn't the state of this .*delete it to begin"):
        run(folder / "m.onnx", folder / "out", chosen, resume=True)


def test_each_part_of_a_state_is_missed(stopped: tuple[Path, Recipe, bytes]) -> None:
    folder, chosen, whole = stopped
    (folder / "out" / STATE).write_bytes(whole)
    state = torch.load(folder / "out" / STATE, weights_only=True)

    for key in state:
        torch.save({name: state[name] for name in state if name != key}, folder / "out" / STATE)
        with pytest.raises(InputError, match="delete it to begin the stage anew"):
            run(folder / "m.onnx", folder / "out", chosen, resume=True)


@pytest.mark.parametrize(
    "change",
    [
        {"validation": None},
        {"validation": "high"},
        {"validation": float("nan")},
        {"file_bytes": -1},
        {"file_bytes": True},
        {"epochs": [1]},
        {"number": 1.0},
        {"number": 7},
        {"kind": "share"},
        {"file": "../../elsewhere.onnx"},
        {"file_bytes": 12},
        {"more": 1},
    ],
)
def test_a_report_with_a_wrong_field_is_refused(
    model: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    chosen = recipe(Grid(epochs=0))
    run(model, tmp_path / "out", chosen)
    path = tmp_path / "out" / REPORT
    report = json.loads(path.read_text())
    report["stages"][1] |= change
    path.write_text(json.dumps(report))

    with pytest.raises(InputError, match="another folder"):
        run(model, tmp_path / "out", chosen, resume=True)


def test_a_report_that_lacks_something_or_is_no_json_is_refused(
    model: Path, tmp_path: Path
) -> None:
    chosen = recipe(Grid(epochs=0))
    run(model, tmp_path / "out", chosen)
    path = tmp_path / "out" / REPORT
    whole = path.read_text()
    texts = [whole[:90], "[" * 100_000, '{"settings": {}}', '{"stages": []}']
    # A run of an earlier edgekit has no digest and names no attempts.
    for key in json.loads(whole)["stages"][0].keys() - {"file_sha256", "attempts", "bound"}:
        report = json.loads(whole)
        del report["stages"][0][key]
        texts.append(json.dumps(report))

    for text in texts:
        path.write_text(text)
        with pytest.raises(InputError, match="another folder"):
            run(model, tmp_path / "out", chosen, resume=True)
