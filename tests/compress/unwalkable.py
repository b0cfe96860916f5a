"""Models whose outputs are left out, and with what a walk can't hold or compare."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper

from tests.onnx_files import make_model


def unwalkable_models() -> dict[str, ModelProto]:
    """By what is awkward about each. All take one input (N, 3, 8, 8)."""
    rng = np.random.default_rng(0)
    node = helper.make_node

    def wide(*shape: int) -> NDArray[np.float32]:
        return (0.2 * rng.normal(size=shape)).astype(np.float32)

    convs = {"w1": wide(16, 3, 3, 3), "w2": wide(16, 16, 3, 3), "w3": wide(16, 10)}
    first = node("Conv", ["x", "w1"], ["c"], pads=[1] * 4)
    ends = [
        node("GlobalAveragePool", ["f"], ["g"]),
        node("Flatten", ["g"], ["h"]),
        node("MatMul", ["h", "w3"], ["y"]),
    ]

    def model(nodes: list[NodeProto], others: dict[str, NDArray[Any]]) -> ModelProto:
        return make_model(nodes, {"x": ["n", 3, 8, 8]}, {"y": ["m", 10]}, convs | others)

    second = node("Conv", ["c", "w2"], ["d"], pads=[1] * 4)
    one = np.array([1], np.int64)
    return {
        "a sequence": model(
            [
                node("SplitToSequence", ["x"], ["s"], axis=1, keepdims=1),
                *(first, second),
                node("SequenceAt", ["s", "at"], ["e"]),
                node("Add", ["d", "e"], ["f"]),
                *ends,
            ],
            {"at": np.array(0, np.int64)},
        ),
        "bfloat16": model(
            [
                node("Cast", ["x"], ["b"], to=TensorProto.BFLOAT16),
                *(first, second),
                node("Cast", ["b"], ["b32"], to=TensorProto.FLOAT),
                node("ReduceMean", ["b32"], ["e"], axes=[1]),
                node("Add", ["d", "e"], ["f"]),
                *ends,
            ],
            {},
        ),
        "outputs left out": model(
            [
                first,
                node("MaxPool", ["c"], ["p", ""], kernel_shape=[2, 2]),
                node("Resize", ["p", "", "scales"], ["q"]),
                node("Conv", ["q", "w2"], ["d"], pads=[1] * 4),
                node("Resize", ["d", "", "scales"], ["f"]),
                *ends,
            ],
            {"scales": np.array([1, 1, 2, 2], np.float32)},
        ),
        "an input that is a weight": model(
            [
                node("MatMul", ["queries", "wq"], ["k"]),
                node("Conv", ["x", "w1"], ["f"], pads=[1] * 4),
                *ends[:2],
                node("MatMul", ["h", "k"], ["a"]),
                node("MatMul", ["a", "w3"], ["y"]),
            ],
            {"queries": wide(16, 32), "wq": wide(32, 16)},
        ),
        "rows chosen by value": model(
            [
                first,
                node("Transpose", ["c"], ["t"], perm=[0, 2, 3, 1]),
                node("Reshape", ["t", "rows"], ["r"]),
                node("ReduceSum", ["r", "one"], ["sums"], keepdims=0),
                node("Greater", ["sums", "zero"], ["positive"]),
                node("Compress", ["r", "positive"], ["p"], axis=0),
                node("MatMul", ["p", "w4"], ["q"]),
                node("ReduceMean", ["q"], ["m"], axes=[0], keepdims=1),
                node("MatMul", ["m", "w3"], ["y"]),
            ],
            {
                "rows": np.array([-1, 16], np.int64),
                "one": one,
                "zero": np.array(0, np.float32),
                "w4": wide(16, 16),
            },
        ),
    }
