"""What each layer sees behind layers that are rounded already, in one walk through the graph.

```
inputs ─→ stage 1 ─→ layer 1 ─→ stage 2 ─→ layer 2 ─→ ...
          float and rounded values are both kept, for all inputs, where a stage ends
```

A stage is the nodes from one layer to the next; so each node is run once with the original weights
and once with the rounded ones, and the rounding of a layer can answer to what was done before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, ValueInfoProto, helper

from edgekit.compress.calibrate import Probe
from edgekit.compress.samples import Data
from edgekit.errors import EdgekitError
from edgekit.graph.layers import Layer
from edgekit.graph.walk import all_nodes, subgraphs

Values = dict[str, NDArray[Any]]


class UnwalkableError(Exception):
    """What a walk would have to hold or compare, it can't: a sequence, bfloat16, other shapes."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What flows into a layer, batch by batch: with original weights, and with rounded ones."""

    layer: Layer
    original: list[NDArray[np.float32]]
    rounded: list[NDArray[np.float32]]


def layers_in_turn(
    probe: Probe,
    layers: Sequence[Layer],
    inputs: Data,
    rounded: Mapping[str, NDArray[Any]],
) -> Iterator[Seen]:
    """Each layer with what it sees, in graph order.

    layers: in graph order. rounded: tensors by name that differ from the original's; the caller
    adds those of a layer before asking for the next one.

    Raises UnwalkableError where a value can't be held.
    """
    model = probe.model
    nodes = list(model.graph.node)
    place = {node.input[1]: index for index, node in enumerate(nodes) if len(node.input) > 1}
    batches = probe.batches(inputs)
    chains = [[batch.arrays for batch in batches] for _ in range(2)]
    start = 0
    for layer in layers:
        stop = place[layer.weight]
        behind = {name for node in nodes[stop:] for name in _reads(node)}
        for chain, weights in zip(chains, ({}, rounded), strict=True):
            _advance(probe, nodes[start:stop], chain, weights, behind)
        start = stop
        if layer.source not in chains[0][0]:
            raise UnwalkableError(f"{layer.source} is no value that flows")
        yield Seen(
            layer,
            *([np.asarray(x[layer.source], np.float32) for x in chain] for chain in chains),
        )


def _advance(
    probe: Probe,
    nodes: Sequence[NodeProto],
    chain: list[Values],
    weights: Mapping[str, NDArray[Any]],
    behind: set[str],
) -> None:
    """Run some nodes on every batch in place; only what later nodes read is kept."""
    read = {name for node in nodes for name in _reads(node)}
    made = [name for node in nodes for name in node.output if name and name in behind]
    fed = [name for name in chain[0] if name in read]
    session = None
    if made:
        fed_first = {name: chain[0][name] for name in fed}
        session = _session(probe, nodes, fed_first, made, weights)
    for index, values in enumerate(chain):
        kept = {name: value for name, value in values.items() if name in behind}
        if session is not None:
            try:
                found = session.run(made, {name: values[name] for name in fed})
            except Exception as error:
                # onnxruntime's exceptions have no common base of their own.
                raise UnwalkableError(str(error)) from error
            if not all(isinstance(value, np.ndarray) for value in found):
                raise UnwalkableError("a sequence")
            kept |= zip(made, found, strict=True)
        chain[index] = kept


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
