"""CSV holds numbers in full, Markdown the tables of the terminal."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

from edgekit.bench.findings import Accuracy
from edgekit.report.latency_text import COLUMNS, render_csv, render_markdown
from tests.bench.reports import NOBODY, case, report
from tests.report.test_latency_page import FULL, PACKED

TIMES = [0.0101, 0.0102, 0.0103]


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_has_a_row_a_case_with_numbers_in_full() -> None:
    first, second = rows(render_csv([report(case(TIMES), case(TIMES, path="b.ekp", cold=False))]))

    assert tuple(first) == COLUMNS
    assert float(first["p50_s"]) == 0.0102
    assert first["load_s"] == "0.03"
    assert (second["path"], second["load_s"], second["top1"]) == ("b.ekp", "", "")


def test_csv_of_several_reports_tells_their_machines_apart() -> None:
    shown = [report(case(TIMES)), report(case(TIMES), host=NOBODY)]

    first, second = rows(render_csv(shown))

    assert (first["board"], second["board"]) == ("Raspberry Pi 5 Model B Rev 1.0", "")


def test_a_name_that_a_spreadsheet_would_run_is_text() -> None:
    (row,) = rows(render_csv([report(case(TIMES, path='=HYPERLINK("x").onnx'))]))

    assert row["path"] == '\'=HYPERLINK("x").onnx'


def test_markdown_has_every_table_and_the_command() -> None:
    text = render_markdown([FULL], "Two networks")

    lines = text.splitlines()
    assert lines[0] == "# Two networks"
    assert "> Warning: it was \\<hot> & loud" in lines
    for title in ("cold start, ms", "warm runs, ms", "their spread, ms", "accuracy"):
        assert f"### {title}" in lines
    assert "    edgekit bench net_float.onnx net_packed.ekp" in lines
    row = next(line for line in lines if line.startswith("| net\\_packed.ekp | 300"))
    assert row == "| net\\_packed.ekp | 300 | 10.0 | 30.0 | 40.0 | 4.000 | 20.0 MB |"


def test_markdown_of_several_reports_begins_with_all_their_cases() -> None:
    lines = render_markdown([FULL, report(case(TIMES), host=NOBODY)]).splitlines()

    assert lines[2] == "### All reports"
    rows = lines[6:9]
    assert [row.split(" | ")[1] for row in rows] == [
        "Raspberry Pi 5 Model B Rev 1.0",
        "Raspberry Pi 5 Model B Rev 1.0",
        "aarch64",
    ]
    assert "## aarch64" in lines


def test_every_row_of_a_markdown_table_has_as_many_cells_as_its_head() -> None:
    piped = replace(PACKED, path="a|b.onnx", accuracy=Accuracy(0.5, 1, "x", "y"))
    widths: list[int] = []
    for line in render_markdown([report(piped)]).splitlines():
        if line.startswith("|"):
            widths.append(line.replace("\\|", "").count("|"))
        else:
            assert len(set(widths)) <= 1
            widths = []
