"""Post-training compression by calibration inputs: sensitivity, one step a layer, feedback, bias.

```
inputs ─→ layer statistics ─→ curvatures ─→ steps ─→ codes (error feedback), biases: in turn
                                              ↑ bisection to bits, bytes or divergence
```

Error feedback and bias correction are for the layers whose arithmetic calibration follows. Every
other coded tensor is measured and takes its share too, and is rounded to its nearest levels.

The inputs need no labels. A fifth of them is held back and gives the divergence that is reported.
Where inputs are many it also chooses how errors are fed back, and whether layers are rounded in
turn, each making up for those before it. Where they are few, layers always are, and the codes of
the file are made with all inputs; to be judged they are made once more without the held-back ones.
A model that can't be walked through layer by layer has each rounded alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgekit.codec.trellis import CHUNK_LOG2, reach
from edgekit.compress.answers import total_divergence
from edgekit.compress.calibrate import Probe
from edgekit.compress.carry_out import store
from edgekit.compress.codebooks import Codebooks
from edgekit.compress.grids import Family, Grids
from edgekit.compress.keep import Keep
from edgekit.compress.layer_statistics import blend_weights, weight_products
from edgekit.compress.levels import Levels
from edgekit.compress.plan import Plan, is_coded, make_plan
from edgekit.compress.prune import least_important, zeros_kept
from edgekit.compress.rounding import Calibrated, Measured, in_turn, on_levels
from edgekit.compress.samples import Data
from edgekit.compress.sensitivity import measure_sensitivity
from edgekit.compress.shared import Filters, input_importance
from edgekit.compress.split_inputs import SplitInputs
from edgekit.compress.stages import UnwalkableError
from edgekit.graph import Graph
from edgekit.graph.layers import Layer, find_layers
from edgekit.tensors import dequantize
from edgekit.top1 import agreement

DAMPINGS = (0.1, 1.0)
"""Multiples of the Hessian's mean diagonal that the held-back inputs choose between."""
_FEW_DAMPING, _NOISE_DAMPING = 0.3, 0.1
"""Where too few are held back to choose, and where they aren't what the model will see."""
_PRUNED_ON_NOISE = 10.0
"""Noise is too unlike pictures to make up for whole weights by it."""
_CORRECTED_ON_NOISE = 0.5
"""Share of the bias correction: what a layer sees of noise has only roughly the mean of pictures.
All of it cost networks of Fashion-MNIST more than it gave (docs/decisions/0009)."""

SENSITIVITY_INPUTS = 32
"""Inputs that curvatures are measured on; half as many of noise."""
_LEAST_PATH, _LEAST_ON_TRELLIS = 16, 4096
"""Outputs and weights that a layer has at least whose codes may follow a trellis."""


class Calibration:
    """A model measured on calibration inputs, ready to be put on grids of any fineness."""

    def __init__(
        self,
        graph: Graph,
        inputs: Data,
        plan: Plan | None = None,
        *,
        sparsity: float = 0.0,
        is_noise: bool = False,
        original: Probe | None = None,
    ) -> None:
        """plan: which tensors are coded, how many bits a code has at most, and which stay finer; 8
        bits without it.

        is_noise: whether the inputs are noise already, and need no more of it beside them.
        original: the model that answers are compared with, where `graph` isn't it any more.
        """
        plan = plan or make_plan(graph.weights)
        self._split = SplitInputs(inputs, is_noise=is_noise)
        self._probe = Probe(graph, inputs)
        self._is_pruned = sparsity > 0
        self._weights = {weight.name: weight for weight in graph.weights}
        self._finer = {name: bits for name, bits in plan.keep.items() if isinstance(bits, int)}
        self._method = plan.method
        self.most_bits = plan.bits
        self._layers = followed_layers(graph, plan.keep)
        followed = [layer.weight for layer in self._layers]
        self._plain = tuple(part.name for part in plan.layers if part.name not in followed)
        self._coded = (*followed, *self._plain)
        self._unseen: tuple[str, ...] = ()
        self._is_walkable = True
        # What is judged is the file: tensors that aren't coded are rounded there too.
        others = {
            weight.name: dequantize(store(weight))
            for weight in graph.weights
            if weight.name not in self._coded
        }
        shapes = {name: weight.shape for name, weight in self._weights.items()}
        self._statistics, everything = self._split.statistics(self._probe, self._layers, shapes)
        self._original = original or self._probe
        self._reference = self._original.answers(inputs=self._split.held_back)
        self._kept = self._masks(sparsity)
        products = {} if self._split.is_enough else weight_products(self._layers, self._weights)
        found, everything = (blend_weights(one, products) for one in (self._statistics, everything))
        self._measured = Measured(
            self._probe,
            self._layers,
            self._weights,
            found,
            others,
            self._kept,
            self._plain,
            _CORRECTED_ON_NOISE if is_noise else 1.0,
            products,
        )
        self._measured_on_all = replace(self._measured, statistics=everything)

    @property
    def _dampings(self) -> tuple[float, ...]:
        if self._split.is_noise:
            return (_PRUNED_ON_NOISE if self._is_pruned else _NOISE_DAMPING,)
        return DAMPINGS if self._split.is_enough else (_FEW_DAMPING,)

    @property
    def _batch(self) -> int:
        """Inputs that are run at once; of a fixed size, no fewer can be."""
        return len(next(self._probe.batches(self._split.used)))

    def _in_turn(
        self, model: Measured, inputs: Data, levels: Mapping[str, Levels], damping: float
    ) -> Calibrated:
        """The walk through the layers, from the first one behind which all values can be held.

        Where that can't be done every layer is rounded alone.
        """
        if self._is_walkable:
            try:
                sizes = [4 * self._statistics[layer.weight].elements for layer in self._layers]
                walkers = self._split.walkers(inputs, sizes, self._batch)
                return in_turn(model, levels, damping, walkers)
            except UnwalkableError:
                self._is_walkable = False
        return on_levels(model, levels, damping)

    @cached_property
    def _curvatures(self) -> Mapping[str, float]:
        # Noise is only like pictures: more of it costs time and says little more.
        count = max(SENSITIVITY_INPUTS // (2 if self._split.is_noise else 1), self._batch)
        found = measure_sensitivity(
            self._probe,
            self._weights,
            self._layers,
            self._statistics,
            self._split.used[:count],
            plain=self._plain,
        )
        self._unseen = found.unseen
        return found.curvatures

    @property
    def weight_count(self) -> int:
        """Weights of all coded tensors."""
        return sum(self._weights[name].values.size for name in self._coded)

    def at_bits(self, bits: int) -> Calibrated:
        """At most `bits` bits a code in every tensor."""
        return self.judged(self._codes(self._family.at_bits(bits)))

    def at_factor(self, factor: float) -> Calibrated:
        """Steps of `factor` over the square root of each layer's curvature."""
        return self.judged(self.codes_at(factor))

    def codes_at(self, factor: float, damping: float | None = None) -> Calibrated:
        """The same, not judged yet where that takes codes of its own.

        damping: of the error feedback; None leaves it to the held-back inputs, if they are enough.
        """
        return self._codes(self._family.at_factor(factor), damping)

    def sketch_at(self, factor: float) -> Calibrated:
        """Codes about as large as those of `codes_at`, made faster: each layer is rounded alone."""
        levels = self._family.at_factor(factor)
        return on_levels(self._measured_on_all, levels, self._dampings[0])

    def judged(self, found: Calibrated) -> Calibrated:
        """`found` with its answers on held-back inputs.

        Codes that were made with these inputs are made once more without them, to be judged.
        """
        if found.is_judged:
            return found
        before = self._answers(
            self._in_turn(self._measured, self._split.used, found.levels, found.damping)
        )
        return replace(before, coded=found.coded, biases=found.biases, is_rejoined=True)

    def factor_for(self, bits: float) -> float:
        """The factor whose codes take this many bits in all, rounded to the nearest.

        Raises PlanError where none does.
        """
        return self._family.factor_for_bits(bits)

    def bits_at(self, factor: float) -> float:
        """The bits that the codes of a factor take in all, rounded to the nearest."""
        return self._family.bits_at(factor)

    def with_file_judged(self, found: Calibrated) -> Calibrated:
        """`found` with the answers of the file's own codes, where these are others than judged."""
        if not found.is_rejoined or found.of_file is not None:
            return found
        answers = self._answers(found)
        return replace(found, of_file=(answers.divergence, answers.agreement))

    def outputs(self, inputs: Data, found: Calibrated | None) -> NDArray[np.float32]:
        """The outputs of the original model, or with calibrated layers."""
        if found is None:
            return self._original.outputs(inputs=inputs)
        return self._probe.outputs(self._measured.restored(found), inputs)

    def _filters(self, name: str) -> NDArray[np.float32]:
        filters = self._weights[name].filters()
        kept = self._kept.get(name)
        return filters if kept is None else filters * kept

    def _masks(self, sparsity: float) -> dict[str, NDArray[np.bool_]]:
        filters = {name: self._weights[name].filters() for name in self._coded}
        kept = zeros_kept(filters)
        if not sparsity:
            return kept
        ranked = {name: value for name, value in filters.items() if name not in self._finer}
        return kept | least_important(ranked, self._curvatures, sparsity)

    @cached_property
    def _family(self) -> Family:
        filters = {name: self._filters(name) for name in self._coded}
        if self._method == "uniform":
            return Grids(
                filters, self._finer, lambda: self._curvatures, self.most_bits, self._paths
            )
        counted = {name: self._counted(name, weights) for name, weights in filters.items()}
        return Codebooks(counted, self._finer, lambda: self._curvatures, self.most_bits)

    @property
    def _paths(self) -> dict[str, NDArray[np.bool_]]:
        """Where paths begin anew in the layers whose codes may follow a trellis.

        Those whose filters all see the same inputs, long enough, and without pruned weights.
        """
        found = {}
        for layer in self._layers:
            weight = self._weights[layer.weight]
            hessian = self._statistics[weight.name].hessian
            if (
                weight.axis is not None
                and hessian is not None
                and hessian.ndim == 2
                and weight.shape[weight.axis] >= _LEAST_PATH
                and weight.values.size >= _LEAST_ON_TRELLIS
                and weight.name not in self._kept
            ):
                begins = reach(weight.shape, weight.axis, 1 << CHUNK_LOG2) == 0
                found[weight.name] = weight.in_rows(begins)
        return found

    def _counted(self, name: str, weights: NDArray[np.float32]) -> Filters:
        kept = self._kept.get(name)
        seen = self._statistics.get(name)
        importance = None if seen is None else input_importance(seen.hessian, len(weights))
        return Filters(weights, None if kept is None else ~kept, importance)

    def _codes(self, levels: Mapping[str, Levels], damping: float | None = None) -> Calibrated:
        """Codes by all that is known; judged where that is what chose them."""
        if not self._layers:
            # Errors are fed back nowhere: no damping, and no more inputs, would change a code.
            return self._answers(on_levels(self._measured, levels, self._dampings[0]))
        dampings = self._dampings if damping is None else (damping,)
        if not self._split.is_enough:
            # Too few are held back to tell what others gain: always the same, and in turn.
            return self._on_all(levels, dampings[0])
        tried = [self._answers(on_levels(self._measured, levels, one)) for one in dampings]
        best = min(tried, key=lambda found: found.divergence)
        turned = self._in_turn(self._measured, self._split.used, levels, best.damping)
        return min(best, self._answers(turned), key=lambda found: found.divergence)

    def _on_all(self, levels: Mapping[str, Levels], damping: float) -> Calibrated:
        found = self._in_turn(self._measured_on_all, self._probe.inputs, levels, damping)
        return replace(found, is_rejoined=True, held_back=self._judging, unseen=self._unseen)

    @property
    def _judging(self) -> int:
        """How many inputs judge; what doesn't fill a batch of a fixed size is left out."""
        return sum(map(len, self._probe.batches(self._split.held_back)))

    def _answers(self, found: Calibrated) -> Calibrated:
        answers = self._probe.answers(self._measured.restored(found), self._split.held_back)
        off = total_divergence(self._reference, answers)
        return replace(
            found,
            is_judged=True,
            divergence=off,
            agreement=agreement(self._reference[0], answers[0]),
            held_back=self._judging,
            unseen=self._unseen,
        )


def followed_layers(graph: Graph, keep: Mapping[str, Keep]) -> tuple[Layer, ...]:
    """The layers that calibration can follow. keep: which weights stay finer or float, by name."""
    followed = {
        weight.name
        for weight in graph.weights
        # Values in bfloat16 can't be looked at with numpy.
        if weight.dtype != "bfloat16" and is_coded(weight) and keep.get(weight.name) != "float"
    }
    return tuple(layer for layer in find_layers(graph) if layer.weight in followed)
