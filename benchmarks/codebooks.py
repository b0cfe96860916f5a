"""What each part of a calibrated codebook buys: the shipped Fashion-MNIST networks, step by step.

Codebooks of the plain weights and of channels scaled alike, found by plain k-means and by k-means
that counts each weight by the inputs it meets, and for each layer that of the two forms which pays;
then the biases corrected, then errors fed back, too. Calibrated on 1,024 training images without
labels, each layer as the original model feeds it; judged by the 10,000 test images.

With --alone: each layer by itself with a codebook of its plain weights, before and after its bias
is corrected.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from edgekit.compress.answers import divergence
from edgekit.compress.calibrate import Probe
from edgekit.compress.goal import calibration_inputs
from edgekit.compress.layer_statistics import layer_statistics
from edgekit.compress.levels import Levels
from edgekit.compress.pipeline import apply_plan
from edgekit.compress.plan import make_plan
from edgekit.compress.rounding import Calibrated, Measured, on_levels
from edgekit.compress.shared import Filters, candidates, choose, input_importance
from edgekit.data import FASHION_MNIST, load_labelled
from edgekit.graph import Graph, load_graph
from edgekit.graph.layers import find_layers
from edgekit.packfile.writer import pack

DAMPING = 0.1
FORMS = {"plain weights": 0, "scaled channels": -1, "chosen": None}
"""Which of `candidates` a row takes in every layer; None for what `choose` takes."""


def main() -> None:
    """Compress both networks in every way, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="+", help="exported ONNX files")
    parser.add_argument("--bits", type=int, nargs="+", default=[5, 4])
    parser.add_argument("--alone", action="store_true", help="one layer at a time")
    arguments = parser.parse_args()
    if arguments.alone:
        for path in arguments.models:
            _alone(path, arguments.bits[0])
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("network", "bits", "codebook", "k-means"):
        table.add_column(heading)
    for heading in ("bytes", "as it is", "+ biases", "+ feedback"):
        table.add_column(heading, justify="right")
    for path in arguments.models:
        _measure(path, arguments.bits, table)
    Console(width=120).print(table)


def _measure(path: Path, widths: list[int], table: Table) -> None:
    graph = load_graph(path)
    model = _measured(graph)
    without = _without_hessians(model)
    data = load_labelled(FASHION_MNIST)
    expected = model.probe.outputs(inputs=data.inputs)

    def judged(found: Calibrated) -> str:
        outputs = model.probe.outputs(model.restored(found), data.inputs)
        right = 100 * np.mean(outputs.argmax(axis=1) == data.labels)
        return f"{divergence(expected, outputs):.4f} {right:.2f} %"

    for bits in widths:
        for form in FORMS:
            for kind in ("plain", "weighted"):
                levels = _levels(model, bits, form, is_weighted=kind == "weighted")
                nearest = on_levels(without, levels, DAMPING)
                size = len(pack(apply_plan(graph, make_plan(graph.weights), nearest)[0]))
                table.add_row(
                    path.stem,
                    str(bits),
                    form,
                    kind,
                    f"{size:,}",
                    judged(replace(nearest, biases={})),
                    judged(nearest),
                    judged(on_levels(model, levels, DAMPING)),
                )
                sys.stderr.write(".")
                sys.stderr.flush()


def _alone(path: Path, bits: int) -> None:
    """Print what each layer costs in nats, the others left as they are."""
    model = _measured(load_graph(path))
    levels = _levels(model, bits, "plain weights", is_weighted=False)
    found = on_levels(_without_hessians(model), levels, DAMPING)
    restored = model.restored(found)
    inputs = load_labelled(FASHION_MNIST).inputs
    expected = model.probe.outputs(inputs=inputs)
    for layer in model.layers:
        if layer.bias is None:
            continue
        costs = [
            divergence(
                expected, model.probe.outputs({name: restored[name] for name in names}, inputs)
            )
            for names in ([layer.weight], [layer.weight, layer.bias])
        ]
        sys.stdout.write(f"{layer.weight} {costs[0]:.5f} {costs[1]:.5f}\n")


def _without_hessians(model: Measured) -> Measured:
    """A model whose layers take their nearest codes: nothing tells them how to feed errors back."""
    statistics = {name: replace(found, hessian=None) for name, found in model.statistics.items()}
    return replace(model, statistics=statistics)


def _measured(graph: Graph) -> Measured:
    inputs: NDArray[np.float32] = calibration_inputs(graph, FASHION_MNIST).array
    probe, layers = Probe(graph, inputs), find_layers(graph)
    weights = {weight.name: weight for weight in graph.weights}
    shapes = {name: weight.shape for name, weight in weights.items()}
    statistics = layer_statistics(probe, layers, shapes, np.random.default_rng(0))
    return Measured(probe, layers, weights, statistics, {}, {})


def _levels(model: Measured, bits: int, form: str, *, is_weighted: bool) -> Mapping[str, Levels]:
    made = {}
    for layer in model.layers:
        filters = model.weights[layer.weight].filters()
        hessian = model.statistics[layer.weight].hessian if is_weighted else None
        importance = input_importance(hessian, len(filters))
        made[layer.weight] = candidates(Filters(filters, importance=importance), bits)
    which = FORMS[form]
    if which is None:
        return {name: shared.levels for name, shared in choose(made).items()}
    return {name: forms[which].levels for name, forms in made.items()}


if __name__ == "__main__":
    main()
