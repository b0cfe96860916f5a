"""One epoch after the other: the optimizer's steps and the evaluation of a network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn

from edgekit.errors import CheckFailedError, UsageError
from edgekit.runtime.session import MOST_THREADS
from edgekit.train.checkpoint import check_training
from edgekit.train.datasets import Split, TrainingData
from edgekit.train.state import EpochRecord, Settings, State
from edgekit.train.task import Classification, Task

MOMENTUM = 0.9
WARM_UP = 0.2  # share of the steps in which the learning rate rises
EVALUATION_BATCH = 250


class Observer(Protocol):
    """Who watches a run."""

    def step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """After step `step` of `steps` of epoch `epoch`, both counted from 1."""

    def epoch(self, record: EpochRecord) -> None:
        """After each epoch of this process; epochs before a resumption don't come again."""


class Run:
    """A network with its optimizer, schedule and randomness, advanced epoch by epoch.

    Stochastic gradient descent with Nesterov momentum; the learning rate rises to its peak and
    falls along a cosine (one cycle: Smith 2018, 'Super-convergence', section 2).
    """

    def __init__(
        self, settings: Settings, data: TrainingData, build: Callable[[], nn.Module]
    ) -> None:
        self.settings = settings
        self.data = data
        self.generator = torch.Generator().manual_seed(settings.seed)
        torch.manual_seed(settings.seed)
        model = build()
        # torch's annotations leave out this overload of Module.to.
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        weights = list(self.model.parameters())
        groups = [
            {"params": [w for w in weights if w.ndim > 1], "weight_decay": settings.weight_decay},
            {"params": [w for w in weights if w.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.SGD(
            groups, lr=settings.learning_rate, momentum=MOMENTUM, nesterov=True
        )
        self.steps = -(-len(data.training) // settings.batch_size)
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer,
            max_lr=settings.learning_rate,
            total_steps=self.steps * settings.epochs,
            pct_start=WARM_UP,
            cycle_momentum=False,
        )
        self.task = Classification(settings.label_smoothing)

    def epoch(self, number: int, observer: Observer | None) -> float:
        """Pass once over the training samples in random order; the mean loss of its batches.

        Raises CheckFailedError where the loss is no longer a number.
        """
        self.model.train()
        order = torch.randperm(len(self.data.training), generator=self.generator)
        total = 0.0
        for step, chosen in enumerate(torch.split(order, self.settings.batch_size), start=1):
            inputs, labels = labelled(self.data.training, chosen)
            if self.data.augment is not None:
                inputs = self.data.augment(inputs, self.generator)
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.task.loss(self.model(inputs), labels)
            torch.autograd.backward(loss)
            self.optimizer.step()
            self.scheduler.step()
            value = loss.item()
            if not math.isfinite(value):
                raise CheckFailedError(
                    f"training diverged: the loss at epoch {number}, step {step} is {value}; "
                    f"lower the learning rate of {self.settings.learning_rate:g}"
                )
            total += value
            if observer is not None:
                observer.step(number, step, self.steps, value)
        return total / self.steps

    def state(self, best: dict[str, Tensor], history: list[EpochRecord]) -> State:
        """What a later process needs to go on as this one would."""
        return State(
            settings=self.settings,
            model=self.model.state_dict(),
            optimizer=self.optimizer.state_dict(),
            scheduler=self.scheduler.state_dict(),
            rng=self.generator.get_state(),
            torch_rng=torch.get_rng_state(),
            best=best,
            history=history,
        )

    def restore(self, state: State) -> None:
        """Take over a saved state of the same settings.

        Raises ValueError, with the reason, for what can't be such a state.
        """
        check_training(
            state,
            model=self.model,
            optimizer=self.optimizer,
            scheduler=self.scheduler,
            done=self.steps * len(state.history),
        )
        self.model.load_state_dict(state.model)
        self.optimizer.load_state_dict(state.optimizer)
        self.scheduler.load_state_dict(state.scheduler)
        self.generator.set_state(state.rng)
        torch.set_rng_state(state.torch_rng)


@torch.no_grad()
def evaluate(model: nn.Module, split: Split, task: Task) -> tuple[float, float]:
    """The means of a task's loss and metric over a labelled split."""
    model.eval()
    loss = metric = 0.0
    for chosen in torch.split(torch.arange(len(split)), EVALUATION_BATCH):
        inputs, labels = labelled(split, chosen)
        outputs = model(channels_last(inputs))
        loss += task.loss(outputs, labels).item() * len(chosen)
        metric += float(task.metric(outputs, labels).sum())
    return loss / len(split), metric / len(split)


def labelled(split: Split, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs and labels at `chosen` positions. Raises UsageError where there are no labels."""
    inputs, labels = split.batch(chosen)
    if labels is None:
        raise UsageError("the data carry no labels, but this run needs them")
    return inputs, labels


def channels_last(inputs: Tensor) -> Tensor:
    """Images (N, C, H, W) with their channels last in memory, which convolves faster."""
    return inputs.contiguous(memory_format=torch.channels_last) if inputs.ndim == 4 else inputs


def copy_weights(model: nn.Module) -> dict[str, Tensor]:
    """The state dict as tensors of their own, in the standard memory order."""
    return {name: value.clone().contiguous() for name, value in model.state_dict().items()}


def check_threads(threads: int) -> None:
    """Raise UsageError for fewer than 1 or more than MOST_THREADS threads."""
    if not 1 <= threads <= MOST_THREADS:
        raise UsageError(f"threads must be 1 to {MOST_THREADS}, got {threads}")


@contextmanager
def reproducible(threads: int) -> Iterator[None]:
    """Deterministic algorithms on a fixed number of threads; torch's settings come back after."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    rng = torch.get_rng_state()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=True)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(mode=before[1])
        torch.set_rng_state(rng)
