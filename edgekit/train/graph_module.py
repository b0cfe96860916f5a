"""An ONNX graph as a torch module whose initializers are trained.

```
inputs ─► activation transform ─► operator ─► activation transform ─► operator ─► ... ─► outputs
                                     ▲ weight transform
                                  parameter (an initializer of the graph)
```

What leaves training has the names and shapes of the graph that went in, so it packs exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from edgekit.errors import UsageError
from edgekit.graph.elements import DTYPE_NAMES, FLOATS, read_elements
from edgekit.graph.inputs import input_shapes
from edgekit.graph.roles import Role, usages
from edgekit.train.operators.node import Node, Operator, as_array
from edgekit.train.operators.table import build_operator

Transform = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """A node ready to run. frees: values that nothing behind it reads.

    scales_batch: it reshapes to a fixed shape, whose first size grows with the batch.
    """

    node: Node
    run: Operator
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    frees: tuple[str, ...]
    scales_batch: bool


class GraphModule(nn.Module):
    """An ONNX graph as a torch module; its float initializers are parameters.

    model: with all its numbers, as `load_graph(path).model()` gives it.
    trained: names of the float initializers that become parameters; by default the weights and
    biases that `trainable` finds. All other numbers stay as they are.

    transforms: by weight name, what a weight passes through on its way to its operators: masks,
    fake quantization. activation_transforms: by value name, the same for a tensor of the graph,
    as soon as it is produced or, for an input, given. Both are plain dictionaries to be filled.

    All floating-point numbers are float32 here, whatever their type in the file. A graph that was
    exported for one batch size takes any other where only reshapes hold that size.

    Raises UntrainableError for an operator without a torch function, UsageError for a name in
    `trained` that isn't a float initializer.
    """

    def __init__(self, model: onnx.ModelProto, trained: Collection[str] | None = None) -> None:
        super().__init__()
        self.transforms: dict[str, Transform] = {}
        self.activation_transforms: dict[str, Transform] = {}
        self._model = onnx.ModelProto()
        self._model.CopyFrom(model)
        graph = self._model.graph
        names = trainable(model) if trained is None else tuple(trained)
        constants = _constants(graph)
        self._constant_names = frozenset(constants)
        for name in names:
            if name not in {tensor.name for tensor in graph.initializer} or not np.issubdtype(
                constants[name].dtype, np.floating
            ):
                raise UsageError(f"can't train {name}: it isn't a float initializer of the graph")
        self._trained = {name: f"weight:{_escaped(name)}" for name in names}
        self._buffered: dict[str, str] = {}
        # Shapes and indices are read by the processor, wherever the weights are.
        self._integers: dict[str, Tensor] = {}
        for name, values in constants.items():
            tensor = torch.from_numpy(as_array(values))
            if name in self._trained:
                self.register_parameter(self._trained[name], nn.Parameter(tensor))
            elif np.issubdtype(values.dtype, np.integer):
                self._integers[name] = tensor
            else:
                self._buffered[name] = f"constant:{_escaped(name)}"
                self.register_buffer(self._buffered[name], tensor, persistent=False)
        shapes = input_shapes(model)
        self.input_names = tuple(shapes)
        self.output_names = tuple(value.name for value in graph.output)
        first = next(iter(shapes.values()), ())
        self._traced_batch = first[0] if first else 0
        self._steps = self._build(constants)
        self._produced = {
            *self.input_names,
            *(name for step in self._steps for name in step.outputs if name),
        }

    @property
    def weights(self) -> Mapping[str, nn.Parameter]:
        """The parameters by their ONNX names."""
        return {name: self.get_parameter(key) for name, key in self._trained.items()}

    def numbers(self) -> dict[str, NDArray[np.float32]]:
        """A copy of the parameters' values by ONNX name, no transform applied."""
        return {
            name: np.array(weight.detach().cpu().numpy(), np.float32, order="C")
            for name, weight in self.weights.items()
        }

    def model(self) -> onnx.ModelProto:
        """The graph with the parameters' values, each in the type that it had."""
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        numbers = self.numbers()
        for tensor in model.graph.initializer:
            if tensor.name in numbers:
                dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
                values = numbers[tensor.name].astype(dtype)
                tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        return model

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The graph's outputs in their order. inputs: those of the graph, in their order.

        Raises UsageError where a node can't take what it is given.
        """
        values = self.tensors(inputs, self.output_names)
        return tuple(values[name] for name in self.output_names)

    def tensors(self, inputs: Sequence[Tensor], names: Collection[str]) -> dict[str, Tensor]:
        """The values of these names, of the graph's inputs, nodes and outputs, for some inputs.

        Raises UsageError for a name that the graph doesn't know, and as `forward` does.
        """
        self._check(inputs, names)
        values = dict(zip(self.input_names, inputs, strict=True))
        for name in self.activation_transforms.keys() & values.keys():
            values[name] = self.activation_transforms[name](values[name])
        values |= self._integers
        values |= {name: self.get_buffer(key) for name, key in self._buffered.items()}
        for name, weight in self.weights.items():
            values[name] = self.transforms[name](weight) if name in self.transforms else weight
        batch = inputs[0].shape[0] if inputs and inputs[0].ndim else 0
        for step in self._steps:
            self._run(step, values, batch)
            for name in step.frees:
                if name not in names:
                    del values[name]
        return {name: values[name] for name in names}

    def _run(self, step: _Step, values: dict[str, Tensor], batch: int) -> None:
        inputs = [values[name] if name else None for name in step.inputs]
        if step.scales_batch and batch != self._traced_batch and inputs[1] is not None:
            inputs[1] = _for_batch(inputs[1], self._traced_batch, batch)
        try:
            result = step.run(*inputs)
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            shapes = ", ".join(str(tuple(x.shape)) for x in inputs if x is not None)
            reason = str(error).strip().split("\n", 1)[0]
            raise UsageError(
                f"node {step.node.name}: {step.node.op} can't take inputs of shape {shapes} "
                f"({reason}); feed the shapes that the network was exported for"
            ) from error
        outputs = (result,) if isinstance(result, Tensor) else result
        # A node's last outputs may be left out.
        for name, value in zip(step.outputs, outputs, strict=False):
            transform = self.activation_transforms.get(name)
            values[name] = value if transform is None else transform(value)

    def _check(self, inputs: Sequence[Tensor], names: Collection[str]) -> None:
        if len(inputs) != len(self.input_names):
            raise UsageError(
                f"the graph has {len(self.input_names)} inputs ({', '.join(self.input_names)}), "
                f"got {len(inputs)}"
            )
        for name in self.transforms.keys() - self._trained.keys():
            raise UsageError(f"can't transform {name}: it isn't among the trained weights")
        for name in {*self.activation_transforms, *names} - self._produced:
            if name in self.activation_transforms or name not in self._constant_names:
                raise UsageError(f"the graph has no computed value named {name}")

    def _build(self, constants: Mapping[str, NDArray[Any]]) -> tuple[_Step, ...]:
        graph = self._model.graph
        opset = next(e.version for e in self._model.opset_import if e.domain in {"", "ai.onnx"})
        fixed = {name: array for name, array in constants.items() if name not in self._trained}
        known = {*self.input_names, *constants}
        from_inputs = set(self.input_names)
        last = {name: index for index, node in enumerate(graph.node) for name in node.input}
        steps: list[_Step] = []
        for index, proto in enumerate(graph.node):
            if proto.output[0] in constants:
                continue
            node = _node(proto, opset, fixed)
            for name in proto.input:
                if name and name not in known:
                    raise UsageError(f"node {node.name} reads {name} before it is computed")
            produced = tuple(name for name in proto.output if name)
            known.update(produced)
            if any(name in from_inputs for name in proto.input):
                from_inputs.update(produced)
            read = dict.fromkeys((*filter(None, proto.input), *produced))
            steps.append(
                _Step(
                    node=node,
                    run=build_operator(node, proto.domain),
                    inputs=tuple(proto.input),
                    outputs=tuple(proto.output),
                    frees=tuple(name for name in read if last.get(name, index) <= index),
                    scales_batch=self._traced_batch > 0
                    and proto.op_type == "Reshape"
                    and proto.input[0] in from_inputs
                    and proto.input[1:2] != []
                    and proto.input[1] in fixed,
                )
            )
        return tuple(steps)


def trainable(model: onnx.ModelProto) -> tuple[str, ...]:
    """Names of the initializers that training may change, in order of first use.

    Weights and biases of layers, and scales and shifts of normalisations; not the running
    statistics of BatchNormalization, and no other constant.
    """
    shapes = {
        tensor.name: tuple(tensor.dims)
        for tensor in model.graph.initializer
        if DTYPE_NAMES.get(tensor.data_type) in FLOATS
    }
    statistics = {
        name
        for node in model.graph.node
        if node.op_type == "BatchNormalization"
        for name in node.input[3:5]
    }
    return tuple(
        name
        for name, use in usages(model.graph, shapes).items()
        if use.role is not Role.CONSTANT and name not in statistics
    )


def _constants(graph: onnx.GraphProto) -> dict[str, NDArray[Any]]:
    """The numbers of initializers and Constant nodes by name, floating point as float32."""
    found = {tensor.name: _numbers(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.domain in {"", "ai.onnx"}:
            (attribute,) = node.attribute
            value = helper.get_attribute_value(attribute)
            if isinstance(value, TensorProto):
                found[node.output[0]] = _numbers(value)
            elif attribute.name.startswith("value_float"):
                found[node.output[0]] = np.array(value, np.float32)
            elif attribute.name.startswith("value_int"):
                found[node.output[0]] = np.array(value, np.int64)
    return found


def _numbers(tensor: TensorProto) -> NDArray[Any]:
    name = DTYPE_NAMES.get(tensor.data_type)
    if name is None:
        return numpy_helper.to_array(tensor)
    values = read_elements(tensor, None, "the model")
    if name == "bfloat16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32) if name in FLOATS else values


def _node(proto: onnx.NodeProto, opset: int, fixed: Mapping[str, NDArray[Any]]) -> Node:
    attributes = {item.name: _plain(helper.get_attribute_value(item)) for item in proto.attribute}
    used = max((index for index, name in enumerate(proto.output, 1) if name), default=0)
    constants = tuple(fixed.get(name) for name in proto.input)
    name = proto.name or proto.output[0]
    return Node(proto.op_type, name, opset, attributes, constants, used)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return _numbers(value) if isinstance(value, TensorProto) else value


def _for_batch(shape: Tensor, traced: int, batch: int) -> Tensor:
    """A fixed shape, written down for a batch of `traced`, for another batch.

    The batch is the slowest axis, so whatever it was merged with, the first size grows with it.
    """
    first = int(shape[0]) if shape.numel() else 0
    if first <= 0 or first * batch % traced:
        return shape
    changed = shape.clone()
    changed[0] = first * batch // traced
    return changed


def _escaped(name: str) -> str:
    """A name that torch takes for a parameter: without dots, and two names never become one."""
    return name.replace("%", "%25").replace(".", "%2E")
