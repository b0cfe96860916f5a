"""How operators that move numbers without changing them hand channels on.

A channel shuffle is Reshape, Transpose and Reshape again. It permutes the channels, so it becomes
one Gather once some of them are gone: what is left needn't be a rectangle any more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

from edgekit.graph.channels.trace import Kept, Marks, Rule, Trace
from edgekit.graph.walk import integer, integers


def _reshape(trace: Trace, node: NodeProto) -> bool:
    """Reshape that leaves the channels together, alone or with what lies behind them."""
    marks = trace.marks.get(node.input[0])
    target = trace.constants.get(node.input[1])
    before, after = trace.sizes(node.input[0]), trace.sizes(node.output[0])
    if marks is None or target is None or before is None or after is None:
        return False
    found = _merged(before, after, marks)
    if found is None:
        return _shuffle(trace, node, marks)
    trace.marks[node.output[0]] = found

    def shorten(kept: Kept) -> None:
        left = int(kept(found.ids).sum())
        entry = int(target[found.axis])
        copies = entry == 0 and found.axis == marks.axis and len(found.ids) == len(marks.ids)
        if left < len(found.ids) and entry != -1 and not copies:
            changed = np.array(target)
            changed[found.axis] = left
            trace.replace(node, 1, changed)

    trace.edits.append(shorten)
    return True


def _flatten(trace: Trace, node: NodeProto) -> bool:
    """Flatten behind the batch."""
    marks = trace.marks[node.input[0]]
    before = trace.sizes(node.input[0])
    if before is None or integer(node, "axis", 1) != 1 or marks.axis < 1:
        return False
    found = _merged(before, (before[0], math.prod(before[1:])), marks)
    if found is None:
        return False
    trace.marks[node.output[0]] = found
    return True


def _merged(before: tuple[int, ...], after: tuple[int, ...], marks: Marks) -> Marks | None:
    """The marks behind a reshape that merges each channel with some of what lies behind it."""
    leading = math.prod(before[: marks.axis])
    channels = len(marks.ids)
    if marks.axis < 1 or channels < 2:
        return None
    for axis in range(1, len(after)):
        if math.prod(after[:axis]) == leading and after[axis] and after[axis] % channels == 0:
            return Marks(axis, np.repeat(marks.ids, after[axis] // channels))
    return None


def _shuffle(trace: Trace, node: NodeProto, marks: Marks) -> bool:
    """Reshape, Transpose, Reshape that permute the channels."""
    transpose = _only_reader(trace, node.output[0])
    if transpose is None or transpose.op_type != "Transpose":
        return False
    back = _only_reader(trace, transpose.output[0])
    if back is None or back.op_type != "Reshape" or back.input[0] != transpose.output[0]:
        return False
    before, apart = trace.sizes(node.input[0]), trace.sizes(node.output[0])
    after = trace.sizes(back.output[0])
    if before is None or apart is None or after != before or back.input[1] not in trace.constants:
        return False
    rank = len(apart)
    order = integers(transpose, "perm") or list(range(rank))[::-1]
    place = np.arange(len(marks.ids)).reshape(
        [-1 if a == marks.axis else 1 for a in range(len(before))]
    )
    whole = np.broadcast_to(place, before)
    moved = np.moveaxis(whole.reshape(apart).transpose(order).reshape(after), marks.axis, 0)
    permutation = moved.reshape(len(marks.ids), -1)
    if (permutation != permutation[:, :1]).any():
        return False
    taken: NDArray[np.int64] = permutation[:, 0]
    trace.marks[back.output[0]] = Marks(marks.axis, marks.ids[taken])

    def gather(kept: Kept) -> None:
        stays = kept(marks.ids)
        if stays.all():
            return
        trace.dropped += [node, transpose]
        back.op_type = "Gather"
        back.input[0] = node.input[0]
        del back.attribute[:]
        back.attribute.append(helper.make_attribute("axis", marks.axis))
        trace.replace(back, 1, _renumbered(taken, stays))

    trace.edits.append(gather)
    return True


def _only_reader(trace: Trace, name: str) -> NodeProto | None:
    """The one node that reads a value and nothing else does."""
    readers = [node for node in trace.model.graph.node if name in node.input]
    return readers[0] if len(readers) == 1 and trace.uses.get(name) == 1 else None


def _renumbered(indices: NDArray[np.int64], stays: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Those of the indices whose channel stays, by its new place."""
    return np.asarray((np.cumsum(stays) - 1)[indices[stays[indices]]], np.int64)


def _transpose(trace: Trace, node: NodeProto) -> bool:
    marks = trace.marks[node.input[0]]
    shape = trace.sizes(node.input[0])
    if shape is None:
        return False
    order = integers(node, "perm") or list(range(len(shape)))[::-1]
    trace.marks[node.output[0]] = Marks(order.index(marks.axis), marks.ids)
    return True


def _squeeze(trace: Trace, node: NodeProto) -> bool:
    """Squeeze of other axes than the channels'."""
    marks = trace.marks.get(node.input[0])
    shape = trace.sizes(node.input[0])
    axes = trace.axes(node)
    if marks is None or shape is None or axes is None:
        return False
    gone = {axis % len(shape) for axis in axes}
    if marks.axis in gone:
        return False
    shift = sum(axis < marks.axis for axis in gone)
    trace.marks[node.output[0]] = Marks(marks.axis - shift, marks.ids)
    return True


def _unsqueeze(trace: Trace, node: NodeProto) -> bool:
    marks = trace.marks.get(node.input[0])
    out = trace.sizes(node.output[0])
    axes = trace.axes(node)
    if marks is None or out is None or axes is None:
        return False
    new = {axis % len(out) for axis in axes}
    places = [axis for axis in range(len(out)) if axis not in new]
    trace.marks[node.output[0]] = Marks(places[marks.axis], marks.ids)
    return True


def _slice(trace: Trace, node: NodeProto) -> bool:
    """Slice with constant bounds; along the channels in steps of 1."""
    marks = trace.marks.get(node.input[0])
    bounds = [trace.constants.get(name) for name in node.input[1:]]
    if marks is None or len(bounds) < 2 or any(bound is None for bound in bounds):
        return False
    starts, ends, *rest = [
        [int(n) for n in bound.reshape(-1)] for bound in bounds if bound is not None
    ]
    shape = trace.sizes(node.input[0])
    if shape is None:
        return False
    axes = [axis % len(shape) for axis in (rest[0] if rest else range(len(starts)))]
    steps = rest[1] if len(rest) > 1 else [1] * len(starts)
    if marks.axis not in axes:
        trace.marks[node.output[0]] = marks
        return True
    place = axes.index(marks.axis)
    if steps[place] != 1:
        return False
    first, last, _ = slice(starts[place], ends[place]).indices(len(marks.ids))
    trace.marks[node.output[0]] = Marks(marks.axis, marks.ids[first:last])

    def move(kept: Kept) -> None:
        stays = kept(marks.ids)
        if stays.all():
            return
        for index, numbers, bound in ((1, starts, first), (2, ends, last)):
            changed = np.array(numbers, np.int64)
            changed[place] = stays[:bound].sum()
            trace.replace(node, index, changed)

    trace.edits.append(move)
    return True


def _gather(trace: Trace, node: NodeProto) -> bool:
    """Gather with constant indices; along the channels it picks some of them."""
    marks = trace.marks.get(node.input[0])
    indices = trace.constants.get(node.input[1])
    shape = trace.sizes(node.input[0])
    if marks is None or indices is None or indices.ndim > 1 or shape is None:
        return False
    axis = integer(node, "axis", 0) % len(shape)
    if axis != marks.axis:
        shift = int(indices.ndim == 0 and axis < marks.axis)
        trace.marks[node.output[0]] = Marks(marks.axis - shift, marks.ids)
        return True
    if indices.ndim == 0:
        return False
    taken = np.asarray(indices % len(marks.ids), np.int64)
    trace.marks[node.output[0]] = Marks(axis, marks.ids[taken])

    def pick(kept: Kept) -> None:
        stays = kept(marks.ids)
        if not stays.all():
            trace.replace(node, 1, _renumbered(taken, stays))

    trace.edits.append(pick)
    return True


MOVING: Mapping[str, Rule] = {
    "Flatten": _flatten,
    "Gather": _gather,
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
"""By operator."""
