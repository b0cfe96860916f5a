"""What a benchmark found, as plain data that can be saved and compared later."""

from __future__ import annotations

import math
import statistics
from dataclasses import asdict, dataclass
from typing import Any

from edgekit.bench.host import Host
from edgekit.bench.state import State
from edgekit.bench.statistics import QUANTILE_METHOD, Summary

SCHEMA = 1
"""Version of the report's form."""

FILE_CACHE = "warm"
"""State of the operating system's file cache at a cold start: each file has just been read."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked for.

    warmup, runs: of each case. max_seconds: of all warm runs together; None for no limit.
    precision: warm runs stop early when half of the median's 95 % interval is within this share
    of the median; None to make all runs. input_shape: of a model's only input; None to fill open
    dimensions with 1, and an open first one with batch.
    """

    warmup: int
    runs: int
    threads: tuple[int, ...]
    max_seconds: float | None
    precision: float | None
    batch: int
    input_shape: tuple[int, ...] | None
    seed: int
    spinning: bool = False
    """Whether onnxruntime's idle threads spin. Off, as in `edgekit.load`."""
    provider: str = "CPUExecutionProvider"


@dataclass(frozen=True, slots=True)
class ColdStart:
    """The start of a model in a fresh process, in seconds and bytes.

    import_s: Python's import of edgekit and onnxruntime, which an app in another language
    doesn't pay. decode_s: reading, checking and decoding a packed file; None for plain ONNX,
    which onnxruntime reads itself. session_s: making the session. first_run_s: the first answer.
    peak_bytes: most memory the process had in use; base_bytes: the same before the model was
    opened; None where the system doesn't tell.
    """

    import_s: float
    decode_s: float | None
    session_s: float
    first_run_s: float
    peak_bytes: int | None
    base_bytes: int | None

    @property
    def load_s(self) -> float:
        """From the path to a session."""
        return (self.decode_s or 0.0) + self.session_s

    @property
    def model_bytes(self) -> int | None:
        """What the model added to the process at its peak."""
        if self.peak_bytes is None or self.base_bytes is None:
            return None
        return self.peak_bytes - self.base_bytes


@dataclass(frozen=True, slots=True)
class Case:
    """One file with one number of threads.

    kind: "onnx" or "ekp". inputs: shape by name. dtypes: type by name. items: what one run
    answers, the first dimension of the first input. times_s: each warm run, in order of time.
    """

    path: str
    kind: str
    file_bytes: int
    sha256: str
    threads: int
    inputs: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]
    items: int
    cold: tuple[ColdStart, ...]
    warm: Summary
    times_s: tuple[float, ...]

    @property
    def throughput(self) -> float:
        """Items a second at the mean time of a run."""
        return self.items / self.warm.mean_s if self.warm.mean_s > 0 else math.inf

    @property
    def drift(self) -> float:
        """How much slower the second half of the runs was than the first, as a share."""
        half = len(self.times_s) // 2
        if half == 0:
            return 0.0
        early = statistics.median(self.times_s[:half])
        return statistics.median(self.times_s[half:]) / early - 1 if early > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "path": self.path,
            "kind": self.kind,
            "file_bytes": self.file_bytes,
            "sha256": self.sha256,
            "threads": self.threads,
            "inputs": {
                name: {"shape": list(shape), "dtype": self.dtypes[name]}
                for name, shape in self.inputs.items()
            },
            "items": self.items,
            "cold": [
                {**asdict(start), "load_s": start.load_s, "model_bytes": start.model_bytes}
                for start in self.cold
            ],
            "warm": self.warm.to_dict(),
            "throughput_per_s": self.throughput,
            "times_s": list(self.times_s),
        }


@dataclass(frozen=True, slots=True)
class BenchReport:
    """Latency of models on one machine.

    created: date and time in UTC, ISO 8601. warnings: what in the machine's state may have
    spoiled the numbers, in words.
    """

    created: str
    settings: Settings
    host: Host
    before: State
    after: State
    warnings: tuple[str, ...]
    cases: tuple[Case, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        settings = asdict(self.settings)
        shape = self.settings.input_shape
        settings["threads"] = list(self.settings.threads)
        settings["input_shape"] = None if shape is None else list(shape)
        return {
            "schema": SCHEMA,
            "kind": "edgekit.latency",
            "created": self.created,
            "quantile_method": QUANTILE_METHOD,
            "file_cache": FILE_CACHE,
            "settings": settings,
            "host": self.host.to_dict(),
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
            "warnings": list(self.warnings),
            "cases": [case.to_dict() for case in self.cases],
        }
