"""Reports with chosen numbers, on made-up machines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from edgekit.bench.host import Cpu, Host
from edgekit.bench.results import BenchReport, Case, ColdStart, Settings
from edgekit.bench.state import Clock, State, Throttle
from edgekit.bench.statistics import summarize

SETTINGS = Settings(
    warmup=10,
    runs=100,
    threads=(1,),
    max_seconds=None,
    precision=None,
    batch=1,
    input_shape=None,
    seed=0,
)

QUIET = State(
    clocks=(Clock(0, "performance", 2_400_000_000, 1_500_000_000, 2_400_000_000, None),),
    zones=(),
    throttle=Throttle(now=(), since_boot=()),
    under_voltage=False,
    memory_available_bytes=1 << 30,
    memory_stalled=0.0,
    cpu_stalled=0.0,
    load=0.1,
)
"""A machine that does nothing else."""

UNKNOWN = State((), (), None, None, None, None, None, None)
"""A machine that tells nothing."""

BOARD = Host(
    board="Raspberry Pi 5 Model B Rev 1.0",
    cpu=Cpu("Cortex-A76", "aarch64", 4, 4, ("asimd", "asimddp")),
    memory_bytes=4 << 30,
    kernel="6.6.51",
    system="Debian GNU/Linux 12 (bookworm)",
    container="",
    versions={"python": "3.11.2", "onnxruntime": "1.32.0"},
)

NOBODY = Host(None, Cpu(None, "aarch64", None, None, None), None, None, None, None, {"numpy": None})
"""What is known where no file can be read."""


def case(times_s: ArrayLike, *, path: str = "a.onnx", cold: bool = True) -> Case:
    """A file of 1,000 bytes with these warm runs of 2 items."""
    times = np.asarray(times_s, np.float64)
    start = ColdStart(0.2, None, 0.03, 0.004, 50_000_000, 30_000_000)
    if path.endswith(".ekp"):
        start = replace(start, decode_s=0.01)
    return Case(
        path=path,
        kind=path.rpartition(".")[2],
        file_bytes=1000,
        sha256="00" * 32,
        threads=1,
        inputs={"x": (2, 3)},
        dtypes={"x": "float32"},
        items=2,
        cold=(start, start, start) if cold else (),
        warm=summarize(times),
        times_s=tuple(times.tolist()),
    )


def report(*cases: Case, host: Host = BOARD, state: State = QUIET) -> BenchReport:
    """A benchmark of these cases."""
    return BenchReport("2026-01-02T03:04:05+00:00", SETTINGS, host, state, state, (), cases)
