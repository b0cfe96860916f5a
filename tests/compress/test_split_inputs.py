"""What stands beside few inputs, and where a walk begins with how many of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.compress import calibrated, split_inputs
from edgekit.compress.calibrate import Probe
from edgekit.compress.calibrated import Calibration
from edgekit.compress.layer_statistics import LayerStatistics, layer_statistics
from edgekit.compress.noise import natural_noise
from edgekit.compress.rounding import Calibrated, in_turn
from edgekit.compress.split_inputs import SplitInputs
from edgekit.compress.views import Views
from edgekit.graph import Graph
from edgekit.graph.layers import find_layers


@pytest.mark.parametrize(
    ("count", "is_noise", "views"),
    [(40, False, 4), (40, True, 0), (150, False, 2), (300, False, 0), (400, False, 0)],
)
def test_few_pictures_have_views_in_the_hessians(
    graph: Graph, count: int, *, is_noise: bool, views: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = natural_noise(count, (1, 12, 12), np.random.default_rng(0))
    seen: list[Views] = []

    def watched(*given: Any) -> dict[str, LayerStatistics]:
        if isinstance(given[-1], Views):
            seen.append(given[-1])
        return layer_statistics(*given)

    monkeypatch.setattr(split_inputs, "layer_statistics", watched)
    calibration = Calibration(graph, pictures, is_noise=is_noise)

    # Of those that are held back and of the others, so that the former judge unseen.
    assert sorted(map(len, seen)) == [count // 5] * views + [count - count // 5] * views
    found = calibration._measured_on_all.statistics["gemm.weight"]
    assert found.inputs == (count - count // 5 if count == 400 else count)
    assert found.samples == found.inputs * (1 + views)


def test_layers_behind_which_too_much_is_held_are_rounded_alone(
    graph: Graph, inputs: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    def firsts(held_bytes: int) -> int:
        monkeypatch.setattr(split_inputs, "_HELD_BYTES", held_bytes)
        seen = []

        def walk(*rest: Any) -> Calibrated:
            seen.append(rest[-1][0].first)
            return in_turn(*rest)

        monkeypatch.setattr(calibrated, "in_turn", walk)
        Calibration(graph, inputs).codes_at(0.01)
        return int(seen[0])

    layers = find_layers(graph)
    shapes = {weight.name: weight.shape for weight in graph.weights}
    rng = np.random.default_rng(0)
    elements = [
        layer_statistics(Probe(graph, inputs), layers, shapes, rng)[layer.weight].elements
        for layer in layers
    ]

    held = 4 * len(inputs) * max(elements)
    assert firsts(held) == 0
    assert firsts(held - 4) == len(elements) - elements[::-1].index(max(elements))
    assert firsts(0) == len(layers)


@pytest.mark.parametrize("count", [300, 319, 1300])
def test_both_walks_begin_at_one_layer_with_as_many_inputs_as_go(
    graph: Graph, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = natural_noise(count, (1, 12, 12), np.random.default_rng(0))
    seen = []

    def walk(*rest: Any) -> Calibrated:
        [walkers] = rest[3]
        seen.append((len(walkers.inputs), walkers.first))
        return in_turn(*rest)

    monkeypatch.setattr(calibrated, "in_turn", walk)
    Calibration(graph, many).at_factor(0.01)

    held_back = -(-count // 5)
    assert seen == ([(256, 0), (count - held_back, 0)] if count < 320 else [(256, 0)])


def test_views_join_where_they_can_be_held(
    graph: Graph, inputs: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = find_layers(graph)
    shapes = {weight.name: weight.shape for weight in graph.weights}
    statistics = layer_statistics(
        Probe(graph, inputs), layers, shapes, np.random.default_rng(0), inputs
    )
    sizes = [4 * statistics[layer.weight].elements for layer in layers]
    calibration = Calibration(graph, inputs)

    def joining() -> list[tuple[type, int, int]]:
        walkers = SplitInputs(inputs).walkers(inputs, sizes, 10)
        return [(type(one.inputs), len(one.inputs), one.first) for one in walkers]

    assert joining() == [(np.ndarray, 40, 0), *[(Views, 40, 0)] * 4]
    # All pictures can be held from the start on, one view of each beside them at the end.
    monkeypatch.setattr(split_inputs, "_HELD_BYTES", 40 * max(*sizes, 2 * sizes[-1]))
    firsts = [first for _, _, first in joining()]
    assert firsts[0] == 0
    assert sorted(firsts) == firsts
    for count, first in enumerate(firsts, 1):
        room = split_inputs._HELD_BYTES // (40 * count)
        assert all(size <= room for size in sizes[first:])
        assert first == 0 or sizes[first - 1] > room
    assert 0 < firsts[1] <= len(layers)
    found = calibration.codes_at(0.01)
    assert calibration._is_walkable
    assert calibration.judged(found).divergence < 0.01
