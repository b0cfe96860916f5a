"""Where a finetuning run starts: the float model as one ONNX file, trained first if asked for."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import torch

from edgekit.errors import EdgekitError, RecipeError, UsageError
from edgekit.export.pytorch import export
from edgekit.graph import load_graph
from edgekit.packfile.onnx_model import to_model_proto
from edgekit.packfile.reader import read_packfile
from edgekit.train import fit
from edgekit.train.chain import Chain, make_folder
from edgekit.train.datasets import TrainingData
from edgekit.train.recipe import Train
from edgekit.train.run import Watch
from edgekit.train.state import EpochRecord
from edgekit.train.tuning import Progress

TRAINED = "0-train.safetensors"
PACKED = ".ekp"
_FILES = (".onnx", PACKED)


def float_file(
    source: str,
    *,
    weights: str | os.PathLike[str] | None,
    input_shape: tuple[int, ...] | None,
    training: Train | None,
    data: TrainingData | None,
    chain: Chain,
    seed: int,
    train_limit: int | None,
    resume: bool,
    watch: Watch | None,
) -> bytes:
    """The float model of a source, an ONNX or packed file or what `export` takes, as one ONNX file.

    training: train a module from random weights first; its weights, log and, until it is done,
    its state lie in the chain's folder. data: Fashion-MNIST if it is open already. train_limit: of
    its images. resume: go on from them. watch: told its epochs.

    Raises UsageError and RecipeError for what such a file has no use for, the FormatError of the
    rule that a packed file breaks, and as `export` does.
    """
    if source.endswith(_FILES):
        if training is not None:
            raise RecipeError("a train stage builds a network anew; name a module, not a file")
        if weights is not None or input_shape is not None:
            raise UsageError(f"{source} has its own weights and input shape")
        if source.endswith(PACKED):
            restored: bytes = to_model_proto(read_packfile(source)).SerializeToString(
                deterministic=True
            )
            return restored
        graph = load_graph(source)
        whole = Path(source).read_bytes()
        # A model with external data becomes one file.
        is_whole = len(whole) == graph.source_bytes
        return whole if is_whole else graph.model().SerializeToString(deterministic=True)
    if training is not None:
        if weights is not None:
            raise RecipeError("the recipe trains from random weights; leave out --weights")
        is_new = not chain.folder.exists()
        make_folder(chain.folder)
        weights = chain.path(TRAINED)
        if not resume and any(chain.folder.glob(f"{weights.stem}.*")):
            raise UsageError(
                f"{chain.folder} holds a training already; continue it with --resume, or name "
                "another folder"
            )
        if not weights.exists():
            try:
                fit.train(
                    source,
                    weights,
                    data=data,
                    epochs=int(training.epochs),
                    learning_rate=training.learning_rate,
                    seed=seed,
                    threads=torch.get_num_threads(),
                    train_limit=train_limit,
                    resume=True,
                    observer=_Telling(chain, watch),
                )
            except EdgekitError:
                # What can't be trained leaves no empty folder behind.
                if is_new:
                    with contextlib.suppress(OSError):
                        chain.folder.rmdir()
                raise
        # Where the process was killed before it was gone.
        weights.with_suffix(".state.pt").unlink(missing_ok=True)
    return exported(source, weights=weights, input_shape=input_shape)


def exported(
    source: str,
    *,
    weights: str | os.PathLike[str] | None = None,
    input_shape: tuple[int, ...] | None = None,
) -> bytes:
    """The ONNX file that `export` makes. Arguments and errors as there."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / f"{_stem(source)}.onnx"
        export(source, path, weights=weights, input_shape=input_shape)
        return path.read_bytes()


class _Telling:
    """Tells a run of the epochs of its training; from the first one on the folder is the run's."""

    def __init__(self, chain: Chain, watch: Watch | None) -> None:
        self._chain, self._watch = chain, watch

    def step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """Nothing: stages tell epochs."""

    def epoch(self, record: EpochRecord) -> None:
        """Tell an epoch."""
        self._chain.begin()
        if self._watch is None:
            return
        line = Progress(
            epoch=record.epoch,
            loss=record.train_loss,
            metric=record.validation_top1,
            learning_rate=record.learning_rate,
            bits_per_weight=None,
            seconds=record.seconds,
        )
        self._watch(f"0 {Train.kind}", line)


def _stem(source: str) -> str:
    """A file name for a source: what stands last in it."""
    last = source.rpartition(":")[2]
    return last if last.isidentifier() else "model"
