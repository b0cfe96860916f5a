"""Resizing of images: nearest and linear, in every coordinate rule of ONNX.

Each axis is resized by itself: output place i takes its number from place x(i) of the input.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgekit.train.operators.node import Builder, Node, Operator, whole

_Coordinates = Callable[[NDArray[np.float64], float, int, int], NDArray[np.float64]]
"""From output places to input places, by the scale and both lengths."""

_COORDINATES: dict[str, _Coordinates] = {
    "half_pixel": lambda i, scale, _size, _to: (i + 0.5) / scale - 0.5,
    "pytorch_half_pixel": lambda i, scale, _size, to: (
        (i + 0.5) / scale - 0.5 if to > 1 else i * 0.0
    ),
    "align_corners": lambda i, _scale, size, to: i * (size - 1) / (to - 1) if to > 1 else i * 0.0,
    "asymmetric": lambda i, scale, _size, _to: i / scale,
}

_NEAREST: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _resize(node: Node) -> Operator:
    mode = node.text("mode", "nearest")
    # Operator set 10 knew no coordinate rules: it took the asymmetric one, and rounded down.
    first = node.opset < 11
    rule = "asymmetric" if first else node.text("coordinate_transformation_mode", "half_pixel")
    rounding = "floor" if first else node.text("nearest_mode", "round_prefer_floor")
    if mode not in {"nearest", "linear"} or rule not in _COORDINATES:
        raise node.refuse(f"mode {mode} and coordinates {rule}")
    if (
        node.integer("antialias", 0)
        or node.text("keep_aspect_ratio_policy", "stretch") != "stretch"
    ):
        raise node.refuse("antialiasing or a kept aspect ratio")
    axes = node.integers("axes")
    place = _COORDINATES[rule]

    def along(x: Tensor, axis: int, scale: float, to: int) -> Tensor:
        size = x.shape[axis]
        at = place(np.arange(to, dtype=np.float64), scale, size, to)

        def take(index: NDArray[np.float64]) -> Tensor:
            inside = torch.from_numpy(np.clip(index, 0, size - 1).astype(np.int64))
            return x.index_select(axis, inside.to(x.device))

        if mode == "nearest":
            return take(_NEAREST[rounding](at))
        at = np.clip(at, 0, size - 1)
        below = np.floor(at)
        share = torch.from_numpy((at - below).astype(np.float32)).to(x.device, x.dtype)
        share = share.reshape(-1, *[1] * (x.ndim - 1 - axis))
        return torch.lerp(take(below), take(below + 1), share)

    def run(x: Tensor, *rest: Tensor | None) -> Tensor:
        scales, sizes = _targets(x, rest, axes, fixed=node.attributes.get("scales"))
        for axis, (scale, to) in enumerate(zip(scales, sizes, strict=True)):
            if to != x.shape[axis] or scale != 1:
                x = along(x, axis, scale, to)
        return x

    return run


def _targets(
    x: Tensor, rest: tuple[Tensor | None, ...], axes: list[int] | None, *, fixed: list[float] | None
) -> tuple[list[float], list[int]]:
    """Scale and length of each axis, from the scales or sizes that a node was given."""
    # Resize-10 and Upsample take scales alone; since 11: region of interest, scales, sizes.
    given = fixed if not rest else _numbers(rest[0] if len(rest) == 1 else rest[1])
    wanted = whole(rest[2]) if len(rest) == 3 else None
    scales, sizes = [1.0] * x.ndim, list(x.shape)
    chosen = list(range(x.ndim)) if axes is None else axes
    if wanted:
        for axis, to in zip(chosen, wanted, strict=True):
            scales[axis], sizes[axis] = to / x.shape[axis], to
        return scales, sizes
    for axis, scale in zip(chosen, given or [], strict=True):
        scales[axis], sizes[axis] = scale, int(np.floor(x.shape[axis] * scale))
    return scales, sizes


def _numbers(values: Tensor | None) -> list[float] | None:
    return None if values is None or values.numel() == 0 else values.tolist()


BUILDERS: dict[str, Builder] = {"Resize": _resize, "Upsample": _resize}
