"""How long onnxruntime spends in each node, from its own profile."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import onnxruntime as ort
from numpy.typing import NDArray

from edgekit.errors import DataError, ModelFileError

RUNS = 9
"""Runs of which the median counts; two more before them warm up."""
_WARMUP = 2


def node_seconds(
    model: bytes, feed: Mapping[str, NDArray[Any]], names: Collection[str]
) -> tuple[dict[str, float], float]:
    """Median seconds of each named node, and of all nodes together, on one thread.

    Nodes that onnxruntime fuses go by the name of the one that they contain. Layouts stay as they
    are in the file: a blocked layout would take the names away.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        try:
            session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            # onnxruntime's exceptions have no common base of their own.
            raise ModelFileError(f"onnxruntime can't run this model: {error}") from error
        try:
            for _ in range(_WARMUP + RUNS):
                session.run(None, dict(feed))
        except Exception as error:
            # The same.
            raise DataError(f"the model refuses these inputs: {error}") from error
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    times: dict[str, list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            times[event["name"].removesuffix("_kernel_time")].append(event["dur"] / 1e6)
    medians = {name: statistics.median(found[_WARMUP:]) for name, found in times.items()}
    seconds: dict[str, float] = defaultdict(float)
    for name, median in medians.items():
        if owner := _owner(name, names):
            seconds[owner] += median
    return dict(seconds), sum(medians.values())


def _owner(name: str, names: Collection[str]) -> str | None:
    """The node that a fused one contains; of several candidates the longest name."""
    if name in names:
        return name
    return max((known for known in names if known in name), key=len, default=None)
