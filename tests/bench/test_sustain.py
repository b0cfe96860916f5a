"""Runs without a pause are cut into windows, and what the machine did is noted beside them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgekit.bench.findings import Endurance, Window
from edgekit.bench.sustain import Warmth, read_warmth, sustain

COLD = Warmth(None, None, None)
WINDOW = Window(1.0, 10, 1e-3, 2e-3, None, None, None)


class Clock:
    """Time that goes by what the runs take."""

    def __init__(self, run_s: float) -> None:
        self.now = 100.0
        self.run_s = run_s

    def __call__(self) -> float:
        return self.now

    def run(self) -> float:
        self.now += self.run_s
        return self.run_s


def test_every_run_is_in_one_of_the_windows() -> None:
    clock = Clock(0.25)

    found = sustain(clock.run, 40.0, clock=clock, look=lambda: COLD)

    assert found.runs == 160
    assert [window.runs for window in found.windows] == [4] * 40
    assert found.windows[-1].end_s == 40.0
    assert {window.p50_s for window in found.windows} == {0.25}


@pytest.mark.parametrize(("seconds", "count"), [(2.0, 20), (60.0, 60), (3600.0, 120)])
def test_there_are_20_to_120_windows(seconds: float, count: int) -> None:
    clock = Clock(seconds / 1024)

    assert len(sustain(clock.run, seconds, clock=clock, look=lambda: COLD).windows) == count


def test_runs_longer_than_a_window_are_windows_of_their_own() -> None:
    clock = Clock(3.0)

    found = sustain(clock.run, 10.0, clock=clock, look=lambda: COLD)

    assert [window.runs for window in found.windows] == [1, 1, 1, 1]
    assert found.windows[-1].end_s == 12.0


def test_the_machine_is_looked_at_after_each_window() -> None:
    clock = Clock(0.5)

    def look() -> Warmth:
        return Warmth(40.0 + clock.now - 100, 2.4e9, throttled=clock.now > 110)

    windows = sustain(clock.run, 20.0, clock=clock, look=look).windows

    assert [window.celsius for window in windows[:3]] == [41.0, 42.0, 43.0]
    assert [window.throttled for window in windows] == [False] * 10 + [True] * 10


def test_slowdown_compares_the_last_tenth_with_the_first() -> None:
    fast, slow = [WINDOW] * 10, [replace(WINDOW, p50_s=1.5e-3)] * 10

    assert Endurance(20.0, tuple(fast + slow)).slowdown == pytest.approx(0.5)
    assert Endurance(1.0, (WINDOW,)).slowdown == 0.0


def test_warmth_is_the_hottest_zone_and_the_mean_clock(tmp_path: Path) -> None:
    for number, (celsius, kilohertz) in enumerate([(51200, 1500000), (60500, 2400000)]):
        zone = tmp_path / f"sys/class/thermal/thermal_zone{number}"
        core = tmp_path / f"sys/devices/system/cpu/cpu{number}/cpufreq"
        zone.mkdir(parents=True)
        core.mkdir(parents=True)
        (zone / "type").write_text("cpu")
        (zone / "temp").write_text(str(celsius))
        (core / "scaling_cur_freq").write_text(str(kilohertz))

    warmth = read_warmth(tmp_path)

    assert (warmth.celsius, warmth.clock_hz) == (60.5, 1.95e9)
    assert read_warmth(tmp_path / "nothing").celsius is None
