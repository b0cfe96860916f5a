"""Putting all layers of a measured model on given levels, and correcting their biases.

Either each layer by itself, as the original model feeds it, or in turn: then a layer makes up for
what was done to those before it. Where inputs are few, the weights' own products keep both from
fitting these few.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.compress.calibrate import Probe
from edgekit.compress.carry_out import store
from edgekit.compress.correct import output_shift
from edgekit.compress.feedback import error_feedback, grouped_feedback
from edgekit.compress.layer_statistics import LayerStatistics, as_samples
from edgekit.compress.layers_in_turn import Walkers, layers_in_turn
from edgekit.compress.levels import Levels
from edgekit.compress.paired import make_up, paired_statistics
from edgekit.graph import Weight
from edgekit.graph.layers import Codes, Layer
from edgekit.tensors import CodedTensor, dequantize

_SEED = 0


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """Layers on their levels.

    coded: the weights of all layers by name. biases: corrected biases by name, as in the model.
    damping: of the error feedback.
    is_judged: whether held-back inputs were run. held_back: how many there are.
    divergence: of their outputs, in nats. agreement: share of them with the same largest output.
    is_rejoined: whether both are of codes made without these inputs, and `coded` was then made
        with them, as there were few.
    of_file: divergence and agreement of `coded` itself where it was rejoined and judged; it has
        seen these inputs.
    unseen: coded tensors that no answer depended on, so that their share of the bits is a guess.
    levels: of each coded weight by name, for making the codes again.
    """

    coded: dict[str, CodedTensor]
    biases: dict[str, NDArray[Any]]
    damping: float
    is_judged: bool = False
    divergence: float = 0.0
    agreement: float = 0.0
    held_back: int = 0
    is_rejoined: bool = False
    of_file: tuple[float, float] | None = None
    unseen: tuple[str, ...] = ()
    levels: Mapping[str, Levels] = field(default_factory=dict)

    @property
    def largest_divergence(self) -> float:
        """The larger one of the two where both are known."""
        return self.divergence if self.of_file is None else max(self.divergence, self.of_file[0])

    @property
    def least_agreement(self) -> float:
        """The smaller one of the two where both are known."""
        return self.agreement if self.of_file is None else min(self.agreement, self.of_file[1])


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A model as calibration knows it.

    layers: those that are followed, in graph order. weights: all tensors by name. others: tensors
    that aren't coded, as the finished file restores them. kept: masks of the weights that stay, for
    pruned tensors. plain: names of coded weights that belong to no layer that is followed; they
    take their nearest levels. correction: the share of what rounding adds to outputs that biases
    take back. products: W^T W by weight name, of layers whose inputs are too few; the statistics
    have it in them.
    """

    probe: Probe
    layers: tuple[Layer, ...]
    weights: Mapping[str, Weight]
    statistics: Mapping[str, LayerStatistics]
    others: Mapping[str, NDArray[Any]]
    kept: Mapping[str, NDArray[np.bool_]]
    plain: tuple[str, ...] = ()
    correction: float = 1.0
    products: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def restored(self, found: Calibrated) -> dict[str, NDArray[Any]]:
        """Every tensor as the finished file gives it back."""
        layers = {name: dequantize(tensor) for name, tensor in found.coded.items()}
        biases = {name: self.stored(name, values) for name, values in found.biases.items()}
        return {**self.others, **biases, **layers}

    def shifted(self, bias: str, shift: NDArray[np.float64]) -> NDArray[Any]:
        """A bias less what rounding adds to the outputs."""
        original = self.weights[bias]
        return original.cast(original.float32() - self.correction * shift.reshape(original.shape))

    def stored(self, name: str, values: NDArray[Any]) -> NDArray[Any]:
        """New values of a tensor that isn't coded, as the finished file gives them back."""
        return dequantize(store(replace(self.weights[name], values=values)))


def on_levels(
    model: Measured,
    levels: Mapping[str, Levels],
    damping: float,
    layers: Sequence[Layer] | None = None,
) -> Calibrated:
    """Round every layer as the original model feeds it; not judged yet.

    levels: of each coded weight by name. layers: those that are rounded, in place of all.
    """
    coded = _plainly(model, levels)
    biases: dict[str, NDArray[Any]] = {}
    for layer in model.layers if layers is None else layers:
        name, weight = layer.weight, model.weights[layer.weight]
        filters, statistics = weight.filters(), model.statistics[name]
        codes = _codes(model, name, filters, statistics.hessian, (levels[name], damping))
        if layer.bias is not None:
            error = levels[name].restored(codes) - filters
            shift = output_shift(layer, error, statistics.mean, weight.shape)
            biases[layer.bias] = model.shifted(layer.bias, shift)
        coded[name] = levels[name].tensor(weight, codes)
    return Calibrated(coded, biases, damping, levels=levels)


def in_turn(
    model: Measured,
    levels: Mapping[str, Levels],
    damping: float,
    walkers: Sequence[Walkers],
) -> Calibrated:
    """Round every layer as rounded layers feed it; not judged yet.

    walkers: whose values are all held at once. Layers before the first that one of them shows are
    rounded as the original model feeds them. Raises UnwalkableError where a value can't be held.
    """
    first = min(one.first for one in walkers)
    found = on_levels(model, levels, damping, model.layers[:first])
    coded, biases = found.coded, found.biases
    rounded = model.restored(found)
    for seen in layers_in_turn(model.probe, model.layers, walkers, rounded):
        layer, name = seen.layer, seen.layer.weight
        weight = model.weights[name]
        filters, shape = weight.filters(), weight.shape
        pairs = paired_statistics(seen, shape, np.random.default_rng(_SEED))
        wanted, hessian = filters, model.statistics[name].hessian
        if pairs.hessian is not None and pairs.gap is not None:
            unchanged = None
            if name in model.products:
                unchanged = as_samples(model.products[name], pairs.hessian, pairs.samples)
            else:
                hessian = pairs.hessian
            wanted = make_up(filters, pairs.hessian, pairs.gap, unchanged)
        codes = _codes(model, name, wanted, hessian, (levels[name], damping))
        if layer.bias is not None:
            restored = levels[name].restored(codes)
            shift = output_shift(layer, restored - filters, model.statistics[name].mean, shape)
            shift += output_shift(layer, restored, pairs.mean_gap, shape)
            biases[layer.bias] = model.shifted(layer.bias, shift)
            rounded[layer.bias] = model.stored(layer.bias, biases[layer.bias])
        coded[name] = levels[name].tensor(weight, codes)
        rounded[name] = dequantize(coded[name])
    return Calibrated(coded, biases, damping, levels=levels)


def _plainly(model: Measured, levels: Mapping[str, Levels]) -> dict[str, CodedTensor]:
    """The coded weights that belong to no layer, each on its nearest levels."""
    found = {}
    for name in model.plain:
        weight = model.weights[name]
        codes = _codes(model, name, weight.filters(), None, (levels[name], 0.0))
        found[name] = levels[name].tensor(weight, codes)
    return found


def _codes(
    model: Measured,
    name: str,
    filters: NDArray[np.float32],
    hessian: NDArray[np.float64] | None,
    rounding: tuple[Levels, float],
) -> Codes:
    levels, damping = rounding
    kept = model.kept.get(name)
    if hessian is None:
        codes = levels.nearest(filters)
        return codes if kept is None else codes * kept
    feedback = error_feedback if hessian.ndim == 2 else grouped_feedback
    return feedback(filters, levels, hessian, damping=damping, kept=kept)
