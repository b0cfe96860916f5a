"""A training run between two epochs: all that makes a resumed run equal an uninterrupted one."""

from __future__ import annotations

import io
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgekit.errors import InputError, UsageError
from edgekit.files import write_atomic
from edgekit.train.plain import record

BROKEN = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    TypeError,
    KeyError,
    AttributeError,
    ValueError,
    IndexError,
    OverflowError,
    OSError,
)
"""What reading a file that isn't a state may raise."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The choices that decide the result of a run.

    learning_rate: the peak of the one-cycle schedule. weight_decay: on weights of two or more
    axes; BatchNorm and biases go without. threads: of torch; sums are rounded differently
    with another number, so a run keeps to one.
    """

    name: str
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    label_smoothing: float
    seed: int
    threads: int


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One line of the log.

    train_loss: mean over the epoch's batches, label smoothing included.
    validation_top1: fraction of the validation split. learning_rate: at the epoch's end.
    """

    epoch: int
    train_loss: float
    validation_loss: float
    validation_top1: float
    learning_rate: float
    seconds: float


@dataclass(slots=True)
class State:
    """After `len(history)` epochs.

    model, optimizer, scheduler: their state dicts. rng: of the run's own generator (order of the
    samples, augmentation). torch_rng: of the global one (dropout). best: the weights with the
    highest validation accuracy so far.
    """

    settings: Settings
    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    scheduler: dict[str, Any]
    rng: Tensor
    torch_rng: Tensor
    best: dict[str, Tensor]
    history: list[EpochRecord]


def write_plain(plain: dict[str, Any], path: Path) -> None:
    """Write plain containers of tensors as torch.save does, or not at all. Raises OutputError."""
    # Into a file that can't grow torch writes with an error of its own, which isn't an OSError.
    held = io.BytesIO()
    torch.save(plain, held)
    write_atomic(path, held.getvalue())


def write_state(state: State, path: Path) -> None:
    """Save a run so that a killed process leaves this epoch's state or the last one's."""
    plain = {
        "settings": asdict(state.settings),
        "history": [asdict(record) for record in state.history],
        **{
            field: getattr(state, field)
            for field in ("model", "optimizer", "scheduler", "rng", "torch_rng", "best")
        },
    }
    write_plain(plain, path)


def broken_state(
    path: Path,
    error: Exception,
    *,
    work: str = "training run",
    anew: str = "start from the beginning",
) -> InputError:
    """The error for a file that work can't go on from. anew: what comes of deleting it."""
    # What these say was written for people.
    reason = f" ({error})" if type(error) is ValueError else ""
    return InputError(f"{path} isn't the state of this {work}{reason}; delete it to {anew}")


def check_epochs(epochs: list[int]) -> None:
    """Raise ValueError unless a history has the epochs from the first one on, each once."""
    if not epochs or epochs != [*range(1, len(epochs) + 1)]:
        raise ValueError("its history doesn't have every epoch once")


def read_state(path: Path, settings: Settings) -> State:
    """The saved run, which must have been started with the same settings.

    Raises InputError for a file that isn't such a state, UsageError for other settings.
    """
    try:
        plain = torch.load(path, weights_only=True, map_location="cpu")
        saved = record(Settings, plain.pop("settings"))
        history = [record(EpochRecord, line) for line in plain.pop("history")]
        state = State(settings=saved, history=history, **plain)
    except BROKEN as error:
        raise broken_state(path, error) from error
    if saved != settings:
        differing = ", ".join(
            f"{key} {before!r} (now {now!r})"
            for (key, before), now in zip(
                asdict(saved).items(), asdict(settings).values(), strict=True
            )
            if before != now
        )
        raise UsageError(f"{path} was started with {differing}; resume with the same settings")
    return state
