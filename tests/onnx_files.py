"""Small ONNX models with weights in awkward places, and running them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper


def make_model(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Mapping[str, Sequence[int | str]],
    weights: Mapping[str, NDArray[Any]] | None = None,
    *,
    opset: int = 17,
    ir_version: int = 9,
    input_type: int = TensorProto.FLOAT,
) -> ModelProto:
    """A model of one graph whose weights are initializers."""
    graph = helper.make_graph(
        nodes,
        "awkward",
        [helper.make_tensor_value_info(name, input_type, shape) for name, shape in inputs.items()],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in outputs.items()
        ],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version
    )


def constant(name: str, array: NDArray[Any]) -> NodeProto:
    """A Constant node."""
    return helper.make_node(
        "Constant", [], [name], f"{name}_node", value=numpy_helper.from_array(array, name)
    )


def branch(
    nodes: Sequence[NodeProto], output: str, initializers: Sequence[TensorProto] = ()
) -> GraphProto:
    """A branch of If with one output."""
    return helper.make_graph(
        nodes,
        f"branch_{output}",
        [],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        initializers,
    )


def run(model: ModelProto | bytes, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    """The outputs of a model in onnxruntime, one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    data = model if isinstance(model, bytes) else model.SerializeToString()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    outputs: list[NDArray[Any]] = session.run(None, dict(feeds))
    return outputs


def random_feeds(model: ModelProto, seed: int = 3) -> dict[str, NDArray[Any]]:
    """Normal inputs at batch 2; open sizes are 2."""
    rng = np.random.default_rng(seed)
    constants = {tensor.name for tensor in model.graph.initializer}
    feeds: dict[str, NDArray[Any]] = {}
    for value in model.graph.input:
        if value.name in constants:
            continue
        shape = [size.dim_value or 2 for size in value.type.tensor_type.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        feeds[value.name] = rng.normal(0, 1, shape).astype(dtype)
    return feeds
