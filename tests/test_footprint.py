"""Peak of activations and receptive field of ONNX graphs, worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper

from edgekit.errors import UsageError
from edgekit.footprint import Footprint, measure_footprint
from edgekit.graph import load_graph
from tests.onnx_files import make_model

FLOAT = 4
LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"


def _measure(
    nodes: Sequence[NodeProto],
    shape: Sequence[int | str],
    *,
    rank: int = 4,
    **weights: NDArray[np.float32],
) -> Footprint:
    model = make_model(nodes, {"x": shape}, {"y": list("NCHW"[:rank])}, weights)
    return measure_footprint(load_graph(model.SerializeToString()))


def _conv(source: str, output: str, **attributes: list[int]) -> NodeProto:
    return helper.make_node("Conv", [source, "w"], [output], name=output, **attributes)  # type: ignore[arg-type]  # attributes aren't annotated


def _ones(*shape: int) -> NDArray[np.float32]:
    return np.ones(shape, np.float32)


def test_a_chain_holds_two_maps() -> None:
    nodes = [_conv("x", "a"), _conv("a", "b"), _conv("b", "y")]

    assert _measure(nodes, ["N", 8, 10, 10], w=_ones(8, 8, 1, 1)).peak_bytes == 2 * 800 * FLOAT


def test_an_activation_writes_over_its_input_unless_another_node_reads_it() -> None:
    relu = helper.make_node("Relu", ["a"], ["b"], "relu")
    conv = _conv("x", "a", pads=[1, 1, 1, 1])
    apart = [conv, relu, helper.make_node("Add", ["a", "b"], ["y"], "add")]
    alone = [conv, relu, helper.make_node("Identity", ["b"], ["y"], "id")]
    weights = _ones(4, 1, 3, 3)

    assert _measure(alone, ["N", 1, 5, 5], w=weights).peak_bytes == (1 + 4) * 25 * FLOAT
    assert _measure(apart, ["N", 1, 5, 5], w=weights).peak_bytes == 3 * 4 * 25 * FLOAT


def test_a_view_keeps_its_map_alive() -> None:
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"], "flatten"),
        _conv("x", "c"),
        helper.make_node("Gemm", ["flat", "g"], ["d"], "gemm"),
        helper.make_node("Flatten", ["c"], ["e"], "flatten2"),
        helper.make_node("Concat", ["d", "e"], ["y"], "concat", axis=1),
    ]

    found = _measure(nodes, ["N", 2, 3, 3], rank=2, w=_ones(2, 2, 1, 1), g=_ones(18, 5))

    # Input, convolution and product at once; then convolution, product and their concatenation.
    assert found.peak_bytes == max(18 + 18 + 5, 18 + 5 + 23) * FLOAT


def test_a_shortcut_is_held_until_it_is_added() -> None:
    nodes = [
        _conv("x", "a"),
        _conv("a", "b"),
        helper.make_node("Add", ["x", "b"], ["y"], "add"),
    ]

    assert _measure(nodes, ["N", 8, 4, 4], w=_ones(8, 8, 1, 1)).peak_bytes == 3 * 128 * FLOAT


@pytest.mark.parametrize(
    ("steps", "field"),
    [
        ([{}], 3),
        ([{"dilations": [1, 1]}, {"dilations": [2, 2]}, {"dilations": [4, 4]}], 15),
        ([{"strides": [2, 2]}, {}], 7),
    ],
)
def test_receptive_fields_are_those_of_the_arithmetic(
    steps: list[dict[str, list[int]]], field: int
) -> None:
    names = ["x", *"abc"[: len(steps) - 1], "y"]
    nodes = [_conv(names[i], names[i + 1], **step) for i, step in enumerate(steps)]

    assert _measure(nodes, ["N", 2, 64, 64], w=_ones(2, 2, 3, 3)).receptive_field == field


def test_each_axis_spreads_alone() -> None:
    nodes = [
        _conv("x", "a", kernel_shape=[1, 3], dilations=[4, 1]),
        helper.make_node("MaxPool", ["a"], ["b"], "p", kernel_shape=[2, 1], strides=[2, 1]),
        _conv("b", "y", kernel_shape=[1, 3]),
    ]

    assert _measure(nodes, ["N", 4, 30, 30], w=_ones(4, 4, 1, 3)).receptive_field == 5


@pytest.mark.parametrize(("name", "field"), [("vgg19", 268), ("resnet50", 427)])
def test_published_networks_see_as_far_as_is_known(name: str, field: int) -> None:
    found = measure_footprint(load_graph(LIGHT / f"light_{name}.onnx"))

    assert found.receptive_field == field
    assert found.peak_bytes


def test_an_operator_that_moves_places_leaves_the_field_unknown() -> None:
    shuffle = helper.make_node("DepthToSpace", ["a"], ["y"], "shuffle", blocksize=2)

    found = _measure([_conv("x", "a"), shuffle], ["N", 4, 3, 3], w=_ones(4, 4, 1, 1))

    assert found.receptive_field is None


def test_open_sizes_leave_the_peak_open_until_they_are_given() -> None:
    model = make_model(
        [_conv("x", "y")], {"x": ["N", 8, "H", "W"]}, {"y": list("NCHW")}, {"w": _ones(8, 8, 1, 1)}
    )
    graph = load_graph(model.SerializeToString())

    assert measure_footprint(graph).peak_bytes is None
    assert measure_footprint(graph, {"x": (1, 8, 3, 3)}).peak_bytes == 2 * 72 * FLOAT
    with pytest.raises(UsageError, match="no input z"):
        measure_footprint(graph, {"z": (1,)})


def test_a_small_network_is_measured(tiny_model: ModelProto) -> None:
    found = measure_footprint(load_graph(tiny_model.SerializeToString()))

    # The last 1x1 convolution: 32 and 60 channels of 12 x 12.
    assert found == Footprint((32 + 60) * 144 * FLOAT, 5)
    assert found.to_dict() == {"peak_bytes": (32 + 60) * 144 * FLOAT, "receptive_field": 5}
