"""A report becomes the kind of file that its name asks for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgekit.bench.reading import read_report
from edgekit.errors import InputError, UsageError
from edgekit.report.latency_files import renderer, report
from tests.report.test_latency_page import FULL


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "saved.json"
    path.write_text(json.dumps(FULL.to_dict()), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "begin"), [("r.html", "<!doctype html>"), ("r.md", "# Mine"), ("r.csv", "created,")]
)
def test_the_suffix_decides(saved: Path, name: str, begin: str) -> None:
    report([saved], saved.parent / name, title="Mine")

    assert (saved.parent / name).read_text(encoding="utf-8").startswith(begin)


def test_json_is_what_can_be_read_back(tmp_path: Path) -> None:
    path = tmp_path / "again.json"
    path.write_text(renderer(".json")([FULL]), encoding="utf-8")

    assert read_report(path) == FULL


def test_two_reports_do_not_fit_one_json_file(saved: Path) -> None:
    with pytest.raises(UsageError, match="holds one report"):
        report([saved, saved], saved.parent / "two.json")


def test_another_suffix_and_no_report_are_usage_errors(saved: Path) -> None:
    with pytest.raises(UsageError, match=r"\.json, \.csv, \.md or \.html, not '\.pdf'"):
        report([saved], saved.parent / "r.pdf")
    with pytest.raises(UsageError, match="no report"):
        report([], saved.parent / "r.html")


def test_a_report_that_can_not_be_read_leaves_no_file(saved: Path) -> None:
    saved.write_text("{}")

    with pytest.raises(InputError, match="isn't a latency report"):
        report([saved], saved.parent / "r.html")

    assert list(saved.parent.iterdir()) == [saved]


def test_a_page_without_jinja2_names_the_extra_and_the_others_need_none(saved: Path) -> None:
    script = f"""
import sys
sys.modules["jinja2"] = None
from edgekit.cli.main import main
main(["report", {str(saved)!r}, "-o", {str(saved.parent / "r.md")!r}])
sys.exit(main(["report", {str(saved)!r}, "-o", {str(saved.parent / "r.html")!r}]))
"""

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "edgekit: error: jinja2 is not installed; install it with: pip install 'edgekit[report]'"
    )
    assert (saved.parent / "r.md").exists()
