"""Nodes of every operator that can be trained, with inputs to run them on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One node.

    inputs: shapes of the float inputs that are fed, or arrays of fixed inputs, in order; None for
    one that is left out. outputs: how many it has. positive: feed numbers above 0.
    """

    op: str
    inputs: tuple[Shape | NDArray[Any] | None, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    opset: int = 20
    outputs: int = 1
    positive: bool = False

    def __str__(self) -> str:
        """The operator and its attributes, as the test's name."""
        said = ",".join(
            f"{key}={value}" for key, value in self.attributes.items() if key != "value"
        )
        shapes = "/".join(
            "-" if x is None else "x".join(map(str, x)) if isinstance(x, tuple) else "c"
            for x in self.inputs
        )
        return f"{self.op}{self.opset}-{shapes}-{said}".replace(" ", "")

    def model(self) -> onnx.ModelProto:
        """A model of this node alone."""
        names = ["" if value is None else f"x{index}" for index, value in enumerate(self.inputs)]
        outputs = [f"y{index}" for index in range(self.outputs)]
        graph = helper.make_graph(
            [helper.make_node(self.op, names, outputs, "node", **self.attributes)],
            "case",
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
                for name, shape in zip(names, self.inputs, strict=True)
                if isinstance(shape, tuple)
            ],
            [helper.make_empty_tensor_value_info(name) for name in outputs],
            [
                numpy_helper.from_array(value, name)
                for name, value in zip(names, self.inputs, strict=True)
                if isinstance(value, np.ndarray)
            ],
        )
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8
        )

    def feeds(self) -> dict[str, NDArray[np.float32]]:
        """Normal numbers for the inputs that are fed."""
        rng = np.random.default_rng(5)
        made = {
            f"x{index}": rng.normal(0, 1.5, shape).astype(np.float32)
            for index, shape in enumerate(self.inputs)
            if isinstance(shape, tuple)
        }
        if self.positive:
            made = {name: (np.abs(x) + 0.1).astype(np.float32) for name, x in made.items()}
        return made


def _ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def _floats(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def _number(value: float) -> NDArray[np.float32]:
    return np.array(value, np.float32)


def _normal(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(9).normal(0, 0.5, shape).astype(np.float32)


_IMAGE = (2, 6, 9, 8)

_UNARY = [
    *("Abs", "Ceil", "Celu", "Cos", "Elu", "Erf", "Exp", "Floor", "HardSigmoid", "HardSwish"),
    *("Identity", "LeakyRelu", "LogSoftmax", "Mish", "Neg", "Relu", "Selu", "Sigmoid", "Sign"),
    *("Sin", "Softmax", "Softplus", "Softsign", "Tanh", "GlobalAveragePool", "GlobalMaxPool"),
    *("Gelu", "Flatten", "Shape", "Size", "ArgMax", "ArgMin", "Dropout", "Reciprocal", "Squeeze"),
]

ELEMENTWISE = [
    *(Case(op, ((2, 5, 3, 3),)) for op in _UNARY),
    *(Case(op, ((2, 5, 3),), positive=True) for op in ("Log", "Sqrt")),
    *(Case(op, ((2, 5, 3), (5, 1))) for op in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Mean")),
    Case("Sum", ((2, 3), (3,), (2, 1))),
    Case("Max", ((2, 3), (3,), (2, 1))),
    Case("Pow", ((2, 3), _floats(2.0))),
    Case("Pow", ((2, 3), (2, 3)), positive=True),
    Case("Mod", ((2, 3), _floats(0.7)), {"fmod": 1}),
    Case("Clip", ((3, 4), _number(-0.5), _number(1.0))),
    Case("Clip", ((3, 4), None, _number(1.0))),
    Case("Clip", ((3, 4),)),
    Case("Clip", ((3, 4),), {"min": -0.5, "max": 0.25}, opset=9),
    Case("LeakyRelu", ((3, 4),), {"alpha": 0.3}),
    Case("HardSigmoid", ((3, 4),), {"alpha": 1 / 6, "beta": 0.5}),
    Case("Elu", ((3, 4),), {"alpha": 0.3}),
    Case("Gelu", ((3, 4),), {"approximate": "tanh"}),
    Case("PRelu", ((2, 5, 3, 3), _normal(5, 1, 1))),
    Case("Softmax", ((2, 3, 4),), {"axis": 1}),
    Case("Softmax", ((2, 3, 4),), {"axis": 1}, opset=11),
    Case("LogSoftmax", ((2, 3, 4),), opset=9),
    Case("Cast", ((3, 4),), {"to": TensorProto.INT32}),
    *(
        Case(op, ((3, 4), (4,)))
        for op in ("Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual")
    ),
    Case("Where", (np.array([True, False, True]), (2, 3), (3,))),
    Case("And", (np.array([True, False]), np.array([True, True]))),
    Case("Or", (np.array([True, False]), np.array([True, True]))),
    Case("Not", (np.array([True, False]),)),
    Case("Div", (_ints(7, -7, 9), _ints(2, 2, -4))),
    Case("Constant", (), {"value_floats": [1.0, 2.0]}),
    Case("Constant", (), {"value_int": 3}),
]

WINDOWS = [
    Case("Conv", (_IMAGE, _normal(4, 6, 3, 3), _normal(4)), {"pads": [1, 1, 1, 1]}),
    Case("Conv", (_IMAGE, _normal(4, 6, 3, 2)), {"pads": [0, 1, 2, 0], "strides": [2, 1]}),
    Case("Conv", (_IMAGE, _normal(6, 1, 3, 3), _normal(6)), {"group": 6, "dilations": [2, 2]}),
    Case("Conv", (_IMAGE, _normal(4, 3, 1, 1)), {"group": 2, "auto_pad": "VALID"}),
    *(
        Case("Conv", (_IMAGE, _normal(4, 6, 4, 3)), {"auto_pad": pad, "strides": [2, 2]})
        for pad in ("SAME_UPPER", "SAME_LOWER")
    ),
    Case("Conv", ((2, 3, 11), _normal(4, 3, 5), _normal(4)), {"pads": [2, 1]}),
    Case("Conv", ((1, 2, 4, 5, 6), _normal(3, 2, 2, 3, 2)), {"pads": [0, 1, 1, 0, 1, 0]}),
    Case("ConvTranspose", ((2, 3, 5, 4), _normal(3, 4, 3, 3), _normal(4)), {"strides": [2, 2]}),
    Case(
        "ConvTranspose",
        ((2, 4, 5, 4), _normal(4, 3, 3, 2)),
        {"group": 2, "pads": [1, 0, 0, 1], "output_padding": [1, 0], "strides": [2, 3]},
    ),
    Case("ConvTranspose", ((1, 2, 4, 4), _normal(2, 1, 3, 3)), {"dilations": [2, 1]}),
    Case(
        "ConvTranspose",
        ((1, 2, 4, 4), _normal(2, 1, 3, 3)),
        {"output_shape": [9, 8], "strides": [2, 2]},
    ),
    Case(
        "ConvTranspose",
        ((1, 2, 4, 4), _normal(2, 1, 3, 3)),
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
    ),
    Case("ConvTranspose", ((1, 2, 6), _normal(2, 3, 4), _normal(3)), {"strides": [3]}),
    *(
        Case(op, (shape,), {"kernel_shape": [3] * rank, **more})
        for op in ("MaxPool", "AveragePool")
        for shape, rank, more in (
            (_IMAGE, 2, {}),
            (_IMAGE, 2, {"strides": [2, 2], "ceil_mode": 1}),
            (_IMAGE, 2, {"strides": [2, 3], "pads": [1, 1, 1, 1]}),
            (_IMAGE, 2, {"strides": [2, 2], "pads": [1, 0, 2, 1]}),
            (_IMAGE, 2, {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
            (_IMAGE, 2, {"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
            ((2, 6, 11), 1, {"strides": [2]}),
            ((1, 2, 5, 5, 4), 3, {"strides": [2, 2, 1]}),
        )
    ),
    Case("MaxPool", (_IMAGE,), {"kernel_shape": [3, 2], "dilations": [2, 1]}),
    Case(
        "AveragePool",
        (_IMAGE,),
        {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1},
    ),
    Case(
        "AveragePool",
        (_IMAGE,),
        {"kernel_shape": [4, 3], "pads": [1, 0, 2, 1], "strides": [2, 2], "count_include_pad": 1},
    ),
    Case(
        "MaxPool",
        ((1, 1, 5, 5),),
        {"kernel_shape": [2, 2], "strides": [3, 3], "pads": [0, 0, 1, 1], "ceil_mode": 1},
    ),
    Case("LRN", (_IMAGE,), {"size": 5, "alpha": 0.02, "beta": 0.6, "bias": 2.0}),
]

SUMS = [
    Case("Gemm", ((3, 5), _normal(4, 5), _normal(4)), {"transB": 1}),
    Case("Gemm", ((5, 3), _normal(5, 4), _normal(3, 1)), {"transA": 1, "alpha": 0.5, "beta": 2.0}),
    Case("Gemm", ((3, 5), _normal(5, 4))),
    Case("MatMul", ((2, 3, 5), _normal(5, 4))),
    Case("MatMul", ((2, 3, 5), (2, 5, 3))),
    Case("Einsum", ((2, 3, 5), (2, 5, 4)), {"equation": "bij,bjk->bik"}),
    *(
        Case(op, ((2, 3, 4, 5), _ints(2, -1)), {"keepdims": keep}, opset=18)
        for op in ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL2", "ReduceSum")
        for keep in (0, 1)
    ),
    *(
        Case(op, ((2, 3, 4),), {"axes": [1], "keepdims": 0}, opset=11)
        for op in ("ReduceMean", "ReduceSum", "ReduceL1", "ReduceSumSquare", "ReduceLogSumExp")
    ),
    Case("ReduceMean", ((2, 3, 4),)),
    Case("ReduceSum", ((2, 3, 4),), {"noop_with_empty_axes": 1}),
    Case(
        "BatchNormalization",
        (_IMAGE, _normal(6), _normal(6), _normal(6), np.abs(_normal(6)) + 0.5),
        {"epsilon": 1e-3},
        opset=15,
    ),
    Case("LayerNormalization", ((2, 3, 6), _normal(6), _normal(6)), {"axis": -1}),
    Case("LayerNormalization", ((2, 3, 6), _normal(6)), {"axis": 1, "epsilon": 1e-2}),
    Case("InstanceNormalization", (_IMAGE, _normal(6), _normal(6))),
    Case("GroupNormalization", (_IMAGE, _normal(3), _normal(3)), {"num_groups": 3}, opset=18),
    Case("GroupNormalization", (_IMAGE, _normal(6), _normal(6)), {"num_groups": 3}, opset=21),
]

SHAPES = [
    Case("Concat", ((2, 3), (2, 4)), {"axis": 1}),
    Case("Split", ((2, 6),), {"axis": 1, "split": [4, 2]}, opset=11, outputs=2),
    Case("Split", ((2, 6), _ints(1, 5)), {"axis": 1}, opset=13, outputs=2),
    Case("Split", ((2, 7),), {"axis": 1, "num_outputs": 3}, opset=18, outputs=3),
    Case("Slice", ((4, 6),), {"starts": [1], "ends": [5], "axes": [1]}, opset=9),
    Case("Slice", ((4, 6), _ints(0, 1), _ints(3, 99), _ints(0, 1), _ints(1, 2))),
    Case("Slice", ((4, 6), _ints(-1), _ints(-100), _ints(1), _ints(-2))),
    Case("Slice", ((4, 6), _ints(-3), _ints(-1))),
    Case("Reshape", ((2, 3, 4), _ints(0, -1))),
    Case("Reshape", ((2, 3, 4), _ints(4, 6))),
    Case("Flatten", ((2, 3, 4),), {"axis": 2}),
    Case("Flatten", ((2, 3, 4),), {"axis": 0}),
    Case("Transpose", ((2, 3, 4),)),
    Case("Transpose", ((2, 3, 4),), {"perm": [0, 2, 1]}),
    Case("Squeeze", ((2, 1, 4, 1),), {"axes": [1]}, opset=9),
    Case("Squeeze", ((2, 1, 4, 1), _ints(-1))),
    Case("Unsqueeze", ((2, 4),), {"axes": [1, 3]}, opset=9),
    Case("Unsqueeze", ((2, 4), _ints(-1, 0))),
    Case("Pad", ((2, 3, 4),), {"pads": [0, 1, 2, 0, 0, 1], "value": 0.5}, opset=9),
    Case("Pad", ((2, 3, 4), _ints(0, 1, 2, 0, 0, 1), _number(-1.0))),
    Case("Pad", ((2, 3, 4), _ints(1, -2), None, _ints(2)), opset=18),
    *(Case("Pad", ((2, 3, 4), _ints(0, 1, 2, 0, 0, 3)), {"mode": m}) for m in ("reflect", "edge")),
    Case("Pad", ((2, 3, 4), _ints(0, 0, 2, 0, 0, 3)), {"mode": "wrap"}, opset=19),
    Case("Shape", ((2, 3, 4),), {"start": 1, "end": -1}, opset=15),
    Case("Gather", ((3, 4, 5), _ints(2, 0)), {"axis": 1}),
    Case("Gather", ((3, 4), np.array([[0, -1], [1, 2]], np.int64))),
    Case("Gather", ((3, 4), np.array(1, np.int64)), {"axis": -1}),
    Case(
        "ConstantOfShape",
        (_ints(2, 3),),
        {"value": numpy_helper.from_array(_floats(1.5), "value")},
    ),
    Case("ConstantOfShape", (_ints(2, 3),)),
    Case("Expand", ((3, 1), _ints(2, 1, 4))),
    Case("Tile", ((2, 3), _ints(2, 1))),
    Case("Range", (np.array(1), np.array(9), np.array(3))),
    Case("DepthToSpace", ((2, 8, 3, 2),), {"blocksize": 2}),
    Case("DepthToSpace", ((2, 8, 3, 2),), {"blocksize": 2, "mode": "CRD"}),
    Case("SpaceToDepth", ((2, 3, 4, 6),), {"blocksize": 2}),
    Case("Resize", ((1, 2, 4, 5), _floats(1, 1, 2, 3)), {"mode": "nearest"}, opset=10),
    Case("Resize", ((1, 2, 4, 5), _floats(1, 1, 2, 3)), {"mode": "linear"}, opset=10),
    Case("Upsample", ((1, 2, 4, 5), _floats(1, 1, 2, 3)), {"mode": "nearest"}, opset=9),
    *(
        Case(
            "Resize",
            ((2, 2, 4, 5), None, scales),
            {"mode": "linear", "coordinate_transformation_mode": rule},
            opset=13,
        )
        for rule in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
        for scales in (_floats(1, 1, 2.5, 1.7), _floats(1, 1, 0.6, 0.5))
    ),
    *(
        Case(
            "Resize",
            ((2, 2, 4, 5), None, _floats(1, 1, 2, 1.5)),
            {"coordinate_transformation_mode": rule, "nearest_mode": mode},
            opset=13,
        )
        for rule in ("half_pixel", "asymmetric")
        for mode in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    ),
    Case("Resize", ((2, 2, 4, 5), None, None, _ints(2, 2, 7, 3)), {"mode": "linear"}, opset=13),
    Case(
        "Resize",
        ((2, 2, 4, 5), None, None, _ints(7, 3)),
        {"mode": "linear", "axes": [2, 3]},
        opset=18,
    ),
]

CASES = [*ELEMENTWISE, *WINDOWS, *SUMS, *SHAPES]
