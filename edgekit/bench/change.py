"""What a machine did between two moments: time at each clock, and how far it fell back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgekit.bench.advice import HOT_CELSIUS
from edgekit.bench.caution import new_throttling
from edgekit.bench.state import Clock, State, Zone
from edgekit.bench.watch import Watch

_TOLERATED = 0.05
"""A governor that follows the load needs a moment to reach the top."""


@dataclass(frozen=True, slots=True)
class ClockTime:
    """One core between two moments.

    seconds: spent at each frequency in hertz; those at which it wasn't are left out. top_hz: its
    highest frequency, by the kernel or by where it has been.
    """

    core: int
    seconds: dict[int, float]
    top_hz: int

    @property
    def below_top(self) -> float:
        """Share of the time at less than the top, 0 to 1."""
        return 1 - self.seconds.get(self.top_hz, 0.0) / sum(self.seconds.values())

    @property
    def mean_hz(self) -> float:
        """Mean frequency over the time."""
        weighted = sum(hz * seconds for hz, seconds in self.seconds.items())
        return weighted / sum(self.seconds.values())


def clock_times(before: State, after: State) -> tuple[ClockTime, ...]:
    """Each core whose time at each frequency is counted, and that was on all the while.

    It counts every moment between two readings, so a short fall back under heat shows.
    """
    earlier = {clock.core: clock for clock in before.clocks}
    return tuple(
        spent
        for clock in after.clocks
        if clock.core in earlier
        if (spent := _spent(earlier[clock.core], clock)) is not None
    )


def busiest(times: tuple[ClockTime, ...]) -> ClockTime | None:
    """The core with the highest mean clock: where a governor follows the load, the one at work."""
    return max(times, key=lambda spent: (spent.mean_hz, -spent.core), default=None)


def fell_back(before: State, after: State) -> str | None:
    """What to say where the busiest core wasn't at its top clock; None where it was, or unknown."""
    spent = busiest(clock_times(before, after))
    if spent is None or spent.below_top <= _TOLERATED:
        return None
    return (
        f"the busiest core was below its top clock for {spent.below_top:.0%} of the time, on "
        f"average at {spent.mean_hz / 1e6:.0f} of {spent.top_hz / 1e6:.0f} MHz"
    )


def meanwhile(before: State, after: State, watching: Watch) -> tuple[str, ...]:
    """Warnings that only a look during the runs gives; what both ends show is left to `cautions`.

    before, after: the machine at both ends of the benchmark. watching: during the warm runs.
    """
    found = []
    told: tuple[str, ...] = ()
    if before.throttle is not None and after.throttle is not None:
        told = new_throttling(before.throttle, after.throttle)
    fresh = [word for word in watching.throttled if word not in told]
    if fresh:
        found.append(f"the board limited itself for a while: {', '.join(fresh)}")
    states = [state for _, state in watching.samples]
    slow = fell_back(states[0], states[-1]) if states else None
    if slow is not None:
        found.append(slow)
    # Where an end was as hot, it has been said.
    if not _hot(before.zones) and not _hot(after.zones) and (hottest := watching.hottest):
        found += [
            f"{zone.kind} reached {zone.celsius:.0f} °C for a while: add a fan"
            for zone in _hot((hottest,))
        ]
    return tuple(found)


def _hot(zones: Sequence[Zone]) -> list[Zone]:
    return [z for z in zones if z.celsius is not None and z.celsius >= HOT_CELSIUS]


def _spent(before: Clock, after: Clock) -> ClockTime | None:
    if before.time_in_state is None or after.time_in_state is None:
        return None
    seconds = {
        hz: total - before.time_in_state.get(hz, 0.0) for hz, total in after.time_in_state.items()
    }
    # Counters that went back were reset in between: what they tell isn't the time between.
    if min(seconds.values()) < 0 or sum(seconds.values()) <= 0:
        return None
    moved = {hz: spent for hz, spent in seconds.items() if spent > 0}
    return ClockTime(after.core, moved, after.max_hz or max(seconds))
