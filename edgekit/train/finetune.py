"""Deep Compression with training: a recipe's stages from a float model to a packed file.

```
SOURCE ─export─► 0-float.onnx ─► stage 1 ─► 1-prune.onnx ─► ... ─► stage n ─► model.ekp
                      └── teacher of every stage, unless another one is named
```
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import onnx
import torch

from edgekit.data import FASHION_MNIST
from edgekit.errors import RecipeError, UsageError
from edgekit.files import check_apart
from edgekit.graph import load_graph
from edgekit.graph.inputs import input_shapes
from edgekit.graph.shapes import value_shapes
from edgekit.preprocess import make_preprocess
from edgekit.train.chain import Chain, written_files
from edgekit.train.checked import check_data
from edgekit.train.contents import contents
from edgekit.train.datasets import TrainingData
from edgekit.train.fit import INPUT_SHAPE
from edgekit.train.judge import check_inputs
from edgekit.train.loop import check_threads, reproducible
from edgekit.train.recipe import Recipe, Train
from edgekit.train.recipe_file import read_recipe
from edgekit.train.run import FLOAT, FinetuneReport, RecipeRun, Watch
from edgekit.train.sources import Source, open_data
from edgekit.train.start import float_file
from edgekit.train.task import Checked, Classification, Task, load_task
from edgekit.train.taught import check_teacher, find_teacher
from edgekit.train.workers import joined

_SEEDS = 2**63
_SHOWN = 30


def finetune(
    source: str,
    output: str | os.PathLike[str],
    *,
    recipe: str | os.PathLike[str] | Recipe,
    weights: str | os.PathLike[str] | None = None,
    input_shape: tuple[int, ...] | None = None,
    data: Source | TrainingData = FASHION_MNIST,
    preprocess: str | os.PathLike[str] | None = None,
    train_limit: int | None = None,
    task: str | Task | None = None,
    teacher: str | os.PathLike[str] | None = None,
    seed: int = 0,
    threads: int = 1,
    resume: bool = False,
    watch: Watch | None = None,
) -> FinetuneReport:
    """Prune, retrain, quantize and pack a network by a recipe, on data.

    source: an ONNX file, a packed one, or what `export` takes; `weights` and `input_shape` as
    there. Weights that are zero in it stay zero.
    output: a folder that is made; edgekit.train.chain says what it holds in the end.
    recipe: a TOML file, the name of a recipe that comes with edgekit, or a Recipe.
    data: splits, or what edgekit.train.sources.open_data makes them from, with `preprocess`, which
    the packed file keeps, also beside arrays that were made by it, and `train_limit` as its limit.
    task: loss and metric, or `file.py:Name`; classification by default. teacher: an ONNX file or a
    trained network of the zoo to learn from in place of the float model.
    resume: continue an interrupted run, with the result that it would have had.

    Where torchrun has started several processes of this call, they train one network together:
    each takes a part of every batch, and the first one alone writes and watches.

    A max_drop that isn't kept is told in the report's `failures`; nothing is raised for it.
    Same seed and threads, same result on the same machine. Raises RecipeError, UsageError,
    InputError, ExportError, DataError, CheckFailedError where training diverges, OutputError.
    """
    chosen = recipe if isinstance(recipe, Recipe) else read_recipe(recipe)
    _check(output, seed, threads, train_limit)
    if teacher is not None and chosen.distillation is None:
        raise RecipeError("a teacher is named, but the recipe has no [distillation] table")
    wished = load_task(task) if task is None or isinstance(task, str) else task
    work = Checked(wished)
    settings = {
        "source": source,
        "weights": _named(weights),
        "input_shape": input_shape,
        "recipe": chosen.to_dict(),
        "data": data.name if isinstance(data, TrainingData) else _named(data),
        "preprocess": _named(preprocess),
        "train_limit": train_limit,
        "task": _named(task) if isinstance(task, str) else work.metric_name,
        "teacher": _named(teacher),
        "seed": seed,
        "threads": threads,
    }

    def opened(shape: tuple[int, ...]) -> TrainingData:
        if isinstance(data, TrainingData):
            return data
        return open_data(data, input_shape=shape, preprocess=preprocess, limit=train_limit)

    folder = Path(output)
    check_apart(
        [folder / name for name in written_files([stage.kind for stage in chosen.stages])],
        [source, weights, teacher, preprocess, task]
        + [given for given in (recipe, data) if isinstance(given, str | os.PathLike)],
    )
    training = chosen.stages[0] if isinstance(chosen.stages[0], Train) else None
    with joined() as workers, reproducible(threads):
        if workers.count > 1:
            # Sums are rounded differently among another number of them.
            settings["workers"] = workers.count
        chain = Chain(folder, settings, resume=resume, writes=workers.is_first)
        # Nobody writes before everybody has looked.
        workers.meet()
        torch.manual_seed(seed)
        taught = None if teacher is None else find_teacher(teacher)
        splits: TrainingData | None = None
        if training is not None and not chain.stages:
            # What comes after a training is looked at before it.
            splits = _to_train_on(opened, taught)
        whole = b""
        if chain.stages:
            whole = chain.path(FLOAT).read_bytes()
        elif workers.is_first:
            whole = float_file(
                source,
                weights=weights,
                input_shape=input_shape,
                training=training,
                data=splits,
                chain=chain,
                seed=seed,
                train_limit=train_limit,
                resume=resume,
                watch=watch,
            )
        whole = workers.told(whole)
        model = load_graph(whole).model()
        check_inputs(model, source)
        shape = next(iter(input_shapes(model).values()), ())
        splits = check_data(
            splits or opened(shape),
            shape,
            _classes(model, wished),
            heeds_labels=chosen.heeds_labels,
        )
        if taught is not None:
            check_teacher(taught, splits)
        chain.found(contents(splits))
        run = RecipeRun(chain, chosen, data=splits, task=work, seed=seed, workers=workers)
        run.preprocessing = (
            None if preprocess is None else make_preprocess(preprocess, shape).to_dict()
        )
        run.begin(whole, model, taught)
        for number, stage in enumerate(run.stages, 1):
            if number >= len(chain.stages):
                run.stage(number, stage, watch)
        return run.finish(source)


def _to_train_on(
    opened: Callable[[tuple[int, ...]], TrainingData], teacher: onnx.ModelProto | None
) -> TrainingData:
    """The data of a train stage. Raises RecipeError for others than it and the teacher take."""
    splits = opened((0, *INPUT_SHAPE))
    if splits.name != FASHION_MNIST:
        raise RecipeError(
            f"a train stage learns Fashion-MNIST, and the data are {splits.name}; begin "
            "with a retrain stage instead"
        )
    if teacher is not None:
        check_teacher(teacher, splits)
    return splits


def _check(
    output: str | os.PathLike[str], seed: int, threads: int, train_limit: int | None
) -> None:
    if not os.fspath(output):
        # It would be the current folder.
        raise UsageError("the output folder has no name; give one, such as out")
    if not 0 <= seed < _SEEDS:
        raise UsageError(f"seed must be at least 0 and below 2^63, got {str(seed)[:_SHOWN]}")
    check_threads(threads)
    if train_limit is not None and train_limit < 1:
        raise UsageError(f"train_limit must be at least 1, got {train_limit}")


def _classes(model: onnx.ModelProto, task: Task) -> int | None:
    """How many classes a model tells apart; None where that is open, or the task is another one."""
    if type(task) is not Classification:
        return None
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    output = value_shapes(copy).get(model.graph.output[0].name)
    return None if output is None or len(output.shape) != 2 else output.shape[1]


def _named(given: object) -> str | None:
    """What a run is resumed by: a name, and the digest of the file that it names, if it does."""
    if given is None:
        return None
    name = os.fspath(given) if isinstance(given, str | os.PathLike) else type(given).__name__
    if not isinstance(name, str):
        return str(name)
    # Of `file.py:function` the file.
    path = next((text for text in (name, name.rpartition(":")[0]) if Path(text).is_file()), None)
    if path is None:
        return name
    with Path(path).open("rb") as file:
        return f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"
