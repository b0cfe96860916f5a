"""Trains a network of the zoo, or one's own, on Fashion-MNIST.

```
60,000 training images ─┬─ 55,000 ─ flip, shift ─ SGD, one cycle ─┐ each epoch: log line, state
                        └─ 5,000 validation ─ picks the best epoch ◄┘
10,000 test images ─ the best weights, measured once at the end ─► weights, log
```
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

import edgekit_models
from edgekit.data import CLASSES
from edgekit.errors import UsageError
from edgekit.export.parity import run_module
from edgekit.export.source import Network, find_network
from edgekit.files import check_apart, write_atomic
from edgekit.train.datasets import TrainingData, fashion_mnist
from edgekit.train.loop import (
    Observer,
    Run,
    check_threads,
    copy_weights,
    evaluate,
    reproducible,
)
from edgekit.train.state import (
    BROKEN,
    EpochRecord,
    Settings,
    broken_state,
    read_state,
    write_state,
)
from edgekit.train.task import Classification
from edgekit.train.weights import to_safetensors

INPUT_SHAPE = (1, 28, 28)


@dataclass(frozen=True, slots=True)
class TrainReport:
    """A finished run. Accuracies are fractions; top-1 on the test split was measured once.

    output_bytes: of the weights file, whose SHA-256 is `sha256`. seconds: all epochs together,
    also those before an interruption.
    """

    settings: Settings
    output: str
    output_bytes: int
    sha256: str
    parameters: int
    multiply_adds: int
    best_epoch: int
    validation_top1: float
    validation_images: int
    test_top1: float
    test_images: int
    train_images: int
    data_source: str
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-compatible values."""
        return asdict(self)


def train(
    name: str,
    output: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | TrainingData | None = None,
    epochs: int = 12,
    batch_size: int = 64,
    learning_rate: float = 0.05,
    weight_decay: float = 5e-4,
    label_smoothing: float = 0.05,
    seed: int = 0,
    threads: int = 1,
    resume: bool = False,
    train_limit: int | None = None,
    observer: Observer | None = None,
) -> TrainReport:
    """Train a network and write its best weights to `output` as safetensors.

    name: of the zoo, `package.module:factory` or `file.py:factory`; it takes (N, 1, 28, 28) and
    gives (N, 10) scores.
    data: the folder with Fashion-MNIST's four idx .gz files, see edgekit.data for the default, or
    its splits, of which `train_limit` then leaves all.
    resume: continue from the state file beside `output`, with the result that the uninterrupted
    run would have had. Without a state file the run starts at the beginning.
    train_limit: use only the first images of the training split, for a quick trial.

    Beside `output` lie `.log.jsonl`, one line an epoch, and until the end `.state.pt`.

    Raises UnknownModelError, UsageError for impossible settings, a network that doesn't fit the
    data or a state of other settings, ExportError where the network can't take such an input,
    DataError for missing or broken data, CheckFailedError where the loss is no longer a number,
    OutputError where the result can't be written.
    """
    settings = Settings(
        name, epochs, batch_size, learning_rate, weight_decay, label_smoothing, seed, threads
    )
    _check(settings, train_limit)
    target = Path(output)
    log, saved = target.with_suffix(".log.jsonl"), target.with_suffix(".state.pt")
    check_apart([target, log, saved, target.with_suffix(".md")], [name])
    network = _network(name)

    splits = data if isinstance(data, TrainingData) else fashion_mnist(data, train_limit)
    with reproducible(threads):
        run = Run(settings, splits, network.build)
        history: list[EpochRecord] = []
        best = copy_weights(run.model)
        if resume and saved.exists():
            state = read_state(saved, settings)
            try:
                run.restore(state)
            except BROKEN as error:
                raise broken_state(saved, error) from error
            history, best = state.history, state.best
        # A folder that can't be written to shows up now, not after the first epoch.
        _write_log(history, log)
        while len(history) < epochs:
            record = _epoch(run, len(history) + 1, observer)
            if record.validation_top1 > max((r.validation_top1 for r in history), default=-1.0):
                best = copy_weights(run.model)
            history.append(record)
            write_state(run.state(best, history), saved)
            _write_log(history, log)
            if observer is not None:
                observer.epoch(record)
        run.model.load_state_dict(best)
        test = splits.test or splits.validation
        _, test_top1 = evaluate(run.model, test, Classification())

    chosen = max(history, key=lambda record: (record.validation_top1, -record.epoch))
    blob = to_safetensors(
        best,
        {
            "name": name,
            "data": "Fashion-MNIST",
            "seed": str(seed),
            "epochs": str(epochs),
            "best_epoch": str(chosen.epoch),
            "test_top1": f"{test_top1:.4f}",
        },
    )
    write_atomic(target, blob)
    saved.unlink(missing_ok=True)
    return TrainReport(
        settings=settings,
        output=os.fspath(output),
        output_bytes=len(blob),
        sha256=hashlib.sha256(blob).hexdigest(),
        parameters=edgekit_models.count_parameters(run.model),
        multiply_adds=edgekit_models.count_multiply_adds(run.model, INPUT_SHAPE),
        best_epoch=chosen.epoch,
        validation_top1=chosen.validation_top1,
        validation_images=len(splits.validation),
        test_top1=test_top1,
        test_images=len(test),
        train_images=len(splits.training),
        data_source=splits.source,
        seconds=sum(record.seconds for record in history),
    )


def _epoch(run: Run, number: int, observer: Observer | None) -> EpochRecord:
    started = time.perf_counter()
    train_loss = run.epoch(number, observer)
    validation_loss, validation_top1 = evaluate(run.model, run.data.validation, Classification())
    return EpochRecord(
        epoch=number,
        train_loss=train_loss,
        validation_loss=validation_loss,
        validation_top1=validation_top1,
        learning_rate=float(run.scheduler.get_last_lr()[0]),
        seconds=time.perf_counter() - started,
    )


def _check(settings: Settings, train_limit: int | None) -> None:
    minima = {"epochs": 1, "batch_size": 2, "seed": 0}
    for field, minimum in minima.items():
        value = getattr(settings, field)
        if value < minimum:
            raise UsageError(f"{field} must be at least {minimum}, got {value}")
    check_threads(settings.threads)
    if not settings.learning_rate > 0:
        raise UsageError(f"learning_rate must be above 0, got {settings.learning_rate}")
    if not settings.weight_decay >= 0:
        raise UsageError(f"weight_decay must be at least 0, got {settings.weight_decay}")
    if not 0 <= settings.label_smoothing < 1:
        raise UsageError(f"label_smoothing must be in 0..1, got {settings.label_smoothing}")
    if train_limit is not None and train_limit < settings.batch_size:
        raise UsageError(f"train_limit must hold a batch of {settings.batch_size} images")


def _network(name: str) -> Network:
    """The network to train. Raises UsageError where it doesn't answer for Fashion-MNIST."""
    network = find_network(name)
    if network.input_shape not in {None, INPUT_SHAPE}:
        fitting = [n for n in edgekit_models.names() if n.endswith("_fashion")]
        raise UsageError(
            f"{name} takes inputs of shape {network.input_shape}, but Fashion-MNIST's are "
            f"{INPUT_SHAPE}; train one of {', '.join(fitting)}"
        )
    if network.spec is None:
        # A zoo network is known to fit; a stranger is asked.
        answers = run_module(network.build().eval(), torch.zeros(1, *INPUT_SHAPE))
        if [tuple(answer.shape) for answer in answers] != [(1, len(CLASSES))]:
            shapes = ", ".join(str(tuple(answer.shape)) for answer in answers)
            raise UsageError(
                f"{name} answers an input of shape {INPUT_SHAPE} with {shapes}; training on "
                f"Fashion-MNIST needs one row of {len(CLASSES)} scores"
            )
    return network


def _write_log(history: list[EpochRecord], path: Path) -> None:
    lines = "".join(json.dumps(asdict(record)) + "\n" for record in history)
    write_atomic(path, lines.encode())
