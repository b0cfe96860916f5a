"""What layers see in a walk: the same as in the whole model, whenever inputs join."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgekit.compress.calibrate import Probe
from edgekit.compress.layers_in_turn import Walkers, layers_in_turn
from edgekit.compress.views import Views
from edgekit.graph import Graph
from edgekit.graph.layers import find_layers


def test_stages_see_what_the_whole_model_sees(graph: Graph, inputs: NDArray[np.float32]) -> None:
    probe, layers = Probe(graph, inputs), find_layers(graph)
    rounded = {
        weight.name: np.float32(0.5) * weight.float32()
        for weight in graph.weights
        if weight.name == "conv.weight"
    }

    seen = list(layers_in_turn(probe, layers, [Walkers(inputs)], rounded))

    assert [one.layer for one in seen] == list(layers)
    names = [layer.source for layer in layers]
    for weights, side in (({}, "original"), (rounded, "rounded")):
        batches = list(probe.values(names, weights))
        for one in seen:
            for found, whole in zip(getattr(one, side), batches, strict=True):
                np.testing.assert_allclose(found, whole[one.layer.source], rtol=1e-4, atol=1e-5)


def test_those_who_join_see_what_the_whole_model_sees(
    graph: Graph, inputs: NDArray[np.float32]
) -> None:
    probe, layers = Probe(graph, inputs), find_layers(graph)
    rounded = {
        weight.name: np.float32(0.5) * weight.float32()
        for weight in graph.weights
        if weight.name == "conv.weight"
    }

    walkers = [Walkers(inputs, 1), Walkers(Views(inputs, 0), 3)]
    seen = list(layers_in_turn(probe, layers, walkers, rounded))

    assert [one.layer for one in seen] == list(layers[1:])
    assert [sum(map(len, one.original)) for one in seen] == [40, 40, 80]
    last = layers[3].source
    for weights, side in (({}, "original"), (rounded, "rounded")):
        found = np.concatenate(getattr(seen[-1], side))
        everything = np.concatenate([inputs, Views(inputs, 0)[:]])
        whole = [batch[last] for batch in probe.values([last], weights, everything)]
        np.testing.assert_allclose(found, np.concatenate(whole), rtol=1e-4, atol=1e-5)
