"""The latency tables show the report's numbers, and say what isn't known."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from edgekit.bench.findings import Endurance, Layer, Profile, Window
from edgekit.bench.results import BenchReport
from edgekit.bench.state import State, Throttle, Zone
from edgekit.report import latency_grids as grids
from edgekit.report.latency import render_table
from edgekit.report.words import MISSING, count, milliseconds
from tests.bench.reports import NOBODY, QUIET, UNKNOWN, case, report

TIMES = [0.0101, 0.0102, 0.0103, 0.0104, 0.0105, 0.0106, 0.0407]


def text(shown: BenchReport, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(render_table(shown))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def row(printed: str, name: str) -> list[str]:
    return next(line.split() for line in printed.splitlines() if line.startswith(name))


def test_names_of_thirty_characters_fit_eighty_columns() -> None:
    names = ["mobilenetv2_fashion-8bit.ekp", "mobilenetv2_fashion.onnx"]

    large = [replace(case(TIMES, path=name), file_bytes=1_256_592) for name in names]
    printed = text(report(*large))

    for name in names:
        assert sum(line.startswith(f"{name} ") for line in printed.splitlines()) == 3
    assert max(map(len, printed.splitlines())) <= 80


def test_warm_runs_and_their_spread_are_the_summary_s() -> None:
    printed = text(report(case(TIMES, cold=False)))

    warm, spread = (line.split() for line in printed.splitlines() if line.startswith("a.onnx "))
    assert warm[1:3] == ["7", "10.4"]
    assert float(warm[-1]) == pytest.approx(7 * 2 / sum(TIMES), rel=1e-3)
    assert spread[1:3] == ["10.1", "40.7"]
    # Of seven values the interval reaches from the smallest to the largest.
    assert spread[-3:] == ["10.1", "-", "40.7"]


def test_too_few_runs_have_no_interval() -> None:
    printed = text(report(case(TIMES[:3], cold=False)))

    assert "too few runs" in printed


def test_cold_starts_are_there_where_they_were_measured() -> None:
    printed = text(report(case(TIMES, path="a.ekp"), case(TIMES, path="b.onnx")))

    assert row(printed, "a.ekp") == [
        "a.ekp",
        "1,000",
        "10.0",
        "30.0",
        "40.0",
        "4.000",
        "20.0",
        "MB",
    ]
    assert row(printed, "b.onnx")[2] == "-"
    assert "cold start" not in text(report(case(TIMES, cold=False)))


def test_what_is_not_known_is_never_a_number_or_none() -> None:
    printed = text(report(case(TIMES), host=NOBODY, state=UNKNOWN))

    words = ("processor", "features", "board", "governor", "temperature", "throttling")
    for word in (*words, "load before", "container"):
        line = next(line for line in printed.splitlines() if line.startswith(word))
        assert line.removeprefix(word).strip() == MISSING
    assert "None" not in printed


@pytest.mark.parametrize(
    ("state", "line"),
    [
        (replace(QUIET, zones=(Zone("cpu", 51.46), Zone("gpu", None))), "temperature cpu 51.5 °C"),
        (QUIET, "throttling none"),
        (replace(QUIET, throttle=Throttle(("throttled",), ())), "throttling throttled"),
        (QUIET, "governor performance"),
        (QUIET, "container none found"),
        (QUIET, "features asimd, asimddp"),
    ],
)
def test_the_machine_s_state_is_told(state: State, line: str) -> None:
    printed = text(report(case(TIMES), state=state))

    assert line in {" ".join(printed_line.split()) for printed_line in printed.splitlines()}


def test_warnings_stand_below_the_tables() -> None:
    shown = replace(report(case(TIMES)), warnings=("it was hot",))

    assert text(shown).splitlines()[-1].rstrip() == "warning: it was hot"


def test_json_holds_the_runs_and_what_follows_from_them() -> None:
    shown = report(case(TIMES, path="a.ekp"))

    plain = json.loads(json.dumps(shown.to_dict()))

    (found,) = plain["cases"]
    assert plain["schema"] == 1
    assert found["times_s"] == TIMES
    assert found["warm"]["p50_s"] == 0.0104
    assert found["cold"][0]["load_s"] == pytest.approx(0.04)
    assert found["cold"][0]["model_bytes"] == 20_000_000
    assert found["inputs"] == {"x": {"shape": [2, 3], "dtype": "float32"}}


def test_milliseconds_keep_three_digits() -> None:
    assert [milliseconds(value) for value in (None, 0.0001234, 0.01234)] == ["-", "0.123", "12.3"]


def test_one_of_a_thing_is_not_many() -> None:
    found = [count(number, "thread") for number in (0, 1, 2, 1000)]

    assert found == ["0 threads", "1 thread", "2 threads", "1,000 threads"]


def test_under_load_what_is_not_known_is_left_out_and_named() -> None:
    windows = tuple(
        Window(float(second), 10, 1e-3 * second, 2e-3 * second, None, None, None)
        for second in range(1, 41)
    )
    hot = tuple(replace(window, celsius=60.0, throttled=True) for window in windows)

    bare, known = (grids.endurance(Endurance(40.0, shown), "a.onnx") for shown in (windows, hot))

    assert bare.headings == ("until, s", "runs", "p50", "p95")
    assert bare.note.endswith("; not available: °C, MHz, limited")
    assert known.headings == ("until, s", "runs", "p50", "p95", "°C", "limited")
    assert known.rows[0] == ("1.0", "10", "1.000", "2.000", "60.0", "yes")
    assert known.rows[-1][0] == "40.0"
    # Medians of the last four of forty windows and of the first four: 38.5 and 2.5 ms.
    assert known.note == (
        "400 runs without a pause; the last tenth 1440.0% slower than the first; not available: MHz"
    )


def test_a_profile_s_tables_begin_with_the_costliest() -> None:
    layers = tuple(
        Layer(f"layer{place}", "Conv" if place % 2 else "Relu", "CPU", None, 1e-5 * (place + 1))
        for place in range(14)
    )
    profile = Profile(40, 2e-3, layers)

    first, *_ = grids.operators(profile, "a.onnx").rows
    costliest = grids.layers(profile, "a.onnx")

    assert first == ("Conv", "7", "0.560", "53.3%")
    assert costliest.rows[0] == ("layer13", "Conv", "-", "0.140", "13.3%")
    assert len(costliest.rows) == 10
    assert costliest.note == "4 more layers in the JSON report"


def test_a_name_in_brackets_is_no_markup() -> None:
    printed = text(report(case(TIMES, path="[red]net[bold].onnx", cold=False)))

    assert "[red]net[bold].onnx" in printed
