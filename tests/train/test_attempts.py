"""Grids that are begun anew with more bits where they lost too much."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from edgekit.errors import InputError
from edgekit.report.finetuning import render_table
from edgekit.train.chain import LOG, REPORT, STATE
from edgekit.train.finetune import finetune
from edgekit.train.recipe import Distillation, Grid, Retrain, settled, with_bits_per_weight
from edgekit.train.run import FinetuneReport
from edgekit.train.tuning import Progress
from tests.train.nets import tiny_data, write_tiny
from tests.train.runs import recipe, run

GRID = Grid(bits_per_weight=0.34, start_bits=0.8, max_drop=60.0, epochs=4, learning_rate=0.3)
"""Of whose bounds, 0.34, 0.51, 0.765 and 0.8, the first loses more and the second less."""


class _KilledError(Exception):
    """Stands for a signal."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network after a training, so that coarse codes lose something."""
    folder = tmp_path_factory.mktemp("trained")
    chosen = recipe(Retrain(epochs=12, learning_rate=0.1), Grid(epochs=0))
    run(write_tiny(folder / "tiny.onnx"), folder / "out", chosen)
    return folder / "out" / "1-retrain.onnx"


def kill_after(epochs: int) -> Callable[[str, Progress], None]:
    seen: list[Progress] = []

    def watch(_stage: str, line: Progress) -> None:
        seen.append(line)
        if len(seen) == epochs:
            raise _KilledError

    return watch


def shown(report: FinetuneReport) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(render_table(report))
    return str(console.file.getvalue())  # type: ignore[attr-defined]  # a StringIO


def log(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    return [{key: line[key] for key in line if key != "seconds"} for line in lines]


def test_bounds_rise_by_half_up_to_the_start() -> None:
    assert [grid.bits_per_weight for grid in GRID.attempts()] == [0.34, 0.51, 0.765, 0.8]
    assert len(Grid(bits_per_weight=3.0, start_bits=3.0, max_drop=1.0).attempts()) == 1
    unbounded = Grid(bits_per_weight=1.0)
    assert unbounded.attempts() == (unbounded,)


def test_the_first_bound_that_loses_little_makes_the_file_that_it_makes_alone(
    trained: Path, tmp_path: Path
) -> None:
    alone = run(trained, tmp_path / "alone", with_bits_per_weight(recipe(GRID), 0.51))

    report = run(trained, tmp_path / "out", recipe(GRID))

    assert alone.stages[1].attempts == 1
    made = report.stages[1]
    assert (made.attempts, made.epochs) == (2, 8)
    assert report.sha256 == alone.sha256
    assert report.test == alone.test
    lines = log(tmp_path / "out")
    assert [(line["attempt"], line["epoch"]) for line in lines] == [
        (attempt, epoch) for attempt in (1, 2) for epoch in (1, 2, 3, 4)
    ]
    whole = report.stages[0].validation
    assert 100 * (whole - lines[3]["metric"]) > 60 >= 100 * (whole - made.validation)
    assert "fewer than 0.51 bits a weight lost more than 60 points: 2 attempts" in shown(report)


def test_a_bound_that_holds_at_once_changes_nothing(trained: Path, tmp_path: Path) -> None:
    plain = run(trained, tmp_path / "plain", recipe(replace(GRID, max_drop=None)))

    report = run(trained, tmp_path / "out", recipe(replace(GRID, max_drop=100.0)))

    assert report.stages[1].attempts == 1
    assert report.sha256 == plain.sha256
    assert "attempts" not in shown(report)


def test_the_last_attempt_is_kept_and_told_whatever_it_lost(trained: Path, tmp_path: Path) -> None:
    lossy = replace(GRID, start_bits=0.5, max_drop=0.0)

    report = run(trained, tmp_path / "out", recipe(lossy))

    assert report.stages[1].attempts == len(lossy.attempts())
    assert "points of validation are lost, and the recipe allows 0;" in shown(report)


def test_agreement_with_a_teacher_isnt_what_may_be_lost(trained: Path, tmp_path: Path) -> None:
    taught = recipe(replace(GRID, max_drop=0.0), distillation=Distillation(share=1.0))
    data = tiny_data(labelled=False)

    report = finetune(str(trained), tmp_path / "out", recipe=taught, data=data)

    assert report.stages[1].attempts == 1


@pytest.mark.parametrize("epochs", [2, 4, 5, 8])
def test_a_run_killed_in_any_attempt_ends_as_if_it_had_not_been(
    trained: Path, tmp_path: Path, epochs: int
) -> None:
    whole = run(trained, tmp_path / "whole", recipe(GRID))
    with pytest.raises(_KilledError):
        run(trained, tmp_path / "out", recipe(GRID), watch=kill_after(epochs))

    resumed = run(trained, tmp_path / "out", recipe(GRID), resume=True)

    assert resumed.sha256 == whole.sha256
    assert log(tmp_path / "out") == log(tmp_path / "whole")
    before, after = ({**report.to_dict(), "output": ""} for report in (whole, resumed))
    for plain in (before, after):
        for stage in plain["stages"]:
            del stage["seconds"]
    assert before == after


@pytest.mark.parametrize("attempt", [0, 2, 9])
def test_attempts_that_cant_have_been_are_refused(
    trained: Path, tmp_path: Path, attempt: int
) -> None:
    chosen = recipe(GRID)
    with pytest.raises(_KilledError):
        run(trained, tmp_path / "under-way", chosen, watch=kill_after(2))
    path = tmp_path / "under-way" / STATE
    state = torch.load(path, weights_only=True)
    state["history"][-1]["attempt"] = attempt
    torch.save(state, path)
    with pytest.raises(InputError, match=r"state\.pt isn't the state of this stage"):
        run(trained, tmp_path / "under-way", chosen, resume=True)

    run(trained, tmp_path / "done", chosen)
    path = tmp_path / "done" / REPORT
    report = json.loads(path.read_text())
    report["stages"][1]["attempts"] = 7 * attempt
    path.write_text(json.dumps(report))
    with pytest.raises(InputError, match="stage 1 can't have had"):
        run(trained, tmp_path / "done", chosen, resume=True)


def test_a_settled_recipe_names_its_bound_alone() -> None:
    made = settled(recipe(GRID), 3)

    assert made.stages == (replace(GRID, bits_per_weight=0.765, max_drop=None),)
    assert "max_drop" not in made.to_dict()["stages"][0]
    assert recipe(GRID).to_dict()["stages"][0]["max_drop"] == 60.0
    assert settled(recipe(Retrain(), Grid()), 1) == recipe(Retrain(), Grid())
