"""The int8 run form of a packed model: the same codes in a graph that says what runs in 8 bits.

```
input ─QuantizeLinear→ uint8 ─DequantizeLinear─┐
codes, int8 ──────────────────DequantizeLinear─┼─ Conv ─QuantizeLinear→ uint8 ─ ...
bias, int32 ──────────────────DequantizeLinear─┘
```

onnxruntime joins such a group into one 8-bit kernel. Relu and Clip that saturation does anyway
fall away. What isn't listed stays as it is. The arithmetic is that of Jacob et al., "Quantization
and training of neural networks for efficient integer-arithmetic-only inference" (2018), section 2.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgekit.errors import CorruptError, UsageError
from edgekit.graph.walk import all_nodes, integer, integers, value_names
from edgekit.packfile.activations import (
    Activations,
    Quantized,
    read_activations,
    without_activations,
)
from edgekit.packfile.int8_layers import (
    Int8Layer,
    View,
    find_int8_layers,
    parse_skeleton,
    stored,
)
from edgekit.packfile.reader import PackedModel
from edgekit.tensors import CodedTensor, CompressedModel, CompressedTensor, StoredTensor

_PER_CHANNEL_OPSET, _LEAST_OPSET = 13, 10
"""Of QuantizeLinear with an axis, and of 8-bit kernels at all."""
_MICROSOFT = "com.microsoft"
"""Below opset 13 onnxruntime's own QuantizeLinear takes the axis."""


def as_int8(model: CompressedModel, activations: Activations) -> CompressedModel:
    """The same model in its int8 run form: a packed model of its own, of int8 codes.

    Weights of layers in 8 bits are int8 tensors, exactly the codes that they were. Raises
    CorruptError where activations name what the graph doesn't have, and UsageError for a graph
    that can't have such nodes.
    """
    return _Builder(model, activations).build()


def int8_model(packed: PackedModel) -> CompressedModel:
    """The int8 run form of a packed file. Raises CorruptError, and UsageError where it has none."""
    activations = read_activations(packed.manifest)
    if activations is None:
        raise UsageError(
            "the packed file has no int8 form; make one with "
            "edgekit compress --run-as int8 --calibration DATA"
        )
    return as_int8(packed.model(), activations)


def check_opset(model: ModelProto) -> int:
    """The version of ONNX's operators. Raises UsageError where it has no 8-bit ones."""
    opset = next((entry.version for entry in model.opset_import if not entry.domain), 0)
    if opset < _LEAST_OPSET:
        raise UsageError(
            f"the model's operators are ONNX opset {opset}, which has no 8-bit ones; export it "
            f"with opset {_PER_CHANNEL_OPSET} or later to run it as int8"
        )
    return opset


class _Builder:
    def __init__(self, model: CompressedModel, activations: Activations) -> None:
        self.model = model
        self.proto = parse_skeleton(model.skeleton)
        self.activations = activations
        self.tensors: dict[str, CompressedTensor] = {
            tensor.name: tensor for tensor in model.tensors
        }
        self.view = View(self.proto, self.tensors)
        self.names = value_names(self.proto.graph)
        self.shared: dict[tuple[str, int | float], str] = {}
        self.domain = "" if check_opset(self.proto) >= _PER_CHANNEL_OPSET else _MICROSOFT

    def build(self) -> CompressedModel:
        self._check()
        graph = self.proto.graph
        running = tuple(self._running())
        layers = {layer.node: layer for layer in running}
        biases = {layer.bias_node: layer for layer in running if layer.bias is not None}
        given = list(graph.node)
        folded = self._fold(given)
        dequantized = {name: self._name(f"{name}_dequantized") for name in self.activations.tensors}
        nodes: list[NodeProto] = []
        for name in (value.name for value in graph.input):
            if name in dequantized:
                nodes += self._pair(name, dequantized[name])
        for number, original in enumerate(given):
            if number in folded:
                continue
            node = NodeProto()
            node.CopyFrom(original)
            self._pool(node)
            node.input[:] = [dequantized.get(name, name) for name in node.input]
            if number in layers:
                nodes += self._weights(layers[number], node)
            if number in biases:
                nodes += self._bias(biases[number], node)
            nodes.append(node)
            for name in node.output:
                if name in dequantized:
                    nodes += self._pair(name, dequantized[name])
        del graph.node[:]
        graph.node.extend(nodes)
        if self.domain and all(entry.domain != self.domain for entry in self.proto.opset_import):
            self.proto.opset_import.append(helper.make_opsetid(self.domain, 1))
        self._drop_unused()
        return CompressedModel(
            tuple(self.tensors.values()),
            self.proto.SerializeToString(deterministic=True),
            without_activations(self.model.manifest),
        )

    def _check(self) -> None:
        """Everything that the activations name is in the graph, and isn't what it answers."""
        graph = self.proto.graph
        weights = {tensor.name for tensor in graph.initializer}
        values = {value.name for value in graph.input} - weights
        values.update(name for node in graph.node for name in node.output)
        for name in self.activations.tensors:
            if name not in values or name in self.view.outputs:
                raise CorruptError(
                    f"the manifest's activation {name!r:.60} isn't a value inside the graph"
                )
        for name in self.activations.floats:
            if name not in weights:
                raise CorruptError(f"the manifest's layer {name!r:.60} isn't in the graph")

    def _running(self) -> Iterator[Int8Layer]:
        """The layers that run in 8 bits."""
        for layer in find_int8_layers(self.view):
            follower = self.view.only_consumer(layer.output)
            output = layer.output
            if follower is not None and self._is_saturation(follower):
                output = follower.output[0]
            is_met = output in self.activations.tensors or not layer.needs_output
            if is_met and layer.runs(self.activations):
                yield layer

    def _is_saturation(self, node: NodeProto) -> bool:
        """Whether the grid of what a node puts out does its work."""
        bounds = self.view.bounds(node)
        grid = self.activations.tensors.get(node.output[0]) if bounds else None
        return bounds is not None and grid is not None and grid.saturates(*bounds)

    def _fold(self, nodes: list[NodeProto]) -> set[int]:
        """Let the nodes before a Relu or Clip put out what it would; its place is returned."""
        folded = set()
        makers = {name: node for node in nodes for name in node.output}
        for number, node in enumerate(nodes):
            source = node.input[0] if node.input else ""
            maker = makers.get(source)
            if maker is None or self.view.only_consumer(source) is not node:
                continue
            if source not in self.activations.tensors and self._is_saturation(node):
                maker.output[:] = [node.output[0] if n == source else n for n in maker.output]
                folded.add(number)
        return folded

    def _pair(self, name: str, dequantized: str) -> list[NodeProto]:
        grid = self.activations.tensors[name]
        quantized = self._name(f"{name}_quantized")
        parameters = self._grid(grid)
        return [
            self._node("QuantizeLinear", [name, *parameters], quantized),
            self._node("DequantizeLinear", [quantized, *parameters], dequantized),
        ]

    def _weights(self, layer: Int8Layer, node: NodeProto) -> Iterator[NodeProto]:
        """The codes, as they are, on their grid."""
        weight, scale = layer.weight, np.asarray(layer.weight.scale, np.float32)
        codes = CodedTensor(weight.name, "int8", weight.codes, None)
        self._exchange(codes, TensorProto.INT8)
        steps = self._vector(f"{weight.name}_scale", scale)
        zeros = self._zeros(TensorProto.INT8, scale.shape)
        node.input[1] = self._name(f"{weight.name}_dequantized")
        yield self._node(
            "DequantizeLinear",
            [weight.name, steps, zeros],
            node.input[1],
            layer.axis if scale.ndim else None,
        )

    def _bias(self, layer: Int8Layer, node: NodeProto) -> Iterator[NodeProto]:
        """The bias in units of the sums that the kernel adds up."""
        grid = self.activations.tensors[layer.source]
        unit = layer.bias_scale(grid.scale)
        sums = np.rint(np.asarray(layer.bias) / unit).astype(np.int32)
        name = node.input[layer.bias_input]
        integers_ = self._vector(f"{name}_int32", sums)
        units = self._vector(f"{name}_scale", unit.astype(np.float32))
        node.input[layer.bias_input] = self._name(f"{name}_dequantized")
        yield self._node(
            "DequantizeLinear",
            [integers_, units, self._zeros(TensorProto.INT32, unit.shape)],
            node.input[layer.bias_input],
            0 if unit.ndim else None,
        )

    def _pool(self, node: NodeProto) -> None:
        """A mean over all positions as a pool, which has an 8-bit kernel."""
        names = self.activations.tensors
        if node.op_type != "ReduceMean" or node.domain or not integer(node, "keepdims", 1):
            return
        if node.input[0] not in names or node.output[0] not in names:
            return
        if not self.view.is_picture(node.input[0]):
            return
        axes: list[int] | None = integers(node, "axes")
        if axes is None and len(node.input) > 1:
            value = self.view.constant(node.input[1])
            axes = None if value is None else [int(axis) for axis in value.reshape(-1)]
        if axes is None or sorted(axes) not in ([2, 3], [-2, -1]):
            return
        del node.attribute[:]
        node.op_type = "GlobalAveragePool"
        node.input[:] = node.input[:1]

    def _node(self, op: str, inputs: list[str], output: str, axis: int | None = None) -> NodeProto:
        node = helper.make_node(op, inputs, [output], domain=self.domain)
        if axis is not None:
            node.attribute.append(helper.make_attribute("axis", axis))
        return node

    def _grid(self, grid: Quantized) -> tuple[str, str]:
        """Names of a scale and a zero point; equal ones are shared."""
        return (
            self._scalar("scale", TensorProto.FLOAT, grid.scale),
            self._scalar("zero_point", TensorProto.UINT8, grid.zero_point),
        )

    def _scalar(self, word: str, kind: int, value: float) -> str:
        if (word, value) not in self.shared:
            name = self._name(f"{word}_{len(self.shared)}")
            self.proto.graph.initializer.append(helper.make_tensor(name, kind, [], [value]))
            self.shared[word, value] = name
        return self.shared[word, value]

    def _zeros(self, kind: int, shape: tuple[int, ...]) -> str:
        key = (f"zeros_{kind}", shape[0] if shape else 0)
        if key not in self.shared:
            name = self._name(f"zeros_{len(self.shared)}")
            dtype = helper.tensor_dtype_to_np_dtype(kind)
            tensor = numpy_helper.from_array(np.zeros(shape, dtype), name)
            self.proto.graph.initializer.append(tensor)
            self.shared[key] = name
        return self.shared[key]

    def _vector(self, wish: str, values: NDArray[np.float32] | NDArray[np.int32]) -> str:
        """A new tensor outside the skeleton; its name."""
        name = self._name(wish)
        if values.dtype == np.int32:
            tensor: StoredTensor = StoredTensor(name, "int32", values)
            self._exchange(tensor, TensorProto.INT32)
        else:
            tensor = stored(name, np.asarray(values, np.float32))
            self._exchange(tensor, TensorProto.FLOAT)
        return name

    def _exchange(self, tensor: CompressedTensor, kind: int) -> None:
        """Put a tensor in the place of the one of its name, in the table and in the skeleton."""
        self.tensors[tensor.name] = tensor
        initializers = self.proto.graph.initializer
        empty = next((entry for entry in initializers if entry.name == tensor.name), None)
        if empty is None:
            empty = initializers.add()
        empty.Clear()
        empty.name, empty.data_type = tensor.name, kind
        empty.dims.extend(tensor.shape)
        empty.data_location = TensorProto.EXTERNAL

    def _name(self, wish: str) -> str:
        while wish in self.names:
            wish += "_"
        self.names.add(wish)
        return wish

    def _drop_unused(self) -> None:
        """Float biases that became integers, and bounds of Clips that are gone."""
        graph = self.proto.graph
        used = {name for node in all_nodes(graph) for name in node.input}
        used.update(value.name for value in graph.output)
        kept = [tensor for tensor in graph.initializer if tensor.name in used]
        del graph.initializer[:]
        graph.initializer.extend(kept)
        self.tensors = {name: tensor for name, tensor in self.tensors.items() if name in used}
