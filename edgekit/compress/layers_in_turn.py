"""What each layer sees behind layers that are rounded already, in one walk through the graph.

```
inputs ─→ stage 1 ─→ layer 1 ─→ stage 2 ─→ layer 2 ─→ ...
          float and rounded values are both kept, for all inputs, where a stage ends
more inputs ─→ stages 1 and 2 at once ─↑
```

Each node is run once with the original weights and once with the rounded ones, and the rounding of
a layer can answer to what was done before it. Inputs may join the walk where less is to be kept of
each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.compress.calibrate import Probe
from edgekit.compress.samples import Data
from edgekit.compress.stages import Stage, UnwalkableError, Values, layer_places, names_read
from edgekit.compress.views import Views
from edgekit.graph.layers import Layer


@dataclass(frozen=True, slots=True, eq=False)
class Walkers:
    """Inputs of a walk. first: the place, among all layers, of the first one that they show."""

    inputs: Data | Views
    first: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What flows into a layer, batch by batch: with original weights, and with rounded ones."""

    layer: Layer
    original: list[NDArray[np.float32]]
    rounded: list[NDArray[np.float32]]


def layers_in_turn(
    probe: Probe,
    layers: Sequence[Layer],
    walkers: Sequence[Walkers],
    rounded: Mapping[str, NDArray[Any]],
) -> Iterator[Seen]:
    """Each layer with what it sees, in graph order, from the first one that inputs show.

    layers: in graph order. rounded: tensors by name that differ from the original's; the caller
    adds those of a layer before asking for the next one.

    Raises UnwalkableError where a value can't be held.
    """
    nodes = list(probe.model.graph.node)
    chains: tuple[list[Values], list[Values]] = [], []
    start = 0
    for index, (layer, stop) in enumerate(zip(layers, layer_places(nodes, layers), strict=True)):
        behind = names_read(nodes[stop:])
        joining = [one.inputs for one in walkers if one.first == index]
        for chain, weights in zip(chains, ({}, rounded), strict=True):
            Stage(probe, nodes[start:stop], weights, behind).advance(chain)
            from_start = Stage(probe, nodes[:stop], weights, behind)
            for some in joining:
                chain += [from_start.run(batch.arrays) for batch in probe.batches(some)]
        start = stop
        if not chains[0]:
            continue
        if layer.source not in chains[0][0]:
            raise UnwalkableError(f"{layer.source} is no value that flows")
        yield Seen(
            layer,
            *([np.asarray(x[layer.source], np.float32) for x in chain] for chain in chains),
        )
