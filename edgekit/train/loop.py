"""One epoch after the other: the optimizer's steps and the evaluation of a network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from edgekit.data import DEVIATION, MEAN
from edgekit.errors import CheckFailedError
from edgekit.train.augment import flip_and_shift
from edgekit.train.state import EpochRecord, Settings, State

MOMENTUM = 0.9
WARM_UP = 0.2  # share of the steps in which the learning rate rises
EVALUATION_BATCH = 250
BLACK = -MEAN / DEVIATION
"""The background of a Fashion-MNIST image after normalisation."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """inputs: (N, 1, 28, 28) float32, normalised. labels: (N,) int64."""

    inputs: Tensor
    labels: Tensor


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
        self, settings: Settings, train_images: int, build: Callable[[], nn.Module]
    ) -> None:
        self.settings = settings
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
        self.steps = -(-train_images // settings.batch_size)
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer,
            max_lr=settings.learning_rate,
            total_steps=self.steps * settings.epochs,
            pct_start=WARM_UP,
            cycle_momentum=False,
        )
        self.loss = nn.CrossEntropyLoss(label_smoothing=settings.label_smoothing)

    def epoch(self, training: Samples, number: int, observer: Observer | None) -> float:
        """Pass once over the training samples in random order; the mean loss of its batches.

        Raises CheckFailedError where the loss is no longer a number.
        """
        self.model.train()
        order = torch.randperm(len(training.labels), generator=self.generator)
        total = 0.0
        for step, chosen in enumerate(torch.split(order, self.settings.batch_size), start=1):
            inputs = flip_and_shift(training.inputs[chosen], BLACK, self.generator)
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.loss(self.model(inputs), training.labels[chosen])
            loss.backward()
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
        """Take over a saved state of the same settings."""
        self.model.load_state_dict(state.model)
        self.optimizer.load_state_dict(state.optimizer)
        self.scheduler.load_state_dict(state.scheduler)
        self.generator.set_state(state.rng)
        torch.set_rng_state(state.torch_rng)


@torch.no_grad()
def evaluate(model: nn.Module, samples: Samples) -> tuple[float, float]:
    """Mean cross-entropy without label smoothing, and the fraction of right answers."""
    model.eval()
    loss, right = 0.0, 0
    for inputs, labels in zip(
        torch.split(samples.inputs, EVALUATION_BATCH),
        torch.split(samples.labels, EVALUATION_BATCH),
        strict=True,
    ):
        logits = model(inputs.contiguous(memory_format=torch.channels_last))
        loss += nn.functional.cross_entropy(logits, labels, reduction="sum").item()
        right += int((logits.argmax(dim=1) == labels).sum())
    return loss / len(samples.labels), right / len(samples.labels)


def copy_weights(model: nn.Module) -> dict[str, Tensor]:
    """The state dict as tensors of their own, in the standard memory order."""
    return {name: value.clone().contiguous() for name, value in model.state_dict().items()}


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
