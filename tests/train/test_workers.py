"""Processes that train together: the losses of one, each sample once, an error where one ends."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from edgekit.errors import UsageError
from edgekit.train.datasets import Samples, TrainingData
from edgekit.train.graph_module import GraphModule
from edgekit.train.methods.gridding import Gridding
from edgekit.train.recipe import Grid
from edgekit.train.task import Classification
from edgekit.train.tuning import Rhythm, Tuning
from edgekit.train.workers import ALONE, Workers, joined, training_part
from tests.train.nets import samples, tiny_data, tiny_model

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


@given(total=st.integers(1, 40), count=st.integers(1, 5), seed=st.integers(0, 99))
def test_the_losses_of_unequal_parts_add_up_to_the_batch_s(
    total: int, count: int, seed: int
) -> None:
    rng = torch.Generator().manual_seed(seed)
    inputs = torch.randn(total, 3, generator=rng)
    rows = Samples(inputs, None)
    data = TrainingData("rows", rows, rows, None, None, "made up")

    parts = [
        training_part(data, torch.arange(total), rng, Workers(number, count))
        for number in range(count)
    ]

    assert sum(part.share for part in parts) == pytest.approx(1)
    mean = sum(float(part.inputs.mean()) * part.share for part in parts)
    assert mean == pytest.approx(float(inputs.mean()), abs=1e-5)


@dataclass(frozen=True, slots=True)
class Overheard(Workers):
    """A worker whose gradients and losses nobody adds up."""

    gradients: list[Tensor] = field(default_factory=list)

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Note them."""
        self.gradients.extend(p.grad.clone() for p in parameters if p.grad is not None)

    def totals(self, numbers: Sequence[float]) -> list[float]:
        """As they are."""
        return list(numbers)

    def told(self, data: bytes) -> bytes:
        """As it is."""
        return data


def first_epoch(worker: Overheard) -> float:
    """One step, with a penalty of the method, on five samples; its loss."""
    data = dataclasses.replace(tiny_data(), training=samples(5, 1))
    module = GraphModule(tiny_model())
    method = Gridding(module, {}, Grid(bits_per_weight=2.0, epochs=1), {}, {})
    tuning = Tuning(
        module,
        method,
        Rhythm(epochs=1, learning_rate=0.01, batch_size=5, seed=0, bfloat16=False),
        data=data,
        task=Classification(),
        teacher=None,
        workers=worker,
    )
    return tuning.epoch().loss


@pytest.mark.parametrize("count", [2, 3])
def test_the_gradients_of_unequal_parts_add_up_to_the_batch_s(count: int) -> None:
    whole, parts = Overheard(), [Overheard(number, count) for number in range(count)]

    whole_loss, losses = first_epoch(whole), [first_epoch(part) for part in parts]

    assert whole.gradients
    for index, gradient in enumerate(whole.gradients):
        total = torch.stack([part.gradients[index] for part in parts]).sum(dim=0)
        torch.testing.assert_close(total, gradient, rtol=1e-4, atol=1e-6)
    assert sum(losses) == pytest.approx(whole_loss, rel=1e-5)


def test_after_an_epoch_all_workers_draw_as_the_first_one() -> None:
    first = torch.Generator().manual_seed(5).get_state()

    @dataclass(frozen=True, slots=True)
    class Second(Overheard):
        def told(self, data: bytes) -> bytes:
            return first.numpy().tobytes()

    before = torch.get_rng_state()
    first_epoch(Second(1, 2))
    found = torch.get_rng_state()
    torch.set_rng_state(before)

    assert torch.equal(found, first)
