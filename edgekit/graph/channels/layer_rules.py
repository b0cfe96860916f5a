"""How layers with weights read and make channels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from edgekit.graph.channels.trace import Ids, Kept, LayerChannels, Marks, Trace
from edgekit.graph.walk import integer


def convolution(trace: Trace, node: NodeProto) -> bool:
    """Conv: fresh channels, or with one input a group the same ones again."""
    weight = trace.own_weight(node.input[1])
    source = trace.marks.get(node.input[0])
    if weight is None or not _is_plain(trace, node, source, 1):
        return False
    groups = integer(node, "group", 1)
    read, made = weight.shape[1] * groups, weight.shape[0]
    if 1 < groups == read:
        return _depthwise(trace, node, source, made // groups)
    outputs = trace.fresh(made)
    inputs = None if source is None else source.ids
    if groups == 1:
        trace.slice(node, 1, 0, outputs)
        if inputs is not None:
            trace.slice(node, 1, 1, inputs)
    else:
        trace.partitions.append(outputs.reshape(groups, -1))
        if inputs is not None:
            trace.partitions.append(inputs.reshape(groups, -1))
        blocks = (groups, inputs, outputs)
        trace.edits.append(lambda kept: _cut_groups(trace, node, blocks, kept))
    _add(trace, node, inputs, outputs, groups=groups)
    return True


def transposed_convolution(trace: Trace, node: NodeProto) -> bool:
    """ConvTranspose, whose weight is (inputs, outputs / groups, ...)."""
    weight = trace.own_weight(node.input[1])
    source = trace.marks.get(node.input[0])
    if weight is None or not _is_plain(trace, node, source, 1):
        return False
    groups = integer(node, "group", 1)
    if groups > 1:
        return groups == weight.shape[0] and _depthwise(trace, node, source, weight.shape[1])
    outputs = trace.fresh(weight.shape[1])
    trace.slice(node, 1, 1, outputs)
    if source is not None:
        trace.slice(node, 1, 0, source.ids)
    _add(trace, node, None if source is None else source.ids, outputs, input_axis=0)
    return True


def gemm(trace: Trace, node: NodeProto) -> bool:
    """Gemm: rows times a weight, and a bias along the last axis."""
    weight = trace.own_weight(node.input[1])
    source = trace.marks.get(node.input[0])
    rows = integer(node, "transA", 0)
    if weight is None or rows or (source is not None and source.axis != 1):
        return False
    made = 0 if integer(node, "transB", 0) else 1
    outputs = trace.fresh(weight.shape[made])
    if len(node.input) > 2 and node.input[2]:
        bias = trace.constants.get(node.input[2])
        if bias is None:
            return False
        if bias.ndim and bias.shape[-1] == len(outputs):
            trace.slice(node, 2, bias.ndim - 1, outputs)
    trace.slice(node, 1, made, outputs)
    if source is not None:
        trace.slice(node, 1, 1 - made, source.ids)
    _add(trace, node, None if source is None else source.ids, outputs, input_axis=1 - made)
    return True


def matmul(trace: Trace, node: NodeProto) -> bool:
    """MatMul with a weight on its right: the last axis changes."""
    weight = trace.own_weight(node.input[1])
    source = trace.marks.get(node.input[0])
    sizes = trace.sizes(node.input[0])
    if weight is None or weight.ndim != 2 or sizes is None:
        return False
    if source is not None and source.axis != len(sizes) - 1:
        return False
    outputs = trace.fresh(weight.shape[1])
    trace.slice(node, 1, 1, outputs)
    if source is not None:
        trace.slice(node, 1, 0, source.ids)
    inputs = None if source is None else source.ids
    _add(trace, node, inputs, outputs, axis=len(sizes) - 1, input_axis=0)
    return True


def batch_normalisation(trace: Trace, node: NodeProto) -> bool:
    """BatchNormalization and InstanceNormalization: vectors with an entry a channel."""
    marks = trace.marks[node.input[0]]
    vectors = [trace.constants.get(name) for name in node.input[1:]]
    if marks.axis != 1 or any(vector is None for vector in vectors) or len(node.output) > 1:
        return False
    for index in range(1, len(node.input)):
        trace.slice(node, index, 0, marks.ids)
    trace.marks[node.output[0]] = marks
    return True


def _is_plain(trace: Trace, node: NodeProto, source: Marks | None, axis: int) -> bool:
    """Whether channels lie where a convolution wants them, and its bias is a constant."""
    has_bias = len(node.input) > 2 and bool(node.input[2])
    return (source is None or source.axis == axis) and (
        not has_bias or node.input[2] in trace.constants
    )


def _depthwise(trace: Trace, node: NodeProto, source: Marks | None, multiplier: int) -> bool:
    if source is None:
        return True
    outputs = np.repeat(source.ids, multiplier)
    # Both kinds of convolution list the channels on axis 0: outputs of one, inputs of the other.
    listed = outputs if node.op_type == "Conv" else source.ids
    trace.slice(node, 1, 0, listed)

    def regroup(kept: Kept) -> None:
        attribute = next(item for item in node.attribute if item.name == "group")
        attribute.i = int(kept(source.ids).sum())

    trace.edits.append(regroup)
    _add(trace, node, source.ids, outputs, groups=len(source.ids), is_depthwise=True)
    return True


def _cut_groups(
    trace: Trace, node: NodeProto, blocks: tuple[int, Ids | None, Ids], kept: Kept
) -> None:
    """Each group's filters lose the inputs of that group alone."""
    groups, inputs, outputs = blocks
    weight = trace.constants[node.input[1]]
    rows = kept(outputs).reshape(groups, -1)
    columns = np.ones((groups, weight.shape[1]), np.bool_)
    if inputs is not None:
        columns = kept(inputs).reshape(groups, -1)
    if rows.all() and columns.all():
        return
    parts: list[NDArray[Any]] = []
    for filters, row, column in zip(np.split(weight, groups), rows, columns, strict=True):
        parts.append(filters[row][:, column])
    trace.replace(node, 1, np.concatenate(parts))


def _add(
    trace: Trace,
    node: NodeProto,
    inputs: Ids | None,
    outputs: Ids,
    *,
    groups: int = 1,
    axis: int = 1,
    input_axis: int = 1,
    is_depthwise: bool = False,
) -> None:
    bias = node.input[2] if len(node.input) > 2 else ""
    if node.op_type != "Gemm" and bias:
        trace.slice(node, 2, 0, outputs)
    trace.marks[node.output[0]] = Marks(axis, outputs)
    trace.layers.append(
        LayerChannels(
            weight=node.input[1],
            bias=bias,
            output=node.output[0],
            op=node.op_type,
            groups=groups,
            inputs=inputs,
            outputs=outputs,
            input_axis=input_axis,
            is_depthwise=is_depthwise,
        )
    )
