"""Grids that are begun anew with more bits where they lost too much."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from edgekit.errors import InputError
from edgekit.report.finetuning import render_card, render_table
from edgekit.train.chain import CARD, PACKED, REPORT, STATE
from edgekit.train.finetune import finetune
from edgekit.train.recipe import Distillation, Grid, Retrain, settled, with_bits_per_weight
from edgekit.train.run import FinetuneReport, lost
from edgekit.train.tuning import Progress, check_attempts
from tests.support import Cli
from tests.train.nets import samples, tiny_data, write_tiny
from tests.train.runs import KilledError, kill_after, read_log, recipe, run

GRID = Grid(bits_per_weight=0.34, start_bits=0.8, max_drop=60.0, epochs=4, learning_rate=0.3)
"""Of whose bounds, 0.34, 0.51, 0.765 and 0.8, the first loses more and the second less."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network after a training, so that coarse codes lose something."""
    folder = tmp_path_factory.mktemp("trained")
    chosen = recipe(Retrain(epochs=12, learning_rate=0.1), Grid(epochs=0))
    run(write_tiny(folder / "tiny.onnx"), folder / "out", chosen)
    return folder / "out" / "1-retrain.onnx"


def shown(report: FinetuneReport) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(render_table(report))
    return str(console.file.getvalue())  # type: ignore[attr-defined]  # a StringIO


def test_bounds_rise_by_half_up_to_the_start() -> None:
    assert [grid.bits_per_weight for grid in GRID.attempts()] == [0.34, 0.51, 0.765, 0.8]
    assert len(Grid(bits_per_weight=3.0, start_bits=3.0, max_drop=1.0).attempts()) == 1
    unbounded = Grid(bits_per_weight=1.0)
    assert unbounded.attempts() == (unbounded,)
    tiny = Grid(bits_per_weight=1e-5, max_drop=1.0).attempts()
    assert len(tiny) == 8
    assert [tiny[1].bits_per_weight, tiny[-1].bits_per_weight] == [1.5e-5, 3.0]
    assert Grid(bits_per_weight=0.78, max_drop=1.0).attempts()[1].bits_per_weight == 1.17


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
    lines = read_log(tmp_path / "out")
    assert [(line["attempt"], line["epoch"]) for line in lines] == [
        (attempt, epoch) for attempt in (1, 2) for epoch in (1, 2, 3, 4)
    ]
    whole = report.stages[0].validation
    assert 100 * (whole - lines[3]["metric"]) > 60 >= 100 * (whole - made.validation)
    assert made.bound == 0.51
    assert report.failures == ()
    told = "more than 60 points of validation were lost with 0.34 bits a weight; the file is of the"
    assert told in shown(report)
    assert told[1:] in render_card(report, "edgekit finetune")


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
    assert [stage.bound for stage in report.stages] == [None, 0.5]
    (failure,) = report.failures
    assert "points of validation are lost, and the recipe allows 0;" in failure
    assert failure in render_card(report, "edgekit finetune")
    kept = json.loads((tmp_path / "out" / REPORT).read_text())
    assert kept["failures"] == [failure]


def test_agreement_with_a_teacher_isnt_what_may_be_lost(trained: Path, tmp_path: Path) -> None:
    taught = recipe(replace(GRID, max_drop=0.0), distillation=Distillation(share=1.0))
    data = tiny_data(labelled=False)

    report = finetune(str(trained), tmp_path / "out", recipe=taught, data=data)

    assert report.stages[1].attempts == 1
    assert report.failures == ()
    assert "max_drop wasn't looked at" in shown(report)


def test_just_what_may_be_lost_is_kept() -> None:
    # 25 of 5,000 samples, which floating-point numbers put a little above 0.5 points.
    before, after = 4640 / 5000, 4615 / 5000

    assert 100 * (before - after) > 0.5 >= lost(before, after)


def test_a_missed_bound_ends_the_command_with_3(trained: Path, cli: Cli, tmp_path: Path) -> None:
    data = samples(256, 1)
    assert data.labels is not None
    np.savez(tmp_path / "d.npz", inputs=data.inputs.numpy(), labels=data.labels.numpy())
    stage = "kind = 'grid'\nbits_per_weight = 0.1\nstart_bits = 0.1\nmax_drop = 0\nepochs = 4\n"
    (tmp_path / "r.toml").write_text(f"[[stage]]\n{stage}learning_rate = 0.3\n")

    done = cli(
        *("finetune", trained, "--data", tmp_path / "d.npz", "--recipe", tmp_path / "r.toml"),
        *("-o", tmp_path / "out"),
    )

    assert done.exit_code == 3
    assert "points of validation are lost" in done.stderr
    assert (tmp_path / "out" / PACKED).is_file()
    assert "points of validation are lost" in (tmp_path / "out" / CARD).read_text()


@pytest.mark.parametrize("epochs", [2, 4, 5, 8])
def test_a_run_killed_in_any_attempt_ends_as_if_it_had_not_been(
    trained: Path, tmp_path: Path, epochs: int
) -> None:
    whole = run(trained, tmp_path / "whole", recipe(GRID))
    with pytest.raises(KilledError):
        run(trained, tmp_path / "out", recipe(GRID), watch=kill_after(epochs))

    resumed = run(trained, tmp_path / "out", recipe(GRID), resume=True)

    assert resumed.sha256 == whole.sha256
    assert read_log(tmp_path / "out") == read_log(tmp_path / "whole")
    before, after = ({**report.to_dict(), "output": ""} for report in (whole, resumed))
    for plain in (before, after):
        for stage in plain["stages"]:
            del stage["seconds"]
    assert before == after


def test_the_attempt_is_named_to_who_watches(trained: Path, tmp_path: Path) -> None:
    seen: list[str] = []

    run(trained, tmp_path / "out", recipe(GRID), watch=lambda name, _line: seen.append(name))

    assert seen == ["1 grid"] * 4 + ["1 grid, attempt 2"] * 4


def test_histories_that_cant_be_are_told() -> None:
    def line(attempt: int, epoch: int) -> Progress:
        return Progress(epoch, 1.0, 0.5, 0.1, None, 1.0, attempt)

    check_attempts([line(1, 1), line(1, 2), line(2, 1)], 2)
    for wrong in (
        [line(1, 1), line(2, 1)],
        [line(1, 1), line(1, 2), line(1, 3)],
        [line(1, 2)],
        [line(2, 1)],
        [line(1, 1), line(1, 10**15)],
        [line(10**15, 1)],
        [line(1, 0)],
    ):
        with pytest.raises(ValueError, match="every epoch once"):
            check_attempts(wrong, 2)


def test_an_attempt_beyond_the_last_is_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        run(trained, tmp_path / "out", recipe(GRID), watch=kill_after(4))
    path = tmp_path / "out" / STATE
    state = torch.load(path, weights_only=True)
    lines = state["history"]
    state["history"] = [{**line, "attempt": attempt} for attempt in range(1, 6) for line in lines]
    torch.save(state, path)

    with pytest.raises(InputError, match="it has no attempt 5"):
        run(trained, tmp_path / "out", recipe(GRID), resume=True)


@pytest.mark.parametrize("attempt", [0, 2, 9])
def test_attempts_that_cant_have_been_are_refused(
    trained: Path, tmp_path: Path, attempt: int
) -> None:
    chosen = recipe(GRID)
    with pytest.raises(KilledError):
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
    report["stages"][1] |= {"attempts": 2, "bound": None}
    path.write_text(json.dumps(report))
    with pytest.raises(InputError, match="stage 1 can't have had"):
        run(trained, tmp_path / "done", chosen, resume=True)


def test_a_settled_recipe_names_its_bound_alone() -> None:
    made = settled(recipe(GRID), 3)

    assert made.stages == (replace(GRID, bits_per_weight=0.765, max_drop=None),)
    assert "max_drop" not in made.to_dict()["stages"][0]
    assert recipe(GRID).to_dict()["stages"][0]["max_drop"] == 60.0
    assert settled(recipe(Retrain(), Grid()), 1) == recipe(Retrain(), Grid())
