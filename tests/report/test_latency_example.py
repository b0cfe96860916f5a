"""The example's report is what this version writes, and its command still makes one."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import resources
from pathlib import Path

import jsonschema
import pytest

from edgekit.bench.reading import read_report
from edgekit.report.latency_files import renderer

FOLDER = Path(__file__).parents[2] / "examples" / "latency_report"
SCHEMA = json.loads(resources.files("edgekit.bench").joinpath("latency.schema.json").read_text())


def test_the_kept_report_follows_the_schema_and_names_no_place_of_the_machine_it_was_made_on() -> (
    None
):
    text = (FOLDER / "latency.json").read_text(encoding="utf-8")

    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(text))
    report = read_report(FOLDER / "latency.json")
    assert {Path(case.path).parent for case in report.cases} == {Path()}
    assert {case.kind for case in report.cases} == {"onnx", "ekp"}
    for case in report.cases:
        assert case.accuracy is not None
        assert case.profile is not None
        assert case.endurance is not None


def test_the_kept_page_is_what_the_kept_report_gives() -> None:
    report = read_report(FOLDER / "latency.json")
    title = "Float and packed networks, measured"

    assert renderer(".html", title)([report]) == (FOLDER / "latency.html").read_text("utf-8")


def test_the_picture_is_small_enough_for_a_readme() -> None:
    assert (FOLDER / "latency.png").stat().st_size <= 150_000


@pytest.mark.slow
def test_the_example_writes_both_files(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, FOLDER / "run.py", tmp_path, "--runs", "20", "--seconds", "0.5"],
        capture_output=True,
        text=True,
        check=True,
    )

    report = read_report(tmp_path / "latency.json")
    assert [case.warm.count for case in report.cases] == [20] * 4
    page = (tmp_path / "latency.html").read_text(encoding="utf-8")
    assert "<h1>Float and packed networks, measured</h1>" in page
    assert "warm runs, ms" in done.stdout
