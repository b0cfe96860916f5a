"""Operators that work number by number: arithmetic, comparisons, activations."""

from __future__ import annotations

from collections.abc import Callable

import torch
from onnx import TensorProto
from torch import Tensor
from torch.nn import functional

from edgekit.train.operators.node import Builder, Node, Operator

_TYPES: dict[int, torch.dtype] = {
    # Every floating type is float32 here: training keeps its precision, packing sets the type.
    **dict.fromkeys(
        (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE),
        torch.float32,
    ),
    TensorProto.BOOL: torch.bool,
    TensorProto.INT8: torch.int8,
    TensorProto.INT16: torch.int16,
    TensorProto.INT32: torch.int32,
    TensorProto.INT64: torch.int64,
    TensorProto.UINT8: torch.uint8,
}


def _plain(function: Callable[..., Tensor]) -> Builder:
    """An operator without attributes."""
    return lambda _node: function


def _fold(function: Callable[[Tensor, Tensor], Tensor]) -> Builder:
    """An operator of any number of inputs, taken from left to right."""

    def run(*inputs: Tensor) -> Tensor:
        result = inputs[0]
        for value in inputs[1:]:
            result = function(result, value)
        return result

    return lambda _node: run


def _divide(_node: Node) -> Operator:
    def run(left: Tensor, right: Tensor) -> Tensor:
        if left.is_floating_point() or right.is_floating_point():
            return left / right
        # Integers are divided as in C.
        return torch.div(left, right, rounding_mode="trunc")

    return run


def _power(node: Node) -> Operator:
    exponent = node.scalar(1)

    def run(base: Tensor, power: Tensor) -> Tensor:
        if exponent is not None and base.is_floating_point():
            return torch.pow(base, exponent)
        return torch.pow(base, power).to(base.dtype)

    return run


def _mod(node: Node) -> Operator:
    # fmod=1 keeps the sign of the dividend, as C does; else that of the divisor.
    return torch.fmod if node.integer("fmod", 0) else torch.remainder


def _clip(node: Node) -> Operator:
    if node.opset < 11:
        low, high = node.attributes.get("min"), node.attributes.get("max")
        return lambda x: x if low is None and high is None else torch.clamp(x, low, high)
    fixed = node.scalar(1), node.scalar(2)

    def run(x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
        if low is None and high is None:
            return x
        if x.is_floating_point() and all(
            number is not None or value is None
            for number, value in zip(fixed, (low, high), strict=True)
        ):
            bottom, top = fixed
            if bottom is not None and top is not None:
                # The same numbers; its gradient takes a third of clamp's time.
                return functional.hardtanh(x, bottom, top)
            return torch.clamp(x, bottom, top)
        return torch.clamp(x, low, high)

    return run


def _leaky_relu(node: Node) -> Operator:
    slope = node.number("alpha", 0.01)
    return lambda x: functional.leaky_relu(x, slope)


def _prelu(_node: Node) -> Operator:
    return lambda x, slope: torch.where(x < 0, x * slope, x)


def _hard_sigmoid(node: Node) -> Operator:
    alpha, beta = node.number("alpha", 0.2), node.number("beta", 0.5)
    return lambda x: torch.clamp(x * alpha + beta, 0, 1)


def _elu(node: Node) -> Operator:
    alpha = node.number("alpha", 1.0)
    return lambda x: functional.elu(x, alpha)


def _celu(node: Node) -> Operator:
    alpha = node.number("alpha", 1.0)
    return lambda x: functional.celu(x, alpha)


def _selu(node: Node) -> Operator:
    # The defaults of the operator, which are those of Klambauer et al. 2017 in float32.
    alpha = node.number("alpha", 1.67326319217681884765625)
    gamma = node.number("gamma", 1.05070102214813232421875)
    return lambda x: gamma * functional.elu(x, alpha)


def _gelu(node: Node) -> Operator:
    approximate = node.text("approximate", "none")
    return lambda x: functional.gelu(x, approximate=approximate)


def _cast(node: Node) -> Operator:
    kind = node.integer("to", 0)
    if kind not in _TYPES:
        raise node.refuse(f"element type {TensorProto.DataType.Name(kind)}")
    dtype = _TYPES[kind]
    return lambda x: x.to(dtype)


def _where(_node: Node) -> Operator:
    return lambda condition, left, right: torch.where(condition.to(torch.bool), left, right)


def _softmax(function: Callable[..., Tensor]) -> Builder:
    def build(node: Node) -> Operator:
        if node.opset >= 13:
            axis = node.integer("axis", -1)
            return lambda x: function(x, dim=axis)
        first = node.integer("axis", 1)

        def over_the_rest(x: Tensor) -> Tensor:
            # Older operator sets take all axes from the given one as one.
            return function(x.flatten(first % x.ndim), dim=-1).reshape(x.shape)

        return over_the_rest

    return build


BUILDERS: dict[str, Builder] = {
    "Abs": _plain(torch.abs),
    "Add": _plain(torch.add),
    "And": _plain(torch.logical_and),
    "Cast": _cast,
    "Ceil": _plain(torch.ceil),
    "Celu": _celu,
    "Clip": _clip,
    "Cos": _plain(torch.cos),
    "Div": _divide,
    "Dropout": _plain(lambda x, *_: x),
    "Elu": _elu,
    "Equal": _plain(torch.eq),
    "Erf": _plain(torch.erf),
    "Exp": _plain(torch.exp),
    "Floor": _plain(torch.floor),
    "Gelu": _gelu,
    "Greater": _plain(torch.gt),
    "GreaterOrEqual": _plain(torch.ge),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _plain(functional.hardswish),
    "Identity": _plain(lambda x: x),
    "LeakyRelu": _leaky_relu,
    "Less": _plain(torch.lt),
    "LessOrEqual": _plain(torch.le),
    "Log": _plain(torch.log),
    "LogSoftmax": _softmax(torch.log_softmax),
    "Max": _fold(torch.maximum),
    "Mean": _plain(lambda *inputs: sum(inputs[1:], inputs[0]) / len(inputs)),
    "Min": _fold(torch.minimum),
    "Mish": _plain(functional.mish),
    "Mod": _mod,
    "Mul": _plain(torch.mul),
    "Neg": _plain(torch.neg),
    "Not": _plain(torch.logical_not),
    "Or": _plain(torch.logical_or),
    "PRelu": _prelu,
    "Pow": _power,
    "Reciprocal": _plain(torch.reciprocal),
    "Relu": _plain(torch.relu),
    "Selu": _selu,
    "Sigmoid": _plain(torch.sigmoid),
    "Sign": _plain(torch.sign),
    "Sin": _plain(torch.sin),
    "Softmax": _softmax(torch.softmax),
    "Softplus": _plain(functional.softplus),
    "Softsign": _plain(functional.softsign),
    "Sqrt": _plain(torch.sqrt),
    "Sub": _plain(torch.sub),
    "Sum": _fold(torch.add),
    "Tanh": _plain(torch.tanh),
    "Where": _where,
}
