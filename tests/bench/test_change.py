from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgekit.bench.change import ClockTime, busiest, clock_times, fell_back, meanwhile
from edgekit.bench.state import Clock, State, read_state
from edgekit.bench.watch import Watch
from tests.bench import trees
from tests.bench.reports import UNKNOWN

TOP, LOW = 1_800_000_000, 600_000_000


def state(*times: dict[int, float] | None, top_hz: int | None = TOP) -> State:
    clocks = tuple(Clock(i, "ondemand", LOW, LOW, top_hz, time) for i, time in enumerate(times))
    return replace(UNKNOWN, clocks=clocks)


def test_the_difference_between_two_moments_is_told_by_core() -> None:
    before = state({LOW: 100.0, TOP: 5.0}, {LOW: 7.0})
    after = state({LOW: 101.0, TOP: 8.0}, {LOW: 11.0})

    first, second = clock_times(before, after)

    assert first == ClockTime(0, {LOW: 1.0, TOP: 3.0}, TOP)
    assert first.below_top == 0.25
    assert first.mean_hz == 1_500_000_000
    assert (second.seconds, second.below_top) == ({LOW: 4.0}, 1.0)


def test_the_core_at_work_is_the_one_with_the_highest_clock() -> None:
    times = clock_times(
        state({LOW: 0.0, TOP: 0.0}, {LOW: 0.0, TOP: 0.0}, {LOW: 0.0, TOP: 0.0}),
        state({LOW: 4.0, TOP: 0.0}, {LOW: 1.0, TOP: 3.0}, {LOW: 1.0, TOP: 3.0}),
    )

    found = busiest(times)

    assert found is not None
    assert found.core == 1
    assert busiest(()) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (state(None), state({TOP: 1.0})),
        (state({TOP: 1.0}), state(None)),
        (state({TOP: 5.0, LOW: 1.0}), state({TOP: 1.0, LOW: 9.0})),
        (state({TOP: 5.0}), state({TOP: 5.0})),
        (state(), state({TOP: 5.0})),
        (UNKNOWN, UNKNOWN),
    ],
)
def test_what_isnt_counted_was_reset_or_didnt_move_gives_nothing(
    before: State, after: State
) -> None:
    assert clock_times(before, after) == ()


def test_without_a_stated_top_it_is_the_highest_that_is_counted() -> None:
    (spent,) = clock_times(
        state({LOW: 0.0, TOP: 3.0}, top_hz=None), state({LOW: 2.0, TOP: 3.0}, top_hz=None)
    )

    assert (spent.top_hz, spent.below_top) == (TOP, 1.0)


def test_a_fall_back_is_told_in_words_and_full_speed_isnt() -> None:
    before = state({LOW: 0.0, TOP: 0.0})

    assert fell_back(before, state({LOW: 1.0, TOP: 3.0})) == (
        "the busiest core was below its top clock for 25% of the time, on average at 1500 of 1800 "
        "MHz"
    )
    assert fell_back(before, state({LOW: 0.1, TOP: 3.0})) is None
    assert fell_back(UNKNOWN, UNKNOWN) is None


def test_a_pi_that_falls_back_shows_it(tmp_path: Path) -> None:
    root = trees.pi4(tmp_path)
    before = read_state(root)
    for core in range(4):
        folder = root / f"sys/devices/system/cpu/cpu{core}/cpufreq/stats"
        (folder / "time_in_state").write_text("600000 12745\n1800000 850\n")

    times = clock_times(before, read_state(root))

    assert len(times) == 4
    assert times[0].seconds == pytest.approx({600_000_000: 4.0, 1_800_000_000: 6.0})
    assert times[0].below_top == pytest.approx(0.4)


def test_what_only_a_look_during_the_runs_shows_is_told(tmp_path: Path) -> None:
    root = trees.pi4(tmp_path, throttled="0")
    temperature = root / "sys/class/thermal/thermal_zone0/temp"
    firmware = root / "sys/devices/platform/soc/soc:firmware/get_throttled"
    before = read_state(root)

    temperature.write_text("84000\n")
    firmware.write_text("4\n")
    with Watch(3600, root) as watching:
        temperature.write_text("60000\n")
        firmware.write_text("0\n")
        for core in range(4):
            folder = root / f"sys/devices/system/cpu/cpu{core}/cpufreq/stats"
            (folder / "time_in_state").write_text("600000 12745\n1800000 850\n")

    limited, clock, heat = meanwhile(before, read_state(root), watching)
    assert limited == "the board limited itself for a while: throttled"
    assert clock.endswith("below its top clock for 40% of the time, on average at 1320 of 1800 MHz")
    assert heat == "cpu-thermal reached 84 °C for a while: add a fan"


def test_what_both_ends_show_is_not_told_twice(tmp_path: Path) -> None:
    root = trees.pi4(tmp_path, throttled="40004")
    (root / "sys/class/thermal/thermal_zone0/temp").write_text("84000\n")
    state = read_state(root)

    with Watch(3600, root) as watching:
        pass

    assert meanwhile(state, state, watching) == ()


def test_a_machine_that_tells_nothing_gives_no_warning(tmp_path: Path) -> None:
    with Watch(3600, tmp_path) as watching:
        pass

    assert meanwhile(UNKNOWN, UNKNOWN, watching) == ()


def test_heat_is_told_where_the_ends_are_unknown(tmp_path: Path) -> None:
    root = trees.pi4(tmp_path, throttled="0")
    (root / "sys/class/thermal/thermal_zone0/temp").write_text("80000\n")

    with Watch(3600, root) as watching:
        pass

    assert meanwhile(UNKNOWN, UNKNOWN, watching) == (
        "cpu-thermal reached 80 °C for a while: add a fan",
    )
