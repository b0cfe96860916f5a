"""A model's answers when the weights of one layer are others, layer by layer in graph order.

The nodes before a layer are run once, not again for every answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from numpy.typing import NDArray
from onnx import NodeProto

from edgekit.compress.answers import Answers
from edgekit.compress.calibrate import Probe
from edgekit.compress.samples import Data
from edgekit.compress.stages import Stage, UnwalkableError, Values, layer_places, names_read
from edgekit.graph.layers import Layer

Answering = Callable[[Mapping[str, NDArray[Any]]], Answers]
"""Answers with some weights exchanged."""


def answers_behind(
    probe: Probe, layers: Sequence[Layer], inputs: Data, first: int = 0
) -> Iterator[tuple[Layer, Answering]]:
    """Each layer with what answers `inputs` when weights of that layer are others.

    To be asked before the next layer is. layers: in graph order, with weights that no other node
    reads. first: the place of the first one before which values can be held. Before it, and where
    values turn out not to be held, the whole model is run.
    """
    nodes = list(probe.model.graph.node)
    outputs = set(probe.output_names)
    chain = [batch.arrays for batch in probe.batches(inputs)]
    counts = [len(values[probe.input_name]) for values in chain]
    whole = partial(probe.answers, inputs=inputs)
    start = 0
    # An initializer that is an output doesn't flow.
    is_held = outputs.isdisjoint(tensor.name for tensor in probe.model.graph.initializer)
    for index, (layer, stop) in enumerate(zip(layers, layer_places(nodes, layers), strict=True)):
        answering: Answering = whole
        if is_held and index >= first:
            onward = Stage(probe, nodes[start:stop], {}, outputs | names_read(nodes[stop:]))
            try:
                onward.advance(chain)
                start = stop
                answering = _Behind(probe, nodes[stop:], chain, counts, whole)
            except UnwalkableError:
                is_held = False
        yield layer, answering


@dataclass(frozen=True, slots=True, eq=False)
class _Behind:
    """The last nodes' answers to the values before them.

    chain: the values of each batch. counts: inputs of each. whole: what answers where these nodes
    can't be run alone.
    """

    probe: Probe
    nodes: Sequence[NodeProto]
    chain: Sequence[Values]
    counts: list[int]
    whole: Answering

    def __call__(self, weights: Mapping[str, NDArray[Any]]) -> Answers:
        last = Stage(self.probe, self.nodes, weights, set(self.probe.output_names))
        try:
            return self.probe.joined([last.run(values) for values in self.chain], self.counts)
        except UnwalkableError:
            return self.whole(weights)
