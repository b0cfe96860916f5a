"""What a benchmark found, as plain data that can be saved and compared later."""

from __future__ import annotations

import math
import shlex
import statistics
from dataclasses import asdict, dataclass
from typing import Any

from edgekit.bench.findings import Accuracy, Endurance, Profile
from edgekit.bench.host import Host
from edgekit.bench.state import State
from edgekit.bench.statistics import QUANTILE_METHOD, Summary
from edgekit.packfile.activations import RunForm

SCHEMA = 1
"""Version of the report's form, which edgekit/bench/latency.schema.json describes."""

KIND = "edgekit.latency"
"""What tells a latency report from other JSON."""

TURN = 10
"""Runs of one case before the next one's turn: long enough for its own data to be in the
processor's caches, short enough that all cases see the same clocks and neighbours."""

KINDS: dict[RunForm | None, str] = {None: "onnx", "float": "ekp", "int8": "ekp-int8"}
"""What a case is, by the run form of a packed file."""

FILE_CACHE = "warm"
"""State of the operating system's file cache at a cold start: each file has just been read."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked for.

    warmup, runs: of each case. max_seconds: of all warm runs together; None for no limit.
    precision: warm runs stop early when half of the median's 95 % interval is within this share
    of the median; None to make all runs. input_shape: of a model's only input; None to fill open
    dimensions with 1, and an open first one with batch. cold: whether fresh processes were
    started. spinning: whether onnxruntime's idle threads spin; off, as in `edgekit.load`.
    affinity: the cores that the process was bound to; None for no choice. input_data: where the
    inputs came from; None for random ones. profile: whether onnxruntime's profiler ran. sustain_s:
    seconds of runs without a pause after the timed ones. evaluate: data for the accuracy;
    preprocess: how its pictures become inputs. run_as: form of packed files, "float" or "int8";
    None for what each says. turn: runs of one case in a row.
    """

    warmup: int = 10
    runs: int = 100
    threads: tuple[int, ...] = (1,)
    max_seconds: float | None = None
    precision: float | None = None
    batch: int = 1
    input_shape: tuple[int, ...] | None = None
    seed: int = 0
    cold: bool = True
    spinning: bool = False
    provider: str = "CPUExecutionProvider"
    affinity: tuple[int, ...] | None = None
    input_data: str | None = None
    profile: bool = False
    sustain_s: float | None = None
    evaluate: str | None = None
    preprocess: str | None = None
    run_as: str | None = None
    turn: int = TURN

    @property
    def flags(self) -> tuple[str, ...]:
        """The words of the command line that ask for these settings; none for the defaults."""
        words: list[str] = []
        for name, value in asdict(self).items():
            if name == "turn" or value == getattr(_DEFAULTS, name):
                continue
            flag = _FLAGS.get(name, f"--{name.replace('_', '-')}")
            if isinstance(value, bool):
                words.append(flag)
            else:
                parts = value if isinstance(value, tuple) else (value,)
                # 300 and not 300.0
                words += [
                    flag,
                    ",".join(
                        f"{part:g}" if isinstance(part, float) else str(part) for part in parts
                    ),
                ]
        return tuple(words)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            **asdict(self),
            "threads": list(self.threads),
            "input_shape": None if self.input_shape is None else list(self.input_shape),
            "affinity": None if self.affinity is None else list(self.affinity),
        }


_DEFAULTS = Settings()
_FLAGS = {
    "cold": "--no-cold",
    "spinning": "--spin",
    "sustain_s": "--sustain",
    "evaluate": "--eval",
}


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

    kind: one of KINDS. inputs: shape by name. dtypes: type by name. items: what one run
    answers, the first dimension of the first input. times_s: each warm run, in order of time.
    profile, endurance, accuracy: None where they weren't asked for.
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
    profile: Profile | None = None
    endurance: Endurance | None = None
    accuracy: Accuracy | None = None

    @property
    def load_s(self) -> float | None:
        """Median of the cold starts, from the path to a session; None without cold starts."""
        return statistics.median(start.load_s for start in self.cold) if self.cold else None

    @property
    def first_run_s(self) -> float | None:
        """Median first answer of the cold starts; None without cold starts."""
        return statistics.median(start.first_run_s for start in self.cold) if self.cold else None

    @property
    def model_bytes(self) -> float | None:
        """Median of what the model added to a fresh process; None where it isn't known."""
        known = [start.model_bytes for start in self.cold if start.model_bytes is not None]
        return statistics.median(known) if known else None

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
            "profile": None if self.profile is None else self.profile.to_dict(),
            "endurance": None if self.endurance is None else self.endurance.to_dict(),
            "accuracy": None if self.accuracy is None else asdict(self.accuracy),
        }


@dataclass(frozen=True, slots=True)
class BenchReport:
    """Latency of models on one machine.

    created: date and time in UTC, ISO 8601. warnings: what in the machine's state may have
    spoiled the numbers, in words. others_busy: cores' worth of time that other programs, or a
    hypervisor, took meanwhile; None where the system doesn't tell.
    """

    created: str
    settings: Settings
    host: Host
    before: State
    after: State
    warnings: tuple[str, ...]
    cases: tuple[Case, ...]
    others_busy: float | None = None

    @property
    def command(self) -> str:
        """The command line that repeats the measurement."""
        # Each file is a case for each number of threads, one behind another.
        paths = [case.path for case in self.cases[:: len(self.settings.threads)]]
        return shlex.join(["edgekit", "bench", *paths, *self.settings.flags])

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "schema": SCHEMA,
            "kind": KIND,
            "created": self.created,
            "quantile_method": QUANTILE_METHOD,
            "file_cache": FILE_CACHE,
            "command": self.command,
            "settings": self.settings.to_dict(),
            "host": self.host.to_dict(),
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
            "others_busy": self.others_busy,
            "warnings": list(self.warnings),
            "cases": [case.to_dict() for case in self.cases],
        }
