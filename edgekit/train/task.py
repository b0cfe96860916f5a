"""What a network is trained for: a loss that falls and a metric that people read."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from edgekit.errors import UsageError
from edgekit.export.source import find_function
from edgekit.export.text import brief


class Task(Protocol):
    """Any object with these three; a class of one's own needs to derive from nothing.

    metric_name: such as `top-1`, for tables.
    """

    metric_name: str

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The mean loss of a batch, a scalar that has a gradient."""

    def metric(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """One number a sample, (N,), whose mean over a split is reported; more is better."""


class Classification:
    """One class a sample: cross-entropy, and the share of right answers.

    label_smoothing: the share of a label that is spread over all classes.
    """

    metric_name = "top-1"

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self._loss = nn.CrossEntropyLoss(label_smoothing=label_smoothing)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy. outputs: (N, classes). labels: (N,) int64."""
        loss: Tensor = self._loss(outputs, labels)
        return loss

    def metric(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """1 where the largest output is the label's."""
        return (outputs.argmax(dim=1) == labels).float()


class Checked:
    """A task whose answers are looked at: UsageError where it fails or returns something else."""

    def __init__(self, task: Task) -> None:
        """Raises UsageError for what is no task."""
        _check_parts(task, f"a {type(task).__name__}")
        self._task = task
        self.metric_name = str(task.metric_name)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """As the task's."""
        found = self._called("loss", outputs, labels)
        if not isinstance(found, Tensor) or found.ndim or not found.is_floating_point():
            raise UsageError(f"the loss must be a floating-point scalar tensor, got {_form(found)}")
        if outputs.requires_grad and not found.requires_grad:
            raise UsageError("the loss has no gradient; compute it from the outputs, as tensors")
        return found

    def metric(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """As the task's, in float32."""
        found = self._called("metric", outputs, labels)
        if not isinstance(found, Tensor) or found.shape != outputs.shape[:1] or found.is_complex():
            raise UsageError(
                f"the metric must be one number for each of {len(outputs)} samples, "
                f"got {_form(found)}"
            )
        if not bool(found.isfinite().all()):
            raise UsageError("the metric of a sample isn't a finite number")
        return found.float()

    def _called(self, name: str, outputs: Tensor, labels: Tensor) -> object:
        try:
            found: object = getattr(self._task, name)(outputs, labels)
        except Exception as error:
            raise UsageError(
                f"the {name} can't take outputs {_form(outputs)} and labels {_form(labels)}: "
                f"{brief(error)}"
            ) from error
        return found


def _form(value: object) -> str:
    """A tensor's type and shape, or the type of something else."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} of shape {tuple(value.shape)}"
    return f"a {type(value).__name__}"


def _check_parts(made: object, name: str) -> None:
    missing = [part for part in ("metric_name", "loss", "metric") if not hasattr(made, part)]
    if missing:
        raise UsageError(
            f"{name} has no {' and no '.join(missing)}; a task has metric_name, "
            "loss(outputs, labels) and metric(outputs, labels)"
        )


def load_task(source: str | None) -> Task:
    """The task of a file, or classification for None.

    source: `file.py:Name` or `package.module:Name`, a class or a function that returns the task.

    Raises UnknownModelError where there is no such thing, UsageError where it is no task.
    """
    if source is None:
        return Classification()
    make = find_function(source)
    try:
        made = make()
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"{source} failed with {brief(error)}; a task is made without arguments"
        ) from error
    _check_parts(made, source)
    task: Task = made  # type: ignore[assignment]  # it has what a task has
    return task
