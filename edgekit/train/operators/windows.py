"""Operators that slide a window over an image or a signal: convolutions and pools.

Spatial axes are those behind (batch, channels); all of it holds for one, two or three of them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from edgekit.train.operators.node import Builder, Node, Operator

_CONV: dict[int, Callable[..., Tensor]] = {
    1: functional.conv1d,
    2: functional.conv2d,
    3: functional.conv3d,
}
_CONV_TRANSPOSE: dict[int, Callable[..., Tensor]] = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}
_MAX_POOL: dict[int, Callable[..., Any]] = {
    1: functional.max_pool1d,
    2: functional.max_pool2d,
    3: functional.max_pool3d,
}
_AVERAGE_POOL: dict[int, Callable[..., Tensor]] = {
    1: functional.avg_pool1d,
    2: functional.avg_pool2d,
    3: functional.avg_pool3d,
}


@dataclass(frozen=True, slots=True)
class Window:
    """Kernel, strides, dilations and pads of a node, one number a spatial axis.

    begin, end: padding in front and behind. auto_pad: NOTSET, VALID, SAME_UPPER or SAME_LOWER.
    """

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    begin: list[int]
    end: list[int]
    auto_pad: str
    ceil: bool

    def pads(self, sizes: Sequence[int]) -> tuple[list[int], list[int]]:
        """Padding in front and behind that the node asks for, by the input's spatial sizes."""
        if not self.auto_pad.startswith("SAME"):
            return self.begin, self.end
        total = [
            max((-(-size // stride) - 1) * stride + self._reach(axis) - size, 0)
            for axis, (size, stride) in enumerate(zip(sizes, self.strides, strict=True))
        ]
        half = [pad // 2 for pad in total]
        rest = [pad - less for pad, less in zip(total, half, strict=True)]
        return (half, rest) if self.auto_pad == "SAME_UPPER" else (rest, half)

    def ends(self, sizes: Sequence[int]) -> list[int]:
        """Padding behind with what rounding up adds, so that rounding down gives every window.

        A window that would begin behind the input and its front padding is left out.
        """
        begin, end = self.pads(sizes)
        if not self.ceil:
            return end
        found = []
        for axis, (size, stride) in enumerate(zip(sizes, self.strides, strict=True)):
            reach, first = self._reach(axis), begin[axis]
            count = -(-(size + first + end[axis] - reach) // stride) + 1
            if (count - 1) * stride >= size + first:
                count -= 1
            found.append(max((count - 1) * stride + reach - size - first, 0))
        return found

    def _reach(self, axis: int) -> int:
        """How many neighbouring numbers the window spans."""
        return (self.kernel[axis] - 1) * self.dilations[axis] + 1


def _window(node: Node, kernel: Sequence[int]) -> Window:
    count = len(kernel)
    pads = node.integers("pads") or [0] * (2 * count)
    return Window(
        kernel=list(kernel),
        strides=node.integers("strides") or [1] * count,
        dilations=node.integers("dilations") or [1] * count,
        begin=pads[:count],
        end=pads[count:],
        auto_pad=node.text("auto_pad", "NOTSET"),
        ceil=bool(node.integer("ceil_mode", 0)),
    )


def _pad(x: Tensor, begin: Sequence[int], end: Sequence[int], value: float = 0.0) -> Tensor:
    """Pad the spatial axes; a negative pad cuts."""
    if not any(begin) and not any(end):
        return x
    # torch wants the last axis first.
    pairs = [pad for pair in zip(begin[::-1], end[::-1], strict=True) for pad in pair]
    return functional.pad(x, pairs, value=value)


def _convolution(node: Node) -> Operator:
    group = node.integer("group", 1)
    window_of = functools.cache(functools.partial(_window, node))

    def run(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        window = window_of(weight.shape[2:])
        begin, end = window.pads(x.shape[2:])
        if begin != end:
            x, begin = _pad(x, begin, end), [0] * len(begin)
        convolve = _CONV[len(begin)]
        return convolve(x, weight, bias, window.strides, begin, window.dilations, group)

    return run


def _transposed_convolution(node: Node) -> Operator:
    group = node.integer("group", 1)
    shape = node.integers("output_shape")
    window_of = functools.cache(functools.partial(_window, node))

    def run(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        window = window_of(weight.shape[2:])
        count = len(window.kernel)
        extra = node.integers("output_padding") or [0] * count
        full = [
            (size - 1) * stride + (kernel - 1) * dilation + 1
            for size, stride, kernel, dilation in zip(
                x.shape[2:], window.strides, window.kernel, window.dilations, strict=True
            )
        ]
        begin, end = window.begin, window.end
        wanted = shape
        if wanted is None and window.auto_pad.startswith("SAME"):
            wanted = [s * stride for s, stride in zip(x.shape[2:], window.strides, strict=True)]
        if wanted is not None:
            total = [a + b - c for a, b, c in zip(full, extra, wanted[-count:], strict=True)]
            half = [pad // 2 for pad in total]
            rest = [pad - less for pad, less in zip(total, half, strict=True)]
            begin, end = (half, rest) if window.auto_pad == "SAME_UPPER" else (rest, half)
        convolve = _CONV_TRANSPOSE[count]
        result = convolve(x, weight, None, window.strides, 0, 0, group, window.dilations)
        cut = [more - pad for more, pad in zip(extra, end, strict=True)]
        result = _pad(result, [-pad for pad in begin], cut)
        return result if bias is None else result + bias.reshape(-1, *[1] * count)

    return run


def _max_pool(node: Node) -> Operator:
    if node.outputs > 1:
        raise node.refuse("its indices as a second output")
    window = _window(node, node.integers("kernel_shape") or [])
    pool = _MAX_POOL[len(window.kernel)]

    def run(x: Tensor) -> Tensor:
        sizes = x.shape[2:]
        begin, end = window.pads(sizes)[0], window.ends(sizes)
        # torch pads by at most half a window, and both sides alike.
        if begin != end or any(
            2 * pad > size for pad, size in zip(begin, window.kernel, strict=True)
        ):
            x, begin = _pad(x, begin, end, float("-inf")), [0] * len(begin)
        result: Tensor = pool(x, window.kernel, window.strides, begin, window.dilations)
        return result

    return run


def _average_pool(node: Node) -> Operator:
    window = _window(node, node.integers("kernel_shape") or [])
    if any(step != 1 for step in window.dilations):
        raise node.refuse("dilations")
    counts_pads = bool(node.integer("count_include_pad", 0))
    pool = _AVERAGE_POOL[len(window.kernel)]

    def run(x: Tensor) -> Tensor:
        sizes = x.shape[2:]
        (begin, asked), end = window.pads(sizes), window.ends(sizes)
        sums = pool(_pad(x, begin, end), window.kernel, window.strides)
        if not any(begin) and not any(end):
            return sums
        # The share of each window that counts: the input, and with it the padding asked for.
        ones = torch.ones(1, 1, *sizes, dtype=x.dtype, device=x.device)
        ones = _pad(ones, begin, asked, float(counts_pads))
        beyond = [total - pad for total, pad in zip(end, asked, strict=True)]
        share = pool(_pad(ones, [0] * len(beyond), beyond), window.kernel, window.strides)
        return sums / share

    return run


def _spatial_axes(x: Tensor) -> list[int]:
    return list(range(2, x.ndim))


def _local_response(node: Node) -> Operator:
    """Krizhevsky et al. 2012, section 3.3; `size` channels around each, one more behind if even."""
    size = node.integer("size", 1)
    alpha, beta = node.number("alpha", 1e-4), node.number("beta", 0.75)
    bias = node.number("bias", 1.0)

    def run(x: Tensor) -> Tensor:
        squares = x.square().flatten(2).transpose(1, 2)
        padded = functional.pad(squares, ((size - 1) // 2, size // 2))
        means = functional.avg_pool1d(padded, size, 1).transpose(1, 2).reshape(x.shape)
        return x / (means * alpha + bias).pow(beta)

    return run


BUILDERS: dict[str, Builder] = {
    "AveragePool": _average_pool,
    "Conv": _convolution,
    "ConvTranspose": _transposed_convolution,
    "GlobalAveragePool": lambda _node: lambda x: x.mean(_spatial_axes(x), keepdim=True),
    "GlobalMaxPool": lambda _node: lambda x: x.amax(_spatial_axes(x), keepdim=True),
    "LRN": _local_response,
    "MaxPool": _max_pool,
}
