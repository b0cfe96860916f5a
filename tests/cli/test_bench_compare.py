"""`edgekit bench compare` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.bench.reports import case, report
from tests.support import Cli

TIMES = np.tile([0.999e-3, 1.001e-3], 100)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return save(tmp_path / "old.json", 1.0)


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return save(tmp_path / "new.json", 1.3)


def save(path: Path, slower: float) -> Path:
    path.write_text(json.dumps(report(case(slower * TIMES)).to_dict()), encoding="utf-8")
    return path


def test_the_table_has_medians_ratio_interval_and_verdict(cli: Cli, old: Path, new: Path) -> None:
    outcome = cli("bench", "compare", old, new)

    assert (outcome.exit_code, outcome.stderr) == (0, "")
    row = next(line.split() for line in outcome.stdout.splitlines() if line.startswith("a.onnx"))
    assert row[1:4] == ["1.000", "1.300", "1.300"]
    assert row[-1] == "slower"
    assert "comparable: same machine" in outcome.stdout


def test_a_gate_that_is_not_met_prints_the_table_and_ends_with_code_3(
    cli: Cli, old: Path, new: Path
) -> None:
    outcome = cli("bench", "compare", old, new, "--fail-if", "slower:5%")

    assert outcome.exit_code == 3
    assert "a.onnx" in outcome.stdout
    assert "a.onnx is 30.0% slower, more than 5.0%" in outcome.stderr
    assert len(outcome.stderr.splitlines()) == 1


@pytest.mark.parametrize("limit", ["slower:50%", "slower:0.5"])
def test_a_gate_that_is_met_ends_with_code_0(cli: Cli, old: Path, new: Path, limit: str) -> None:
    assert cli("bench", "compare", old, new, "--fail-if", limit).exit_code == 0
    assert cli("bench", "compare", new, old, "--fail-if", "slower:0%").exit_code == 0


@pytest.mark.parametrize("limit", ["slower", "slower:", "slower:-1%", "faster:5%", "slower:nan"])
def test_a_gate_that_makes_no_sense_is_a_usage_error(cli: Cli, old: Path, limit: str) -> None:
    outcome = cli("bench", "compare", old, old, "--fail-if", limit)

    assert outcome.exit_code == 2
    assert "--fail-if takes slower:SHARE, such as slower:5%" in outcome.stderr
    assert outcome.stdout == ""


def test_json_names_both_reports(cli: Cli, old: Path, new: Path) -> None:
    plain = json.loads(cli("bench", "compare", old, new, "--format", "json").stdout)

    assert (plain["old"], plain["new"]) == (str(old), str(new))
    assert plain["pairs"][0]["verdict"] == "slower"


def test_what_is_not_comparable_says_why_and_how_to_accept_it(
    cli: Cli, old: Path, tmp_path: Path
) -> None:
    plain = json.loads(old.read_text())
    plain["cases"][0]["threads"] = 2
    other = tmp_path / "threads.json"
    other.write_text(json.dumps(plain))

    words = ("bench", "compare", old, other)
    outcome = cli(*words, "--fail-if", "slower:5%")
    accepted = cli(*words, "--fail-if", "slower:5%", "--accept", "threads")

    assert "not comparable (threads): threads: 1 and 2" in outcome.stdout
    assert (outcome.exit_code, accepted.exit_code) == (3, 0)


def test_a_model_instead_of_a_report_is_one_line_and_code_4(
    cli: Cli, old: Path, tiny_onnx_path: Path
) -> None:
    outcome = cli("bench", "compare", old, tiny_onnx_path)

    assert outcome.exit_code == 4
    assert len(outcome.stderr.splitlines()) == 1
    assert outcome.stdout == ""


def test_a_file_called_compare_can_be_measured_by_its_path(
    cli: Cli, tiny_onnx_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_onnx_path.rename(tmp_path / "compare")
    monkeypatch.chdir(tmp_path)

    outcome = cli("bench", "./compare", "--runs", "2", "--no-cold")

    assert outcome.exit_code == 0
