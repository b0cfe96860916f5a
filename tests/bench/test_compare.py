"""A comparison finds real differences, makes up none, and a gate that can't look stays shut."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.bench.compare import bench_compare
from edgekit.bench.results import BenchReport
from edgekit.bench.verdict import Verdict, compare_cases
from edgekit.errors import UsageError
from tests.bench.reports import case, report

Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def write(name: str, saved: BenchReport) -> Path:
        path = tmp_path / name
        path.write_text(json.dumps(saved.to_dict()), encoding="utf-8")
        return path

    return write


def noisy(rng: np.random.Generator, count: int, middle: float = 1e-3) -> NDArray[np.float64]:
    """Times around `middle` that stay alike for some time, as a neighbour makes them."""
    moods = np.repeat(rng.normal(0, 0.02, -(-count // 25)), 25)[:count]
    return middle * np.exp(moods + rng.gamma(2, 0.005, count))


def test_a_slower_case_is_slower_and_the_other_way_round_faster(
    save: Save, rng: np.random.Generator
) -> None:
    old = save("old.json", report(case(noisy(rng, 400))))
    new = save("new.json", report(case(noisy(rng, 400, 1.2e-3))))

    (slower,) = bench_compare(old, new).pairs
    (faster,) = bench_compare(new, old).pairs

    assert (slower.verdict, faster.verdict) == (Verdict.SLOWER, Verdict.FASTER)
    assert slower.ratio is not None
    assert slower.ratio.low < slower.ratio.value == pytest.approx(1.2, abs=0.05)


def test_equal_cases_in_a_noisy_place_are_seldom_told_apart(rng: np.random.Generator) -> None:
    verdicts = [
        compare_cases(
            case(noisy(rng, 200)), case(noisy(rng, 200)), turn=10, together=False, margin=0.0
        ).verdict
        for _ in range(50)
    ]

    # At 99 % the binomial gives more than three of fifty with a chance of 0.2 %.
    assert sum(verdict is not Verdict.SAME for verdict in verdicts) <= 3


def test_what_disturbs_both_cases_of_one_measurement_cancels_out(rng: np.random.Generator) -> None:
    mood = np.repeat(np.exp(rng.normal(0, 0.1, 20)), 10)
    old = case(1e-3 * mood * np.exp(rng.normal(0, 0.005, 200)))
    new = case(1.06e-3 * mood * np.exp(rng.normal(0, 0.005, 200)))

    together = compare_cases(old, new, turn=10, together=True)
    apart = compare_cases(old, new, turn=10, together=False)

    assert together.verdict is Verdict.SLOWER
    assert apart.verdict is Verdict.SAME


def test_what_slows_only_some_runs_is_no_verdict(rng: np.random.Generator) -> None:
    quiet = 1e-3 * np.exp(rng.normal(0, 0.005, 300))
    disturbed = quiet * np.where(rng.random(300) < 0.7, 1.3, 1.0)

    pair = compare_cases(case(quiet), case(disturbed), turn=10, together=False)

    assert pair.ratio is not None
    assert pair.fast is not None
    assert pair.ratio.low > 1.1
    assert pair.fast.value == pytest.approx(1, abs=0.01)
    assert pair.verdict is Verdict.SAME


def test_a_difference_within_the_margin_counts_as_none(save: Save) -> None:
    times = np.tile([1e-3, 1.001e-3], 100)
    old, new = save("old.json", report(case(times))), save("new.json", report(case(1.01 * times)))

    (lenient,) = bench_compare(old, new).pairs
    (strict,) = bench_compare(old, new, margin=0.0).pairs

    assert lenient.verdict is Verdict.SAME
    assert strict.verdict is Verdict.SLOWER


def test_nine_runs_are_too_few(save: Save) -> None:
    old, new = (
        save("old.json", report(case([1e-3] * 9))),
        save("new.json", report(case([2e-3] * 9))),
    )

    (pair,) = bench_compare(old, new).pairs

    assert (pair.verdict, pair.ratio) == (Verdict.UNDECIDED, None)
    assert "too few runs" in bench_compare(old, new).failures(0.05)[0]


def test_cases_are_matched_by_name_and_threads_wherever_the_files_lay(save: Save) -> None:
    one, two = case([1e-3] * 20, path="x/a.onnx"), case([1e-3] * 20, path="x/b.onnx")
    moved = case([1e-3] * 20, path="y/a.onnx")
    threaded = replace(case([1e-3] * 20, path="y/b.onnx"), threads=2)

    comparison = bench_compare(
        save("old.json", report(one, two)), save("new.json", report(moved, threaded))
    )

    assert [pair.name for pair in comparison.pairs] == ["a.onnx"]
    assert (comparison.missing, comparison.added) == (("b.onnx:1",), ("b.onnx:2",))


def test_single_cases_match_whatever_their_names(save: Save) -> None:
    old = save("old.json", report(case([1e-3] * 20, path="a.onnx")))
    new = save("new.json", report(case([1e-3] * 20, path="b.ekp")))

    (pair,) = bench_compare(old, new).pairs

    assert pair.name == "a.onnx -> b.ekp"


def test_two_cases_of_one_report_are_chosen_by_name_threads_and_place(save: Save) -> None:
    first, second = case([1e-3] * 20), case([2e-3] * 20)
    threaded = replace(case([3e-3] * 20), threads=4)
    path = save("one.json", report(first, second, threaded))

    def medians(a: str, b: str) -> tuple[float, float]:
        (pair,) = bench_compare(path, a=a, b=b).pairs
        return pair.old.warm.p50_s, pair.new.warm.p50_s

    assert medians("a.onnx", "a.onnx") == (1e-3, 2e-3)
    assert medians("a.onnx#2", "a.onnx:4") == (2e-3, 3e-3)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"a": "z.onnx", "b": "a.onnx"}, "has no case 'z.onnx'; it has a.onnx:1, b.onnx:1"),
        ({"a": "a.onnx:7", "b": "a.onnx"}, "has no case 'a.onnx:7'"),
        ({"a": "a.onnx", "b": "b.onnx#2"}, "has no case 'b.onnx#2'"),
        ({"a": "a.onnx#0", "b": "b.onnx"}, "has no case 'a.onnx#0'"),
        ({}, "name two of its cases"),
        ({"a": "a.onnx"}, "name two of its cases"),
    ],
)
def test_a_choice_that_names_nothing_is_told_with_what_there_is(
    save: Save, choice: dict[str, str], words: str
) -> None:
    path = save("one.json", report(case([1e-3] * 20), case([1e-3] * 20, path="b.onnx")))

    with pytest.raises(UsageError, match=words):
        bench_compare(path, a=choice.get("a"), b=choice.get("b"))


def test_reports_without_a_common_case_say_what_they_hold(save: Save) -> None:
    old = save("old.json", report(case([1e-3] * 20), case([1e-3] * 20, path="b.onnx")))
    new = save("new.json", report(case([1e-3] * 20, path="c.onnx")))

    with pytest.raises(UsageError, match=r"among a\.onnx:1, b\.onnx:1 and c\.onnx:1"):
        bench_compare(old, new)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"accept": ["weather"]}, "no reason is called 'weather'; they are throttled"),
        ({"margin": -0.1}, "margin is a share"),
        ({"level": 1.0}, "level is a share"),
    ],
)
def test_impossible_settings_are_usage_errors(
    save: Save, settings: dict[str, object], words: str
) -> None:
    path = save("one.json", report(case([1e-3] * 20)))

    with pytest.raises(UsageError, match=words):
        bench_compare(path, path, **settings)  # type: ignore[arg-type]  # wrong on purpose


def test_a_gate_passes_what_is_not_slower_than_it_allows(save: Save) -> None:
    times = np.tile([1e-3, 1.001e-3], 100)
    old, new = save("old.json", report(case(times))), save("new.json", report(case(1.1 * times)))

    assert bench_compare(old, new).failures(0.2) == ()
    assert bench_compare(new, old).failures(0.05) == ()
    (failure,) = bench_compare(old, new).failures(0.05)
    assert failure == "a.onnx is 10.0% slower, more than 5.0%"


def test_a_gate_that_can_not_compare_stays_shut_unless_the_reason_is_accepted(save: Save) -> None:
    old = save("old.json", report(case([1e-3] * 20)))
    new = save("new.json", report(replace(case([1e-3] * 20), dtypes={"x": "int8"})))

    (failure,) = bench_compare(old, new).failures(0.05)

    assert failure == "a.onnx can't be compared: inputs: float32 2x3 and int8 2x3"
    assert bench_compare(old, new, accept=["inputs"]).failures(0.05) == ()


def test_a_spoiled_measurement_allows_no_verdict_but_other_conditions_do(save: Save) -> None:
    old, slow = report(case([1e-3] * 20)), report(case([2e-3] * 20))
    busy = save("busy.json", replace(slow, others_busy=1.2))
    spinning = save("spinning.json", replace(slow, settings=replace(slow.settings, spinning=True)))
    first = save("old.json", old)

    (spoiled,) = bench_compare(first, busy).pairs
    (accepted,) = bench_compare(first, busy, accept=["neighbours"]).pairs
    (different,) = bench_compare(first, spinning).pairs

    assert (spoiled.verdict, spoiled.comparable) == (Verdict.UNDECIDED, False)
    assert (accepted.verdict, accepted.comparable) == (Verdict.SLOWER, True)
    assert (different.verdict, different.comparable) == (Verdict.SLOWER, False)


def test_a_gate_stays_shut_where_the_new_report_lacks_a_case(save: Save) -> None:
    one, two = case([1e-3] * 20), case([1e-3] * 20, path="b.onnx")
    both, single = save("both.json", report(one, two)), save("single.json", report(one))

    (failure,) = bench_compare(both, single).failures(0.05)

    assert failure == f"b.onnx:1 isn't in {single}"
    assert bench_compare(single, both).failures(0.05) == ()


def test_what_the_runs_can_not_rule_out_is_told(save: Save, rng: np.random.Generator) -> None:
    steady, noisy_one = np.tile([1e-3, 1.001e-3], 100), noisy(rng, 200)
    old = save("old.json", report(case(steady)))
    same, unclear = save("a.json", report(case(steady))), save("b.json", report(case(noisy_one)))

    assert bench_compare(old, same).unsure(0.005) == ()
    assert bench_compare(old, unclear).unsure(0.005) == ("a.onnx",)


def test_the_same_reports_give_the_same_comparison(save: Save, rng: np.random.Generator) -> None:
    old, new = (
        save("a.json", report(case(noisy(rng, 99)))),
        save("b.json", report(case([1e-3] * 50))),
    )

    assert bench_compare(old, new).to_dict() == bench_compare(old, new).to_dict()


def test_plain_data_hold_the_verdict_and_its_reasons(save: Save) -> None:
    old = save("old.json", report(case([1e-3] * 20)))
    new = save("new.json", replace(report(case([2e-3] * 20)), warnings=("it was hot",)))

    plain = json.loads(json.dumps(bench_compare(old, new).to_dict()))

    (pair,) = plain["pairs"]
    assert pair["ratio"] == {"value": 2.0, "low": 2.0, "high": 2.0, "level": 0.99}
    assert pair["fast_ratio"] == pair["ratio"]
    assert (pair["verdict"], pair["comparable"], pair["reasons"]) == ("slower", True, [])
    assert plain["notes"] == ["new.json: it was hot"]
