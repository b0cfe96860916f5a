"""What in a machine's state may have spoiled a measurement, in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from edgekit.bench.host import Host
from edgekit.bench.results import Case
from edgekit.bench.state import State, Throttle

_HOT_CELSIUS = 80.0
"""A Raspberry Pi lowers its clock from 80 degrees on; few boards do so earlier."""

_BUSY = 0.1
_DRIFT = 0.05
_STALLED = 0.01


def cautions(
    host: Host,
    before: State,
    after: State,
    cases: Sequence[Case],
    *,
    others_busy: float | None = None,
    bound: int | None = None,
) -> tuple[str, ...]:
    """Warnings, the gravest first; empty where nothing speaks against the numbers.

    others_busy: cores' worth of time that others took meanwhile; None where it isn't known.
    bound: how many cores the process was bound to; None where it wasn't.
    """
    return (
        *_throttling(before, after),
        *_clocks(before, after),
        *_load(host, before, after, others_busy),
        *_crowding(host.cpu.usable if bound is None else bound, cases),
        *_spread(cases),
        *_endurance(cases),
    )


def new_throttling(before: Throttle, after: Throttle) -> tuple[str, ...]:
    """What happened between two moments. A sticky bit that was set before tells nothing."""
    fresh = [word for word in after.since_boot if word not in before.since_boot]
    return tuple(dict.fromkeys([*before.now, *after.now, *fresh]))


def _throttling(before: State, after: State) -> list[str]:
    found = []
    if before.throttle is not None and after.throttle is not None:
        words = new_throttling(before.throttle, after.throttle)
        if words:
            found.append(f"the board limited itself during the runs: {', '.join(words)}")
        elif after.throttle.since_boot:
            past = ", ".join(after.throttle.since_boot)
            found.append(f"earlier since boot, not in these runs: {past}")
    if before.under_voltage or after.under_voltage:
        found.append("the supply voltage is too low: use another power supply or cable")
    hottest = max(
        (zone for zone in (*before.zones, *after.zones) if zone.celsius is not None),
        key=lambda zone: zone.celsius or 0.0,
        default=None,
    )
    if hottest is not None and (hottest.celsius or 0.0) >= _HOT_CELSIUS:
        found.append(f"{hottest.kind} reached {hottest.celsius:.0f} °C: let it cool, or add a fan")
    return found


def _clocks(before: State, after: State) -> list[str]:
    governors = sorted(
        {c.governor for c in before.clocks if c.governor not in {None, "performance"}}
    )
    found = []
    if governors:
        found.append(
            f"the clock follows the load (governor {', '.join(map(str, governors))}): "
            "set performance to compare"
        )
    changed = {c.governor for c in before.clocks} != {c.governor for c in after.clocks}
    if changed:
        found.append("the governor changed during the runs")
    return found


def _load(host: Host, before: State, after: State, others_busy: float | None) -> list[str]:
    found = []
    cores = host.cpu.cores
    # The load is a mean over a minute, in which others may have ended; and the load after counts
    # these runs. So it speaks only where nothing was measured.
    if others_busy is not None:
        if others_busy > _BUSY:
            found.append(f"other programs took {others_busy:.2f} of {_cores(cores)} meanwhile")
    elif before.load is not None and cores is not None and before.load > max(0.5, _BUSY * cores):
        found.append(f"other programs were running: load {before.load:.2f} on {_cores(cores)}")
    elif before.cpu_stalled is not None and before.cpu_stalled > _BUSY:
        found.append(f"tasks waited for a processor {before.cpu_stalled:.0%} of the time")
    stalled = max(before.memory_stalled or 0.0, after.memory_stalled or 0.0)
    if stalled > _STALLED:
        found.append(f"memory is short: tasks waited for it {stalled:.0%} of the time")
    if before.load is before.cpu_stalled is others_busy is None:
        found.append("whether other programs were running is not available")
    return found


def _crowding(cores: int | None, cases: Sequence[Case]) -> list[str]:
    most = max((case.threads for case in cases), default=0)
    if cores is None or most <= cores:
        return []
    return [f"{most} threads shared {_cores(cores)}: they wait in turn"]


def _cores(number: int | None) -> str:
    return "1 core" if number == 1 else f"{number or 'an unknown number of'} cores"


def _spread(cases: Sequence[Case]) -> list[str]:
    drifting = [case for case in cases if len(case.times_s) >= 20 and abs(case.drift) > _DRIFT]
    if not drifting:
        return []
    worst = max(drifting, key=lambda case: abs(case.drift))
    way = "slower" if worst.drift > 0 else "faster"
    change = f"the second half of the runs was up to {abs(worst.drift):.0%} {way} than the first"
    return [f"times changed while measuring: {change}"]


def _endurance(cases: Sequence[Case]) -> list[str]:
    found = []
    for case in cases:
        if case.endurance is None:
            continue
        name = PurePath(case.path).name
        limited = [window.end_s for window in case.endurance.windows if window.throttled]
        if limited:
            found.append(f"{name}: the board limited itself under load, after {limited[0]:.0f} s")
        if case.endurance.slowdown > _DRIFT:
            found.append(f"{name} became {case.endurance.slowdown:.0%} slower under load")
    return found
