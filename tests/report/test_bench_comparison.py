"""The table of a comparison fits a terminal and says why a verdict may not count."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
from rich.console import Console

from edgekit.bench.comparable import Reason
from edgekit.bench.compare import BenchComparison
from edgekit.bench.verdict import Pair, compare_cases
from edgekit.report.bench_comparison import render_table
from tests.bench.reports import case

TIMES = [0.999e-3, 1.001e-3] * 50
PAIR = compare_cases(
    case(TIMES, path="mobilenetv2_fashion-8bit.ekp"),
    case([1.5 * time for time in TIMES], path="mobilenetv2_fashion-8bit.ekp"),
    turn=10,
    together=False,
)


def text(*pairs: Pair, notes: tuple[str, ...] = (), width: int = 80) -> str:
    shown = BenchComparison(
        "old.json", "new.json", 0.99, 0.02, pairs, ("b.onnx:1",), ("c.onnx:2",), notes
    )
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(render_table(shown))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_names_of_thirty_characters_fit_eighty_columns() -> None:
    lines = text(PAIR).splitlines()

    rows = [line.split() for line in lines if line.startswith("mobilenetv2_fashion-8bit.ekp ")]
    assert rows[0][1:4] == ["1.000", "1.500", "1.500"]
    assert rows[0][-1] == "slower"
    assert rows[1][1:] == ["1,000", "1,000", "40.0", "40.0"]
    assert max(map(len, lines)) <= 80


def test_each_reason_stands_once_below_and_at_its_verdict() -> None:
    doubted = replace(PAIR, reasons=(Reason("threads", "threads: 1 and 2"),))

    printed = text(doubted, doubted)

    assert printed.count("not comparable (threads): threads: 1 and 2") == 1
    assert printed.count("(not") >= 2
    assert "comparable: same machine" not in printed


def test_a_difference_that_others_may_have_made_is_told() -> None:
    slowed = [1e-3] * 60 + [1.3e-3] * 240
    shuffled = np.random.default_rng(1).permutation(slowed)
    pair = compare_cases(case([1e-3] * 300), case(shuffled), turn=10, together=False)

    printed = text(pair, width=200)

    assert "no difference" in printed
    assert "a.onnx: the medians differ but the fastest tenths don't" in printed


def test_too_few_runs_are_named() -> None:
    pair = compare_cases(case([1e-3] * 5), case([1e-3] * 5), turn=10, together=False)

    printed = text(pair)

    assert "undecided" in printed
    assert "a.onnx: too few runs for a verdict" in printed


def test_a_spoiled_measurement_is_not_comparable_in_eighty_columns() -> None:
    reasons = (Reason("neighbours", "new report: other programs took 1.20 cores meanwhile"),)
    times = [1e-3] * 40
    name = "mobilenetv2_fashion-8bit.ekp"
    pair = compare_cases(
        case(times, path=name), case(times, path=name), turn=10, together=False, reasons=reasons
    )

    lines = text(pair).splitlines()

    row = next(line for line in lines if line.startswith(f"{name} "))
    assert row.split()[-2:] == ["not", "comparable"]
    assert max(map(len, lines)) <= 80


def test_threads_stand_in_the_names_where_they_differ() -> None:
    threaded = replace(PAIR, new=replace(PAIR.new, threads=2))

    printed = text(PAIR, threaded, width=200)

    assert "8bit.ekp, 1 thread" in printed
    assert "1 and 2 threads" in printed


def test_what_was_left_out_and_what_the_reports_warn_of_are_told() -> None:
    printed = text(PAIR, notes=("new.json: it was hot",))

    assert "only in the old report: b.onnx:1" in printed
    assert "only in the new report: c.onnx:2" in printed
    assert "warning: new.json: it was hot" in printed


def test_without_cold_starts_there_is_no_table_of_them() -> None:
    warm = compare_cases(case(TIMES, cold=False), case(TIMES, cold=False), turn=10, together=True)

    assert "cold start" not in text(warm)
