"""How operators without weights hand channels on: elementwise, pooling, moving, joining.

A rule is asked about nodes that read at least one marked value. It answers False before it
changes anything where it doesn't understand the node.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import NodeProto, helper

from edgekit.graph.channels.moving_rules import MOVING
from edgekit.graph.channels.trace import FIXED, Kept, Marks, Rule, Trace
from edgekit.graph.walk import integer, integers


def _same(trace: Trace, node: NodeProto) -> bool:
    """One value in, one of the same shape out, channel by channel."""
    if node.input[0] not in trace.marks or any(name in trace.marks for name in node.input[1:]):
        return False
    trace.marks[node.output[0]] = trace.marks[node.input[0]]
    return True


def _pooling(trace: Trace, node: NodeProto) -> bool:
    """Pooling over what lies behind axis 1."""
    return trace.marks[node.input[0]].axis == 1 and len(node.output) == 1 and _same(trace, node)


def _resize(trace: Trace, node: NodeProto) -> bool:
    """Resize and Upsample by constant scales, 1 along the channels."""
    marks = trace.marks.get(node.input[0])
    index = 2 if node.op_type == "Resize" and len(node.input) > 2 else 1
    scales = trace.constants.get(node.input[index]) if len(node.input) > index else None
    if marks is None or scales is None or scales.size <= marks.axis or len(node.input) > 3:
        return False
    return bool(scales[marks.axis] == 1) and _same(trace, node)


def _elementwise(trace: Trace, node: NodeProto) -> bool:
    """Add, Mul and their like with broadcasting: aligned channels are tied."""
    out = trace.sizes(node.output[0])
    shapes = [trace.sizes(name) for name in node.input]
    if out is None or any(shape is None for shape in shapes):
        return False
    ranks = [len(shape or ()) for shape in shapes]
    found = [
        (trace.marks[name], len(out) - rank)
        for name, rank in zip(node.input, ranks, strict=True)
        if name in trace.marks
    ]
    axes = {marks.axis + shift for marks, shift in found}
    if len(axes) != 1:
        return False
    (axis,) = axes
    if any(len(marks.ids) != out[axis] for marks, _ in found):
        return False
    vectors = []
    for index, (name, shape) in enumerate(zip(node.input, shapes, strict=True)):
        own = axis - (len(out) - len(shape or ()))
        if name in trace.marks or own < 0 or shape is None or shape[own] == 1:
            continue
        if name not in trace.constants:
            return False
        vectors.append((index, own))
    ids = found[0][0].ids
    for marks, _ in found[1:]:
        trace.tie(ids, marks.ids)
    for index, own in vectors:
        trace.slice(node, index, own, ids)
    trace.marks[node.output[0]] = Marks(axis, ids)
    return True


def _concat(trace: Trace, node: NodeProto) -> bool:
    """Concat along the channels joins their marks; along another axis it ties them."""
    shapes = [trace.sizes(name) for name in node.input]
    found = [trace.marks.get(name) for name in node.input]
    axes = {marks.axis for marks in found if marks is not None}
    if len(axes) != 1 or any(shape is None for shape in shapes):
        return False
    (axis,) = axes
    if integer(node, "axis", 1) % len(shapes[0] or ()) != axis:
        if any(marks is None for marks in found):
            return False
        present = [marks for marks in found if marks is not None]
        for marks in present[1:]:
            trace.tie(present[0].ids, marks.ids)
        trace.marks[node.output[0]] = present[0]
        return True
    parts = [
        np.full((shape or ())[axis], FIXED) if marks is None else marks.ids
        for marks, shape in zip(found, shapes, strict=True)
    ]
    trace.marks[node.output[0]] = Marks(axis, np.concatenate(parts))
    return True


def _split(trace: Trace, node: NodeProto) -> bool:
    """Split along the channels takes ranges of them."""
    marks = trace.marks.get(node.input[0])
    shapes = [trace.sizes(name) for name in node.output]
    if marks is None or any(not shape for shape in shapes):
        return False
    if integer(node, "axis", 0) % len(shapes[0] or ()) != marks.axis:
        for name in node.output:
            trace.marks[name] = marks
        return True
    if len(node.input) > 1 and node.input[1] not in trace.constants:
        return False
    ends = np.cumsum([(shape or ())[marks.axis] for shape in shapes])
    parts = np.split(marks.ids, ends[:-1])
    for name, ids in zip(node.output, parts, strict=True):
        trace.marks[name] = Marks(marks.axis, ids)

    def resize(kept: Kept) -> None:
        sizes = [int(kept(ids).sum()) for ids in parts]
        if sizes == [len(ids) for ids in parts]:
            return
        others = [item for item in node.attribute if item.name == "axis"]
        del node.attribute[:]
        node.attribute.extend(others)
        if trace.opset >= 13:
            trace.replace(node, 1, np.array(sizes, np.int64))
        else:
            node.attribute.append(helper.make_attribute("split", sizes))

    trace.edits.append(resize)
    return True


def _reduce(trace: Trace, node: NodeProto) -> bool:
    """ReduceMean and its like over other axes than the channels'."""
    marks = trace.marks[node.input[0]]
    shape = trace.sizes(node.input[0])
    axes = trace.axes(node)
    if shape is None or not axes:
        return False
    gone = {axis % len(shape) for axis in axes}
    if marks.axis in gone:
        return False
    shift = 0 if integer(node, "keepdims", 1) else sum(axis < marks.axis for axis in gone)
    trace.marks[node.output[0]] = Marks(marks.axis - shift, marks.ids)
    return True


def _pad(trace: Trace, node: NodeProto) -> bool:
    """Pad; channels that it adds are removable, since it can add fewer."""
    marks = trace.marks.get(node.input[0])
    shape = trace.sizes(node.input[0])
    if marks is None or shape is None or len(node.input) > 3:
        return False
    attribute = integers(node, "pads")
    constant = trace.constants.get(node.input[1]) if len(node.input) > 1 else None
    pads = attribute if attribute is not None else constant
    if pads is None:
        return False
    begin, end = int(pads[marks.axis]), int(pads[marks.axis + len(shape)])
    mode = next((item.s for item in node.attribute if item.name == "mode"), b"constant")
    if not begin and not end:
        trace.marks[node.output[0]] = marks
        return True
    if constant is None or mode != b"constant" or min(begin, end) < 0:
        return False
    before, after = trace.fresh(begin), trace.fresh(end)
    trace.marks[node.output[0]] = Marks(marks.axis, np.concatenate([before, marks.ids, after]))

    def shorten(kept: Kept) -> None:
        changed = np.array(constant, np.int64)
        changed[marks.axis] = kept(before).sum()
        changed[marks.axis + len(shape)] = kept(after).sum()
        if (changed != constant).any():
            trace.replace(node, 1, changed)

    trace.edits.append(shorten)
    return True


# fmt: off
_UNARY = (
    "Abs", "Cast", "Ceil", "Celu", "Clip", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid",
    "HardSwish", "Identity", "LeakyRelu", "Log", "Mish", "Neg", "Reciprocal", "Relu", "Round",
    "Selu", "Sigmoid", "Sign", "Softplus", "Softsign", "Sqrt", "Tanh", "ThresholdedRelu",
)
# fmt: on

RULES: Mapping[str, Rule] = {
    **dict.fromkeys([*_UNARY, "Dropout"], _same),
    **dict.fromkeys(
        ["AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool", "MaxPool"], _pooling
    ),
    **dict.fromkeys(
        ["Add", "Div", "Max", "Mean", "Min", "Mul", "Pow", "PRelu", "Sub", "Sum", "Where"],
        _elementwise,
    ),
    **dict.fromkeys(
        ["ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"], _reduce
    ),
    "Concat": _concat,
    "Pad": _pad,
    "Resize": _resize,
    "Split": _split,
    "Upsample": _resize,
    **MOVING,
}
"""By operator. A rule marks what a node makes; False where the node isn't understood."""
