"""A run of a recipe: its stages one after the other, and the judgement of what comes out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import numpy_helper

from edgekit.errors import FormatError, InputError
from edgekit.files import write_atomic
from edgekit.graph import load_graph
from edgekit.packfile.activations import RunForm, recorded_form
from edgekit.packfile.onnx_model import to_model_proto
from edgekit.packfile.reader import read_packfile
from edgekit.packfile.writer import pack
from edgekit.train.chain import PACKED, REPORT, Chain, StageResult, stage_file
from edgekit.train.datasets import TrainingData
from edgekit.train.graph_module import GraphModule
from edgekit.train.judge import check_judge, measure_file
from edgekit.train.methods.method import Method
from edgekit.train.methods.pruning import check_pattern
from edgekit.train.recipe import Channels, Grid, LowRank, Prune, Recipe, Stage, Train, settled
from edgekit.train.stages import Workpiece, sparsity
from edgekit.train.state import BROKEN
from edgekit.train.task import Task
from edgekit.train.teacher import Teacher
from edgekit.train.tuning import Progress, Rhythm, Tuning, check_attempts, has_labels
from edgekit.train.workers import Workers

FLOAT = stage_file(0, "float")

AGREEMENT = "agreement with the teacher"
"""What validation is measured by without labels."""

Watch = Callable[[str, Progress], None]
"""Told the stage, its attempt where that isn't the first, and each epoch of this process."""


@dataclass(frozen=True, slots=True)
class FinetuneReport:
    """A finished run. Sizes are bytes of finished files, metrics means over whole splits.

    metric, test_metric: what validation and test are measured by; without labels validation is
    measured by the agreement with the teacher, and without a test split there is no metric of it.
    stages: from the float model on, measured on validation, where the last one has the codes.
    test: each stage's model on the test split, measured once at the end, None without one; the
    last is the packed file's in onnxruntime. run_form: the form that the packed file says it runs
    in, and in which it is measured. ratio: float ONNX file over packed file. sha256: of the packed
    file, as sha256sum prints it. workers: processes that trained together. failures: one line for
    each bound of the recipe that isn't met.
    """

    source: str
    output: str
    recipe: Recipe
    data: str
    metric: str
    test_metric: str | None
    validation_samples: int
    test_samples: int
    seed: int
    threads: int
    stages: tuple[StageResult, ...]
    test: tuple[float, ...] | None
    run_form: RunForm
    float_bytes: int
    packed_bytes: int
    ratio: float
    sha256: str
    workers: int
    failures: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-compatible values."""
        return {**asdict(self), "recipe": self.recipe.to_dict()}


class RecipeRun:
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

    def begin(self, whole: bytes, model: onnx.ModelProto, teacher: onnx.ModelProto | None) -> None:
        """Get the teacher, and measure the float model, whose file is `whole`.

        teacher: None where the float model itself teaches.
        """
        if self.recipe.distillation is not None:
            self.teacher = Teacher(model if teacher is None else teacher, self.recipe.distillation)
        if self.data.test is not None:
            check_judge(whole, self.data.test, "the float model")
        if self.chain.stages:
            self._check_attempts()
            return
        module = GraphModule(model)
        method = Method(module, {})
        for stage in self.stages:
            if isinstance(stage, Channels | LowRank):
                # Behind these the layers have other shapes.
                break
            if isinstance(stage, Prune):
                check_pattern(module, stage)
        tuning = self._tuning(module, method, self.stages[0])
        tuning.rehearse()
        result = StageResult(
            number=0,
            kind="float",
            file=FLOAT,
            file_bytes=len(whole),
            validation=tuning.measure(self.data.validation),
            sparsity=sparsity(module.numbers(), method.coded_names),
            bits_per_weight=None,
            epochs=0,
            seconds=0,
        )
        self._keep(result, whole)

    def stage(self, number: int, stage: Stage, watch: Watch | None) -> None:
        """Train one stage, from its last saved epoch on, and keep what comes out."""
        tries = _tries(stage)
        state, history = self.chain.saved(number) or (None, [])
        attempt = history[-1].attempt if history else 1
        if attempt > len(tries):
            raise self.chain.broken_state(ValueError(f"it has no attempt {attempt}"))
        while True:
            piece, tuning = self._begun(number, tries[attempt - 1])
            if state is not None:
                self._go_on(tuning, state, history)
            while not tuning.is_finished:
                history.append(tuning.epoch(attempt))
                self.chain.save(number, tuning.state(), history)
                if watch is not None and self.workers.is_first:
                    again = "" if attempt == 1 else f", attempt {attempt}"
                    watch(f"{number} {stage.kind}{again}", history[-1])
            outcome = piece.outcome()
            validation = tuning.measure(self.data.validation)
            if attempt == len(tries) or self._is_kept(stage, validation):
                break
            state, attempt = None, attempt + 1
        model = outcome.model.SerializeToString(deterministic=True)
        result = StageResult(
            number=number,
            kind=stage.kind,
            file=stage_file(number, stage.kind),
            file_bytes=len(model),
            validation=validation,
            sparsity=outcome.sparsity,
            bits_per_weight=outcome.bits_per_weight,
            epochs=attempt * stage.epochs,
            seconds=sum(line.seconds for line in history),
            attempts=attempt,
            bound=_bound(tries[attempt - 1]),
        )
        if number == len(self.stages) and self.workers.is_first:
            facts = {
                "recipe": settled(self.recipe, attempt).to_dict() | {"seed": self.seed},
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
        # A metric may draw as well.
        torch.manual_seed(self.seed)
        if not packed.is_file():
            raise InputError(f"{packed} is gone; begin anew in another folder")
        form = _check_packed(packed, self.chain.path(self.chain.stages[-1].file))
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
            test_metric=None if split is None else self.task.metric_name,
            validation_samples=len(self.data.validation),
            test_samples=0 if split is None else len(split),
            seed=self.seed,
            threads=torch.get_num_threads(),
            stages=tuple(self.chain.stages),
            test=test,
            run_form=form,
            float_bytes=float_bytes,
            packed_bytes=len(data),
            ratio=float_bytes / len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            workers=self.workers.count,
            failures=self._failures(),
        )
        facts = report.to_dict()
        self.chain.finish({key: facts[key] for key in facts if key not in {"stages", "recipe"}})
        return report

    def _check_attempts(self) -> None:
        """Raise InputError for attempts, or a bound, that the recipe of a stage doesn't have."""
        for stage, result in zip(self.stages, self.chain.stages[1:], strict=False):
            bounds = [_bound(tried) for tried in _tries(stage)]
            # A run of an earlier edgekit names no bound.
            is_known = result.bound is None and result.attempts == 1
            if not is_known and (result.attempts, result.bound) not in enumerate(bounds, 1):
                raise InputError(
                    f"{self.chain.path(REPORT)}: stage {result.number} can't have had "
                    f"{result.attempts} attempts; begin anew in another folder"
                )

    def _begun(self, number: int, stage: Stage) -> tuple[Workpiece, Tuning]:
        """A stage before its first step."""
        before = load_graph(self.chain.path(self.chain.stages[-1].file)).model()
        # The same chance for a stage whether or not those before it ran in this process.
        torch.manual_seed(self.seed + number)
        piece = Workpiece(
            before,
            stage,
            calibration=self.data.training,
            seed=self.seed + number,
        )
        tuning = self._tuning(piece.module, piece.method, stage)
        self.workers.share(
            tensor
            for part in (piece.module, piece.method)
            for tensor in (*part.parameters(), *part.buffers())
        )
        return piece, tuning

    def _go_on(self, tuning: Tuning, state: dict[str, Any], history: list[Progress]) -> None:
        """Take up the last attempt of a history. Raises InputError for what can't be its state."""
        try:
            check_attempts(history, tuning.epochs)
            tuning.restore(state, history[-1].epoch)
        except BROKEN as error:
            raise self.chain.broken_state(error) from error

    def _is_kept(self, stage: Stage, validation: float) -> bool:
        """Whether a stage lost no more of the float model's metric than it may.

        Agreement with a teacher, in place of labels, is another measure than what may be lost.
        """
        most = stage.max_drop if isinstance(stage, Grid) else None
        if most is None or not has_labels(self.data.validation):
            return True
        return lost(self.chain.stages[0].validation, validation) <= most

    def _failures(self) -> tuple[str, ...]:
        """What the last stage lost, if it is more than it may."""
        stage, validation = self.stages[-1], self.chain.stages[-1].validation
        if not isinstance(stage, Grid) or self._is_kept(stage, validation):
            return ()
        points = lost(self.chain.stages[0].validation, validation)
        failure = (
            f"{points:.2f} points of validation are lost, and the recipe allows "
            f"{stage.max_drop:g}; more epochs, a higher start_bits or a teacher may help"
        )
        return (failure,)

    def _keep(self, result: StageResult, model: bytes) -> None:
        """Add a finished stage; from here on every worker may read its file."""
        self.chain.add(result, model)
        self.workers.meet()

    def _metric_name(self) -> str:
        if has_labels(self.data.validation):
            return self.task.metric_name
        return AGREEMENT

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


def lost(before: float, after: float) -> float:
    """Points of a metric, to the millionth: shares of whole samples lose just what is allowed."""
    return round(100 * (before - after), 6)


def _tries(stage: Stage) -> tuple[Stage, ...]:
    return stage.attempts() if isinstance(stage, Grid) else (stage,)


def _bound(stage: Stage) -> float | None:
    return stage.bits_per_weight if isinstance(stage, Grid) else None


def _check_packed(packed: Path, last: Path) -> RunForm:
    """The run form that a packed file says.

    Raises InputError unless it restores the numbers of the last stage's model.
    """
    try:
        model = read_packfile(packed)
        restored, form = to_model_proto(model), recorded_form(model.manifest)
    except FormatError as error:
        raise InputError(f"{packed}: {error}; begin anew in another folder") from error
    if _numbers(restored) != _numbers(load_graph(last).model()):
        raise InputError(f"{packed} isn't made of {last}; begin anew in another folder")
    return form


def _numbers(model: onnx.ModelProto) -> dict[str, bytes]:
    return {
        tensor.name: numpy_helper.to_array(tensor).tobytes() for tensor in model.graph.initializer
    }
