"""Runs without a pause for minutes: whether a machine stays as fast as it begins."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgekit.bench.findings import Endurance, Window
from edgekit.bench.host import ROOT
from edgekit.bench.state import read_clocks, read_throttle, read_zones
from edgekit.bench.statistics import percentiles

_MOST_WINDOWS = 120
_FEWEST_WINDOWS = 20
_WINDOW_S = 1.0


@dataclass(frozen=True, slots=True)
class Warmth:
    """What of a machine changes under load; the entries are those of `Window`."""

    celsius: float | None
    clock_hz: float | None
    throttled: bool | None


def sustain(
    run: Callable[[], float],
    seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    look: Callable[[], Warmth] | None = None,
) -> Endurance:
    """Call `run` for this long. run: makes one run and returns its seconds.

    The time is cut into windows of a second, but into 20 to 120 of them; between two the machine
    is looked at. Every window has at least one run.
    """
    look = read_warmth if look is None else look
    windows = min(_MOST_WINDOWS, max(_FEWEST_WINDOWS, round(seconds / _WINDOW_S)))
    found: list[Window] = []
    start = clock()
    while (now := clock() - start) < seconds or not found:
        # Counted from the start, so that looking and long runs don't add up.
        end = seconds * min(windows, int(now / seconds * windows) + 1) / windows
        times = [run()]
        while clock() - start < end:
            times.append(run())
        p50, p95 = percentiles(times, (50, 95))
        warmth = look()
        found.append(
            Window(
                clock() - start,
                len(times),
                p50,
                p95,
                warmth.celsius,
                warmth.clock_hz,
                warmth.throttled,
            )
        )
    return Endurance(seconds, tuple(found))


def read_warmth(root: Path = ROOT) -> Warmth:
    """The machine now."""
    degrees = [zone.celsius for zone in read_zones(root) if zone.celsius is not None]
    clocks = [core.current_hz for core in read_clocks(root) if core.current_hz is not None]
    throttle = read_throttle(root)
    return Warmth(
        max(degrees, default=None),
        sum(clocks) / len(clocks) if clocks else None,
        None if throttle is None else bool(throttle.now),
    )
