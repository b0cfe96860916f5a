"""Changes of the graph before its numbers are coded: channels that leave, layers that split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from edgekit.compress.calibrate import Probe
from edgekit.compress.channel_importance import channel_importance, measure_moments, repair
from edgekit.compress.channels import check_keep, prune_channels
from edgekit.compress.goal import NOISE, CalibrationInputs, calibration_inputs
from edgekit.compress.keep import Keep, kept_layers
from edgekit.compress.low_rank import check_energy, split_low_rank
from edgekit.compress.plan import is_coded
from edgekit.count import count
from edgekit.graph import Graph, load_graph


@dataclass(frozen=True, slots=True, eq=False)
class Surgery:
    """A changed graph, under the name and the digest of its source, and what was changed.

    changes: plain data for the report. recipe: what was asked for. Both are empty where nothing
    was to be changed.
    """

    graph: Graph
    changes: dict[str, Any]
    recipe: dict[str, Any]


def described(sparsity: float, channels: float, low_rank: float | None) -> str:
    """What was taken from a model, at the beginning of a sentence."""
    parts = []
    if sparsity:
        parts.append(f"{sparsity:.0%} of the weights pruned")
    if channels < 1:
        parts.append(f"{1 - channels:.0%} of the channels removed")
    if low_rank is not None:
        parts.append(f"layers split at {low_rank:.0%} of their energy")
    return "with " + " and ".join(parts)


def check_surgery(channels: float, low_rank: float | None) -> None:
    """Raise PlanError for shares outside (0, 1]."""
    check_keep(channels)
    if low_rank is not None:
        check_energy(low_rank)


def operate(
    graph: Graph,
    inputs: CalibrationInputs | None,
    *,
    channels: float = 1.0,
    low_rank: float | None = None,
    keep: Mapping[str, Keep] | None = None,
) -> Surgery:
    """Remove channels down to a share `channels`, then split layers at an energy of `low_rank`.

    inputs: that say what channels are worth, 1/f noise where there are none; the layers that read
    removed ones are corrected on them. keep: layers that aren't split, as in
    edgekit.compress.keep. Raises PlanError and DataError.
    """
    if channels == 1 and low_rank is None:
        return Surgery(graph, {}, {})
    data = (inputs or calibration_inputs(graph, NOISE)).inputs
    changes: dict[str, Any] = {"multiply_adds": count(graph).multiply_adds}
    whole = kept_layers(keep or {}, (weight.name for weight in graph.weights if is_coded(weight)))
    if channels < 1:
        moments = measure_moments(graph, Probe(graph, data))
        pruned = prune_channels(graph.model(), channels, channel_importance(graph, moments))
        repaired = repair(pruned, graph, moments)
        changes["channels"] = {
            "removable": pruned.removable,
            "removed": pruned.removed_channels,
            "fixed": dict(pruned.fixed),
            "layers": [cut.to_dict() for cut in pruned.layers],
        }
        graph = _renewed(graph, repaired.SerializeToString())
    if low_rank is not None:
        moments = measure_moments(graph, Probe(graph, data))
        split = split_low_rank(graph.model(), low_rank, moments, leave=whole)
        changes["low_rank"] = [
            {"weight": s.weight, "outputs": s.outputs, "inputs": s.inputs, "rank": s.rank}
            for s in split.splits
        ]
        graph = _renewed(graph, split.model.SerializeToString())
    changes["multiply_adds_left"] = count(graph).multiply_adds
    recipe = {"channels": channels} if channels < 1 else {}
    if low_rank is not None:
        recipe["low_rank"] = low_rank
    return Surgery(graph, changes, recipe)


def _renewed(graph: Graph, model: bytes) -> Graph:
    return replace(
        load_graph(model),
        name=graph.name,
        source_sha256=graph.source_sha256,
        source_bytes=graph.source_bytes,
    )
