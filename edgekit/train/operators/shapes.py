"""Operators that move numbers without changing them, and those that compute with shapes."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from edgekit.train.operators.node import Builder, Node, Operator, as_array, axes_of, whole


def _reshape(node: Node) -> Operator:
    keep_zeros = bool(node.integer("allowzero", 0))
    fixed = node.integers("shape")

    def run(x: Tensor, shape: Tensor | None = None) -> Tensor:
        sizes = whole(shape) or fixed or []
        if not keep_zeros:
            sizes = [size or x.shape[axis] for axis, size in enumerate(sizes)]
        return x.reshape(sizes)

    return run


def _flatten(node: Node) -> Operator:
    axis = node.integer("axis", 1)

    def run(x: Tensor) -> Tensor:
        split = axis + x.ndim if axis < 0 else axis
        rows = int(np.prod(x.shape[:split]))
        return x.reshape(rows, x.numel() // rows if rows else 0)

    return run


def _transpose(node: Node) -> Operator:
    order = node.integers("perm")
    return lambda x: x.permute(order or list(range(x.ndim))[::-1])


def _squeeze(node: Node) -> Operator:
    read = axes_of(node)

    def run(x: Tensor, axes: Tensor | None = None) -> Tensor:
        chosen = read(axes)
        return x.squeeze() if chosen is None else x.squeeze(chosen)

    return run


def _unsqueeze(node: Node) -> Operator:
    read = axes_of(node)

    def run(x: Tensor, axes: Tensor | None = None) -> Tensor:
        chosen = read(axes) or []
        rank = x.ndim + len(chosen)
        for axis in sorted(axis % rank for axis in chosen):
            x = x.unsqueeze(axis)
        return x

    return run


def _concat(node: Node) -> Operator:
    axis = node.integer("axis", 0)
    return lambda *parts: torch.cat(parts, axis)


def _split(node: Node) -> Operator:
    axis = node.integer("axis", 0)
    fixed = node.integers("split")

    def run(x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
        lengths = whole(sizes) or fixed
        if lengths is None:
            # Equal parts, of which the last may be smaller.
            return torch.split(x, -(-x.shape[axis] // node.outputs), axis)
        return torch.split(x, lengths, axis)

    return run


def _slice(node: Node) -> Operator:
    fixed = (node.integers("starts"), node.integers("ends"), node.integers("axes"))

    def run(
        x: Tensor,
        starts: Tensor | None = None,
        ends: Tensor | None = None,
        axes: Tensor | None = None,
        steps: Tensor | None = None,
    ) -> Tensor:
        first, last = whole(starts) or fixed[0] or [], whole(ends) or fixed[1] or []
        chosen = whole(axes) or fixed[2] or list(range(len(first)))
        strides = whole(steps) or [1] * len(first)
        for start, end, axis, step in zip(first, last, chosen, strides, strict=True):
            size = x.shape[axis]
            # Indices beyond the ends count as the ends, as in Python, except that a backward
            # slice ends before the first number where its end lies below -size.
            stop = None if step < 0 and end < -size else end
            kept = range(*slice(start, stop, step).indices(size))
            if step > 0:
                index = [slice(None)] * x.ndim
                index[axis] = slice(kept.start, kept.stop, step)
                x = x[tuple(index)]
            else:
                x = x.index_select(axis, torch.tensor(list(kept), device=x.device))
        return x

    return run


def _gather(node: Node) -> Operator:
    axis = node.integer("axis", 0)

    def run(x: Tensor, indices: Tensor) -> Tensor:
        at = axis % x.ndim
        flat = indices.reshape(-1).to(x.device, torch.int64)
        taken = x.index_select(at, torch.where(flat < 0, flat + x.shape[at], flat))
        return taken.reshape(*x.shape[:at], *indices.shape, *x.shape[at + 1 :])

    return run


def _shape(node: Node) -> Operator:
    start, end = node.integer("start", 0), node.attributes.get("end")
    return lambda x: torch.tensor(list(x.shape)[start:end], dtype=torch.int64)


def _constant_of_shape(node: Node) -> Operator:
    value = node.attributes.get("value")
    fill = torch.zeros(1) if value is None else torch.from_numpy(as_array(value))
    fill = fill.float() if fill.is_floating_point() else fill
    return lambda shape: fill.reshape(()).expand(whole(shape) or []).clone()


def _expand(_node: Node) -> Operator:
    def run(x: Tensor, shape: Tensor) -> Tensor:
        # Both sides are repeated: a 1 in the wanted shape keeps the size of x.
        return x.expand(np.broadcast_shapes(tuple(x.shape), tuple(whole(shape) or [])))

    return run


def _tile(_node: Node) -> Operator:
    return lambda x, repeats: x.repeat(whole(repeats))


def _range(_node: Node) -> Operator:
    return lambda start, limit, delta: torch.arange(start.item(), limit.item(), delta.item())


_PADDING: dict[str, Literal["reflect", "edge", "wrap"]] = {
    "reflect": "reflect",
    "edge": "edge",
    "wrap": "wrap",
}
"""numpy's names of ONNX's modes."""


def _pad(node: Node) -> Operator:
    mode = node.text("mode", "constant")
    fixed, fill = node.integers("pads"), node.number("value", 0.0)

    def run(
        x: Tensor,
        pads: Tensor | None = None,
        value: Tensor | None = None,
        axes: Tensor | None = None,
    ) -> Tensor:
        amounts = whole(pads) or fixed or []
        count = len(amounts) // 2
        chosen = whole(axes) or list(range(count))
        begin, end = [0] * x.ndim, [0] * x.ndim
        for axis, front, back in zip(chosen, amounts[:count], amounts[count:], strict=True):
            begin[axis], end[axis] = front, back
        if mode == "constant":
            pairs = [pad for pair in zip(begin[::-1], end[::-1], strict=True) for pad in pair]
            return functional.pad(x, pairs, value=fill if value is None else value.item())
        for axis, (front, back) in enumerate(zip(begin, end, strict=True)):
            if front or back:
                x = x.index_select(axis, _beyond(x.shape[axis], front, back, mode).to(x.device))
        return x

    return run


def _beyond(size: int, front: int, back: int, mode: str) -> Tensor:
    """The index that each place of a padded axis takes its number from."""
    inside = np.arange(size)[max(-front, 0) : size - max(-back, 0)]
    return torch.from_numpy(np.pad(inside, (max(front, 0), max(back, 0)), mode=_PADDING[mode]))


def _depth_to_space(node: Node) -> Operator:
    block = node.integer("blocksize", 1)
    column_first = node.text("mode", "DCR") == "CRD"

    def run(x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        if column_first:
            return functional.pixel_shuffle(x, block)
        apart = x.reshape(batch, block, block, channels // block**2, height, width)
        return apart.permute(0, 3, 4, 1, 5, 2).reshape(batch, -1, height * block, width * block)

    return run


def _space_to_depth(node: Node) -> Operator:
    block = node.integer("blocksize", 1)

    def run(x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        apart = x.reshape(batch, channels, height // block, block, width // block, block)
        return apart.permute(0, 3, 5, 1, 2, 4).reshape(
            batch, channels * block**2, height // block, width // block
        )

    return run


BUILDERS: dict[str, Builder] = {
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Pad": _pad,
    "Range": _range,
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": lambda _node: lambda x: torch.tensor(x.numel()),
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
