"""Where a model spends its work, which channels do nothing, and which do the same."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.compress.calibrate import Probe
from edgekit.count import Count, LayerCount, count
from edgekit.data import load_labelled
from edgekit.errors import ModelFileError
from edgekit.graph import Graph, load_graph
from edgekit.graph.layers import Layer, find_layers
from edgekit.inspect.channels import ChannelStatistics, Gatherer, observed
from edgekit.inspect.timing import node_seconds
from edgekit.packfile import open_packfile
from edgekit.packfile.onnx_model import to_model_proto
from edgekit.runtime.session import is_packed, read_source

INPUTS = 200
"""Inputs of the data that are used."""
HARDLY = 0.01
"""A channel that fires at fewer places than this hardly fires."""
_CANDIDATES = 3
"""Quietest channels of each layer that are taken out by way of trial, on this many inputs:"""
_TRIAL_INPUTS = 20

_COSTLY, _LOOSE, _CROWDED = 0.15, 0.1, 0.5


@dataclass(frozen=True, slots=True)
class Removal:
    """A channel taken out: its filter and bias set to zero.

    change: root mean square of the output's change over that of the output.
    """

    channel: int
    change: float


@dataclass(frozen=True, slots=True)
class LayerCost:
    """What a convolution or fully-connected layer holds and takes.

    name: of its weight, without `.weight` behind. multiply_adds: None where a shape is open.
    *_share: of the whole model, 0..1.
    """

    name: str
    op: str
    parameters: int
    parameter_share: float
    multiply_adds: int | None
    multiply_add_share: float | None
    seconds: float
    time_share: float


@dataclass(frozen=True, slots=True, eq=False)
class LayerAnalysis:
    """A layer whose channels were looked at.

    never, hardly: channels that fire nowhere, and at fewer than one place in a hundred; None where
    no ReLU or clip follows, as every number then says something.
    mean_correlation: mean size of the correlation of two channels. effective_rank: how many
    independent channels would spread as these do.
    removals: of the quietest channels, the least change first. advice: what this suggests.
    """

    cost: LayerCost
    channels: int
    never: int | None
    hardly: int | None
    mean_correlation: float
    effective_rank: float
    removals: tuple[Removal, ...]
    advice: tuple[str, ...]
    statistics: ChannelStatistics

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; of the channels' statistics the firing, not the matrix."""
        return {
            **asdict(self.cost),
            "channels": self.channels,
            "never": self.never,
            "hardly": self.hardly,
            "mean_correlation": self.mean_correlation,
            "effective_rank": self.effective_rank,
            "removals": [[removal.channel, removal.change] for removal in self.removals],
            "advice": list(self.advice),
            "firing": self.statistics.firing.tolist(),
        }


@dataclass(frozen=True, slots=True, eq=False)
class AnalysisReport:
    """All layers in graph order. seconds: of one batch through all nodes, on one thread.

    batch: of one input, or of as many as the model insists on. others: the layers whose
    channels weren't looked at.
    """

    path: str
    data: str
    inputs: int
    batch: int
    seconds: float
    layers: tuple[LayerAnalysis, ...]
    others: tuple[LayerCost, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "path": self.path,
            "data": self.data,
            "inputs": self.inputs,
            "batch": self.batch,
            "seconds": self.seconds,
            "layers": [layer.to_dict() for layer in self.layers],
            "others": [asdict(layer) for layer in self.others],
        }


def analyze(path: str | os.PathLike[str], data: str) -> AnalysisReport:
    """Analyse each layer of a packed or ONNX model with one image input.

    data: fashion-mnist, a folder with its files, or an .npz file; its first 200 inputs are used.

    Of layers that are transposed, quantized or share their weight the costs alone are told; those
    inside a branch or loop aren't listed. Raises InputError, FormatError
    and ModelFileError for the model, DataError for data that don't fit it.
    """
    graph = _graph(path)
    loaded = load_labelled(data)
    inputs = loaded.inputs[:INPUTS]
    layers = find_layers(graph)
    probe = Probe(graph, inputs, threads=1)
    batch = _fixed_batch(graph, probe.input_name)
    counted = count(graph, {probe.input_name: (batch, *inputs.shape[1:])})
    if not counted.layers:
        raise ModelFileError(
            f"{os.fspath(path)} has no convolution or fully-connected layer to analyse"
        )
    one = {probe.input_name: inputs[:batch]}
    seconds, total = node_seconds(
        graph.model().SerializeToString(), one, {entry.name for entry in counted.layers}
    )
    costs = [_cost(entry, counted, seconds.get(entry.name, 0.0), total) for entry in counted.layers]
    followed = {layer.weight for layer in layers}
    return AnalysisReport(
        path=os.fspath(path),
        data=loaded.source,
        inputs=len(probe.inputs),
        batch=batch,
        seconds=total,
        layers=_analysed(graph, probe, layers, dict(zip(_weights(counted), costs, strict=True))),
        others=tuple(
            cost
            for weight, cost in zip(_weights(counted), costs, strict=True)
            if weight not in followed
        ),
    )


def _weights(counted: Count) -> list[str]:
    return [entry.weight for entry in counted.layers]


def _cost(entry: LayerCount, counted: Count, seconds: float, total: float) -> LayerCost:
    share = None
    if entry.multiply_adds is not None and counted.multiply_adds:
        share = entry.multiply_adds / counted.multiply_adds
    parameters = entry.weights + entry.biases
    return LayerCost(
        name=entry.weight.removesuffix(".weight"),
        op=entry.op,
        parameters=parameters,
        parameter_share=parameters / counted.parameters,
        multiply_adds=entry.multiply_adds,
        multiply_add_share=share,
        seconds=seconds,
        time_share=seconds / total if total else 0.0,
    )


def _analysed(
    graph: Graph, probe: Probe, layers: Sequence[Layer], costs: Mapping[str, LayerCost]
) -> tuple[LayerAnalysis, ...]:
    if not layers:
        return ()
    places = observed(graph.empty_model().graph, layers)
    statistics = _statistics(probe, layers, places)
    removals = _removals(graph, probe, layers, statistics)
    found = []
    for layer in layers:
        cost, of_layer = costs[layer.weight], statistics[layer.weight]
        rectified = places[layer.weight][1]
        hardly = int((of_layer.firing < HARDLY).sum()) if rectified else None
        found.append(
            LayerAnalysis(
                cost=cost,
                channels=len(of_layer.firing),
                never=int((of_layer.firing == 0).sum()) if rectified else None,
                hardly=hardly,
                mean_correlation=of_layer.mean_correlation,
                effective_rank=of_layer.effective_rank,
                removals=removals[layer.weight],
                advice=advise(
                    of_layer,
                    share=cost.multiply_add_share,
                    hardly=hardly,
                    groupable=_kernel(graph, layer) > 1 and layer.mixes_channels,
                ),
                statistics=of_layer,
            )
        )
    return tuple(found)


def advise(
    statistics: ChannelStatistics, *, share: float | None, hardly: int | None, groupable: bool
) -> tuple[str, ...]:
    """What the numbers of a layer suggest: prune, group, narrow, or split by depth.

    share: of the multiply-adds. groupable: a KxK convolution in one group.
    """
    channels = len(statistics.firing)
    moving = statistics.effective_rank > 0 and channels > 1
    said = []
    if hardly:
        said.append(f"prune: {hardly} of {channels} channels hardly fire")
    if moving and statistics.effective_rank < _CROWDED * channels:
        rank = statistics.effective_rank
        said.append(f"bottleneck: {channels} channels spread like {rank:.0f} independent ones")
    if moving and groupable and share is not None and share > _COSTLY:
        if statistics.mean_correlation < _LOOSE:
            said.append(
                f"group: it is {share:.0%} of the multiply-adds, and its channels go their own ways"
            )
        else:
            said.append(
                f"separate: it is {share:.0%} of the multiply-adds; depthwise and pointwise "
                "layers in its place cost 1/N + 1/K^2 of it"
            )
    return tuple(said)


def _graph(path: str | os.PathLike[str]) -> Graph:
    data = read_source(path)
    if is_packed(data):
        return load_graph(to_model_proto(open_packfile(data).model()).SerializeToString())
    return load_graph(path)


def _fixed_batch(graph: Graph, name: str) -> int:
    """The batch that the model insists on, or 1."""
    (value,) = (entry for entry in graph.empty_model().graph.input if entry.name == name)
    sizes = value.type.tensor_type.shape.dim
    return max(1, sizes[0].dim_value) if sizes else 1


def _kernel(graph: Graph, layer: Layer) -> int:
    """Places that one filter covers: 9 for 3x3, 1 for pointwise and fully-connected layers."""
    shape = next(weight.shape for weight in graph.weights if weight.name == layer.weight)
    return int(np.prod(shape[2:])) if layer.op == "Conv" else 1


def _statistics(
    probe: Probe, layers: Sequence[Layer], places: dict[str, tuple[str, bool]]
) -> dict[str, ChannelStatistics]:
    gatherers = {layer.weight: Gatherer(axis=1 if layer.op == "Conv" else -1) for layer in layers}
    for values in probe.values([places[layer.weight][0] for layer in layers]):
        for weight, gatherer in gatherers.items():
            gatherer.add(values[places[weight][0]])
    return {weight: gatherer.statistics() for weight, gatherer in gatherers.items()}


def _removals(
    graph: Graph,
    probe: Probe,
    layers: Sequence[Layer],
    statistics: dict[str, ChannelStatistics],
) -> dict[str, tuple[Removal, ...]]:
    """Each layer's quietest channels, taken out one by one: a bound from below on what is spare."""
    weights = {weight.name: weight.values for weight in graph.weights}
    batch = _fixed_batch(graph, probe.input_name)
    some = probe.inputs[: -(-_TRIAL_INPUTS // batch) * batch]
    whole = probe.outputs(inputs=some)
    scale = float(np.sqrt(np.mean(np.square(whole)))) or 1.0
    found = {}
    for layer in layers:
        energy = statistics[layer.weight].energy
        trials = []
        for channel in np.argsort(energy, kind="stable")[:_CANDIDATES].tolist():
            changed = probe.outputs(_without(layer, weights, channel), some)
            change = float(np.sqrt(np.mean(np.square(changed - whole)))) / scale
            trials.append(Removal(channel, change))
        found[layer.weight] = tuple(sorted(trials, key=lambda trial: trial.change))
    return found


def _without(
    layer: Layer, weights: dict[str, NDArray[Any]], channel: int
) -> dict[str, NDArray[Any]]:
    """The layer's weight and bias with one output channel at zero."""
    weight = weights[layer.weight].copy()
    weight[(..., channel) if layer.inputs_first else channel] = 0
    changed = {layer.weight: weight}
    if layer.bias is not None:
        bias = weights[layer.bias].copy()
        bias.reshape(-1)[channel] = 0
        changed[layer.bias] = bias
    return changed
