"""Parameters, multiply-adds and bytes of an ONNX graph, under rules with names.

Papers count differently, so a count is only worth something with its rule:

- weights: of convolutions and fully-connected layers alone;
- weights_and_biases: with the biases that these layers have;
- parameters: with scale and shift of batch normalisation too; running statistics never count;
- multiply_adds: one for each use of a weight at batch 1, convolutions and fully-connected layers;
  biases, normalisation, activations, pooling, sums and shuffles count nothing;
- convolution_multiply_adds: the same without fully-connected layers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import onnx
from onnx import ModelProto, NodeProto

from edgekit.errors import UsageError
from edgekit.graph import Graph
from edgekit.graph.walk import integer

_CONVOLUTIONS = frozenset({"Conv", "FusedConv", "ConvTranspose"})
_DENSE = frozenset({"Gemm", "FusedGemm", "MatMul"})

Shape = tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class LayerCount:
    """One convolution or fully-connected layer.

    output_shape: at batch 1; None for a size that the graph leaves open.
    multiply_adds: None where the output's shape is open.
    """

    name: str
    op: str
    weight: str
    weights: int
    biases: int
    output_shape: Shape
    multiply_adds: int | None


@dataclass(frozen=True, slots=True)
class Count:
    """The counts of a graph. weight_bytes: of all its numbers outside the skeleton, uncoded."""

    layers: tuple[LayerCount, ...]
    normalisation: int
    weight_bytes: int

    @property
    def weights(self) -> int:
        """Weights of convolutions and fully-connected layers; shared ones count once."""
        return sum({layer.weight: layer.weights for layer in self.layers}.values())

    @property
    def weights_and_biases(self) -> int:
        """Weights and the biases of the same layers."""
        return self.weights + sum(layer.biases for layer in self.layers)

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

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "weights": self.weights,
            "weights_and_biases": self.weights_and_biases,
            "parameters": self.parameters,
            "multiply_adds": self.multiply_adds,
            "convolution_multiply_adds": self.convolution_multiply_adds,
            "weight_bytes": self.weight_bytes,
            "layers": [asdict(layer) for layer in self.layers],
        }


def count(graph: Graph, input_shapes: Mapping[str, tuple[int, ...]] | None = None) -> Count:
    """Count a graph at batch 1.

    input_shapes: shapes of inputs by name, where the graph leaves sizes open; its open first
    sizes are taken for the batch. Layers inside control flow aren't counted: how often they run
    isn't known. Raises UsageError for an input that the graph doesn't have.
    """
    model = graph.empty_model()
    shapes = _value_shapes(model, input_shapes or {})
    sizes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    biases = _added_vectors(model, sizes)
    layers = tuple(
        _layer(node, sizes, shapes, biases) for node in model.graph.node if _is_layer(node, sizes)
    )
    normalisation = {
        name: math.prod(sizes[name])
        for node in model.graph.node
        if node.op_type == "BatchNormalization"
        for name in node.input[1:3]
        if name in sizes
    }
    return Count(
        layers,
        sum(normalisation.values()),
        sum(weight.values.nbytes for weight in graph.weights),
    )


def _is_layer(node: NodeProto, sizes: Mapping[str, tuple[int, ...]]) -> bool:
    return node.op_type in _CONVOLUTIONS | _DENSE and _weight_index(node, sizes) is not None


def _weight_index(node: NodeProto, sizes: Mapping[str, tuple[int, ...]]) -> int | None:
    """Which input is the weight: the second, or the first of a product with its sides swapped."""
    indices = (1,) if node.op_type in _CONVOLUTIONS else (1, 0)
    return next((index for index in indices if node.input[index] in sizes), None)


def _layer(
    node: NodeProto,
    sizes: Mapping[str, tuple[int, ...]],
    shapes: Mapping[str, Shape],
    biases: Mapping[str, str],
) -> LayerCount:
    index = _weight_index(node, sizes) or 0
    weight = node.input[index]
    output = shapes.get(node.output[0], ())
    bias = node.input[2] if len(node.input) > 2 else biases.get(node.output[0], "")
    return LayerCount(
        name=node.name or node.output[0],
        op=node.op_type,
        weight=weight,
        weights=math.prod(sizes[weight]),
        biases=math.prod(sizes[bias]) if bias in sizes else 0,
        output_shape=output,
        multiply_adds=_multiply_adds(node, index, sizes[weight], shapes),
    )


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


def _value_shapes(
    model: ModelProto, input_shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Shape]:
    """Shapes of all values at batch 1, as far as onnx can infer them."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = {value.name: value for value in model.graph.input if value.name not in weights}
    for name in input_shapes:
        if name not in inputs:
            raise UsageError(f"the model has no input {name}; it has {', '.join(inputs)}")
    for name, value in inputs.items():
        sizes = value.type.tensor_type.shape.dim
        for position, size in enumerate(sizes):
            if name in input_shapes and position < len(input_shapes[name]):
                size.dim_value = input_shapes[name][position]
            # Some converters write an open size as -1.
            elif position == 0 and size.dim_value < 1:
                size.dim_value = 1
    # Shapes written by an exporter name the open batch, and would win over the inferred ones.
    del model.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    return {
        value.name: tuple(
            size.dim_value if size.HasField("dim_value") and size.dim_value >= 0 else None
            for size in value.type.tensor_type.shape.dim
        )
        for value in (*inferred.value_info, *inferred.input, *inferred.output)
    }


def _sum(values: Iterable[int | None]) -> int | None:
    total = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total
