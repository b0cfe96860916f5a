"""`edgekit report`, and the files that `edgekit bench` writes, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import Cli, Outcome


@pytest.fixture
def saved(cli: Cli, tiny_onnx_path: Path, tmp_path: Path) -> Path:
    path = tmp_path / "r.json"
    outcome = cli(
        "bench", tiny_onnx_path, "--runs", "3", "--no-cold", "--profile", "--sustain", "0.1s",
        "-o", path, "-o", tmp_path / "r.md",
    )  # fmt: skip
    assert outcome.exit_code == 0
    assert [line.split()[0] for line in outcome.stderr.splitlines()] == ["wrote", "wrote"]
    assert "operators of tiny.onnx" in outcome.stdout
    return path


def test_bench_writes_the_files_that_report_reads(cli: Cli, saved: Path, tmp_path: Path) -> None:
    page = tmp_path / "r.html"

    outcome = cli("report", saved, saved, "-o", page, "--title", "Tiny")

    assert (outcome.exit_code, outcome.stdout) == (0, "")
    assert "<h1>Tiny</h1>" in page.read_text(encoding="utf-8")
    assert (tmp_path / "r.md").read_text(encoding="utf-8").startswith("# Latency")


@pytest.mark.parametrize(("form", "begin"), [("csv", "created,"), ("md", "# "), ("html", "<!doc")])
def test_bench_prints_every_form(cli: Cli, tiny_onnx_path: Path, form: str, begin: str) -> None:
    outcome = cli("bench", tiny_onnx_path, "--runs", "2", "--no-cold", "--format", form)

    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert outcome.stdout.startswith(begin)


def test_a_file_that_can_not_be_written_is_known_before_the_measurement(
    cli: Cli, tiny_onnx_path: Path, tmp_path: Path
) -> None:
    def measured(*words: str | Path) -> Outcome:
        return cli("bench", tiny_onnx_path, "--sustain", "10h", *words)

    wrong_suffix = measured("-o", tmp_path / "r.pdf")
    no_folder = measured("-o", tmp_path / "r.json", "-o", tmp_path / "none" / "r.json")

    assert wrong_suffix.exit_code == 2
    assert "not '.pdf'" in wrong_suffix.stderr
    assert no_folder.exit_code == 1
    assert "there is no folder" in no_folder.stderr
    assert sorted(tmp_path.iterdir()) == [tiny_onnx_path]


def test_a_report_of_another_version_is_one_line_and_code_4(
    cli: Cli, saved: Path, tmp_path: Path
) -> None:
    saved.write_text(json.dumps({**json.loads(saved.read_text()), "schema": 7}))

    outcome = cli("report", saved, "-o", tmp_path / "r.html")

    assert outcome.exit_code == 4
    assert "version 7" in outcome.stderr
    assert len(outcome.stderr.splitlines()) == 1
    assert not (tmp_path / "r.html").exists()
