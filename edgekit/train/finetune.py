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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx
import torch

import edgekit_models
from edgekit.data import FASHION_MNIST
from edgekit.errors import InputError, RecipeError, UsageError
from edgekit.files import write_atomic
from edgekit.graph import load_graph
from edgekit.graph.inputs import input_shapes
from edgekit.packfile.writer import pack
from edgekit.preprocess import make_preprocess
from edgekit.train.chain import PACKED, Chain, StageResult
from edgekit.train.datasets import TrainingData
from edgekit.train.graph_module import GraphModule
from edgekit.train.judge import measure_file
from edgekit.train.loop import check_threads, reproducible
from edgekit.train.methods.method import Method
from edgekit.train.recipe import Recipe, Stage, Train, read_recipe
from edgekit.train.sources import Source, open_data
from edgekit.train.stages import Workpiece, sparsity
from edgekit.train.start import float_file
from edgekit.train.task import Task, load_task
from edgekit.train.teacher import Teacher
from edgekit.train.tuning import Progress, Rhythm, Tuning, has_labels
from edgekit.train.workers import Workers, joined

FLOAT = "0-float.onnx"

Watch = Callable[[str, Progress], None]
"""Told the stage's name and each epoch of this process."""


@dataclass(frozen=True, slots=True)
class FinetuneReport:
    """A finished run. Sizes are bytes of finished files, metrics means over whole splits.

    stages: from the float model on, measured on validation; the last one is the packed file's.
    test: each stage's model on the test split, measured once at the end, None without one; the
    last is the packed file's in onnxruntime. ratio: float ONNX file over packed file.
    """

    source: str
    output: str
    recipe: Recipe
    data: str
    metric: str
    validation_samples: int
    test_samples: int
    seed: int
    threads: int
    stages: tuple[StageResult, ...]
    test: tuple[float, ...] | None
    float_bytes: int
    packed_bytes: int
    ratio: float
    sha256: str

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-compatible values."""
        return {**asdict(self), "recipe": self.recipe.to_dict()}


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

    source: an ONNX file, or what `export` takes; `weights` and `input_shape` as there.
    output: a folder that is made; edgekit.train.chain says what it holds in the end.
    recipe: a TOML file, the name of a recipe that comes with edgekit, or a Recipe.
    data: splits, or what edgekit.train.sources.open_data makes them from, with `preprocess`, which
    the packed file keeps, and `train_limit` as its limit. task: loss and metric, or
    `file.py:Name`; classification by default. teacher: an ONNX file to learn from in place of the
    float model.
    resume: continue an interrupted run, with the result that it would have had.

    Where torchrun has started several processes of this call, they train one network together:
    each takes a part of every batch, and the first one alone writes and watches.

    Same seed and threads, same result on the same machine. Raises RecipeError, UsageError,
    InputError, ExportError, DataError, CheckFailedError where training diverges, OutputError.
    """
    chosen = recipe if isinstance(recipe, Recipe) else read_recipe(find_recipe(recipe))
    if seed < 0:
        raise UsageError(f"seed must be at least 0, got {seed}")
    check_threads(threads)
    if train_limit is not None and train_limit < 1:
        raise UsageError(f"train_limit must be at least 1, got {train_limit}")
    if teacher is not None and chosen.distillation is None:
        raise RecipeError("a teacher is named, but the recipe has no [distillation] table")
    work = load_task(task) if task is None or isinstance(task, str) else task
    settings = {
        "source": source,
        "weights": _named(weights),
        "input_shape": input_shape,
        "recipe": chosen.to_dict(),
        "data": data.name if isinstance(data, TrainingData) else _named(data),
        "preprocess": _named(preprocess),
        "train_limit": train_limit,
        "task": task if isinstance(task, str) else work.metric_name,
        "teacher": _named(teacher),
        "seed": seed,
        "threads": threads,
    }
    folder = Path(output)
    first = chosen.stages[0]
    with joined() as workers, reproducible(threads):
        if workers.count > 1:
            # Sums are rounded differently among another number of them.
            settings["workers"] = workers.count
        chain = Chain(folder, settings, resume=resume, writes=workers.is_first)
        # Nobody writes before everybody has looked.
        workers.meet()
        torch.manual_seed(seed)
        whole = b""
        if chain.stages:
            whole = chain.path(FLOAT).read_bytes()
        elif workers.is_first:
            whole = float_file(
                source,
                weights=weights,
                input_shape=input_shape,
                training=first if isinstance(first, Train) else None,
                folder=folder,
                seed=seed,
            )
        whole = workers.told(whole)
        model = load_graph(whole).model()
        shape = next(iter(input_shapes(model).values()), ())
        splits = (
            data
            if isinstance(data, TrainingData)
            else open_data(data, input_shape=shape, preprocess=preprocess, limit=train_limit)
        )
        run = _Run(chain, chosen, data=splits, task=work, seed=seed, workers=workers)
        if preprocess is not None:
            run.preprocessing = make_preprocess(preprocess, shape).to_dict()
        run.begin(whole, model, teacher)
        for number, stage in enumerate(run.stages, 1):
            if number >= len(chain.stages):
                run.stage(number, stage, watch)
        return run.finish(source)


def _named(given: object) -> str | None:
    """What a run is resumed by: a name, and the digest of the file that it names, if it does."""
    if given is None:
        return None
    name = os.fspath(given) if isinstance(given, str | os.PathLike) else type(given).__name__
    if not isinstance(name, str) or not Path(name).is_file():
        return str(name)
    with Path(name).open("rb") as file:
        return f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"


def find_recipe(recipe: str | os.PathLike[str]) -> Path:
    """The file of a recipe that comes with edgekit, or the path as it is.

    Raises RecipeError for a name that is neither.
    """
    known = edgekit_models.recipe_paths()
    name = os.fspath(recipe)
    if name in known:
        return known[name]
    if not Path(name).is_file():
        raise RecipeError(f"no recipe {name}: name a .toml file or one of {', '.join(known)}")
    return Path(name)


class _Run:
    """One run, from its float model on."""

    def __init__(
        self,
        chain: Chain,
        recipe: Recipe,
        *,
        data: TrainingData,
        task: Task,
        seed: int,
        workers: Workers,
    ) -> None:
        self.chain, self.recipe, self.data, self.task, self.seed = chain, recipe, data, task, seed
        self.workers = workers
        self.teacher: Teacher | None = None
        self.preprocessing: dict[str, Any] | None = None
        self.stages = tuple(stage for stage in recipe.stages if not isinstance(stage, Train))

    def begin(
        self, whole: bytes, model: onnx.ModelProto, teacher: str | os.PathLike[str] | None
    ) -> None:
        """Get the teacher, and measure the float model, whose file is `whole`."""
        if self.recipe.distillation is not None:
            taught = model if teacher is None else load_graph(teacher).model()
            self.teacher = Teacher(taught, self.recipe.distillation)
        if self.chain.stages:
            return
        module = GraphModule(model)
        method = Method(module, {})
        result = StageResult(
            number=0,
            kind="float",
            file=FLOAT,
            file_bytes=len(whole),
            validation=self._tuning(module, method, self.stages[0]).measure(self.data.validation),
            sparsity=sparsity(module.numbers(), method.coded_names),
            bits_per_weight=None,
            epochs=0,
            seconds=0,
        )
        self._keep(result, whole)

    def stage(self, number: int, stage: Stage, watch: Watch | None) -> None:
        """Train one stage, from its last saved epoch on, and keep what comes out."""
        before = load_graph(self.chain.path(self.chain.stages[-1].file)).model()
        piece = Workpiece(
            before,
            stage,
            is_pruned=any(earlier.kind == "prune" for earlier in self.chain.stages),
            calibration=self.data.training,
            seed=self.seed + number,
        )
        tuning = self._tuning(piece.module, piece.method, stage)
        self.workers.share(
            tensor
            for part in (piece.module, piece.method)
            for tensor in (*part.parameters(), *part.buffers())
        )
        history: list[Progress] = []
        saved = self.chain.saved(number)
        if saved is not None:
            try:
                tuning.restore(saved[0])
            except (RuntimeError, KeyError, ValueError, TypeError) as error:
                raise self.chain.broken_state() from error
            history = saved[1]
        while not tuning.is_finished:
            history.append(tuning.epoch())
            self.chain.save(number, tuning.state(), history)
            if watch is not None and self.workers.is_first:
                watch(f"{number} {stage.kind}", history[-1])
        outcome = piece.outcome()
        model = outcome.model.SerializeToString(deterministic=True)
        result = StageResult(
            number=number,
            kind=stage.kind,
            file=f"{number}-{stage.kind}.onnx",
            file_bytes=len(model),
            validation=tuning.measure(self.data.validation),
            sparsity=outcome.sparsity,
            bits_per_weight=outcome.bits_per_weight,
            epochs=stage.epochs,
            seconds=sum(line.seconds for line in history),
        )
        if number == len(self.stages) and self.workers.is_first:
            facts = {
                "recipe": self.recipe.to_dict() | {"seed": self.seed},
                "metrics": {},
                "preprocessing": self.preprocessing,
            }
            packed = pack(piece.compressed(outcome, facts), coder=self.recipe.coder)
            write_atomic(self.chain.path(PACKED), packed)
        self._keep(result, model)

    def finish(self, source: str) -> FinetuneReport:
        """Measure the test split, once, and write the report."""
        packed = self.chain.path(PACKED)
        files = [self.chain.path(stage.file) for stage in self.chain.stages[:-1]] + [packed]
        split = self.data.test
        if not packed.is_file():
            raise InputError(f"{packed} is gone; begin anew in another folder")
        test = (
            None
            if split is None
            else tuple(measure_file(file, split, self.task, self.workers) for file in files)
        )
        data = packed.read_bytes()
        float_bytes = self.chain.stages[0].file_bytes
        report = FinetuneReport(
            source=source,
            output=os.fspath(packed),
            recipe=self.recipe,
            data=self.data.name,
            metric=self._metric_name(),
            validation_samples=len(self.data.validation),
            test_samples=0 if split is None else len(split),
            seed=self.seed,
            threads=torch.get_num_threads(),
            stages=tuple(self.chain.stages),
            test=test,
            float_bytes=float_bytes,
            packed_bytes=len(data),
            ratio=float_bytes / len(data),
            sha256=hashlib.sha256(data).hexdigest(),
        )
        facts = report.to_dict()
        self.chain.finish({key: facts[key] for key in facts if key not in {"stages", "recipe"}})
        return report

    def _keep(self, result: StageResult, model: bytes) -> None:
        """Add a finished stage; from here on every worker may read its file."""
        self.chain.add(result, model)
        self.workers.meet()

    def _metric_name(self) -> str:
        if has_labels(self.data.validation):
            return self.task.metric_name
        return "agreement with the teacher"

    def _tuning(self, module: GraphModule, method: Method, stage: Stage) -> Tuning:
        rhythm = Rhythm(
            epochs=stage.epochs,
            learning_rate=stage.learning_rate,
            batch_size=self.recipe.batch_size,
            seed=self.seed,
            bfloat16=self.recipe.precision == "bfloat16",
        )
        return Tuning(
            module,
            method,
            rhythm,
            data=self.data,
            task=self.task,
            teacher=self.teacher,
            workers=self.workers,
        )
