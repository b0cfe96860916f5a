"""Operators that add up: matrix products, reductions and normalisations."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from edgekit.train.operators.node import Builder, Node, Operator, axes_of


def _gemm(node: Node) -> Operator:
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    turned = bool(node.integer("transA", 0)), bool(node.integer("transB", 0))

    def run(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
        left = left.t() if turned[0] else left
        # torch's linear layer holds its matrix transposed.
        right = right if turned[1] else right.t()
        if alpha == 1 and beta == 1 and (bias is None or bias.ndim == 1):
            return functional.linear(left, right, bias)
        product = functional.linear(left, right) * alpha
        return product if bias is None else product + bias * beta

    return run


def _einsum(node: Node) -> Operator:
    equation = node.text("equation", "")
    return lambda *inputs: torch.einsum(equation, *inputs)


def _reduce(function: Callable[[Tensor, list[int], bool], Tensor]) -> Builder:
    def build(node: Node) -> Operator:
        read = axes_of(node)
        keep = bool(node.integer("keepdims", 1))
        does_nothing = bool(node.integer("noop_with_empty_axes", 0))

        def run(x: Tensor, axes: Tensor | None = None) -> Tensor:
            chosen = read(axes) or []
            if not chosen and does_nothing:
                return x
            return function(x, chosen or list(range(x.ndim)), keep)

        return run

    return build


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:  # noqa: FBT001 - as its peers
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


def _argument(function: Callable[..., Tensor]) -> Builder:
    def build(node: Node) -> Operator:
        if node.integer("select_last_index", 0):
            raise node.refuse("select_last_index")
        axis, keep = node.integer("axis", 0), bool(node.integer("keepdims", 1))
        return lambda x: function(x, dim=axis, keepdim=keep)

    return build


def _batch_norm(node: Node) -> Operator:
    if node.outputs > 1 or node.integer("training_mode", 0):
        raise node.refuse("statistics of its own batch")
    epsilon = node.number("epsilon", 1e-5)

    def run(x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        return functional.batch_norm(x, mean, variance, scale, bias, eps=epsilon)

    return run


def _layer_norm(node: Node) -> Operator:
    if node.outputs > 1:
        raise node.refuse("its statistics as outputs")
    axis, epsilon = node.integer("axis", -1), node.number("epsilon", 1e-5)

    def run(x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
        shape = x.shape[axis % x.ndim :]
        if scale.shape == shape and (bias is None or bias.shape == shape):
            return functional.layer_norm(x, shape, scale, bias, epsilon)
        normal = functional.layer_norm(x, shape, eps=epsilon) * scale
        return normal if bias is None else normal + bias

    return run


def _instance_norm(node: Node) -> Operator:
    epsilon = node.number("epsilon", 1e-5)
    return lambda x, scale, bias: functional.instance_norm(x, weight=scale, bias=bias, eps=epsilon)


def _group_norm(node: Node) -> Operator:
    groups, epsilon = node.integer("num_groups", 1), node.number("epsilon", 1e-5)

    def run(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        # Before operator set 21 there was one scale a group; since then one a channel.
        repeats = x.shape[1] // scale.shape[0]
        scale, bias = (value.repeat_interleave(repeats) for value in (scale, bias))
        return functional.group_norm(x, groups, scale, bias, epsilon)

    return run


BUILDERS: dict[str, Builder] = {
    "ArgMax": _argument(torch.argmax),
    "ArgMin": _argument(torch.argmin),
    "BatchNormalization": _batch_norm,
    "Einsum": _einsum,
    "Gemm": _gemm,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "MatMul": lambda _node: torch.matmul,
    "ReduceL1": _reduce(lambda x, axes, keep: x.abs().sum(axes, keepdim=keep)),
    "ReduceL2": _reduce(lambda x, axes, keep: torch.linalg.vector_norm(x, 2, axes, keep)),
    "ReduceLogSumExp": _reduce(lambda x, axes, keep: x.logsumexp(axes, keepdim=keep)),
    "ReduceMax": _reduce(lambda x, axes, keep: x.amax(axes, keepdim=keep)),
    "ReduceMean": _reduce(lambda x, axes, keep: x.mean(axes, keepdim=keep)),
    "ReduceMin": _reduce(lambda x, axes, keep: x.amin(axes, keepdim=keep)),
    "ReduceProd": _reduce(_product),
    "ReduceSum": _reduce(lambda x, axes, keep: x.sum(axes, keepdim=keep)),
    "ReduceSumSquare": _reduce(lambda x, axes, keep: x.square().sum(axes, keepdim=keep)),
}
