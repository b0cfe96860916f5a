"""Processes that train together: the losses of one, each sample once, an error where one ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import UsageError
from edgekit.train.workers import ALONE, Workers, joined

SCRIPT = Path(__file__).parent / "together.py"
ROOT = Path(__file__).parents[2]


@given(total=st.integers(0, 200), count=st.integers(1, 9))
def test_the_parts_are_even_and_cover_everything(total: int, count: int) -> None:
    parts = [Workers(number, count).part(total) for number in range(count)]

    places = [place for part in parts for place in range(total)[part]]
    assert places == list(range(total))
    sizes = [part.stop - part.start for part in parts]
    assert max(sizes) - min(sizes) <= 1


def test_one_process_is_alone_and_keeps_its_gradients() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    torch.autograd.backward(weight.sum())

    with joined() as workers:
        workers.sum_gradients([weight])
        workers.share([weight])
        workers.meet()

    assert workers == ALONE
    assert workers.is_first
    assert workers.totals([1.5, 2.0]) == [1.5, 2.0]
    assert torch.equal(weight.grad, torch.ones(3))  # type: ignore[arg-type]  # it has one


def test_an_environment_that_is_not_torchruns_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)

    with (
        pytest.raises(UsageError, match=r"can't join the other workers: .*; start them with"),
        joined(),
    ):
        pass


def test_two_processes_give_the_losses_of_one(
    tiny_onnx_path: Path, tiny_data: Path, tmp_path: Path
) -> None:
    def run(*launcher: str) -> dict[str, Any]:
        log = tmp_path / f"{len(launcher)}.json"
        command = [sys.executable, *launcher, *map(str, (SCRIPT, tiny_onnx_path, tiny_data, log))]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(log.read_text())
        return found

    one = run()
    two = run("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")

    assert (one["workers"], two["workers"]) == (1, 2)
    assert len(one["losses"]) == 6
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-4)
    assert one["losses"][-2] != pytest.approx(one["losses"][0], rel=1e-3)
