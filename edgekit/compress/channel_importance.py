"""What channels are worth, measured on inputs: what the layers that read them would lose.

A layer answers W x + b for patches x of its input. Without channel c it answers best when its
other weights take over what the other channels know of c: the least squared error of that is
W_c (S^-1)_cc^-1 W_c^T with S the covariance of x (Hassibi and Stork 1993, "Optimal brain
surgeon", equation 5, for a block of weights). Channels leave one after the other, the cheapest
first, so that of two that say the same one is free and the other dear.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, numpy_helper

from edgekit.compress.calibrate import Probe
from edgekit.compress.channels import ChannelPruned
from edgekit.compress.layer_statistics import patches
from edgekit.graph import Graph
from edgekit.graph.layers import Layer, find_layers
from edgekit.graph.walk import all_nodes

_RIDGE = 1e-3
"""Of the mean variance, added to the diagonal: patches are few and channels many."""
_LARGEST = 2304
"""Inputs of a filter whose covariance is inverted; above, channels are taken one by one."""
_MOST_WORK = 2e11
"""The sum of cubes of equations that pruned filters are solved by: some 20 seconds of one core."""
_STILL = 1e-6
_SEED = 0

Wide = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Of a layer's input patches: mean (n,), and covariance (n, n) with a ridge on its diagonal.

    still: (n,) True for inputs that are always the same, whose covariance is the ridge alone.
    """

    mean: Wide
    covariance: Wide
    still: NDArray[np.bool_]


def measure_moments(graph: Graph, probe: Probe) -> dict[str, Moments]:
    """Moments of every layer that mixes all its input channels, by weight name."""
    layers = [layer for layer in find_layers(graph) if layer.mixes_channels]
    shapes = {weight.name: weight.shape for weight in graph.weights}
    rng = np.random.default_rng(_SEED)
    sums: dict[str, tuple[int, Wide, Wide]] = {}
    for values in probe.values([layer.source for layer in layers]):
        for layer in layers:
            source = np.asarray(values[layer.source], np.float32)
            rows = patches(layer, source, shapes[layer.weight], rng)
            if rows is not None:
                sums[layer.weight] = _added(sums.get(layer.weight), rows)
    return {name: _moments(*found) for name, found in sums.items()}


def _added(
    before: tuple[int, Wide, Wide] | None, rows: NDArray[np.float32]
) -> tuple[int, Wide, Wide]:
    count, total, product = before or (0, np.zeros(1), np.zeros(1))
    return (
        count + len(rows),
        total + rows.sum(axis=0, dtype=np.float64),
        product + np.asarray(rows.T @ rows, np.float64),
    )


def _moments(count: int, total: Wide, product: Wide) -> Moments:
    mean = total / count
    covariance = product / count - np.outer(mean, mean)
    spread = np.diag(covariance).clip(0)
    # Below this the difference of two sums is rounding, not movement.
    still = spread <= _STILL * np.diag(product) / count
    covariance[still] = 0
    covariance[:, still] = 0
    spread = np.where(still, 0, spread)
    covariance[np.diag_indices_from(covariance)] = spread + _RIDGE * max(spread.mean(), 1e-12)
    return Moments(mean, covariance, still)


def channel_importance(graph: Graph, moments: Mapping[str, Moments]) -> dict[str, Wide]:
    """By weight name, the share of a layer's output variance that goes with each input channel."""
    weights = {weight.name: weight.float32() for weight in graph.weights if weight.name in moments}
    scores = {}
    for layer in find_layers(graph):
        found = moments.get(layer.weight)
        if found is not None:
            filters = layer.filters(weights[layer.weight]).astype(np.float64)
            whole = float(np.sum((filters @ found.covariance) * filters)) or 1.0
            channels = _channels(layer, weights[layer.weight].shape)
            costs = elimination_costs(filters, found.covariance, channels)
            costs[found.still.reshape(channels, -1).all(axis=1)] = 0
            scores[layer.weight] = costs / whole
    return scores


def _channels(layer: Layer, shape: Sequence[int]) -> int:
    return shape[0] if layer.inputs_first else shape[1]


def elimination_costs(filters: Wide, covariance: Wide, channels: int) -> Wide:
    """What each channel costs when it leaves, in the order in which the cheapest leaves first.

    filters: (outputs, channels * k). covariance: of the same inputs. Returns (channels,) squared
    errors of all outputs, each after the ones before are gone and made up for.
    """
    width = filters.shape[1] // channels
    if filters.shape[1] > _LARGEST:
        blocks = filters.reshape(len(filters), channels, width)
        own = covariance.reshape(channels, width, channels, width)[
            np.arange(channels), :, np.arange(channels)
        ]
        return np.asarray(np.einsum("oci,cij,ocj->c", blocks, own, blocks))
    inverse = np.asarray(np.linalg.inv(covariance), np.float64)
    left: Wide = filters.copy()
    costs = np.zeros(channels)
    alive = np.ones(channels, np.bool_)
    for _ in range(channels):
        single = _single_costs(left, inverse, channels, alive)
        best = int(np.argmin(single))
        costs[best] = max(single[best], 0.0)
        alive[best] = False
        place = slice(best * width, (best + 1) * width)
        solved = np.linalg.solve(inverse[place, place], inverse[place])
        left -= left[:, place] @ solved
        inverse -= inverse[:, place] @ solved
        # A channel that is gone is known to be zero.
        inverse[place, place] += np.eye(width)
    return costs


def _single_costs(filters: Wide, inverse: Wide, channels: int, alive: NDArray[np.bool_]) -> Wide:
    """The cost of taking out one channel, for each; infinite for those that are out."""
    width = filters.shape[1] // channels
    if width == 1:
        costs = np.einsum("oc,oc->c", filters, filters) / np.diag(inverse)
        return np.asarray(np.where(alive, costs, np.inf))
    index = np.arange(channels)
    blocks = filters.reshape(len(filters), channels, width).transpose(1, 2, 0)
    own = inverse.reshape(channels, width, channels, width)[index, :, index]
    costs = np.sum(blocks * np.linalg.solve(own, blocks), axis=(1, 2))
    return np.asarray(np.where(alive, costs, np.inf))


def repair(pruned: ChannelPruned, graph: Graph, moments: Mapping[str, Moments]) -> ModelProto:
    """The pruned model with weights and biases that make up for the channels removed.

    graph, moments: of the model before. Each layer's remaining inputs foretell the removed ones by
    least squares, and the layer's weights and bias take that over; weights that are zero stay so.
    A layer without a bias of its own gets none.
    """
    layers = {layer.weight: layer for layer in find_layers(graph)}
    weights = {weight.name: weight for weight in graph.weights}
    result = ModelProto()
    result.CopyFrom(pruned.model)
    numbers = {tensor.name: tensor for tensor in result.graph.initializer}
    biases = _own_biases(result)
    for cut in pruned.layers:
        found = moments.get(cut.weight)
        if found is None or cut.inputs.all():
            continue
        layer = layers[cut.weight]
        filters = layer.filters(weights[cut.weight].float32()).astype(np.float64)[cut.outputs]
        filters, shift = made_up(filters, found, cut.inputs)
        stored = filters.T if layer.inputs_first else filters
        _set(numbers[cut.weight], stored.reshape(tuple(numbers[cut.weight].dims)))
        bias = numbers.get(biases.get(cut.weight) or layer.bias or "")
        if bias is not None and not layer.is_scaled:
            _set(bias, numpy_helper.to_array(bias) + shift)
    return result


def _own_biases(model: ModelProto) -> dict[str, str]:
    """By weight, the bias that its node adds and no other does."""
    uses: dict[str, int] = {}
    for node in all_nodes(model.graph):
        for name in node.input:
            uses[name] = uses.get(name, 0) + 1
    return {
        node.input[1]: node.input[2]
        for node in model.graph.node
        if len(node.input) > 2 and uses[node.input[2]] == 1
    }


def _set(tensor: TensorProto, values: NDArray[np.generic]) -> None:
    dtype = numpy_helper.to_array(tensor).dtype
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values, dtype), tensor.name))


def made_up(filters: Wide, moments: Moments, kept: NDArray[np.bool_]) -> tuple[Wide, Wide]:
    """Filters on the channels kept, (outputs, kept * k), and what their biases gain, (outputs,).

    Weights that are zero stay zero: somebody pruned them, and each filter makes up with the others.
    """
    stay = np.repeat(kept, filters.shape[1] // kept.size)
    covariance = moments.covariance[np.ix_(stay, stay)]
    cross = moments.covariance[np.ix_(stay, ~stay)]
    foretold = np.linalg.solve(covariance, cross).T
    before, lost = filters[:, stay], filters[:, ~stay]
    after = before + lost @ foretold
    shift = lost @ (moments.mean[~stay] - foretold @ moments.mean[stay])
    pruned = np.any(before == 0, axis=1) & np.any(lost, axis=1)
    if pruned.any():
        after[pruned] = _on_nonzero(
            before[pruned], after[pruned], covariance, lost[pruned] @ cross.T
        )
        gone = (before - after)[pruned]
        shift[pruned] = lost[pruned] @ moments.mean[~stay] + gone @ moments.mean[stay]
    return after, np.asarray(shift)


def _on_nonzero(before: Wide, free: Wide, covariance: Wide, wanted: Wide) -> Wide:
    """Filters that make up with the weights that weren't zero.

    before: (n, inputs) what they were. free: made up with all their inputs. covariance: of these
    inputs. wanted: (n, inputs), their covariance with what is lost. Each filter has equations of
    its own; where that is too much to solve, `free` is cut to the same weights, which errs more.
    """
    nonzero = before != 0
    if float(np.sum(np.count_nonzero(nonzero, axis=1).astype(np.float64) ** 3)) > _MOST_WORK:
        return np.where(nonzero, free, 0.0)
    after = before.copy()
    for filter_, places, goal in zip(after, nonzero, wanted, strict=True):
        filter_[places] += np.linalg.solve(covariance[np.ix_(places, places)], goal[places])
    return after
