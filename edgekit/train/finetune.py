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

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

import edgekit_models
from edgekit.compress.measure import entropy_bits
from edgekit.errors import RecipeError, UsageError
from edgekit.export.pytorch import export
from edgekit.files import write_atomic
from edgekit.graph import load_graph
from edgekit.runtime.session import load
from edgekit.tensors import CodedTensor
from edgekit.train import fit
from edgekit.train.chain import PACKED, Chain, StageResult
from edgekit.train.datasets import Split, TrainingData, fashion_mnist
from edgekit.train.graph_module import GraphModule
from edgekit.train.loop import EVALUATION_BATCH, reproducible
from edgekit.train.methods.gridding import Gridding
from edgekit.train.methods.method import Method
from edgekit.train.methods.pruning import Pruning
from edgekit.train.methods.sharing import Sharing
from edgekit.train.packing import pack_trained
from edgekit.train.recipe import Channels, Grid, LowRank, Prune, Recipe, Share, Stage, read_recipe
from edgekit.train.task import Classification, Task
from edgekit.train.teacher import Teacher
from edgekit.train.tuning import Progress, Rhythm, Tuning

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
    data: TrainingData | None = None,
    task: Task | None = None,
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
    data: splits to learn from; Fashion-MNIST by default. task: loss and metric; classification
    by default. teacher: an ONNX file to learn from in place of the float model.
    resume: continue an interrupted run, with the result that it would have had.

    Same seed and threads, same result on the same machine. Raises RecipeError, UsageError,
    InputError, ExportError, DataError, CheckFailedError where training diverges, OutputError.
    """
    chosen = recipe if isinstance(recipe, Recipe) else read_recipe(find_recipe(recipe))
    splits = data or fashion_mnist()
    work = task or Classification()
    settings = {
        "source": source,
        "weights": None if weights is None else os.fspath(weights),
        "recipe": chosen.to_dict(),
        "data": splits.name,
        "training_samples": len(splits.training),
        "teacher": None if teacher is None else os.fspath(teacher),
        "seed": seed,
        "threads": threads,
    }
    if seed < 0 or threads < 1:
        raise UsageError(f"seed must be at least 0 and threads at least 1, got {seed}, {threads}")
    chain = Chain(Path(output), settings, resume=resume)
    with reproducible(threads):
        torch.manual_seed(seed)
        run = _Run(chain, chosen, data=splits, task=work, seed=seed, watch=watch)
        run.begin(source, weights, input_shape, teacher)
        for number, stage in enumerate(run.trained_stages, 1):
            if number >= len(chain.stages):
                run.stage(number, stage)
        return run.finish(source)


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
    """One run, from its folder on."""

    def __init__(
        self,
        chain: Chain,
        recipe: Recipe,
        *,
        data: TrainingData,
        task: Task,
        seed: int,
        watch: Watch | None,
    ) -> None:
        self.chain, self.recipe, self.data, self.task = chain, recipe, data, task
        self.seed, self.watch = seed, watch
        self.teacher: Teacher | None = None
        first = recipe.stages[0]
        self.training = first if first.kind == "train" else None
        self.trained_stages: tuple[Stage, ...] = recipe.stages[self.training is not None :]

    def begin(
        self,
        source: str,
        weights: str | os.PathLike[str] | None,
        input_shape: tuple[int, ...] | None,
        teacher: str | os.PathLike[str] | None,
    ) -> None:
        """Get the float model and the teacher, and measure the model before its first stage."""
        path = self.chain.path(FLOAT)
        is_new = not self.chain.stages
        if is_new:
            write_atomic(path, self._float_file(source, weights, input_shape))
        model = load_graph(path).model()
        if self.recipe.distillation is not None:
            taught = model if teacher is None else load_graph(teacher).model()
            self.teacher = Teacher(taught, self.recipe.distillation)
        elif teacher is not None:
            raise RecipeError("a teacher is named, but the recipe has no [distillation] table")
        if is_new:
            module = GraphModule(model)
            tuning = self._tuning(module, Method(module, {}), self.trained_stages[0])
            result = StageResult(
                number=0,
                kind="float",
                file=FLOAT,
                file_bytes=path.stat().st_size,
                validation=tuning.measure(self.data.validation),
                sparsity=_sparsity(module.numbers(), tuning.method.coded_names),
                bits_per_weight=None,
                epochs=0,
                seconds=0,
            )
            self.chain.add(result, path.read_bytes())

    def stage(self, number: int, stage: Stage) -> None:
        """Train one stage, from its last saved epoch on, and keep what comes out."""
        before = load_graph(self.chain.path(self.chain.stages[-1].file)).model()
        changed = _reshaped(before, stage)
        module = GraphModule(changed)
        method = self._method(module, stage, number)
        tuning = self._tuning(module, method, stage)
        history: list[Progress] = []
        saved = self.chain.saved(number)
        if saved is not None:
            tuning.restore(saved[0])
            history = saved[1]
        while not tuning.is_finished:
            history.append(tuning.epoch())
            self.chain.save(number, tuning.state(), history)
            if self.watch is not None:
                self.watch(f"{number} {stage.kind}", history[-1])
        # Where there were no steps, masks haven't been chosen yet.
        method.before_step(1.0)
        method.eval()
        numbers, coded = method.numbers(), method.coded()
        model = _with_numbers(changed, numbers).SerializeToString(deterministic=True)
        result = StageResult(
            number=number,
            kind=stage.kind,
            file=f"{number}-{stage.kind}.onnx",
            file_bytes=len(model),
            validation=tuning.measure(self.data.validation),
            sparsity=_sparsity(numbers, method.coded_names),
            bits_per_weight=_bits(coded, method.coded_names),
            epochs=stage.epochs,
            seconds=sum(line.seconds for line in history),
        )
        if number == len(self.trained_stages):
            self._pack(model, numbers, coded)
        self.chain.add(result, model)

    def finish(self, source: str) -> FinetuneReport:
        """Measure the test split, once, and write the report."""
        packed = self.chain.path(PACKED)
        files = [self.chain.path(stage.file) for stage in self.chain.stages[:-1]] + [packed]
        split = self.data.test
        test = None if split is None else tuple(self._measured(file, split) for file in files)
        data = packed.read_bytes()
        report = FinetuneReport(
            source=source,
            output=os.fspath(packed),
            recipe=self.recipe,
            data=self.data.name,
            metric=self.task.metric_name,
            validation_samples=len(self.data.validation),
            test_samples=0 if split is None else len(split),
            seed=self.seed,
            threads=torch.get_num_threads(),
            stages=tuple(self.chain.stages),
            test=test,
            float_bytes=self.chain.stages[0].file_bytes,
            packed_bytes=len(data),
            ratio=self.chain.stages[0].file_bytes / len(data),
            sha256=hashlib.sha256(data).hexdigest(),
        )
        facts = report.to_dict()
        self.chain.finish({key: facts[key] for key in facts.keys() - {"stages", "recipe"}})
        return report

    def _train(self, source: str) -> Path:
        stage = self.training
        if stage is None:
            raise AssertionError("no train stage")
        path = self.chain.path("0-train.safetensors")
        fit.train(
            source,
            path,
            epochs=int(stage.epochs),
            learning_rate=stage.learning_rate,
            seed=self.seed,
            threads=torch.get_num_threads(),
            resume=True,
        )
        return path

    def _float_file(
        self,
        source: str,
        weights: str | os.PathLike[str] | None,
        input_shape: tuple[int, ...] | None,
    ) -> bytes:
        """The float model as one ONNX file."""
        if not source.endswith(".onnx"):
            if self.training is not None:
                weights = self._train(source)
            path = self.chain.path(FLOAT)
            export(source, path, weights=weights, input_shape=input_shape)
            return path.read_bytes()
        if self.training is not None:
            raise RecipeError("a train stage builds a network anew; name a module, not ONNX")
        if weights is not None or input_shape is not None:
            raise UsageError("an ONNX file has its own weights and input shape")
        graph = load_graph(source)
        data = Path(source).read_bytes()
        # A model with external data becomes one file.
        is_whole = len(data) == graph.source_bytes
        return data if is_whole else graph.model().SerializeToString(deterministic=True)

    def _method(self, module: GraphModule, stage: Stage, number: int) -> Method:
        kinds = {earlier.kind for earlier in self.chain.stages}
        # Zeros of a model that was pruned are its masks.
        masks = {
            name: values != 0
            for name, values in module.numbers().items()
            if "prune" in kinds and values.ndim > 1 and not np.all(values)
        }
        if isinstance(stage, Prune):
            return Pruning(module, masks, stage)
        if isinstance(stage, Share):
            return Sharing(module, masks, stage, self.seed + number)
        if isinstance(stage, Grid):
            return Gridding(module, masks, stage)
        return Method(module, masks)

    def _tuning(self, module: GraphModule, method: Method, stage: Stage) -> Tuning:
        rhythm = Rhythm(
            epochs=stage.epochs,
            learning_rate=stage.learning_rate,
            batch_size=self.recipe.batch_size,
            seed=self.seed,
            bfloat16=self.recipe.precision == "bfloat16",
        )
        return Tuning(module, method, rhythm, data=self.data, task=self.task, teacher=self.teacher)

    def _pack(
        self,
        model: bytes,
        numbers: dict[str, NDArray[np.float32]],
        coded: dict[str, CodedTensor],
    ) -> None:
        graph = load_graph(model)
        facts = {"recipe": self.recipe.to_dict() | {"seed": self.seed}, "metrics": {}}
        data = pack_trained(graph, coded, numbers, coder=self.recipe.coder, facts=facts)
        write_atomic(self.chain.path(PACKED), data)

    def _measured(self, file: Path, split: Split) -> float:
        """The task's metric of a model file in onnxruntime."""
        session = load(file, threads=torch.get_num_threads())
        name = session.get_inputs()[0].name
        total = 0.0
        for chosen in torch.split(torch.arange(len(split)), EVALUATION_BATCH):
            inputs, labels = split.batch(chosen)
            if labels is None:
                raise UsageError("the test split has no labels; leave it out")
            outputs = session.run(None, {name: inputs.numpy()})[0]
            total += float(self.task.metric(torch.from_numpy(outputs), labels).sum())
        return total / len(split)


def _reshaped(model: onnx.ModelProto, stage: Stage) -> onnx.ModelProto:
    if isinstance(stage, Channels | LowRank):
        raise RecipeError(f"{stage.kind} stages aren't there yet")
    return model


def _with_numbers(
    model: onnx.ModelProto, numbers: dict[str, NDArray[np.float32]]
) -> onnx.ModelProto:
    """A copy of a model with these values of its weights, each in the type that it had."""
    module = GraphModule(model)
    with torch.no_grad():
        for name, weight in module.weights.items():
            weight.copy_(torch.from_numpy(numbers[name]))
    return module.model()


def _sparsity(numbers: dict[str, NDArray[np.float32]], names: tuple[str, ...]) -> float:
    total = sum(numbers[name].size for name in names)
    zeros = total - sum(int(np.count_nonzero(numbers[name])) for name in names)
    return zeros / max(total, 1)


def _bits(coded: dict[str, CodedTensor], names: tuple[str, ...]) -> float | None:
    """Entropy of the codes of the weights, in bits a weight."""
    if not coded:
        return None
    codes = [coded[name].codes for name in names]
    return sum(entropy_bits(c) * c.size for c in codes) / sum(c.size for c in codes)
