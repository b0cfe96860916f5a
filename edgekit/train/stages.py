"""One stage of a recipe: a model and a method in, the model after it and its codes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from edgekit.compress.calibrated import Calibration
from edgekit.compress.goal import CalibrationInputs
from edgekit.compress.measure import bits_per_code
from edgekit.compress.prune import zeros_kept
from edgekit.compress.run_form import choose_run_form
from edgekit.compress.surgery import operate
from edgekit.errors import DataError, PlanError
from edgekit.graph import load_graph
from edgekit.packfile.activations import Activations, read_activations, record
from edgekit.tensors import CodedTensor, CompressedModel
from edgekit.train.datasets import Split
from edgekit.train.graph_module import GraphModule
from edgekit.train.methods.activations import round_activations
from edgekit.train.methods.gridding import Gridding
from edgekit.train.methods.method import Method
from edgekit.train.methods.pruning import Pruning
from edgekit.train.methods.sharing import Sharing
from edgekit.train.packing import trained_model
from edgekit.train.recipe import Channels, Grid, LowRank, Prune, Share, Stage

_CALIBRATION_INPUTS = 512


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """A trained stage. model: with the numbers as its layers saw them. coded: tensors as codes.

    numbers: of all trained tensors. coded_names: the weights that are worth coding.
    """

    model: onnx.ModelProto
    numbers: dict[str, NDArray[np.float32]]
    coded: dict[str, CodedTensor]
    coded_names: tuple[str, ...]

    @property
    def sparsity(self) -> float:
        """Share of zeros among the weights that are worth coding."""
        return sparsity(self.numbers, self.coded_names)

    @property
    def bits_per_weight(self) -> float | None:
        """Zero-order entropy of the codes of the weights, in bits a weight, where there are any."""
        if not self.coded:
            return None
        codes = [self.coded[name].codes for name in self.coded_names]
        return sum(bits_per_code(c) * c.size for c in codes) / max(sum(c.size for c in codes), 1)


class Workpiece:
    """A graph module under a stage's method.

    before: the model before the stage, whose zeros stay zeros. calibration: where the ranges of
    activations are measured, if the stage rounds them.
    """

    def __init__(
        self,
        before: onnx.ModelProto,
        stage: Stage,
        *,
        calibration: Split,
        seed: int,
    ) -> None:
        self._model = _reshaped(before, stage, calibration)
        self.module = GraphModule(self._model)
        numbers = self.module.numbers()
        masks = zeros_kept({name: values for name, values in numbers.items() if values.ndim > 1})
        axes = {weight.name: weight.axis for weight in load_graph(_bytes(self._model)).weights}
        steps: dict[str, float] = {}
        if isinstance(stage, Grid) and stage.bits_per_weight is not None:
            steps = _first_steps(self._model, stage, _spread(calibration))
        self.method = _method(self.module, masks, stage, axes=axes, steps=steps, seed=seed)
        self.activations: Activations | None = None
        if isinstance(stage, Grid) and stage.activations:
            self.activations = self._calibrated(before, calibration)
            round_activations(self.module, self.activations)

    def outcome(self) -> Outcome:
        """What the method has made of the model."""
        # Where there were no steps, masks haven't been chosen yet.
        self.method.before_step(1.0)
        self.method.eval()
        numbers = self.method.numbers()
        with torch.no_grad():
            for name, weight in self.module.weights.items():
                weight.copy_(torch.from_numpy(numbers[name]))
        return Outcome(self.module.model(), numbers, self.method.coded(), self.method.coded_names)

    def compressed(self, outcome: Outcome, facts: dict[str, Any]) -> CompressedModel:
        """The model to pack. facts: for the manifest."""
        graph = load_graph(_bytes(outcome.model))
        made = trained_model(graph, outcome.coded, outcome.numbers, facts)
        if self.activations is not None:
            record(made.manifest, self.activations, "int8")
        return made

    def _calibrated(self, before: onnx.ModelProto, split: Split) -> Activations:
        self.method.eval()
        made = self.compressed(
            Outcome(before, self.method.numbers(), self.method.coded(), self.method.coded_names), {}
        )
        graph = load_graph(_bytes(before))
        inputs = _spread(split)
        # With no layer left to choose, nothing depends on the time that candidates take.
        choose_run_form(graph, made, inputs, "int8", floats=())
        found = read_activations(made.manifest)
        if found is None:
            raise AssertionError("calibration recorded nothing")
        return found


def sparsity(numbers: dict[str, NDArray[np.float32]], names: tuple[str, ...]) -> float:
    """Share of zeros among the numbers of these tensors."""
    total = sum(numbers[name].size for name in names)
    zeros = total - sum(int(np.count_nonzero(numbers[name])) for name in names)
    return zeros / max(total, 1)


def _spread(split: Split) -> NDArray[np.float32]:
    """Inputs evenly spread over a split."""
    step = max(1, len(split) // _CALIBRATION_INPUTS)
    chosen = torch.arange(0, len(split), step)[:_CALIBRATION_INPUTS]
    return split.batch(chosen)[0].numpy()


def _first_steps(
    model: onnx.ModelProto, stage: Grid, inputs: NDArray[np.float32]
) -> dict[str, float]:
    """Steps that spend `start_bits` a weight where they matter most, as compression places them."""
    try:
        calibration = Calibration(load_graph(_bytes(model)), inputs)
        factor = calibration.factor_for(stage.start_bits * calibration.weight_count)
        found = calibration.codes_at(factor)
    except (DataError, PlanError):
        return {}
    # Channels with large weights have longer steps, which training finds its own way around. On a
    # trellis, levels that a code chooses among are two steps apart.
    return {
        name: float(np.min(tensor.scale)) * (2 if tensor.on_trellis else 1)
        for name, tensor in found.coded.items()
        if tensor.scale is not None
    }


def _reshaped(model: onnx.ModelProto, stage: Stage, calibration: Split) -> onnx.ModelProto:
    """The model that a stage trains: the same, or one with fewer channels or lower ranks."""
    if not isinstance(stage, Channels | LowRank):
        return model
    graph = load_graph(_bytes(model))
    inputs = CalibrationInputs(_spread(calibration), "training inputs")
    channels, energy = (stage.keep, None) if isinstance(stage, Channels) else (1.0, stage.energy)
    return operate(graph, inputs, channels=channels, low_rank=energy).graph.model()


def _method(
    module: GraphModule,
    masks: dict[str, NDArray[np.bool_]],
    stage: Stage,
    *,
    axes: dict[str, int | None],
    steps: dict[str, float],
    seed: int,
) -> Method:
    if isinstance(stage, Prune):
        return Pruning(module, masks, stage)
    if isinstance(stage, Share):
        return Sharing(module, masks, stage, seed)
    if isinstance(stage, Grid):
        return Gridding(module, masks, stage, axes, steps)
    return Method(module, masks)


def _bytes(model: onnx.ModelProto) -> bytes:
    data: bytes = model.SerializeToString(deterministic=True)
    return data
