"""Which layers of a packed model can multiply in 8 bits: those whose codes are int8 on a grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from edgekit.errors import CorruptError
from edgekit.graph.walk import all_nodes, integer
from edgekit.packfile.activations import Activations
from edgekit.tensors import CodedTensor, CompressedModel, CompressedTensor, StoredTensor, dequantize

_LARGEST_CODE = 127
_LARGEST_BIAS = 2**31 - 1
_SAME_RANK = frozenset({"Add", "AveragePool", "Clip", "Concat", "MaxPool", "Relu"})
_FAR = 8
"""Nodes between a value and the convolution that tells its rank."""


@dataclass(frozen=True, slots=True, eq=False)
class Int8Layer:
    """A convolution or matrix product that can run in 8 bits.

    node: its place in the graph. weight: its codes, with their scale. axis: of the output channel.
    bias: (channels,) float32, or None. bias_node, bias_input: place of the node that adds it, the
    layer itself or an Add behind a MatMul, and among that node's inputs.
    source, output: the values that flow in and out. needs_output: whether its output must be 8
    bits too, as onnxruntime's kernels want it.
    """

    node: int
    weight: CodedTensor
    axis: int
    bias: NDArray[np.float32] | None
    bias_node: int
    bias_input: int
    source: str
    output: str
    needs_output: bool

    def runs(self, activations: Activations) -> bool:
        """Whether these activations let it run in 8 bits."""
        grid = activations.tensors.get(self.source)
        if grid is None or self.weight.name in activations.floats:
            return False
        return self.bias is None or bool(
            np.all(np.abs(self.bias / self.bias_scale(grid.scale)) <= _LARGEST_BIAS)
        )

    def bias_scale(self, scale: float) -> NDArray[np.float64]:
        """Of the sums that the kernel adds up: the input's scale times the weights'."""
        steps = np.asarray(self.weight.scale, np.float32)
        return np.asarray(np.float32(scale) * steps, np.float32).astype(np.float64)


class View:
    """A graph as its nodes see it: who makes a value, who uses it, and which are constant.

    model: parsed skeleton. outputs: names of the graph's outputs. uses: how often each name is an
    input of a node, those of branches and loops included; and how often it is an output.
    """

    def __init__(self, model: ModelProto, tensors: Mapping[str, CompressedTensor]) -> None:
        self.graph: GraphProto = model.graph
        self.tensors = tensors
        self.outputs = {value.name for value in model.graph.output}
        self.uses: dict[str, int] = {}
        for node in all_nodes(model.graph):
            for name in node.input:
                self.uses[name] = self.uses.get(name, 0) + 1
        self.consumers: dict[str, list[NodeProto]] = {}
        for node in model.graph.node:
            for name in dict.fromkeys(node.input):
                self.consumers.setdefault(name, []).append(node)
        self._makers = {name: node for node in model.graph.node for name in node.output}
        self._inline: dict[str, TensorProto] = {
            tensor.name: tensor for tensor in model.graph.initializer
        }
        for node in model.graph.node:
            if node.op_type == "Constant" and len(node.attribute) == 1 and node.output:
                self._inline[node.output[0]] = node.attribute[0].t

    def constant(self, name: str) -> NDArray[Any] | None:
        """The numbers of a constant, or None where it isn't one that can be read here."""
        if name in self.tensors:
            return dequantize(self.tensors[name])
        tensor = self._inline.get(name)
        if tensor is None or tensor.data_location == TensorProto.EXTERNAL:
            return None
        try:
            return np.asarray(numpy_helper.to_array(tensor))
        except (ValueError, TypeError):
            return None

    def bounds(self, node: NodeProto) -> tuple[float, float] | None:
        """What a Relu or Clip keeps values within; None for any other node."""
        if node.domain or not node.input or not node.output:
            return None
        if node.op_type == "Relu":
            return 0.0, float("inf")
        if node.op_type != "Clip":
            return None
        found = {"min": float("-inf"), "max": float("inf")}
        # Up to opset 10 they are attributes, from then on inputs.
        found.update({item.name: item.f for item in node.attribute if item.name in found})
        for key, name in zip(found, node.input[1:], strict=False):
            if name:
                value = self.constant(name)
                if value is None or value.size != 1:
                    return None
                found[key] = float(value.reshape(-1)[0])
        return found["min"], found["max"]

    def only_consumer(self, name: str) -> NodeProto | None:
        """The one node that uses a value, where nothing else does."""
        users = self.consumers.get(name, [])
        alone = self.uses.get(name) == 1 and len(users) == 1 and name not in self.outputs
        return users[0] if alone else None

    def is_picture(self, name: str) -> bool:
        """Whether a value is known to have two positions, (N, C, H, W), from a convolution."""
        for _ in range(_FAR):
            node = self._makers.get(name)
            if node is None or node.domain or not node.input:
                return False
            if node.op_type == "Conv":
                weight = self.tensors.get(node.input[1])
                return weight is not None and len(weight.shape) == 4
            if node.op_type not in _SAME_RANK:
                return False
            name = node.input[0]
        return False


def parse_skeleton(skeleton: bytes) -> ModelProto:
    """The graph without weights. Raises CorruptError."""
    model = ModelProto()
    try:
        model.ParseFromString(skeleton)
    except DecodeError as error:
        raise CorruptError("the skeleton isn't an ONNX model") from error
    return model


def int8_layers(model: CompressedModel) -> tuple[Int8Layer, ...]:
    """The layers that can run in 8 bits, in graph order, and that alone use their weights."""
    tensors = {tensor.name: tensor for tensor in model.tensors}
    return find_int8_layers(View(parse_skeleton(model.skeleton), tensors))


def find_int8_layers(view: View) -> tuple[Int8Layer, ...]:
    """Likewise, of a graph that is parsed already."""
    found = (_layer(number, node, view) for number, node in enumerate(view.graph.node))
    return tuple(layer for layer in found if layer is not None)


def _layer(number: int, node: NodeProto, view: View) -> Int8Layer | None:
    axis = _output_axis(node)
    weight = view.tensors.get(node.input[1]) if len(node.input) > 1 else None
    if axis is None or not isinstance(weight, CodedTensor) or not _fits(weight, axis):
        return None
    if view.uses[weight.name] != 1 or not node.input[0] or len(node.output) != 1:
        return None
    if node.op_type != "Conv" and len(weight.shape) != 2:
        return None
    adder, place = _bias_place(number, node, view)
    bias = None
    if place is not None:
        bias = view.constant(view.graph.node[adder].input[place])
        if bias is None or bias.dtype != np.float32 or bias.shape != (weight.shape[axis],):
            return None
    is_conv = node.op_type == "Conv"
    source, output = node.input[0], node.output[0]
    return Int8Layer(number, weight, axis, bias, adder, place or 0, source, output, is_conv)


def _bias_place(number: int, node: NodeProto, view: View) -> tuple[int, int | None]:
    """The node that adds a layer's bias and which of its inputs that is; None where there is none.

    onnxruntime makes one product of a MatMul and an Add behind it, whose bias must be 8-bit
    arithmetic's too, then.
    """
    if len(node.input) > 2 and node.input[2]:
        return number, 2
    adder = view.only_consumer(node.output[0]) if node.op_type == "MatMul" else None
    if adder is None or adder.op_type != "Add" or adder.domain:
        return number, None
    places = [i for i, name in enumerate(adder.input) if view.constant(name) is not None]
    behind = next(i for i, other in enumerate(view.graph.node) if other is adder)
    return (behind, places[0]) if len(places) == 1 else (number, None)


def _output_axis(node: NodeProto) -> int | None:
    """The weight's dimension that is the output channel; None for what has no 8-bit kernel."""
    if node.domain:
        return None
    if node.op_type == "Conv":
        return 0
    if node.op_type == "MatMul":
        return 1
    if node.op_type == "Gemm" and not integer(node, "transA", 0):
        scaled = any(item.name in {"alpha", "beta"} and item.f != 1 for item in node.attribute)
        return None if scaled else 1 - integer(node, "transB", 0)
    return None


def _fits(weight: CodedTensor, axis: int) -> bool:
    """Whether codes are int8, symmetric, and their steps one or one an output channel."""
    if weight.codebook is not None or weight.scale is None or weight.dtype != "float32":
        return False
    if weight.codes.dtype != np.int8 or weight.codes.ndim < 2 or not weight.codes.size:
        return False
    if weight.scale.ndim and (weight.axis != axis or weight.scale.shape != (weight.shape[axis],)):
        return False
    sound = np.isfinite(weight.scale) & (weight.scale > 0)
    return bool(np.all(sound)) and int(weight.codes.min()) >= -_LARGEST_CODE


def stored(name: str, values: NDArray[np.float32]) -> StoredTensor:
    """Float32 numbers as float16 where that loses nothing."""
    with np.errstate(over="ignore", under="ignore"):
        half = values.astype(np.float16)
    exact = bool(np.all(half.astype(np.float32) == values))
    return StoredTensor(name, "float32", half if exact else values)
