"""Channels that leave a graph: zeroing them in the original gives the same outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

import edgekit_models
from edgekit.compress.channels import prune_channels
from edgekit.count import count
from edgekit.errors import PlanError
from edgekit.export.pytorch import export
from edgekit.graph import load_graph
from edgekit.graph.channels import Removed, cut, follow
from edgekit.graph.shapes import value_shapes
from tests.onnx_files import branch, constant, make_model, random_feeds, run

Array = NDArray[np.float32]
node = helper.make_node


def zeroed(model: ModelProto, removed: Mapping[str, Removed]) -> ModelProto:
    """The model with a mask of zeros behind every value that lost channels."""
    masked = ModelProto()
    masked.CopyFrom(model)
    shapes = value_shapes(ModelProto.FromString(model.SerializeToString()))
    nodes: list[NodeProto] = []
    for original in model.graph.node:
        changed = NodeProto()
        changed.CopyFrom(original)
        nodes.append(changed)
        for index, name in enumerate(original.output):
            if name in removed:
                axis, rank = removed[name].axis, len(shapes[name].shape)
                size = shapes[name].shape[axis] or 0
                mask = np.ones(size, np.float32)
                mask[removed[name].places] = 0
                mask = mask.reshape([size if place == axis else 1 for place in range(rank)])
                masked.graph.initializer.append(numpy_helper.from_array(mask, f"{name}_mask"))
                changed.output[index] = f"{name}_whole"
                nodes.append(node("Mul", [f"{name}_whole", f"{name}_mask"], [name]))
    del masked.graph.node[:]
    masked.graph.node.extend(nodes)
    del masked.graph.value_info[:]
    return masked


def assert_same(model: ModelProto, pruned: ModelProto, removed: Mapping[str, Removed]) -> None:
    """The pruned model answers as the zeroed one does, and not as the whole one."""
    feeds = random_feeds(model)
    expected, found = run(zeroed(model, removed), feeds), run(pruned, feeds)
    whole = run(model, feeds)
    for one, other, third in zip(expected, found, whole, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-5 * np.abs(one).max())
        assert np.abs(third - other).max() > 1e-3 * np.abs(third).max()


def sandwich(
    between: Sequence[NodeProto],
    weights: Mapping[str, NDArray[Any]] | None = None,
    *,
    channels: int = 8,
    seen: int | None = None,
    opset: int = 17,
) -> ModelProto:
    """Conv to `channels`, nodes from "a" to "b", Conv on the `seen` channels of "b"."""
    rng = np.random.default_rng(3)
    filters: dict[str, NDArray[Any]] = {
        "first": rng.normal(0, 0.3, (channels, 3, 3, 3)).astype(np.float32),
        "first_bias": rng.normal(0, 0.3, channels).astype(np.float32),
        "last": rng.normal(0, 0.3, (5, seen or channels, 1, 1)).astype(np.float32),
    }
    nodes = [
        node("Conv", ["x", "first", "first_bias"], ["a"], pads=[1, 1, 1, 1]),
        *between,
        node("Conv", ["b", "last"], ["y"]),
    ]
    weights = {**filters, **(weights or {})}
    return make_model(nodes, {"x": ["N", 3, 6, 6]}, {"y": ["N", 5, "H", "W"]}, weights, opset=opset)


def numbers(*shape: int, seed: int = 5) -> Array:
    return np.random.default_rng(seed).normal(0, 0.5, shape).astype(np.float32)


def integers(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


POSITIVE = np.abs(numbers(8)) + 0.5

GRAPHS: dict[str, ModelProto] = {
    "relu": sandwich([node("Relu", ["a"], ["b"])]),
    "clip": sandwich(
        [node("Clip", ["a", "low", "high"], ["b"])],
        {"low": np.array(0, np.float32), "high": np.array(1, np.float32)},
    ),
    "hard swish": sandwich([node("HardSwish", ["a"], ["b"])]),
    "sigmoid": sandwich([node("Sigmoid", ["a"], ["b"])]),
    "slopes of PRelu": sandwich([node("PRelu", ["a", "s"], ["b"])], {"s": numbers(8, 1, 1)}),
    "one slope of PRelu": sandwich([node("PRelu", ["a", "s"], ["b"])], {"s": numbers(1)}),
    "batch normalisation": sandwich(
        [node("BatchNormalization", ["a", "scale", "shift", "mean", "var"], ["b"])],
        {"scale": numbers(8), "shift": numbers(8), "mean": numbers(8), "var": POSITIVE},
    ),
    "instance normalisation": sandwich(
        [node("InstanceNormalization", ["a", "scale", "shift"], ["b"])],
        {"scale": numbers(8), "shift": numbers(8)},
    ),
    "depthwise": sandwich(
        [node("Conv", ["a", "d", "db"], ["b"], group=8, pads=[1, 1, 1, 1])],
        {"d": numbers(8, 1, 3, 3), "db": numbers(8)},
    ),
    "depthwise with a multiplier": sandwich(
        [node("Conv", ["a", "d"], ["b"], group=8)], {"d": numbers(16, 1, 3, 3)}, seen=16
    ),
    "grouped": sandwich(
        [node("Conv", ["a", "d", "db"], ["b"], group=2)],
        {"d": numbers(8, 4, 3, 3), "db": numbers(8)},
    ),
    "transposed": sandwich(
        [node("ConvTranspose", ["a", "t", "tb"], ["b"], strides=[2, 2])],
        {"t": numbers(8, 8, 2, 2), "tb": numbers(8)},
    ),
    "transposed depthwise": sandwich(
        [node("ConvTranspose", ["a", "t"], ["b"], group=8)], {"t": numbers(8, 1, 2, 2)}
    ),
    "residual": sandwich(
        [node("Conv", ["a", "c"], ["d"]), node("Add", ["a", "d"], ["b"])],
        {"c": numbers(8, 8, 1, 1)},
    ),
    "constants of each channel": sandwich(
        [node("Mul", ["a", "m"], ["d"]), node("Add", ["p", "d"], ["b"])],
        {"m": numbers(1, 8, 1, 1), "p": numbers(8, 1, 1)},
    ),
    "squeeze and excite": sandwich(
        [
            node("GlobalAveragePool", ["a"], ["p"]),
            node("Conv", ["p", "c"], ["q"]),
            node("Relu", ["q"], ["r"]),
            node("Conv", ["r", "e"], ["s"]),
            node("HardSigmoid", ["s"], ["g"]),
            node("Mul", ["a", "g"], ["b"]),
        ],
        {"c": numbers(4, 8, 1, 1), "e": numbers(8, 4, 1, 1)},
    ),
    "concat": sandwich(
        [node("Conv", ["a", "c"], ["d"]), node("Concat", ["d", "a"], ["b"], axis=1)],
        {"c": numbers(4, 8, 1, 1)},
        seen=12,
    ),
    "concat with the input": sandwich([node("Concat", ["x", "a"], ["b"], axis=1)], seen=11),
    "concat of heights": sandwich([node("Concat", ["a", "a"], ["b"], axis=2)]),
    "split by an input": sandwich(
        [
            node("Split", ["a", "sizes"], ["d", "e"], axis=1),
            node("Relu", ["d"], ["f"]),
            node("Concat", ["f", "e"], ["b"], axis=1),
        ],
        {"sizes": integers(3, 5)},
    ),
    "equal split": sandwich(
        [node("Split", ["a"], ["d", "e"], axis=1), node("Concat", ["e", "d"], ["b"], axis=1)]
    ),
    "split by an attribute": sandwich(
        [
            node("Split", ["a"], ["d", "e"], axis=1, split=[6, 2]),
            node("Concat", ["e", "d"], ["b"], axis=1),
        ],
        opset=11,
    ),
    "equal split with a count": sandwich(
        [
            node("Split", ["a"], ["d", "e"], axis=1, num_outputs=2),
            node("Concat", ["e", "d"], ["b"], axis=1),
        ],
        opset=18,
    ),
    "split of heights": sandwich(
        [node("Split", ["a"], ["d", "e"], axis=2), node("Add", ["d", "e"], ["b"])]
    ),
    "slice of channels": sandwich(
        [node("Slice", ["a", "from", "to", "axes"], ["b"])],
        {"from": integers(2), "to": integers(-1), "axes": integers(1)},
        seen=5,
    ),
    "slice of a picture": sandwich(
        [node("Slice", ["a", "from", "to", "axes"], ["b"])],
        {"from": integers(1, 1), "to": integers(9, 3), "axes": integers(2, 3)},
    ),
    "gather of channels": sandwich(
        [node("Gather", ["a", "order"], ["b"], axis=1)],
        {"order": integers(7, 0, 3, 3, -2)},
        seen=5,
    ),
    "shuffle": sandwich(
        [
            node("Reshape", ["a", "apart"], ["d"]),
            node("Transpose", ["d"], ["e"], perm=[0, 2, 1, 3, 4]),
            node("Reshape", ["e", "together"], ["b"]),
        ],
        {"apart": integers(0, 2, 4, 6, 6), "together": integers(-1, 8, 6, 6)},
    ),
    "shuffle between groups": sandwich(
        [
            node("Conv", ["a", "c"], ["d"], group=3),
            node("Reshape", ["d", "apart"], ["e"]),
            node("Transpose", ["e"], ["f"], perm=[0, 2, 1, 3]),
            node("Reshape", ["f", "together"], ["g"]),
            node("Conv", ["g", "h"], ["b"], group=3),
        ],
        {
            "c": numbers(15, 4, 1, 1),
            "h": numbers(12, 5, 1, 1),
            "apart": integers(0, 3, 5, -1),
            "together": integers(0, 15, 6, 6),
        },
        channels=12,
    ),
    "pooling": sandwich(
        [
            node("MaxPool", ["a"], ["d"], kernel_shape=[2, 2], strides=[2, 2]),
            node("AveragePool", ["d"], ["b"], kernel_shape=[2, 2]),
        ]
    ),
    "padding": sandwich(
        [node("Pad", ["a", "pads"], ["b"])], {"pads": integers(0, 0, 1, 1, 0, 0, 1, 1)}
    ),
    "padding of channels": sandwich(
        [
            node("Pad", ["a", "pads"], ["d"]),
            node("Conv", ["d", "c"], ["e"]),
            node("Add", ["d", "e"], ["b"]),
        ],
        {"pads": integers(0, 1, 0, 0, 0, 3, 0, 0), "c": numbers(12, 12, 1, 1)},
        seen=12,
    ),
    "resize": sandwich(
        [node("Resize", ["a", "", "scales"], ["b"])],
        {"scales": np.array([1, 1, 2, 2], np.float32)},
    ),
    "mean over a picture": sandwich([node("ReduceMean", ["a"], ["b"], axes=[2, 3])]),
    "mean by an input": sandwich(
        [node("ReduceMean", ["a", "axes"], ["b"])], {"axes": integers(-1, -2)}, opset=18
    ),
    "squeeze and unsqueeze": sandwich(
        [
            node("ReduceMean", ["a"], ["d"], axes=[2, 3]),
            node("Squeeze", ["d", "axes"], ["e"]),
            node("Unsqueeze", ["e", "axes"], ["b"]),
        ],
        {"axes": integers(2, 3)},
    ),
    "transpose": sandwich(
        [
            node("Transpose", ["a"], ["d"], perm=[0, 2, 3, 1]),
            node("Relu", ["d"], ["e"]),
            node("Transpose", ["e"], ["b"], perm=[0, 3, 1, 2]),
        ]
    ),
    "matrix product of the last axis": sandwich(
        [
            node("Transpose", ["a"], ["d"], perm=[0, 2, 3, 1]),
            node("MatMul", ["d", "m"], ["e"]),
            node("Add", ["e", "mb"], ["f"]),
            node("Transpose", ["f"], ["b"], perm=[0, 3, 1, 2]),
        ],
        {"m": numbers(8, 12), "mb": numbers(12)},
        seen=12,
    ),
    "constants in nodes": sandwich(
        [constant("d", numbers(8, 1, 1, 1)), node("Conv", ["a", "d"], ["b"], group=8)]
    ),
    "one bias for two": sandwich(
        [
            node("Conv", ["a", "c", "first_bias"], ["d"]),
            node("Relu", ["d"], ["b"]),
        ],
        {"c": numbers(8, 8, 1, 1)},
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_zeroed_channels_can_be_removed_through(name: str) -> None:
    model = GRAPHS[name]
    before = model.SerializeToString()

    pruned = prune_channels(model, 0.5)

    assert pruned.removed_channels >= 0.2 * pruned.removable
    assert "b" in pruned.removed
    assert model.SerializeToString() == before
    assert_same(model, pruned.model, pruned.removed)


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("flat", ["Flatten", "Reshape"])
def test_matrix_products_behind_a_flattened_picture(flat: str, transposed: int) -> None:
    weights: dict[str, NDArray[Any]] = {
        "c": numbers(6, 1, 3, 3),
        "m": numbers(16, 96) if transposed else numbers(96, 16),
        "mb": numbers(16),
        "n": numbers(16, 4),
        "shape": integers(-1, 96),
    }
    nodes = [
        node("Conv", ["x", "c"], ["a"]),
        node(flat, ["a", "shape"] if flat == "Reshape" else ["a"], ["f"]),
        node("Gemm", ["f", "m", "mb"], ["h"], transB=transposed),
        node("Relu", ["h"], ["r"]),
        node("MatMul", ["r", "n"], ["y"]),
    ]
    model = make_model(nodes, {"x": ["N", 1, 6, 6]}, {"y": ["N", 4]}, weights)

    pruned = prune_channels(model, 0.5)

    assert len(pruned.removed["f"].places) == 16 * len(pruned.removed["a"].places)
    assert {"a", "h"} <= set(pruned.removed)
    assert_same(model, pruned.model, pruned.removed)


@pytest.mark.parametrize(
    "between",
    [
        [node("Softmax", ["a"], ["b"], axis=1)],
        [node("LRN", ["a"], ["b"], size=3)],
        [node("ReduceMean", ["a"], ["d"], axes=[1]), node("Mul", ["a", "d"], ["b"])],
        [node("Shape", ["a"], ["s"]), node("Reshape", ["a", "s"], ["b"])],
        [
            node("DepthToSpace", ["a"], ["d"], blocksize=2),
            node("SpaceToDepth", ["d"], ["b"], blocksize=2),
        ],
    ],
)
def test_operators_that_mix_channels_keep_them(between: list[NodeProto]) -> None:
    model = sandwich(between)

    with pytest.raises(PlanError, match="no channel of this model can be removed"):
        prune_channels(model, 0.5)


def test_a_branch_that_reads_a_value_keeps_its_channels() -> None:
    inner = branch([node("Relu", ["a"], ["then"])], "then")
    other = branch([node("Neg", ["a"], ["else"])], "else")
    model = sandwich(
        [
            constant("yes", np.array(True)),
            node("If", ["yes"], ["b"], "choice", then_branch=inner, else_branch=other),
        ]
    )

    trace = follow(model)

    assert trace.fixed["a"] == "If choice"


def test_weights_of_two_layers_keep_their_channels() -> None:
    model = sandwich(
        [node("Conv", ["a", "c"], ["d"]), node("Conv", ["d", "c"], ["b"])],
        {"c": numbers(8, 8, 1, 1)},
    )

    with pytest.raises(PlanError, match="no channel"):
        prune_channels(model, 0.5)


def test_inputs_and_outputs_of_the_network_stay() -> None:
    model = GRAPHS["residual"]

    pruned = prune_channels(model, 0.5)

    assert not {"x", "y"} & set(pruned.removed)
    assert pruned.model.graph.input == model.graph.input
    assert pruned.model.graph.output == model.graph.output


def test_groups_lose_equally_many_channels() -> None:
    pruned = prune_channels(GRAPHS["shuffle between groups"], 0.5)

    places = pruned.removed["d"].places
    assert len({int(np.sum(places // 5 == group)) for group in range(3)}) == 1
    assert "Gather" in {step.op_type for step in pruned.model.graph.node}


def test_only_the_marks_asked_for_are_cut() -> None:
    trace = follow(GRAPHS["relu"])
    marks = trace.marks["a"].ids

    model, removed = cut(trace, marks[[1, 6]])

    assert removed["a"].places.tolist() == [1, 6]
    assert [tuple(tensor.dims) for tensor in model.graph.initializer] == [
        (6, 3, 3, 3), (6,), (5, 6, 1, 1),
    ]  # fmt: skip


FAST_ZOO = ["mobilenetv2_fashion", "resnet20", "shufflenet_fashion", "squeezenet_fashion"]
SLOW_ZOO = [
    "channel_table", "clcnet_b", "googlenet", "mobilenet_shallow", "mobilenetv2", "pyramidnet110",
    "resnet18", "resnet50", "resnext50", "shufflenet_se", "squeezenet1_0_complex", "xception",
]  # fmt: skip


@pytest.mark.parametrize(
    "name", [*FAST_ZOO, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW_ZOO)]
)
def test_networks_of_the_zoo_without_some_channels(name: str, tmp_path: Path) -> None:
    channels, height, width = edgekit_models.spec(name).input_shape
    path = tmp_path / "model.onnx"
    shape = (1, channels, min(height, 64), min(width, 64))
    export(name, path, weights="none", input_shape=shape)
    model = onnx.load(path)

    pruned = prune_channels(model, 0.7)

    before = count(load_graph(path)).multiply_adds or 0
    after = count(load_graph(pruned.model.SerializeToString())).multiply_adds or 0
    assert after < 0.9 * before
    assert 0.2 * pruned.removable < pruned.removed_channels <= 0.3 * pruned.removable
    assert pruned.removable == sum(layer.outputs.size for layer in pruned.layers) - (
        edgekit_models.spec(name).classes
    )
    assert_same(model, pruned.model, pruned.removed)
