"""Which values of a graph become 8-bit numbers in the int8 run form, and on which grids.

```
layers in 8 bits ─→ their inputs and outputs ─→ what lies between them ─→ values
calibration inputs ─→ smallest, largest ─→ histograms ─→ one grid a value
```

Values are seen batch by batch and none is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from edgekit.compress.calibrate import Probe
from edgekit.packfile.activations import Activations, activations_from_ranges
from edgekit.packfile.int8_layers import Int8Layer, View, find_int8_layers, parse_skeleton
from edgekit.tensors import CompressedModel

BINS = 2048
"""Of a histogram from the smallest to the largest value."""
_AT_ONCE = 2**20
"""Numbers that are counted at once: places take three times the memory of the numbers."""

_SAME = frozenset({"Flatten", "MaxPool", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""They move values about: what comes out lies on the grid of what goes in."""
_MIXING = frozenset({"Add", "AveragePool", "Concat", "GlobalAveragePool", "Mul", "ReduceMean"})
"""They have 8-bit kernels of their own. A ReduceMean becomes a GlobalAveragePool."""
_FIRST_ALONE = frozenset({"Reshape", "Squeeze", "Unsqueeze", "ReduceMean"})
"""Their other inputs are shapes and axes."""


@dataclass(frozen=True, slots=True)
class Values:
    """The values that become 8-bit numbers. sources: for each, the one whose grid it takes."""

    sources: Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """How often a value was where. counts: (BINS,) int64, from low to high."""

    low: float
    high: float
    counts: NDArray[np.int64]

    def clipped(self, share: float) -> tuple[float, float]:
        """The range without this share of the values at either end; 0 cuts nothing."""
        if share <= 0 or self.high <= self.low:
            return self.low, self.high
        total = np.cumsum(self.counts) / max(1, int(self.counts.sum()))
        edges = np.linspace(self.low, self.high, BINS + 1)
        first = int(np.searchsorted(total, share, side="right"))
        last = int(np.searchsorted(total, 1 - share, side="left"))
        return float(edges[min(first, BINS - 1)]), float(edges[min(last, BINS - 1) + 1])


def find_values(model: CompressedModel, floats: Iterable[str] = ()) -> Values:
    """The values around all layers that can run in 8 bits, but those in `floats`."""
    view = View(parse_skeleton(model.skeleton), {tensor.name: tensor for tensor in model.tensors})
    left_out = set(floats)
    layers = [layer for layer in find_int8_layers(view) if layer.weight.name not in left_out]
    return Values(_spread(view, layers))


def _spread(view: View, layers: list[Int8Layer]) -> dict[str, str]:
    sources: dict[str, str] = {}
    wanted: set[str] = set()
    for layer in layers:
        sources.setdefault(layer.source, layer.source)
        output = _behind(view, layer.output)
        if layer.needs_output and output not in view.outputs:
            sources.setdefault(output, output)
            wanted.add(output)
    joined: list[tuple[list[str], str]] = []
    for node in view.graph.node:
        inputs = _data_inputs(node)
        if not inputs or not all(name in sources for name in inputs) or len(node.output) != 1:
            continue
        if node.op_type in _SAME:
            output, source = node.output[0], sources[inputs[0]]
        elif node.op_type in _MIXING:
            output = source = _behind(view, node.output[0])
        else:
            continue
        if output not in view.outputs:
            sources[output] = source
            joined.append((inputs, output))
    return _useful(view, sources, wanted, layers, joined)


def _useful(
    view: View,
    sources: dict[str, str],
    wanted: set[str],
    layers: list[Int8Layer],
    joined: list[tuple[list[str], str]],
) -> dict[str, str]:
    """Without values that no 8-bit kernel reads or must put out."""
    keep = wanted | {layer.source for layer in layers if _runs(view, layer, sources)}
    for inputs, output in reversed(joined):
        if output in keep:
            keep.update(inputs)
    # A grid that others take stays with them.
    return {
        name: source if source in keep else name for name, source in sources.items() if name in keep
    }


def _runs(view: View, layer: Int8Layer, sources: Mapping[str, str]) -> bool:
    return not layer.needs_output or _behind(view, layer.output) in sources


def _behind(view: View, name: str) -> str:
    """The value that comes out of a Relu or Clip which is all that uses `name`, or itself."""
    node = view.only_consumer(name)
    return name if node is None or view.bounds(node) is None else str(node.output[0])


def _data_inputs(node: NodeProto) -> list[str]:
    if node.domain or not node.input:
        return []
    return list(node.input[:1] if node.op_type in _FIRST_ALONE else node.input)


def measure_values(probe: Probe, names: list[str]) -> dict[str, Histogram]:
    """Histograms of these values over the probe's inputs, in two passes of batches."""
    low: dict[str, float] = {}
    high: dict[str, float] = {}
    for values in probe.values(names):
        for name in names:
            low[name] = min(low.get(name, np.inf), float(values[name].min()))
            high[name] = max(high.get(name, -np.inf), float(values[name].max()))
        # They would be held until those of the next batch are there.
        values.clear()
    counts = {name: np.zeros(BINS, np.int64) for name in names}
    for values in probe.values(names):
        for name in names:
            width = high[name] - low[name]
            density = np.float32(BINS / width if width > 0 else 0.0)
            numbers = values[name].reshape(-1)
            for part in np.array_split(numbers, 1 + numbers.size // _AT_ONCE):
                scaled = (part - np.float32(low[name])) * density
                places = np.clip(scaled, 0, BINS - 1).astype(np.intp)
                counts[name] += np.bincount(places, minlength=BINS)
        values.clear()
    return {name: Histogram(low[name], high[name], counts[name]) for name in names}


def place_grids(
    values: Values, histograms: Mapping[str, Histogram], share: float, floats: Iterable[str] = ()
) -> Activations:
    """A grid for each value, which cuts this share of the values off at either end."""
    ranges = {name: histograms[source].clipped(share) for name, source in values.sources.items()}
    return activations_from_ranges(ranges, floats)
