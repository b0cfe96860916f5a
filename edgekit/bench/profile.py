"""Where the time of a run goes, by onnxruntime's own profiler."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekit.bench.feed import Feed
from edgekit.bench.findings import Layer, Profile
from edgekit.bench.opening import open_model, run_once

RUNS = 40
_WARMUP = 5
_US = 1e-6


def profile_model(
    path: Path,
    feed: Feed,
    *,
    threads: int,
    spinning: bool,
    provider: str,
    run_as: str | None = None,
    runs: int = RUNS,
) -> Profile:
    """Profile a model in a session of its own, so that timed runs don't pay for it.

    Raises what `open_model` and `run_once` raise.
    """
    with tempfile.TemporaryDirectory() as folder:
        prefix = str(Path(folder) / "profile")
        opened = open_model(
            path,
            threads=threads,
            spinning=spinning,
            provider=provider,
            profile=prefix,
            run_as=run_as,
        )
        for _ in range(_WARMUP + runs):
            run_once(opened.session, feed, path.name)
        events = json.loads(Path(opened.session.end_profiling()).read_text(encoding="utf-8"))
    return read_events(events, warmup=_WARMUP)


def read_events(events: Sequence[Mapping[str, Any]], *, warmup: int) -> Profile:
    """The profile in onnxruntime's list of events, without its first runs."""
    whole = [event["dur"] for event in events if event["name"] == "model_run"]
    runs = len(whole) - warmup
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    first: dict[tuple[str, str], Mapping[str, Any]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            # Two nodes may have one name, or none.
            key = (event["name"], event["args"].get("node_index", ""))
            times[key].append(event["dur"])
            first.setdefault(key, event["args"])
    layers = []
    for key, found in times.items():
        # A node in a loop runs several times a run, in every run as often.
        calls = max(1, len(found) // len(whole))
        args = first[key]
        operator = args.get("op_name", "")
        layers.append(
            Layer(
                key[0].removesuffix("_kernel_time") or operator,
                operator,
                args.get("provider", ""),
                _shape(args),
                calls * _middle_mean(found[warmup * calls :]) * _US,
            )
        )
    return Profile(runs, statistics.median(whole[warmup:]) * _US, tuple(layers))


def _shape(args: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Of the first output, from [{"float": [1, 10]}]."""
    for described in args.get("output_type_shape", []):
        for sizes in described.values():
            return tuple(sizes)
    return None


def _middle_mean(values: Sequence[float]) -> float:
    """Mean of the middle half: as steady as a median, and finer than the profiler's clock."""
    quarter = len(values) // 4
    return statistics.fmean(sorted(values)[quarter : len(values) - quarter])
