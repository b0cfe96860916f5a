"""Tasks: classification, and one from a user's file."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from edgekit.errors import UnknownModelError, UsageError
from edgekit.train.task import Checked, load_task

EXAMPLE = Path(__file__).parents[2] / "examples" / "segmentation" / "shapes.py"


def test_classification_is_the_task_where_nothing_else_is_said() -> None:
    task = load_task(None)
    outputs = torch.tensor([[2.0, 0.0], [1.0, 0.0]])

    assert task.metric_name == "top-1"
    assert task.metric(outputs, torch.tensor([0, 1])).tolist() == [1, 0]
    expected = (math.log1p(math.exp(-2)) + math.log1p(math.exp(1))) / 2
    assert task.loss(outputs, torch.tensor([0, 1])).item() == pytest.approx(expected)


def test_a_task_comes_from_a_file() -> None:
    task = load_task(f"{EXAMPLE}:Segmentation")
    labels = torch.zeros(2, 4, 4, dtype=torch.int64)
    labels[0, :2] = 1
    outputs = torch.zeros(2, 3, 4, 4)
    outputs[:, 0] = 1  # background everywhere

    assert task.metric_name == "mean IoU"
    # Half of the first picture is a disc that wasn't found: IoU of 1/2 and 0.
    assert task.metric(outputs, labels).tolist() == [0.25, 1.0]
    assert task.loss(outputs * 50, labels[1:].expand(2, 4, 4)).item() == pytest.approx(0, abs=1e-6)


def test_what_is_no_task_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "own_task.py"
    path.write_text(
        "class Half:\n    metric_name = 'x'\n    def loss(self, a, b): return a\n"
        "def broken(): raise ValueError('no scale')\n"
    )

    with pytest.raises(UsageError, match="Half has no metric; a task has metric_name"):
        load_task(f"{path}:Half")
    with pytest.raises(UsageError, match="broken failed with ValueError: no scale"):
        load_task(f"{path}:broken")
    with pytest.raises(UnknownModelError, match=r"no file nowhere\.py"):
        load_task("nowhere.py:Task")
    with pytest.raises(UnknownModelError, match="nowhere names no function; give"):
        load_task("nowhere")


class Answering:
    """A task with the answers it is made with."""

    metric_name = "m"

    def __init__(self, loss: object, metric: object) -> None:
        self._loss, self._metric = loss, metric

    def loss(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return self._loss  # type: ignore[return-value]  # what is looked at

    def metric(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return self._metric  # type: ignore[return-value]  # what is looked at


def test_answers_of_a_task_are_looked_at() -> None:
    outputs, labels = torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64)
    good = Checked(Answering(torch.tensor(0.5), torch.ones(4, dtype=torch.bool)))

    assert good.loss(outputs, labels).item() == 0.5
    assert good.metric(outputs, labels).tolist() == [1.0] * 4
    with pytest.raises(UsageError, match="a object has no metric_name and no loss and no metric"):
        Checked(object())  # type: ignore[arg-type]  # no task
    for loss in (torch.zeros(4), 0.5, torch.tensor(1), torch.tensor(1j)):
        with pytest.raises(
            UsageError, match="the loss must be a floating-point scalar tensor, got"
        ):
            Checked(Answering(loss, None)).loss(outputs, labels)
    learned = outputs.clone().requires_grad_()
    assert Checked(Answering(learned.mean(), None)).loss(learned, labels).requires_grad
    with pytest.raises(UsageError, match="the loss has no gradient; compute it from the outputs"):
        Checked(Answering(torch.tensor(0.5), None)).loss(learned, labels)
    for metric in (torch.tensor(0.5), torch.zeros(4, 3), 0.5, torch.zeros(4) * 1j):
        with pytest.raises(UsageError, match="one number for each of 4 samples, got"):
            Checked(Answering(None, metric)).metric(outputs, labels)
    with pytest.raises(UsageError, match="isn't a finite number"):
        Checked(Answering(None, torch.full((4,), math.nan))).metric(outputs, labels)


@pytest.mark.parametrize(
    "labels",
    [torch.tensor([0, 9]), torch.tensor([0, -1]), torch.tensor([0.0, 1.0]), torch.zeros(2, 5)],
)
def test_labels_that_are_no_classes_are_told_in_one_line(labels: torch.Tensor) -> None:
    task = Checked(load_task(None))

    with pytest.raises(UsageError, match=r"the loss can't take outputs float32 of shape \(2, 3\)"):
        task.loss(torch.zeros(2, 3), labels)
