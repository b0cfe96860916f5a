"""Whatever makes two latencies incomparable is named; what isn't known is not held against."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgekit.bench.comparable import REASONS, case_reasons, machine_reasons
from edgekit.bench.host import Cpu
from edgekit.bench.results import BenchReport
from edgekit.bench.state import Throttle
from tests.bench.reports import BOARD, NOBODY, QUIET, UNKNOWN, case, report

SAME = report(case([1e-3] * 20))

HOSTS = {
    "processor": replace(BOARD, cpu=Cpu("Cortex-A72", "aarch64", 4, 4, ("asimd",))),
    "board": replace(BOARD, board="Raspberry Pi 4 Model B"),
    "cores": replace(BOARD, cpu=replace(BOARD.cpu, usable=2)),
    "onnxruntime": replace(BOARD, versions={**BOARD.versions, "onnxruntime": "1.30.0"}),
    "container": replace(BOARD, container="docker"),
}
CLOCK = QUIET.clocks[0]
STATES = {
    "throttled": replace(QUIET, throttle=Throttle(("throttled",), ("throttled",))),
    "voltage": replace(QUIET, under_voltage=True),
    "governor": replace(QUIET, clocks=(replace(CLOCK, governor="ondemand"),)),
    "clock": replace(QUIET, clocks=(replace(CLOCK, max_hz=1_800_000_000),)),
}
SETTINGS = {
    "provider": replace(SAME.settings, provider="XnnpackExecutionProvider"),
    "run_as": replace(SAME.settings, run_as="int8"),
    "spinning": replace(SAME.settings, spinning=True),
    "affinity": replace(SAME.settings, affinity=(0, 1)),
    "data": replace(SAME.settings, input_data="pictures.npz"),
}
BUSY = replace(SAME, others_busy=0.6)
OTHERS: dict[str, BenchReport] = {
    "neighbours": BUSY,
    **{key: replace(SAME, host=host) for key, host in HOSTS.items()},
    **{key: replace(SAME, before=state, after=state) for key, state in STATES.items()},
    **{key: replace(SAME, settings=settings) for key, settings in SETTINGS.items()},
}


def test_two_runs_on_one_machine_are_comparable() -> None:
    assert machine_reasons(SAME, replace(SAME, created="2026-02-03T04:05:06+00:00")) == ()
    assert case_reasons(SAME.cases[0], SAME.cases[0]) == ()


@pytest.mark.parametrize("key", OTHERS)
def test_every_difference_of_machine_and_settings_has_its_reason(key: str) -> None:
    found = machine_reasons(SAME, OTHERS[key])

    assert {reason.key for reason in found} == {key}
    assert all(len(reason.words) > len(key) for reason in found)


def test_every_difference_of_the_case_has_its_reason() -> None:
    one = SAME.cases[0]

    (threads,) = case_reasons(one, replace(one, threads=2))
    (inputs,) = case_reasons(one, replace(one, inputs={"x": (4, 3)}))

    assert (threads.key, threads.words) == ("threads", "threads: 1 and 2")
    assert (inputs.key, inputs.words) == ("inputs", "inputs: float32 2x3 and float32 4x3")


def test_the_name_of_an_input_makes_no_difference() -> None:
    one = SAME.cases[0]

    renamed = replace(one, inputs={"image": (2, 3)}, dtypes={"image": "float32"})

    assert case_reasons(one, renamed) == ()


def test_the_tests_above_know_every_reason() -> None:
    assert set(REASONS) == {*OTHERS, "threads", "inputs"}


def test_what_is_not_known_is_not_held_against() -> None:
    silent = replace(SAME, host=NOBODY, before=UNKNOWN, after=UNKNOWN)

    assert machine_reasons(SAME, silent) == ()


def test_neighbours_of_two_cases_in_one_report_do_not_matter() -> None:
    assert machine_reasons(BUSY, BUSY) == ()


@pytest.mark.parametrize(
    ("load", "others", "told"), [(5.0, None, 1), (1.4, None, 0), (5.0, 0.0, 0)]
)
def test_the_load_counts_only_where_neighbours_are_not_known(
    load: float, others: float | None, told: int
) -> None:
    loaded = replace(SAME, before=replace(QUIET, load=load), others_busy=others)

    assert len(machine_reasons(SAME, loaded)) == told


def test_an_old_sticky_throttle_bit_is_no_reason() -> None:
    state = replace(QUIET, throttle=Throttle((), ("throttled",)))

    assert machine_reasons(SAME, replace(SAME, before=state, after=state)) == ()
