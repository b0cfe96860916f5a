"""The layers whose arithmetic calibration follows: convolutions and matrix products with weights.

A layer is a linear map of patches of its input: output = filters @ patch + bias, with one row of
`filters` an output channel. Error feedback needs the patches, bias correction their mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto

from edgekit.graph.load import Graph
from edgekit.graph.roles import Role
from edgekit.graph.walk import all_nodes, integer, integers

Codes = NDArray[np.int8] | NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Layer:
    """A node of the main graph that multiplies its input with a packed weight.

    weight, bias: names of tensors outside the skeleton; bias is None where there is none of the
        layer's own.
    source, output: the names of the values that flow in and out.
    op: Conv, Gemm or MatMul. inputs_first: the weight is stored (inputs, outputs).
        is_scaled: a Gemm multiplies its product or bias by a number.
    groups, strides, dilations, pads: of a convolution in two dimensions (pads as begin rows,
        begin columns, end rows, end columns); None where patches can't be cut from the input, for
        1-D and 3-D convolutions and automatic padding.
    """

    weight: str
    bias: str | None
    source: str
    output: str
    op: str
    inputs_first: bool = False
    is_scaled: bool = False
    groups: int = 1
    strides: tuple[int, int] | None = None
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)

    @property
    def mixes_channels(self) -> bool:
        """Whether each output sees all input channels, so that one Hessian serves all filters."""
        return self.groups == 1

    def filters(self, weight: NDArray[np.float32]) -> NDArray[np.float32]:
        """A weight as (outputs, inputs of one filter)."""
        if self.inputs_first:
            return np.ascontiguousarray(weight.T)
        return weight.reshape(weight.shape[0], -1)


def find_layers(graph: Graph) -> tuple[Layer, ...]:
    """The layers of a model in graph order.

    Weights that several nodes share, that aren't matrices or filters, or that lie in a branch or
    loop aren't listed: their inputs can't be told from outside.
    """
    model = graph.empty_model().graph
    packed = {weight.name: weight for weight in graph.weights}
    uses: dict[str, int] = {}
    for node in all_nodes(model):
        for name in node.input:
            uses[name] = uses.get(name, 0) + 1
    found = []
    for node in model.node:
        weight = packed.get(node.input[1]) if len(node.input) > 1 else None
        if weight is None or weight.role is not Role.WEIGHT or uses[weight.name] > 1:
            continue
        layer = _layer(node, len(weight.shape), _bias(node, packed, uses, model))
        if layer is not None:
            found.append(layer)
    return tuple(found)


def _bias(
    node: NodeProto, packed: Mapping[str, object], uses: dict[str, int], graph: GraphProto
) -> str | None:
    """The bias that only this node adds, its own third input or a vector added behind it."""
    if len(node.input) > 2:
        name = node.input[2]
        return name if name in packed and uses[name] == 1 else None
    if node.op_type != "MatMul":
        return None
    consumers = [other for other in graph.node if node.output[0] in other.input]
    if len(consumers) != 1 or consumers[0].op_type != "Add":
        return None
    other = next((name for name in consumers[0].input if name != node.output[0]), "")
    return other if other in packed and uses[other] == 1 else None


def _layer(node: NodeProto, rank: int, bias: str | None) -> Layer | None:
    weight, source, output = node.input[1], node.input[0], node.output[0]
    if node.op_type == "Conv":
        groups = integer(node, "group", 1)
        automatic = any(item.name == "auto_pad" and item.s != b"NOTSET" for item in node.attribute)
        if rank != 4 or automatic:
            return Layer(weight, bias, source, output, "Conv", groups=groups)
        strides = integers(node, "strides") or [1, 1]
        dilations = integers(node, "dilations") or [1, 1]
        pads = integers(node, "pads") or [0, 0, 0, 0]
        return Layer(
            weight,
            bias,
            source,
            output,
            "Conv",
            groups=groups,
            strides=(strides[0], strides[1]),
            dilations=(dilations[0], dilations[1]),
            pads=(pads[0], pads[1], pads[2], pads[3]),
        )
    if node.op_type == "Gemm" and rank == 2 and not integer(node, "transA", 0):
        scaled = any(item.name in {"alpha", "beta"} and item.f != 1 for item in node.attribute)
        transposed = bool(integer(node, "transB", 0))
        return Layer(
            weight,
            None if scaled else bias,
            source,
            output,
            "Gemm",
            inputs_first=not transposed,
            is_scaled=scaled,
        )
    if node.op_type == "MatMul" and rank == 2:
        return Layer(weight, bias, source, output, "MatMul", inputs_first=True)
    return None
