"""One stage of a recipe: the steps that train a graph module under a method.

```
batch ─► augment ─┬─► student (weights through the method's transforms) ─► scores, features
                  └─► teacher, where there is one ─────────────────────────► loss ─► Adam
                                                         labels, penalty ──►
```

Where several workers train together, each takes a part of every batch, and gradients are summed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from edgekit.errors import CheckFailedError, RecipeError
from edgekit.train.checkpoint import check_state
from edgekit.train.datasets import Split, TrainingData
from edgekit.train.graph_module import GraphModule
from edgekit.train.loop import EVALUATION_BATCH, channels_last
from edgekit.train.methods.method import Method
from edgekit.train.task import Task
from edgekit.train.teacher import Teacher
from edgekit.train.workers import ALONE, Workers, training_part

_WARM_UP_STEPS = 100
_BETAS = (0.9, 0.99)


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How a stage goes through its data.

    epochs: passes over the training split, maybe not whole. learning_rate: the highest, as a share
    of each tensor's deviation; it rises over the first steps and falls along a cosine. bfloat16:
    whether layers multiply in that type.
    """

    epochs: float
    learning_rate: float
    batch_size: int
    seed: int
    bfloat16: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """One line of a stage's log.

    loss: the mean of the epoch's steps. metric: on validation. attempt: counts from 1 how often the
    stage was begun, with more bits each time.
    """

    epoch: int
    loss: float
    metric: float
    learning_rate: float
    bits_per_weight: float | None
    seconds: float
    attempt: int = 1


class Tuning:
    """A stage under way, epoch by epoch.

    Raises RecipeError where nothing teaches: neither labels nor a teacher.
    """

    def __init__(
        self,
        module: GraphModule,
        method: Method,
        rhythm: Rhythm,
        *,
        data: TrainingData,
        task: Task,
        teacher: Teacher | None,
        workers: Workers = ALONE,
    ) -> None:
        if teacher is None and not (has_labels(data.training) and has_labels(data.validation)):
            raise RecipeError(
                "the data carry no labels and the recipe has no teacher; add a [distillation] "
                "table, or data with labels"
            )
        self.module, self.method, self.data, self.task = module, method, data, task
        self.teacher, self.rhythm, self.workers = teacher, rhythm, workers
        self._taps = () if teacher is None else teacher.student_taps(module.model())
        self.generator = torch.Generator().manual_seed(rhythm.seed)
        self.optimizer = torch.optim.Adam(
            method.groups(rhythm.learning_rate), lr=rhythm.learning_rate, betas=_BETAS
        )
        self._parameters = [
            weight for group in self.optimizer.param_groups for weight in group["params"]
        ]
        self._rates = [group["lr"] for group in self.optimizer.param_groups]
        self.epoch_steps = -(-len(data.training) // rhythm.batch_size)
        self.steps = math.ceil(rhythm.epochs * self.epoch_steps)
        self.done = 0

    @property
    def epochs(self) -> int:
        """Passes over the training split, the last one maybe not whole."""
        return -(-self.steps // self.epoch_steps)

    @property
    def is_finished(self) -> bool:
        """Whether all steps are done."""
        return self.done >= self.steps

    def epoch(self, attempt: int = 1) -> Progress:
        """The steps of one pass over the training split, or what is left of them.

        attempt: for the log. Raises CheckFailedError where the loss is no longer a number.
        """
        started = time.perf_counter()
        self.module.train()
        self.method.train()
        order = torch.randperm(len(self.data.training), generator=self.generator)
        losses = []
        for chosen in torch.split(order, self.rhythm.batch_size):
            if self.is_finished:
                break
            losses.append(self._step(chosen))
        metric = self.measure(self.data.validation)
        # Workers whose parts differ in size may have drawn more or less; a state has the first's.
        drawn = self.workers.told(torch.get_rng_state().numpy().tobytes())
        torch.set_rng_state(torch.frombuffer(bytearray(drawn), dtype=torch.uint8))
        return Progress(
            epoch=-(-self.done // self.epoch_steps),
            loss=sum(losses) / max(len(losses), 1),
            metric=metric,
            learning_rate=self.rhythm.learning_rate * self._factor(),
            bits_per_weight=getattr(self.method, "bits_per_weight", None),
            seconds=time.perf_counter() - started,
            attempt=attempt,
        )

    @torch.no_grad()
    def measure(self, split: Split) -> float:
        """The mean of the task's metric; without labels, of the agreement with the teacher."""
        self.module.eval()
        self.method.eval()
        total = 0.0
        for batch in torch.split(torch.arange(len(split)), EVALUATION_BATCH):
            chosen = batch[self.workers.part(len(batch))]
            if len(chosen) == 0:
                continue
            inputs, labels = split.batch(chosen)
            inputs = channels_last(inputs)
            outputs = self.module(inputs)[0]
            if labels is not None:
                total += float(self.task.metric(outputs, labels).sum())
            elif self.teacher is not None:
                same = outputs.argmax(dim=1) == self.teacher.answers(inputs)[0].argmax(dim=1)
                total += float(same.float().mean()) * len(chosen)
        (total,) = self.workers.totals([total])
        return total / max(len(split), 1)

    def rehearse(self) -> None:
        """Take the loss of a first batch, so that what can't be learned shows before anything is.

        Raises as an epoch does.
        """
        count = min(self.rhythm.batch_size, len(self.data.training))
        inputs, labels = self.data.training.batch(torch.arange(count))
        value = self._loss(channels_last(inputs), labels).item()
        if not math.isfinite(value):
            raise CheckFailedError(
                f"before any training the loss is {value}; look at the network's weights and at "
                "the task's loss"
            )

    def state(self) -> dict[str, Any]:
        """What a later process needs to go on as this one would, as plain containers of tensors."""
        return {
            "module": self.module.state_dict(),
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "torch_generator": torch.get_rng_state(),
            "done": self.done,
        }

    def restore(self, state: dict[str, Any], epochs: int) -> None:
        """Take over the state of a stage of the same settings, after so many epochs.

        Raises ValueError, with the reason, for what can't be such a state, and RuntimeError or
        TypeError where that shows in a generator.
        """
        done = min(epochs * self.epoch_steps, self.steps)
        check_state(
            state,
            module=self.module,
            method=self.method,
            parameters=self._parameters,
            done=done,
        )
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["torch_generator"])
        self.module.load_state_dict(state["module"])
        self.method.load_state_dict(state["method"])
        self.optimizer.load_state_dict(
            {**self.optimizer.state_dict(), "state": state["optimizer"]["state"]}
        )
        self.done = done

    def _step(self, chosen: Tensor) -> float:
        progress = self.done / self.steps
        factor = self._factor()
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        self.method.before_step(progress)
        part = training_part(self.data, chosen, self.generator, self.workers)
        self.optimizer.zero_grad(set_to_none=True)
        try:
            loss = self._loss(channels_last(part.inputs), part.labels)
        except RuntimeError as error:
            if all(bool(weight.isfinite().all()) for weight in self._parameters):
                raise
            raise self._diverged("weights that aren't finite") from error
        penalty = self.method.penalty()
        total = loss if penalty is None else loss + penalty
        torch.autograd.backward(total * part.share)
        self.workers.sum_gradients(self._parameters)
        self.method.after_gradients()
        self.optimizer.step()
        self.done += 1
        (value,) = self.workers.totals([loss.item() * part.share])
        if not math.isfinite(value):
            raise self._diverged(f"a loss of {value}")
        return value

    def _diverged(self, what: str) -> CheckFailedError:
        return CheckFailedError(
            f"training diverged: step {self.done} has {what}; lower the learning rate of "
            f"{self.rhythm.learning_rate:g}, or look for inputs that aren't finite"
        )

    def _loss(self, inputs: Tensor, labels: Tensor | None) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.rhythm.bfloat16):
            wanted = None if self.teacher is None else self.teacher.answers(inputs)
            output = self.module.output_names[0]
            values = self.module.tensors((inputs,), (output, *self._taps))
        scores = values[output].float()
        if self.teacher is None or wanted is None:
            if labels is None:
                raise AssertionError("no labels and no teacher")
            return self.task.loss(scores, labels)
        taught = self.teacher.loss(scores, [values[name].float() for name in self._taps], wanted)
        share = self.teacher.settings.share
        if labels is None or share == 1:
            return taught
        return share * taught + (1 - share) * self.task.loss(scores, labels)

    def _factor(self) -> float:
        """Of the learning rates at the next step."""
        rise = min(1.0, (self.done + 1) / _WARM_UP_STEPS)
        return rise * 0.5 * (1 + math.cos(math.pi * min(self.done / max(self.steps, 1), 1.0)))


def check_attempts(history: Sequence[Progress], epochs: int) -> None:
    """Raise ValueError unless each attempt but the last has all epochs, and that its first ones."""
    last = history[-1]
    lines = [(line.attempt, line.epoch) for line in history]
    # Its length first: what is read from a file may be any number.
    if len(lines) != (last.attempt - 1) * epochs + last.epoch or lines != [
        (1 + place // epochs, 1 + place % epochs) for place in range(len(lines))
    ]:
        raise ValueError("its history doesn't have every epoch once")


def has_labels(split: Split) -> bool:
    """Whether a split's samples carry labels."""
    return split.batch(torch.tensor([0]))[1] is not None
