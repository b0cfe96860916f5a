"""Which of several ways to run a model is the fastest here: short runs that take turns."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence

ROUNDS = 12
"""Of turns; the median of each runner's turns counts."""

_BUDGET_S = 6.0
"""After which no new round begins, so that a large network doesn't take minutes."""
_LEAST_ROUNDS = 3
_SMALL_S = 0.002
"""A turn repeats shorter runs until it has lasted this long."""
_MOST_REPEATS = 100


def race(
    runners: Sequence[Callable[[], object]],
    *,
    budget_s: float = _BUDGET_S,
    clock: Callable[[], float] = time.thread_time,
) -> list[float]:
    """Median seconds of one run of each.

    clock: of the calling thread by default, in which a session of one thread does all its work,
    so that other programs disturb it little. Each runner is run once before its turn is timed, to
    pay for what the others left in the caches.
    """
    for run in runners:
        run()
    repeats = [_repeats(run, clock) for run in runners]
    times: list[list[float]] = [[] for _ in runners]
    end = time.monotonic() + budget_s
    collecting = gc.isenabled()
    gc.disable()
    try:
        for round_ in range(ROUNDS):
            if round_ >= _LEAST_ROUNDS and time.monotonic() >= end:
                break
            for run, count, sample in zip(runners, repeats, times, strict=True):
                run()
                sample.append(_seconds(run, count, clock))
    finally:
        if collecting:
            gc.enable()
    return [statistics.median(sample) for sample in times]


def _repeats(run: Callable[[], object], clock: Callable[[], float]) -> int:
    return max(1, min(_MOST_REPEATS, int(_SMALL_S / max(_seconds(run, 1, clock), 1e-9))))


def _seconds(run: Callable[[], object], count: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(count):
        run()
    return (clock() - start) / count
