"""What channel pruning costs and saves without training: answers, multiply-adds, session time.

The shipped Fashion-MNIST networks, calibrated on 500 training images and judged on the 10,000 test
images, and MobileNetV2 on noise at 224 x 224, for its time alone. Times are medians of runs that
take turns, one thread, as shares of the unpruned network's in the same run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto
from rich.console import Console
from rich.table import Table

from edgekit import api
from edgekit.compress.answers import divergence
from edgekit.compress.calibrate import Probe
from edgekit.compress.channel_importance import channel_importance, measure_moments, repair
from edgekit.compress.channels import prune_channels
from edgekit.compress.goal import calibration_inputs
from edgekit.count import count
from edgekit.data import Labelled, load_labelled
from edgekit.graph import Graph, load_graph

KEEPS = (0.9, 0.8, 0.7, 0.5)
CALIBRATION = 500
NETWORKS = ("squeezenet_fashion", "mobilenetv2_fashion", "mobilenetv2")


def main() -> None:
    """Export, prune at each share, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--runs", type=int, default=60)
    arguments = parser.parse_args()
    table = Table(title="Channel pruning, not retrained", title_justify="left", box=None)
    table.add_column("network")
    for heading in ("keep", "multiply-adds", "time", "KL, nats", "top-1"):
        table.add_column(heading, justify="right")
    for name in arguments.networks:
        for row in _rows(name, arguments.runs):
            table.add_row(*row)
    Console(highlight=False, width=90).print(table)


def _rows(name: str, runs: int) -> list[tuple[str, ...]]:
    is_trained = name.endswith("fashion")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.onnx"
        api.export(name, path, weights=None if is_trained else "none")
        graph = load_graph(path)
    spec = "fashion-mnist" if is_trained else "noise"
    inputs = calibration_inputs(graph, spec).array[:CALIBRATION]
    moments = measure_moments(graph, Probe(graph, inputs))
    scores = channel_importance(graph, moments)
    forms = {1.0: graph.model()}
    for keep in KEEPS:
        forms[keep] = repair(prune_channels(forms[1.0], keep, scores), graph, moments)
    times = _times(forms, inputs[:1], runs)
    judged = load_labelled("fashion-mnist", split="test") if is_trained else None
    rows: list[tuple[str, ...]] = []
    for keep, model in forms.items():
        changed = load_graph(model.SerializeToString())
        share = (count(changed).multiply_adds or 0) / (count(graph).multiply_adds or 1)
        quality = ("", "") if judged is None else _quality(graph, changed, judged)
        rows.append((name, f"{keep:g}", f"{share:.1%}", f"{times[keep]:.2f}", *quality))
    return rows


def _quality(graph: Graph, changed: Graph, judged: Labelled) -> tuple[str, str]:
    expected = Probe(graph, judged.inputs).outputs()
    found = Probe(changed, judged.inputs).outputs()
    right = float(np.mean(found.argmax(axis=1) == judged.labels))
    return f"{divergence(expected, found):.4f}", f"{right:.2%}"


def _times(
    forms: dict[float, ModelProto], feed: NDArray[np.float32], runs: int
) -> dict[float, float]:
    """Median time of each form over that of the first."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    sessions = {
        keep: ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        for keep, model in forms.items()
    }
    taken: dict[float, list[float]] = {keep: [] for keep in forms}
    for turn in range(runs + 5):
        for keep, session in sessions.items():
            start = time.perf_counter()
            session.run(None, {session.get_inputs()[0].name: feed})
            if turn >= 5:
                taken[keep].append(time.perf_counter() - start)
    whole = float(np.median(taken[1.0]))
    return {keep: float(np.median(found)) / whole for keep, found in taken.items()}


if __name__ == "__main__":
    main()
