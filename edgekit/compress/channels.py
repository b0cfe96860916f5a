"""Channel pruning: the least important channels leave the graph, which then runs faster.

`keep` is the share of channels that stay, counted over the outputs of all convolutions and matrix
products, without those that have to stay, such as the network's own outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from edgekit.compress.channel_groups import Group, removable_groups
from edgekit.errors import PlanError
from edgekit.graph.channels import LayerChannels, Removed, Trace, cut, follow

MULTIPLE = 8
"""Channels are left in multiples of this where a layer is wide enough: onnxruntime's kernels work
on blocks of 8 or 16 channels and pad the rest."""

_FLOOR = 0.5
"""Of `keep`: the least share of its channels that any part of the network keeps."""

InputScores = Mapping[str, NDArray[np.float64]]
"""By weight name, what the layer's outputs lose with each of its input channels, at least 0."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerCut:
    """A layer and which of its channels stay: (n,) truth values, empty where not followed.

    weight, bias: names of its tensors, "" without a bias. op, groups: of its node.
    """

    weight: str
    bias: str
    op: str
    groups: int
    inputs: NDArray[np.bool_]
    outputs: NDArray[np.bool_]

    def to_dict(self) -> dict[str, Any]:
        """Numbers of channels before and after, for JSON."""
        return {
            "weight": self.weight,
            "inputs": self.inputs.size,
            "inputs_left": int(self.inputs.sum()),
            "outputs": self.outputs.size,
            "outputs_left": int(self.outputs.sum()),
        }


@dataclass(frozen=True, slots=True, eq=False)
class ChannelPruned:
    """A model without some of its channels.

    removed: by value of the graph before. layers: every layer that was followed. removable: the
        channels that `keep` counts. fixed: why channels had to stay, by the value where it showed.
    """

    model: ModelProto
    removed: Mapping[str, Removed]
    layers: tuple[LayerCut, ...]
    removable: int
    removed_channels: int
    fixed: Mapping[str, str] = field(default_factory=dict)


def check_keep(keep: float) -> None:
    """Raise PlanError unless 0 < keep <= 1."""
    if not 0 < keep <= 1:
        raise PlanError(
            f"the share of channels to keep must be above 0 and at most 1, got {keep:g}; "
            "0.7 removes up to 30 %"
        )


def prune_channels(
    model: ModelProto,
    keep: float,
    importance: InputScores | None = None,
    *,
    multiple: int = MULTIPLE,
) -> ChannelPruned:
    """Remove the least important channels so that at least a share `keep` of them stays.

    model: with its numbers; it isn't changed. importance: what each layer loses with each of its
    input channels (edgekit.compress.channel_importance measures it); of a layer that isn't in it
    the weights alone tell. Zeroing the removed channels in `model` gives the same outputs as the
    result.

    Raises PlanError for a share outside (0, 1] and a model with no channel to remove.
    """
    check_keep(keep)
    trace = follow(model)
    scores = channel_scores(trace, weight_scores(trace) | dict(importance or {}))
    groups = removable_groups(trace, scores)
    total = sum(group.channels for group in groups)
    if not total:
        reasons = "; ".join(f"{why} keeps {name}" for name, why in trace.fixed.items())
        raise PlanError(
            "no channel of this model can be removed"
            + (f": {reasons}" if reasons else ": no layer's channels could be followed")
        )
    chosen = choose(groups, keep, multiple)
    gone = np.array([mark for group in chosen for mark in group.marks], np.int64)
    fixed = dict(trace.fixed)
    cuts = tuple(_layer_cut(trace, layer, gone) for layer in trace.layers)
    pruned, removed = cut(trace, gone)
    return ChannelPruned(
        pruned, removed, cuts, total, sum(group.channels for group in chosen), fixed
    )


def choose(groups: Sequence[Group], keep: float, multiple: int = MULTIPLE) -> list[Group]:
    """The groups that go: the lowest scores a channel, up to a share 1 - keep of all channels.

    Groups that lie in the same values go in chunks, so that a multiple of `multiple` channels
    stays there, or of less where there are few. At least half of `keep` stays of each.
    """
    bundles: dict[tuple[int, ...], list[Group]] = {}
    for group in groups:
        bundles.setdefault(group.bundle, []).append(group)
    chunks: list[tuple[float, int, list[Group]]] = []
    for bundle in bundles.values():
        chunks += _chunks(bundle, keep, multiple, len(chunks))
    budget = (1 - keep) * sum(group.channels for group in groups)
    chosen: list[Group] = []
    for _, _, chunk in sorted(chunks, key=lambda item: item[:2]):
        size = sum(group.channels for group in chunk)
        if size <= budget + 1e-9:
            budget -= size
            chosen += chunk
    return chosen


def _chunks(
    bundle: Sequence[Group], keep: float, multiple: int, start: int
) -> list[tuple[float, int, list[Group]]]:
    """A bundle's groups in the order in which they may go: (score a channel, order, groups)."""
    ordered = sorted(bundle, key=lambda group: (group.score / max(group.channels, 1), group.marks))
    count, width = len(ordered), len(ordered[0].marks)
    step = 1
    while step * 2 * width <= multiple and step * 4 <= count:
        step *= 2
    spare = count - max(1, int(np.ceil(_FLOOR * keep * count)))
    found: list[tuple[float, int, list[Group]]] = []
    place, worst = 0, 0.0
    size = count % step or step
    while place + size <= spare:
        chunk = ordered[place : place + size]
        channels = max(1, sum(group.channels for group in chunk))
        # Never below an earlier chunk: the order within a bundle holds.
        worst = max(worst, sum(group.score for group in chunk) / channels)
        found.append((worst, start + len(found), chunk))
        place, size = place + size, step
    return found


def weight_scores(trace: Trace) -> dict[str, NDArray[np.float64]]:
    """Without data: the share of each input channel in the energy of a layer's weights.

    A channel counts by the energy of the filter that makes it too, relative to the mean of its
    layer, so that one with neither weights nor bias counts nothing.
    """
    strength: dict[int, float] = {}
    for layer in trace.layers:
        if layer.is_depthwise:
            continue
        energy = _energies(trace, layer, outputs=True)
        if layer.bias:
            energy = energy + np.square(trace.constants[layer.bias].astype(np.float64)).reshape(-1)
        mean = energy.mean() or 1.0
        for root, value in zip(trace.roots(layer.outputs).tolist(), energy / mean, strict=True):
            strength[root] = max(strength.get(root, 0.0), float(value))
    scores = {}
    for layer in trace.layers:
        if layer.inputs is None or layer.is_depthwise:
            continue
        energy = _energies(trace, layer, outputs=False)
        made = np.array([strength.get(root, 1.0) for root in trace.roots(layer.inputs).tolist()])
        scores[layer.weight] = energy / (energy.sum() or 1.0) * made
    return scores


def channel_scores(trace: Trace, inputs: InputScores) -> dict[int, float]:
    """By root: what all layers that read a channel lose with it.

    A channel that is read by no layer in `inputs` counts nothing.
    """
    scores: dict[int, float] = {}
    for layer in trace.layers:
        if layer.inputs is None or layer.is_depthwise or layer.weight not in inputs:
            continue
        lost = inputs[layer.weight]
        for root, value in zip(trace.roots(layer.inputs).tolist(), lost.tolist(), strict=True):
            scores[root] = scores.get(root, 0.0) + value
    return scores


def _energies(trace: Trace, layer: LayerChannels, *, outputs: bool) -> NDArray[np.float64]:
    """Sum of squares of the weights that make, or read, each channel of a layer."""
    weight = np.square(trace.constants[layer.weight].astype(np.float64))
    axis = layer.input_axis if not outputs else 1 - layer.input_axis
    if layer.groups == 1 or outputs:
        rest = tuple(other for other in range(weight.ndim) if other != axis)
        return np.asarray(weight.sum(axis=rest))
    grouped = weight.reshape(layer.groups, -1, *weight.shape[1:])
    return np.asarray(grouped.sum(axis=(1, *range(3, grouped.ndim)))).reshape(-1)


def _layer_cut(trace: Trace, layer: LayerChannels, gone: NDArray[np.int64]) -> LayerCut:
    def stay(ids: NDArray[np.int64] | None) -> NDArray[np.bool_]:
        return np.zeros(0, np.bool_) if ids is None else ~np.isin(trace.roots(ids), gone)

    inputs, outputs = stay(layer.inputs), stay(layer.outputs)
    return LayerCut(layer.weight, layer.bias, layer.op, layer.groups, inputs, outputs)
