"""A profile adds onnxruntime's events up, by layer and by operator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgekit.bench.feed import make_feed
from edgekit.bench.findings import Layer, Profile
from edgekit.bench.opening import CPU, open_model
from edgekit.bench.profile import profile_model, read_events


def event(name: str, index: int, dur: int, operator: str = "Conv") -> dict[str, Any]:
    shape = [{"float": [1, 8, 4, 4]}]
    args = {
        "op_name": operator, "provider": CPU, "node_index": str(index), "output_type_shape": shape
    }  # fmt: skip
    return {"cat": "Node", "name": f"{name}_kernel_time", "dur": dur, "args": args}


def run(dur: int) -> dict[str, Any]:
    return {"cat": "Session", "name": "model_run", "dur": dur}


def test_layers_are_the_middle_of_their_runs_without_the_warm_up() -> None:
    times = [900, 10, 12, 14, 500]
    events = [{"cat": "Session", "name": "session_initialization", "dur": 5}]
    for time in times:
        events += [event("a", 0, time), event("b", 1, 2, "Relu"), run(time + 3)]

    profile = read_events(events, warmup=1)

    assert profile.runs == 4
    first, second = profile.layers
    assert (first.name, first.operator, first.shape) == ("a", "Conv", (1, 8, 4, 4))
    assert first.seconds == pytest.approx(13e-6)
    assert (second.name, second.operator) == ("b", "Relu")
    assert profile.run_s == pytest.approx(16e-6)


def test_a_node_in_a_loop_counts_as_often_as_it_runs() -> None:
    events = []
    for _ in range(4):
        events += [event("a", 0, 10), event("a", 0, 10), event("a", 0, 10), run(40)]

    (layer,) = read_events(events, warmup=1).layers

    assert layer.seconds == pytest.approx(30e-6)


def test_two_nodes_of_one_name_stay_apart_and_a_nameless_one_goes_by_its_operator() -> None:
    events = [event("a", 0, 10), event("a", 1, 20), event("", 2, 30), run(60)] * 2

    layers = read_events(events, warmup=0).layers

    assert [(layer.name, round(1e6 * layer.seconds)) for layer in layers] == [
        ("a", 10),
        ("a", 20),
        ("Conv", 30),
    ]


def test_operators_are_sorted_by_time_and_their_shares_add_up() -> None:
    layers = tuple(
        Layer(name, operator, CPU, None, seconds)
        for name, operator, seconds in (("a", "Relu", 1.0), ("b", "Conv", 4.0), ("c", "Conv", 5.0))
    )

    operators = Profile(1, 11.0, layers).operators

    assert [(o.name, o.count, o.seconds, o.share) for o in operators] == [
        ("Conv", 2, 9.0, 0.9),
        ("Relu", 1, 1.0, 0.1),
    ]


def test_a_real_profile_lies_within_its_runs(tiny_onnx_path: Path) -> None:
    feed = make_feed(open_model(tiny_onnx_path, threads=1).session, "tiny.onnx")

    profile = profile_model(tiny_onnx_path, feed, threads=1, spinning=False, provider=CPU, runs=8)

    assert profile.runs == 8
    assert "Conv" in {operator.name for operator in profile.operators}
    assert 0 < profile.layers_s < 2 * profile.run_s
    assert sum(operator.share for operator in profile.operators) == pytest.approx(1)
    assert list(tiny_onnx_path.parent.iterdir()) == [tiny_onnx_path]
