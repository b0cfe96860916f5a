"""Parts of a model, run batch by batch: each from what the part before it left.

A stage is the nodes from one layer to the next. Where it ends, all values are kept that later nodes
read, and no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, ValueInfoProto, helper

from edgekit.compress.calibrate import Probe
from edgekit.errors import EdgekitError
from edgekit.graph.layers import Layer
from edgekit.graph.walk import all_nodes, subgraphs

Values = dict[str, NDArray[Any]]


class UnwalkableError(Exception):
    """What would have to be held or compared can't be: a sequence, bfloat16, other shapes."""


class Stage:
    """Some nodes of a probe's model, with some weights exchanged.

    behind: names of values that are kept where they are there, or are made.
    """

    def __init__(
        self,
        probe: Probe,
        nodes: Sequence[NodeProto],
        weights: Mapping[str, NDArray[Any]],
        behind: set[str],
    ) -> None:
        self._probe, self._nodes, self._weights, self._behind = probe, nodes, weights, behind
        self._made = [name for node in nodes for name in node.output if name and name in behind]
        self._read = names_read(nodes)
        self._session: ort.InferenceSession | None = None

    def run(self, values: Values) -> Values:
        """What is kept of one batch's values, and of what the nodes make of them.

        Raises UnwalkableError for a value that can't be held.
        """
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

    def advance(self, chain: list[Values]) -> None:
        """Run all batches in place, so that each makes room for what becomes of it."""
        for batch, values in enumerate(chain):
            chain[batch] = self.run(values)


def layer_places(nodes: Sequence[NodeProto], layers: Sequence[Layer]) -> list[int]:
    """For each layer the number of its node."""
    place = {node.input[1]: index for index, node in enumerate(nodes) if len(node.input) > 1}
    return [place[layer.weight] for layer in layers]


def held_from(sizes: Sequence[int], count: int, most: int) -> int:
    """The place of the first layer from which on the values of inputs can be held.

    sizes: bytes that each layer sees of one. count: of inputs. most: bytes of all, at any layer.
    """
    too_large = [place for place, size in enumerate(sizes) if size * count > most]
    return too_large[-1] + 1 if too_large else 0


def names_read(nodes: Iterable[NodeProto]) -> set[str]:
    """Every name that nodes read, in their subgraphs too."""
    names: set[str] = set()
    for node in nodes:
        names.update(node.input)
        for graph in subgraphs(node):
            names |= {name for inner in all_nodes(graph) for name in inner.input}
            names |= {value.name for value in graph.output}
    return names


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
    read = names_read(nodes)
    graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in read)
    return part
