"""Several processes that train one network together, as torchrun starts them.

```
           ┌ part 0 ─ worker 0 ─ gradients ┐
one batch ─┤                               ├─ sum ─ the same step everywhere
           └ part 1 ─ worker 1 ─ gradients ┘
```

Every worker holds the whole network and draws the same chance, so a run gives the losses of one
process up to rounding. The first worker alone writes files and reports; an error is told by each
worker that meets it.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from edgekit.errors import EdgekitError, UsageError
from edgekit.export.text import brief
from edgekit.train.datasets import TrainingData

PATIENCE = timedelta(days=7)
"""How long a worker waits for the others: the first one may train a network before the rest can
begin. Where a worker ends, the others notice at once."""


@dataclass(frozen=True, slots=True)
class Workers:
    """This process among those that train together. number: from 0. count: of all of them."""

    number: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this one writes files and reports."""
        return self.number == 0

    def part(self, total: int) -> slice:
        """This worker's places among `total`; parts differ by one place at most."""
        return slice(total * self.number // self.count, total * (self.number + 1) // self.count)

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by the sum of all workers' gradients.

        A parameter that has none anywhere keeps none.
        """
        if self.count == 1:
            return
        chosen = [parameter for parameter in parameters if parameter.requires_grad]
        parts = [
            torch.zeros(parameter.numel() + 1)
            if parameter.grad is None
            else torch.cat([parameter.grad.float().reshape(-1), torch.ones(1)])
            for parameter in chosen
        ]
        sums = torch.cat(parts)
        self._sum(sums)
        lengths = [len(part) for part in parts]
        for parameter, values in zip(chosen, torch.split(sums, lengths), strict=True):
            if values[-1] > 0:
                gradient = values[:-1].view(parameter.shape).to(parameter.dtype)
                # In the memory order of the weight, as backward leaves it.
                parameter.grad = torch.empty_like(parameter).copy_(gradient)

    def totals(self, numbers: Sequence[float]) -> list[float]:
        """The sum of each number over all workers."""
        sums = torch.tensor(numbers, dtype=torch.float64)
        self._sum(sums)
        return [float(value) for value in sums]

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite the floating-point ones among tensors with those of the first worker."""
        if self.count == 1:
            return
        with torch.no_grad(), _together():
            for tensor in filter(Tensor.is_floating_point, tensors):
                same = tensor.detach().contiguous()
                dist.broadcast(same, 0)
                tensor.copy_(same)

    def told(self, data: bytes) -> bytes:
        """The first worker's bytes, on every worker."""
        if self.count == 1:
            return data
        length = torch.tensor([len(data)])
        with _together():
            dist.broadcast(length, 0)
            sent = torch.zeros(int(length), dtype=torch.uint8)
            if self.is_first:
                sent = torch.frombuffer(bytearray(data), dtype=torch.uint8)
            dist.broadcast(sent, 0)
        return sent.numpy().tobytes()

    def meet(self) -> None:
        """Wait until every worker is here, such as for a file that the first one writes."""
        self.totals([0.0])

    def _sum(self, tensor: Tensor) -> None:
        if self.count > 1:
            with _together():
                dist.all_reduce(tensor)


ALONE = Workers()


@contextmanager
def joined() -> Iterator[Workers]:
    """The workers that torchrun started this process among; this one alone where it didn't.

    Raises UsageError for an environment that isn't torchrun's, and for a first worker that can't
    be reached.
    """
    if "WORLD_SIZE" not in os.environ or dist.is_initialized():
        yield Workers(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else ALONE
        return
    # Its functions take the group of the moment as their default and hold it for ever, where an
    # optimizer imports them later. A held group's threads outlive destroy_process_group and abort
    # the interpreter at its end.
    importlib.import_module("torch.distributed.nn.functional")

    try:
        dist.init_process_group("gloo", timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise UsageError(
            f"can't join the other workers: {brief(error)}; start them with torchrun"
        ) from error
    try:
        yield Workers(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def is_first_process() -> bool:
    """Whether this process reports for all that torchrun started, asked before they have joined."""
    return os.environ.get("RANK", "0") == "0"


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A worker's part of a training batch.

    inputs, labels: at least one sample. share: what the mean loss of the part is worth in the mean
    loss of the batch; the shares of all workers add up to 1.
    """

    inputs: Tensor
    labels: Tensor | None
    share: float


def training_part(
    data: TrainingData, chosen: Tensor, generator: torch.Generator, workers: Workers = ALONE
) -> Part:
    """This worker's part of a training batch, augmented as it would be in the whole batch.

    chosen: (N,) int64, the positions of all samples of the batch. Of a batch with fewer samples
    than workers, each takes all, for an equal share.
    """
    total = len(chosen)
    part, share = slice(0, total), 1 / workers.count
    if total >= workers.count:
        part = workers.part(total)
        share = (part.stop - part.start) / total
    inputs, labels = data.training.batch(chosen[part])
    if data.augment is not None:
        inputs = data.augment(inputs, generator, first=part.start, total=total)
    return Part(inputs, labels, share)


@contextmanager
def _together() -> Iterator[None]:
    """Where another worker is gone, say so."""
    try:
        yield
    except RuntimeError as error:
        raise EdgekitError(
            f"another worker has ended ({brief(error)}); its own message says why"
        ) from error
