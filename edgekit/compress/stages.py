"""What each layer sees behind layers that are rounded already, in one walk through the graph.

```
inputs ─→ stage 1 ─→ layer 1 ─→ stage 2 ─→ layer 2 ─→ ...
          float and rounded values are both kept, for all inputs, where a stage ends
more inputs ─→ stages 1 and 2 at once ─↑
```

A stage is the nodes from one layer to the next; so each node is run once with the original weights
and once with the rounded ones, and the rounding of a layer can answer to what was done before it.
Inputs may join the walk where less is to be kept of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, ValueInfoProto, helper

from edgekit.compress.answers import Answers
from edgekit.compress.calibrate import Probe
from edgekit.compress.samples import Data
from edgekit.compress.views import Views
from edgekit.errors import EdgekitError
from edgekit.graph.layers import Layer
from edgekit.graph.walk import all_nodes, subgraphs

Values = dict[str, NDArray[Any]]
Answering = Callable[[Mapping[str, NDArray[Any]]], Answers]
"""Answers with some weights exchanged."""


class UnwalkableError(Exception):
    """What a walk would have to hold or compare, it can't: a sequence, bfloat16, other shapes."""


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
    place = {node.input[1]: index for index, node in enumerate(nodes) if len(node.input) > 1}
    chains: tuple[list[Values], list[Values]] = [], []
    start = 0
    for index, layer in enumerate(layers):
        stop = place[layer.weight]
        behind = {name for node in nodes[stop:] for name in _reads(node)}
        for chain, weights in zip(chains, ({}, rounded), strict=True):
            onward, joining = _Stage(probe, nodes[start:stop], weights, behind), None
            for batch, values in enumerate(chain):
                chain[batch] = onward.run(values)
            for one in walkers:
                if one.first == index:
                    joining = joining or _Stage(probe, nodes[:stop], weights, behind)
                    chain += [joining.run(batch.arrays) for batch in probe.batches(one.inputs)]
        start = stop
        if not chains[0]:
            continue
        if layer.source not in chains[0][0]:
            raise UnwalkableError(f"{layer.source} is no value that flows")
        yield Seen(
            layer,
            *([np.asarray(x[layer.source], np.float32) for x in chain] for chain in chains),
        )


def answers_in_turn(
    probe: Probe, layers: Sequence[Layer], inputs: Data, first: int = 0
) -> Iterator[tuple[Layer, Answering]]:
    """Each layer, in graph order, with what answers `inputs` when weights of that layer are others.

    To be asked before the next layer is. layers: whose weights no other node reads. first: the
    place of the first one before which values can be held; from there on the nodes before a layer
    aren't run again for every answer. Where values can't be held the whole model is run.
    """
    nodes = list(probe.model.graph.node)
    place = {node.input[1]: index for index, node in enumerate(nodes) if len(node.input) > 1}
    outputs = set(probe.output_names)
    held = _Held([batch.arrays for batch in probe.batches(inputs)], probe.input_name)
    whole = partial(probe.answers, inputs=inputs)
    start = 0
    # An initializer that is an output doesn't flow.
    is_held = outputs.isdisjoint(tensor.name for tensor in probe.model.graph.initializer)
    for index, layer in enumerate(layers):
        stop = place[layer.weight]
        if not is_held or index < first:
            yield layer, whole
            continue
        onward = _Stage(probe, nodes[start:stop], {}, outputs.union(*map(_reads, nodes[stop:])))
        try:
            held.advance(onward)
        except UnwalkableError:
            is_held = False
            yield layer, whole
            continue
        start = stop
        yield layer, partial(_answers_behind, probe, nodes[stop:], held, whole)


class _Held:
    """The values that flow where a stage ends, batch by batch. counts: inputs of each batch."""

    def __init__(self, chain: list[Values], input_name: str) -> None:
        self.chain = chain
        self.counts = [len(values[input_name]) for values in chain]

    def advance(self, stage: _Stage) -> None:
        """Run a stage in place, so that a batch's values make room for what they become."""
        for index, values in enumerate(self.chain):
            self.chain[index] = stage.run(values)


def _answers_behind(
    probe: Probe,
    nodes: Sequence[NodeProto],
    held: _Held,
    whole: Answering,
    weights: Mapping[str, NDArray[Any]],
) -> Answers:
    """The answers of the last nodes to held values, or else those of the whole model."""
    last = _Stage(probe, nodes, weights, set(probe.output_names))
    try:
        return probe.joined([last.run(values) for values in held.chain], held.counts)
    except UnwalkableError:
        return whole(weights)


def held_from(sizes: Sequence[int], count: int, most: int) -> int:
    """The place of the first layer from which on the values of inputs can be held.

    sizes: bytes that each layer sees of one. count: of inputs. most: bytes of all, at any layer.
    """
    too_large = [place for place, size in enumerate(sizes) if size * count > most]
    return too_large[-1] + 1 if too_large else 0


class _Stage:
    """Some nodes, that are run on one batch after the other; only what later nodes read is kept."""

    def __init__(
        self,
        probe: Probe,
        nodes: Sequence[NodeProto],
        weights: Mapping[str, NDArray[Any]],
        behind: set[str],
    ) -> None:
        self._probe, self._nodes, self._weights, self._behind = probe, nodes, weights, behind
        self._made = [name for node in nodes for name in node.output if name and name in behind]
        self._read = {name for node in nodes for name in _reads(node)}
        self._session: ort.InferenceSession | None = None

    def run(self, values: Values) -> Values:
        """What later nodes read of values, and of what these nodes make of them."""
        kept = {name: value for name, value in values.items() if name in self._behind}
        if not self._made:
            return kept
        fed = {name: value for name, value in values.items() if name in self._read}
        if self._session is None:
            self._session = _session(self._probe, self._nodes, fed, self._made, self._weights)
            # onnxruntime gives the numbers of these as uint8.
            if any("float8" in value.type for value in self._session.get_outputs()):
                raise UnwalkableError("float8")
        try:
            found = self._session.run(self._made, fed)
        except Exception as error:
            # onnxruntime's exceptions have no common base of their own.
            raise UnwalkableError(str(error)) from error
        if not all(isinstance(value, np.ndarray) for value in found):
            raise UnwalkableError("a sequence")
        return kept | dict(zip(self._made, found, strict=True))


def _session(
    probe: Probe,
    nodes: Sequence[NodeProto],
    fed: Values,
    made: Sequence[str],
    weights: Mapping[str, NDArray[Any]],
) -> ort.InferenceSession:
    """A session of some nodes. fed: values as they flow in. made: names of what flows out."""
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), None)
        for name, value in fed.items()
    ]
    try:
        return probe.session(_part(probe.model, nodes, inputs, made), weights)
    except EdgekitError as error:
        raise UnwalkableError(str(error)) from error


def _part(
    model: ModelProto,
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[str],
) -> ModelProto:
    """A model of some nodes of another, with the initializers that they read."""
    part = ModelProto()
    part.CopyFrom(model)
    graph = part.graph
    for group in (graph.node, graph.input, graph.output, graph.value_info, graph.initializer):
        del group[:]
    graph.node.extend(nodes)
    graph.input.extend(inputs)
    graph.output.extend(helper.make_empty_tensor_value_info(name) for name in outputs)
    read = {name for node in nodes for name in _reads(node)}
    graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in read)
    return part


def _reads(node: NodeProto) -> set[str]:
    """Every name that a node reads, in its subgraphs too."""
    names = set(node.input)
    for graph in subgraphs(node):
        names |= {name for inner in all_nodes(graph) for name in inner.input}
        names |= {value.name for value in graph.output}
    return names
