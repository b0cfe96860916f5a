"""A machine in a bad state is told in words; a quiet one is left in peace."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgekit.bench.caution import cautions, new_throttling
from edgekit.bench.findings import Endurance, Window
from edgekit.bench.state import Clock, State, Throttle, Zone
from tests.bench.reports import BOARD, QUIET, UNKNOWN, case

STEADY = [0.010, 0.011] * 20


def told(before: State, after: State | None = None) -> str:
    return "\n".join(cautions(BOARD, before, after or before, [case(STEADY)]))


def test_a_quiet_machine_needs_no_word() -> None:
    assert told(QUIET) == ""


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        # A sticky bit that was set before says nothing of these runs.
        (Throttle((), ("throttled",)), Throttle((), ("throttled",)), ()),
        (Throttle((), ()), Throttle((), ("throttled",)), ("throttled",)),
        (Throttle(("capped",), ("capped",)), Throttle((), ("capped",)), ("capped",)),
        (Throttle((), ("hot",)), Throttle(("hot",), ("hot",)), ("hot",)),
    ],
)
def test_only_throttling_in_these_runs_counts(
    before: Throttle, after: Throttle, words: tuple[str, ...]
) -> None:
    assert new_throttling(before, after) == words


def test_old_throttling_is_a_note_and_new_throttling_a_warning() -> None:
    old = replace(QUIET, throttle=Throttle((), ("throttled",)))

    assert "earlier since boot, not in these runs: throttled" in told(old)
    assert "limited itself during the runs: throttled" in told(QUIET, old)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (replace(QUIET, under_voltage=True), "supply voltage is too low"),
        (replace(QUIET, zones=(Zone("cpu-thermal", 84.6),)), "cpu-thermal reached 85 °C"),
        (replace(QUIET, load=2.5), "other programs were running: load 2.50 on 4 cores"),
        (replace(QUIET, cpu_stalled=0.4), "tasks waited for a processor 40%"),
        (replace(QUIET, memory_stalled=0.03), "memory is short: tasks waited for it 3%"),
        (
            replace(QUIET, clocks=(Clock(0, "ondemand", None, None, None, None),)),
            "governor ondemand",
        ),
    ],
)
def test_each_trouble_has_its_words(state: State, words: str) -> None:
    assert words in told(state)


def test_a_zone_without_a_reading_is_not_hot() -> None:
    assert told(replace(QUIET, zones=(Zone("gpu-thermal", None),))) == ""


def test_a_governor_that_changes_is_told() -> None:
    other = replace(QUIET, clocks=(Clock(0, "powersave", None, None, None, None),))

    assert "governor changed" in told(QUIET, other)


def test_a_machine_that_tells_nothing_is_not_called_quiet() -> None:
    assert "is not available" in told(UNKNOWN)


@pytest.mark.parametrize(("late", "way"), [(0.012, "20% slower"), (0.008, "20% faster")])
def test_times_that_drift_are_told_with_their_direction(late: float, way: str) -> None:
    drifting = case([0.010] * 20 + [late] * 20)

    found = cautions(BOARD, QUIET, QUIET, [case(STEADY), drifting])

    assert len(found) == 1
    assert way in found[0]


def test_too_few_runs_tell_nothing_of_a_drift() -> None:
    assert cautions(BOARD, QUIET, QUIET, [case([0.010, 0.010, 0.020, 0.020])]) == ()


def test_what_others_took_meanwhile_counts_more_than_the_load_before() -> None:
    loaded = replace(QUIET, load=2.5)

    quiet = cautions(BOARD, loaded, loaded, [case(STEADY)], others_busy=0.02)
    busy = cautions(BOARD, QUIET, QUIET, [case(STEADY)], others_busy=1.34)

    assert quiet == ()
    assert busy == ("other programs took 1.34 of 4 cores meanwhile",)


def test_a_known_quiet_machine_need_not_tell_its_load() -> None:
    assert cautions(BOARD, UNKNOWN, UNKNOWN, [case(STEADY)], others_busy=0.0) == ()


@pytest.mark.parametrize(
    ("threads", "bound", "words"),
    [(4, None, None), (5, None, "5 threads shared 4 cores"), (2, 1, "2 threads shared 1 core:")],
)
def test_more_threads_than_cores_are_told(
    threads: int, bound: int | None, words: str | None
) -> None:
    crowded = replace(case(STEADY), threads=threads)

    found = cautions(BOARD, QUIET, QUIET, [crowded], bound=bound)

    assert [words in warning for warning in found if words] == ([] if words is None else [True])
    assert len(found) == (words is not None)


def test_a_board_that_gives_way_under_load_is_told() -> None:
    windows = tuple(
        Window(10.0 * place, 9, 1e-3 if place < 9 else 1.5e-3, 2e-3, 85.0, None, place >= 9)
        for place in range(1, 13)
    )
    hot = replace(case(STEADY), endurance=Endurance(120.0, windows))

    assert cautions(BOARD, QUIET, QUIET, [hot]) == (
        "a.onnx: the board limited itself under load, after 90 s",
        "a.onnx became 50% slower under load",
    )
