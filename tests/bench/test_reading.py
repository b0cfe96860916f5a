"""A saved report is read back whole, and anything else is refused in one line."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgekit.bench.findings import Accuracy, Endurance, Layer, Profile, Window
from edgekit.bench.reading import read_report, report_from_dict
from edgekit.bench.results import BenchReport
from edgekit.errors import InputError
from tests.bench.reports import NOBODY, QUIET, UNKNOWN, case, report

CLOCK = replace(QUIET.clocks[0], time_in_state={1_500_000_000: 2.5})
FULL = report(
    replace(
        case([1e-3, 1.1e-3, 1.2e-3] * 4, path="a.ekp"),
        profile=Profile(20, 1e-3, (Layer("conv", "Conv", "CPUExecutionProvider", (1, 8), 9e-4),)),
        endurance=Endurance(60.0, (Window(1.5, 10, 1e-3, 2e-3, 50.0, None, False),)),
        accuracy=Accuracy(0.9, 1000, "fashion-mnist", "test"),
    ),
    case([2e-3], cold=False),
    state=replace(QUIET, clocks=(CLOCK,)),
)


def saved(shown: BenchReport) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(shown.to_dict()))
    return plain


@pytest.mark.parametrize("shown", [FULL, report(case([1e-3]), host=NOBODY, state=UNKNOWN)])
def test_what_was_saved_is_read_back(shown: BenchReport, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(shown.to_dict()), encoding="utf-8")

    assert read_report(path) == shown


def test_entries_that_follow_from_others_may_be_missing() -> None:
    plain = saved(FULL)
    del plain["cases"][0]["throughput_per_s"], plain["cases"][0]["cold"][0]["load_s"]

    assert report_from_dict(plain) == FULL


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "isn't JSON"),
        (b"{", "isn't JSON"),
        (b"\xff\xfe", "isn't JSON: not UTF-8"),
        (b"[" * 100_000, "isn't JSON"),
        (b'{"kind": NaN}', "NaN is no number of JSON"),
        (b"[]", "isn't a latency report"),
        (b'{"kind": "edgekit.latency-comparison", "schema": 1}', "isn't a latency report"),
        (b'{"kind": "edgekit.latency", "schema": 2}', "of version 2, this edgekit reads 1"),
        (b'{"kind": "edgekit.latency"}', "of version None"),
        (b'{"kind": "edgekit.latency", "schema": 1}', "cases must be a list, found missing"),
    ],
)
def test_another_kind_version_or_no_json_is_one_line(
    tmp_path: Path, text: bytes, words: str
) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(text)

    with pytest.raises(InputError, match=words) as failure:
        read_report(path)

    assert str(path) in str(failure.value)
    assert "\n" not in str(failure.value)


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_report(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("cases",), [], "cases must hold at least one case"),
        (("cases", 0), None, r"cases\[0\] must be an object"),
        (("cases", 0, "threads"), "1", r"cases\[0\].threads must be a whole number"),
        (("cases", 0, "threads"), True, r"cases\[0\].threads must be a whole number"),
        (("cases", 0, "file_bytes"), -1, "must be a whole number from 0 on, found -1"),
        (("cases", 0, "times_s"), [], r"cases\[0\].times_s must hold times above 0"),
        (("cases", 0, "times_s", 1), 0, "must hold times above 0"),
        (("cases", 0, "times_s", 1), 1e999, r"times_s\[1\] must be a number of a sensible size"),
        (("cases", 0, "times_s", 1), 10**400, "must be a number of a sensible size"),
        (("cases", 0, "warm", "p50_s"), 0.5, r"warm.p50_s doesn't follow from times_s"),
        (("cases", 0, "inputs", "x"), 1, r"inputs.x must be an object"),
        (("cases", 0, "inputs", "x", "shape"), "2x3", "shape must be a list"),
        (("cases", 0, "cold", 0, "session_s"), None, r"cold\[0\].session_s must be a number"),
        (("host", "cpu"), 3, "host.cpu must be an object"),
        (("before", "clocks", 0, "time_in_state"), {"fast": 1}, "whole numbers as keys"),
        (("settings", "spinning"), 0, "settings.spinning must be true or false"),
        (("warnings",), "hot", "warnings must be a list"),
        (("settings", "threads"), [], "must be at least 1"),
        (("settings", "turn"), 0, "must be at least 1"),
        (("cases", 0, "cold", 0, "session_s"), -1.0, "must not be below 0"),
        (("cases", 0, "endurance", "windows"), [], "must hold at least one window"),
    ],
)
def test_a_wrong_entry_is_named(place: tuple[str | int, ...], value: object, words: str) -> None:
    plain = copy.deepcopy(saved(FULL))
    holder: Any = plain
    for step in place[:-1]:
        holder = holder[step]
    holder[place[-1]] = value

    with pytest.raises(InputError, match=words) as failure:
        report_from_dict(plain, "r.json")

    assert str(failure.value).startswith("r.json: ")
