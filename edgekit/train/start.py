"""Where a finetuning run starts: the float model as one ONNX file, trained first if asked for."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import torch

from edgekit.errors import RecipeError, UsageError
from edgekit.export.pytorch import export
from edgekit.graph import load_graph
from edgekit.train import fit
from edgekit.train.chain import make_folder
from edgekit.train.recipe import Train

TRAINED = "0-train.safetensors"


def float_file(
    source: str,
    *,
    weights: str | os.PathLike[str] | None,
    input_shape: tuple[int, ...] | None,
    training: Train | None,
    folder: Path,
    seed: int,
    train_limit: int | None,
    resume: bool,
) -> bytes:
    """The float model of a source, an ONNX file or what `export` takes, as one ONNX file.

    training: train a module from random weights first; its weights, log and, until it is done,
    its state lie in `folder`. train_limit: of its images. resume: go on from them.

    Raises UsageError and RecipeError for what an ONNX file has no use for, and as `export` does.
    """
    if source.endswith(".onnx"):
        if training is not None:
            raise RecipeError("a train stage builds a network anew; name a module, not ONNX")
        if weights is not None or input_shape is not None:
            raise UsageError("an ONNX file has its own weights and input shape")
        graph = load_graph(source)
        data = Path(source).read_bytes()
        # A model with external data becomes one file.
        is_whole = len(data) == graph.source_bytes
        return data if is_whole else graph.model().SerializeToString(deterministic=True)
    if training is not None:
        if weights is not None:
            raise RecipeError("the recipe trains from random weights; leave out --weights")
        make_folder(folder)
        weights = folder / TRAINED
        if not resume and any(folder.glob(f"{weights.stem}.*")):
            raise UsageError(
                f"{folder} holds a training already; continue it with --resume, or name another "
                "folder"
            )
        if not weights.exists():
            fit.train(
                source,
                weights,
                epochs=int(training.epochs),
                learning_rate=training.learning_rate,
                seed=seed,
                threads=torch.get_num_threads(),
                train_limit=train_limit,
                resume=True,
            )
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / f"{_stem(source)}.onnx"
        export(source, path, weights=weights, input_shape=input_shape)
        return path.read_bytes()


def _stem(source: str) -> str:
    """A file name for a source: what stands last in it."""
    last = source.rpartition(":")[2]
    return last if last.isidentifier() else "model"
