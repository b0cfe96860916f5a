"""Post-training compression by calibration inputs: sensitivity, one step a layer, feedback, bias.

```
inputs ─→ layer statistics ─→ curvatures ─→ steps ─→ codes (error feedback) ─→ biases
                                              ↑ bisection to bits, bytes or divergence
```

The inputs need no labels. A fifth of them is held back: it chooses the damping of the feedback
and gives the divergence that is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekit.compress import allocate
from edgekit.compress.calibrate import LayerStatistics, Probe, layer_statistics
from edgekit.compress.correct import output_shift
from edgekit.compress.feedback import error_feedback
from edgekit.compress.keep import Keep
from edgekit.compress.plan import is_coded
from edgekit.compress.prune import global_counts, smallest
from edgekit.compress.quantize import code_limit
from edgekit.compress.sensitivity import curvatures, divergence
from edgekit.errors import DataError, PlanError
from edgekit.graph import Graph
from edgekit.graph.layers import Layer, find_layers
from edgekit.tensors import CodedTensor, dequantize

DAMPINGS = (0.1, 1.0)
"""Multiples of the Hessian's mean diagonal that the held-back inputs choose between."""

SENSITIVITY_INPUTS = 32
"""Inputs that curvatures are measured on, unless the caller says otherwise."""
_SEED = 0
_SIZE_ROUNDS = 6
_QUALITY_ROUNDS = 7
_LEAST_BITS, _MOST_BITS = 0.5, 6.5
"""Of entropy a weight. A code of 8 bits has about 6.5."""

Codes = dict[str, NDArray[np.int8]]
Steps = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """Layers on their grids.

    coded: the weights of all followed layers by name. biases: corrected biases by name, float32.
    divergence: of the held-back inputs' outputs, in nats. agreement: share of held-back inputs
        with the same largest output. held_back: their number. damping: of the error feedback.
    """

    coded: dict[str, CodedTensor]
    biases: dict[str, NDArray[np.float32]]
    divergence: float
    agreement: float
    held_back: int
    damping: float


class Calibration:
    """A model measured on calibration inputs, ready to be put on grids of any fineness."""

    def __init__(
        self,
        graph: Graph,
        inputs: NDArray[np.float32],
        *,
        sparsity: float = 0.0,
        keep: Mapping[str, Keep] | None = None,
        sensitivity_inputs: int = SENSITIVITY_INPUTS,
    ) -> None:
        """keep: bits of layers that stay finer, by name of their weights, or "float".

        sensitivity_inputs: of the inputs, to measure curvatures on; most of the time goes there.
        """
        kept = keep or {}
        if len(inputs) < 2:
            raise DataError(f"calibration needs at least 2 inputs, got {len(inputs)}")
        self._probe = Probe(graph, inputs)
        inputs = self._probe.inputs
        self._held_back = inputs[::5]
        followed = {
            weight.name
            for weight in graph.weights
            if weight.dtype == "float32" and is_coded(weight) and kept.get(weight.name) != "float"
        }
        self._finer = {
            name: code_limit(bits) for name, bits in kept.items() if isinstance(bits, int)
        }
        self._layers = tuple(layer for layer in find_layers(graph) if layer.weight in followed)
        if not self._layers:
            raise DataError(
                "no convolution or matrix product of this model can be followed by calibration; "
                "compress it with --bits alone"
            )
        self._numbers = {
            weight.name: weight.float32() for weight in graph.weights if weight.dtype == "float32"
        }
        shapes = {weight.name: weight.shape for weight in graph.weights}
        rng = np.random.default_rng(_SEED)
        self._statistics: dict[str, LayerStatistics] = layer_statistics(
            self._probe, self._layers, shapes, rng
        )
        self._curvatures = curvatures(
            self._probe, self._layers, self._numbers, self._statistics, inputs[:sensitivity_inputs]
        )
        self._reference = self._probe.outputs(inputs=self._held_back)
        self._kept = self._prune(sparsity)

    @property
    def weight_count(self) -> int:
        """Weights of all followed layers."""
        return sum(self._numbers[layer.weight].size for layer in self._layers)

    def at_bits(self, bits: int) -> Calibrated:
        """At most `bits` bits a code: the grid of each channel reaches its largest weight."""
        limit = code_limit(bits)
        steps = {
            layer.weight: allocate.channel_steps(
                self._finest(layer, self._finer.get(layer.weight, limit)), 1.0
            )
            for layer in self._layers
        }
        return self._best_damping(steps, limit)

    def at_entropy(self, bits_per_weight: float) -> Calibrated:
        """All codes together take this many bits of entropy a weight, where they hurt least."""
        return self._best_damping(self._steps(bits_per_weight * self.weight_count))

    def at_size(self, target_bytes: int, packed_bytes: Callable[[Calibrated], int]) -> Calibrated:
        """The finest grids whose finished file has at most `target_bytes`.

        packed_bytes: the size of the finished file. Raises PlanError where no grid is coarse
        enough.
        """
        target = 8.0 * target_bytes
        best: Calibrated | None = None
        for _ in range(_SIZE_ROUNDS):
            try:
                steps = self._steps(max(target, 1.0))
            except PlanError as error:
                raise PlanError(
                    f"no file of {target_bytes:,} bytes can be made of this model: graph, names "
                    "and biases leave no room for its weights"
                ) from error
            found = self._best_damping(steps)
            size = packed_bytes(found)
            if size <= target_bytes:
                best = found
                if size >= 0.995 * target_bytes:
                    break
            # A little below, so that what the coder wastes doesn't pass the target again.
            target += 8 * (0.998 * target_bytes - size)
        if best is None:
            raise PlanError(
                f"no grid makes a file of {target_bytes:,} bytes; the last had {size:,}"
            )
        return best

    def at_divergence(self, most: float) -> Calibrated:
        """The coarsest grids whose outputs part by at most `most` nats on held-back inputs."""
        factor = allocate.factor_for_bits(self._allocated(), 4.0 * self.weight_count)
        best: Calibrated | None = None
        for _ in range(6):
            found = self._best_damping(self._steps_at(factor))
            if found.divergence <= most:
                best = found
            if 0.93 * most <= found.divergence <= most:
                break
            # The divergence grows with the square of the step.
            factor *= float(np.clip(np.sqrt(0.97 * most / max(found.divergence, 1e-9)), 0.3, 3))
        if best is None:
            raise DataError(
                f"no grid keeps the divergence at {most:g} nats on {len(self._held_back)} inputs; "
                f"the finest one tried reached {found.divergence:.3g}"
            )
        return best

    def at_quality(self, meets: Callable[[Calibrated], bool]) -> Calibrated:
        """The coarsest grids that meet a wish, by bisection of the bits a weight.

        Raises DataError where even the finest grid tried, of about 8 bits, doesn't.
        """
        fine, coarse = _MOST_BITS, _LEAST_BITS
        best = self.at_entropy(fine)
        if not meets(best):
            raise DataError(
                f"no grid meets the bound: with {fine:g} bits a weight the model is still too far "
                f"off ({best.divergence:.3g} nats on {best.held_back} held-back inputs)"
            )
        for _ in range(_QUALITY_ROUNDS):
            bits = (fine + coarse) / 2
            try:
                found = self.at_entropy(bits)
            except PlanError:
                coarse = bits
                continue
            if meets(found):
                best, fine = found, bits
            else:
                coarse = bits
        return best

    def outputs(self, inputs: NDArray[np.float32], found: Calibrated | None) -> NDArray[np.float32]:
        """The model's outputs, as it is or with calibrated layers."""
        changed: dict[str, NDArray[np.float32]] = {}
        if found is not None:
            changed = {name: dequantize(tensor) for name, tensor in found.coded.items()}
            changed |= found.biases
        return self._probe.outputs(changed, inputs)

    def _finest(self, layer: Layer, limit: int) -> allocate.Layer:
        """A layer whose grid reaches its largest weight, however sensitive it may be."""
        return allocate.Layer(self._filters(layer), np.inf, limit)

    def _filters(self, layer: Layer) -> NDArray[np.float32]:
        filters = layer.filters(self._numbers[layer.weight])
        kept = self._kept.get(layer.weight)
        return filters if kept is None else filters * kept

    def _prune(self, sparsity: float) -> dict[str, NDArray[np.bool_]]:
        """Masks of the weights that stay: the least sqrt(curvature) * |weight| go."""
        if not sparsity:
            return {}
        layers = [layer for layer in self._layers if layer.weight not in self._finer]
        scores = [
            layer.filters(self._numbers[layer.weight])
            * np.float32(np.sqrt(self._curvatures[layer.weight]))
            for layer in layers
        ]
        counts = global_counts(scores, sparsity)
        return {
            layer.weight: ~smallest(score, count)
            for layer, score, count in zip(layers, scores, counts, strict=True)
        }

    def _allocated(self) -> list[allocate.Layer]:
        return [
            self._finest(layer, self._finer[layer.weight])
            if layer.weight in self._finer
            else allocate.Layer(self._filters(layer), self._curvatures[layer.weight])
            for layer in self._layers
        ]

    def _steps(self, target_bits: float) -> Steps:
        return self._steps_at(allocate.factor_for_bits(self._allocated(), target_bits))

    def _steps_at(self, factor: float) -> Steps:
        return {
            layer.weight: allocate.channel_steps(weights, factor)
            for layer, weights in zip(self._layers, self._allocated(), strict=True)
        }

    def _best_damping(self, steps: Steps, limit: int = allocate.CODE_LIMIT) -> Calibrated:
        tried = [self._on_grid(steps, damping, limit) for damping in DAMPINGS]
        return min(tried, key=lambda found: found.divergence)

    def _on_grid(self, steps: Steps, damping: float, limit: int) -> Calibrated:
        coded: dict[str, CodedTensor] = {}
        biases: dict[str, NDArray[np.float32]] = {}
        changed: dict[str, NDArray[np.float32]] = {}
        for layer in self._layers:
            name = layer.weight
            codes = self._codes(layer, steps[name], damping, self._finer.get(name, limit))
            original = self._numbers[name]
            error = codes * steps[name][:, None] - layer.filters(original)
            if layer.bias is not None:
                shift = output_shift(layer, error, self._statistics[name].mean, original.shape)
                bias = self._numbers[layer.bias]
                biases[layer.bias] = (bias - shift.reshape(bias.shape)).astype(np.float32)
            coded[name] = _coded(layer, codes, steps[name], original.shape)
            restored = codes * steps[name][:, None]
            changed[name] = np.ascontiguousarray(
                restored.T if layer.inputs_first else restored, np.float32
            ).reshape(original.shape)
        outputs = self._probe.outputs({**changed, **biases}, self._held_back)
        same = outputs.reshape(len(outputs), -1).argmax(1) == self._reference.reshape(
            len(outputs), -1
        ).argmax(1)
        return Calibrated(
            coded,
            biases,
            divergence(self._reference, outputs),
            float(same.mean()),
            len(self._held_back),
            damping,
        )

    def _codes(
        self, layer: Layer, steps: NDArray[np.float32], damping: float, limit: int
    ) -> NDArray[np.int8]:
        hessian = self._statistics[layer.weight].hessian
        filters = layer.filters(self._numbers[layer.weight])
        kept = self._kept.get(layer.weight)
        if hessian is None:
            pruned = filters if kept is None else filters * kept
            return allocate.round_to_grid(allocate.Layer(pruned, 1.0, limit), steps)
        return error_feedback(filters, steps, hessian, damping=damping, limit=limit, kept=kept)


def _coded(
    layer: Layer, codes: NDArray[np.int8], steps: NDArray[np.float32], shape: tuple[int, ...]
) -> CodedTensor:
    axis = 1 if layer.inputs_first else 0
    return CodedTensor(layer.weight, "float32", layer.unfiltered(codes, shape), steps, axis)
