"""Parameters, multiply-adds and bytes of an ONNX graph, under rules with names.

Papers count differently, so a count is only worth something with its rule:

- weights: of convolutions and fully-connected layers alone;
- weights_and_biases: with the biases that these layers have;
- parameters: with scale and shift of batch normalisation too; running statistics never count;
- multiply_adds: one for each use of a weight, convolutions and fully-connected layers;
  biases, normalisation, activations, pooling, sums and shuffles count nothing;
- convolution_multiply_adds: the same without fully-connected layers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from onnx import ModelProto, NodeProto

from edgekit.graph import Graph
from edgekit.graph.shapes import Shape, value_shapes
from edgekit.graph.walk import integer

_QUANTIZED = {"QLinearConv": 3, "ConvInteger": 1, "QLinearMatMul": 3, "MatMulInteger": 1}
"""Operators of quantized models, and which input is their weight."""
_CONVOLUTIONS = frozenset({"Conv", "FusedConv", "ConvTranspose", "QLinearConv", "ConvInteger"})
_DENSE = frozenset({"Gemm", "FusedGemm", "MatMul", "QLinearMatMul", "MatMulInteger"})
_FORMS = frozenset({"DequantizeLinear", "Identity", "Cast", "Transpose"})
"""Operators whose output is their first input in another form; a transposed weight counts alike."""
_UNCOUNTED = frozenset({"Einsum", "GRU", "If", "LSTM", "Loop", "RNN", "Scan"})


@dataclass(frozen=True, slots=True)
class LayerCount:
    """One convolution or fully-connected layer.

    form: pointwise, depthwise, grouped, the kernel such as 3x3, or fc.
    bias: its name, "" without one. output_shape: None for a size that the graph leaves open.
    multiply_adds: None where the output's shape is open.
    """

    name: str
    op: str
    form: str
    weight: str
    bias: str
    weights: int
    biases: int
    output_shape: Shape
    multiply_adds: int | None


@dataclass(frozen=True, slots=True)
class Share:
    """What all layers of one form hold and cost, as in MobileNet's table 2 (section 3.2).

    multiply_adds: None where one of them can't be counted.
    """

    form: str
    weights: int
    multiply_adds: int | None


@dataclass(frozen=True, slots=True)
class Count:
    """The counts of a graph. weight_bytes: of all its numbers outside the skeleton, uncoded.

    batch: that the multiply-adds are for: 1 where the graph leaves it open. uncounted: operators
    with weights that the counts leave out.
    """

    layers: tuple[LayerCount, ...]
    normalisation: int
    weight_bytes: int
    batch: int
    uncounted: tuple[str, ...]

    @property
    def weights(self) -> int:
        """Weights of convolutions and fully-connected layers; shared ones count once."""
        return sum({layer.weight: layer.weights for layer in self.layers}.values())

    @property
    def weights_and_biases(self) -> int:
        """Weights and the biases of the same layers."""
        biases = {layer.bias: layer.biases for layer in self.layers}
        return self.weights + sum(biases.values())

    @property
    def parameters(self) -> int:
        """Weights, biases, and scale and shift of batch normalisation."""
        return self.weights_and_biases + self.normalisation

    @property
    def multiply_adds(self) -> int | None:
        """Of all layers; None where one of them can't be counted."""
        return _sum(layer.multiply_adds for layer in self.layers)

    @property
    def convolution_multiply_adds(self) -> int | None:
        """Of convolutions alone; None where one of them can't be counted."""
        return _sum(layer.multiply_adds for layer in self.layers if layer.op in _CONVOLUTIONS)

    @property
    def shares(self) -> tuple[Share, ...]:
        """The layers by their form, the costliest first; a shared weight counts once."""
        forms = dict.fromkeys(layer.form for layer in self.layers)
        shares = [
            Share(
                form,
                sum({layer.weight: layer.weights for layer in layers}.values()),
                _sum(layer.multiply_adds for layer in layers),
            )
            for form in forms
            for layers in [[layer for layer in self.layers if layer.form == form]]
        ]
        return tuple(sorted(shares, key=lambda share: (-(share.multiply_adds or 0), share.form)))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "weights": self.weights,
            "weights_and_biases": self.weights_and_biases,
            "parameters": self.parameters,
            "multiply_adds": self.multiply_adds,
            "convolution_multiply_adds": self.convolution_multiply_adds,
            "weight_bytes": self.weight_bytes,
            "batch": self.batch,
            "uncounted": list(self.uncounted),
            "shares": [asdict(share) for share in self.shares],
            "layers": [asdict(layer) for layer in self.layers],
        }


def count(graph: Graph, input_shapes: Mapping[str, tuple[int, ...]] | None = None) -> Count:
    """Count a graph at batch 1, or at the batch that it insists on.

    input_shapes: shapes of inputs by name, where the graph leaves sizes open; its open first
    sizes are taken for the batch. Layers inside control flow aren't counted: how often they run
    isn't known. Raises UsageError for an input that the graph doesn't have.
    """
    model = graph.empty_model()
    names = _sources(model)
    values = value_shapes(model, input_shapes)
    shapes = {name: value.shape for name, value in values.items()}
    sizes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    # A weight in another form has that form's shape.
    sizes |= {name: _whole(shapes.get(name, ())) for name in names if name not in sizes}
    biases = _added_vectors(model, sizes)
    layers = tuple(
        _layer(node, sizes, shapes, biases, names)
        for node in model.graph.node
        if _is_layer(node, sizes)
    )
    normalisation = {
        name: math.prod(sizes[name])
        for node in model.graph.node
        if node.op_type == "BatchNormalization"
        for name in node.input[1:3]
        if name in sizes
    }
    operators = {node.op_type for node in model.graph.node}
    inputs = [shapes.get(value.name, ()) for value in model.graph.input if value.name not in names]
    return Count(
        layers,
        sum(normalisation.values()),
        sum(weight.values.nbytes for weight in graph.weights),
        batch=(inputs[0][0] if inputs and inputs[0] else 1) or 1,
        uncounted=tuple(sorted(operators & _UNCOUNTED)),
    )


def _whole(shape: Shape) -> tuple[int, ...]:
    return tuple(size or 0 for size in shape)


def _is_layer(node: NodeProto, sizes: Mapping[str, tuple[int, ...]]) -> bool:
    return node.op_type in _CONVOLUTIONS | _DENSE and _weight_index(node, sizes) is not None


def _weight_index(node: NodeProto, sizes: Mapping[str, tuple[int, ...]]) -> int | None:
    """Which input is the weight: the second, or the first of a product with its sides swapped.

    The operators of quantized models have scales and zero points in between.
    """
    if node.op_type in _QUANTIZED:
        indices: tuple[int, ...] = (_QUANTIZED[node.op_type],)
    else:
        indices = (1,) if node.op_type in _CONVOLUTIONS else (1, 0)
    return next((index for index in indices if node.input[index] in sizes), None)


def _layer(
    node: NodeProto,
    sizes: Mapping[str, tuple[int, ...]],
    shapes: Mapping[str, Shape],
    biases: Mapping[str, str],
    names: Mapping[str, str],
) -> LayerCount:
    index = _weight_index(node, sizes) or 0
    weight = node.input[index]
    output = shapes.get(node.output[0], ())
    place = 8 if node.op_type == "QLinearConv" else 2
    has_bias = node.op_type not in _QUANTIZED or place == 8
    bias = biases.get(node.output[0], "")
    if has_bias and len(node.input) > place:
        bias = node.input[place]
    return LayerCount(
        name=node.name or node.output[0],
        op=node.op_type,
        form=_form(node, sizes[weight]),
        weight=names.get(weight, weight),
        bias=names.get(bias, ""),
        weights=math.prod(sizes[weight]),
        biases=math.prod(sizes[bias]) if bias in sizes else 0,
        output_shape=output,
        multiply_adds=_multiply_adds(node, index, sizes[weight], shapes),
    )


def _form(node: NodeProto, weight: tuple[int, ...]) -> str:
    if node.op_type in _DENSE:
        return "fc"
    groups = integer(node, "group", 1)
    # A convolution's kernel holds the input channels of one group, a transposed one's all.
    channels = weight[0] if node.op_type == "ConvTranspose" else weight[1] * groups
    if groups > 1:
        return "depthwise" if groups == channels else "grouped"
    return "pointwise" if set(weight[2:]) == {1} else "x".join(map(str, weight[2:]))


def _multiply_adds(
    node: NodeProto, index: int, weight: tuple[int, ...], shapes: Mapping[str, Shape]
) -> int | None:
    if node.op_type == "ConvTranspose":
        # Each input element meets the weights of its channel once.
        places, uses = shapes.get(node.input[0], ()), math.prod(weight[1:])
    else:
        # Each output element uses the weights of its channel once.
        places = shapes.get(node.output[0], ())
        if node.op_type in _CONVOLUTIONS:
            uses = math.prod(weight[1:])
        elif node.op_type == "MatMul":
            uses = weight[-2] if index == 1 and len(weight) > 1 else weight[-1]
        else:
            flag = integer(node, "transB" if index == 1 else "transA", 0)
            uses = weight[flag if index == 1 else 1 - flag]
    known = [size for size in places if size is not None]
    if not places or len(known) < len(places):
        return None
    return math.prod(known) * uses


def _sources(model: ModelProto) -> dict[str, str]:
    """Names of tensors, by the values that are one in another form, as by DequantizeLinear."""
    names = {tensor.name: tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in _FORMS and node.input[0] in names:
            names[node.output[0]] = names[node.input[0]]
    return names


def _added_vectors(model: ModelProto, sizes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """For each output of MatMul to which a vector is added, the vector's name: its bias."""
    products = {node.output[0] for node in model.graph.node if node.op_type == "MatMul"}
    return {
        product: vector
        for node in model.graph.node
        if node.op_type == "Add"
        for product, vector in (tuple(node.input), tuple(reversed(node.input)))
        if product in products and len(sizes.get(vector, ())) == 1
    }


def _sum(values: Iterable[int | None]) -> int | None:
    total = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total
