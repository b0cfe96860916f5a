"""What a benchmark may find beside latency, as plain data: profile, endurance, accuracy."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Layer:
    """A node of the graph as onnxruntime runs it, after its own fusions.

    shape: of the first output; None where the profiler doesn't tell. seconds: of one run, the mean
    of the middle half of the profiled runs, because the profiler counts in whole microseconds.
    """

    name: str
    operator: str
    provider: str
    shape: tuple[int, ...] | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Operator:
    """All nodes of one operator type. share: of the time of all nodes, 0 to 1."""

    name: str
    count: int
    seconds: float
    share: float


@dataclass(frozen=True, slots=True)
class Profile:
    """Where the time of a run goes, by onnxruntime's profiler, in runs apart from the timed ones.

    layers: in the order in which they run. run_s: median of a whole profiled run; longer than the
    layers together by what onnxruntime and its profiler do between them.
    """

    runs: int
    run_s: float
    layers: tuple[Layer, ...]

    @property
    def layers_s(self) -> float:
        """All nodes together."""
        return sum(layer.seconds for layer in self.layers)

    def share(self, layer: Layer) -> float:
        """A layer's part of the time of all nodes, 0 to 1."""
        return layer.seconds / self.layers_s if self.layers_s > 0 else 0.0

    @property
    def operators(self) -> tuple[Operator, ...]:
        """Time by operator type, the costliest first; equal ones by name."""
        groups: dict[str, list[float]] = defaultdict(list)
        for layer in self.layers:
            groups[layer.operator].append(layer.seconds)
        total = self.layers_s
        found = [
            Operator(name, len(times), sum(times), sum(times) / total if total > 0 else 0.0)
            for name, times in groups.items()
        ]
        return tuple(sorted(found, key=lambda operator: (-operator.seconds, operator.name)))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with the shares and the operator types that follow."""
        return {
            "runs": self.runs,
            "run_s": self.run_s,
            "layers_s": self.layers_s,
            "operators": [asdict(operator) for operator in self.operators],
            "layers": [{**asdict(layer), "share": self.share(layer)} for layer in self.layers],
        }


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of runs without a pause, and the machine at its end.

    end_s: seconds since the first run began. celsius: of the hottest thermal zone. clock_hz: mean
    of the cores' clocks. throttled: whether a Raspberry Pi limited itself. None where the system
    doesn't tell.
    """

    end_s: float
    runs: int
    p50_s: float
    p95_s: float
    celsius: float | None
    clock_hz: float | None
    throttled: bool | None


@dataclass(frozen=True, slots=True)
class Endurance:
    """Latency under load for minutes. windows: in order of time, at least one."""

    asked_s: float
    windows: tuple[Window, ...]

    @property
    def runs(self) -> int:
        """Runs of all windows."""
        return sum(window.runs for window in self.windows)

    @property
    def slowdown(self) -> float:
        """How much slower the last tenth of the windows was than the first, as a share.

        By the median of the windows' medians.
        """
        tenth = max(1, len(self.windows) // 10)
        first = statistics.median(window.p50_s for window in self.windows[:tenth])
        last = statistics.median(window.p50_s for window in self.windows[-tenth:])
        return last / first - 1 if first > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "asked_s": self.asked_s,
            "runs": self.runs,
            "slowdown": self.slowdown,
            "windows": [asdict(window) for window in self.windows],
        }


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Share of inputs whose largest output is at the label.

    data, split: which inputs. count: how many.
    """

    top1: float
    count: int
    data: str
    split: str
