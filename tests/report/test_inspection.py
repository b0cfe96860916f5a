"""The ledger is readable in a narrow terminal and easy to search in a wide one."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from edgekit.compress.pipeline import compress
from edgekit.inspect import inspect
from edgekit.inspect.ledger import InspectReport
from edgekit.report.inspection import render_table


@pytest.fixture
def report(tiny_onnx_path: Path, tmp_path: Path) -> InspectReport:
    compress(tiny_onnx_path, tmp_path / "tiny.ekp", bits=6)
    return inspect(tmp_path / "tiny.ekp")


def lines(report: InspectReport, width: int) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=width, highlight=False).print(render_table(report))
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_eighty_columns_keep_names_whole_and_tell_the_coding_below(report: InspectReport) -> None:
    printed = lines(report, 80)

    assert max(map(len, printed)) <= 80
    for entry in report.tensors:
        at = next(i for i, line in enumerate(printed) if line.startswith(f"{entry.name} "))
        assert printed[at].endswith(f" {entry.bytes:,}")
        assert printed[at + 1].strip().startswith(entry.coding)


def test_a_wide_line_tells_all_of_a_tensor(report: InspectReport) -> None:
    printed = lines(report, 160)

    line = next(line for line in printed if line.startswith("pointwise.weight"))
    entry = next(entry for entry in report.tensors if entry.name == "pointwise.weight")
    assert "60x32x1x1" in line
    assert "huffman, grid per channel" in line
    assert f"{8 * entry.bytes / 1920:.2f}" in line
    assert line.endswith(f" {entry.bytes:,}")


@pytest.mark.parametrize("width", [80, 160])
def test_the_last_column_adds_up(report: InspectReport, width: int) -> None:
    printed = lines(report, width)

    start = next(i for i, line in enumerate(printed) if line.startswith("tensor"))
    numbers = [
        int(line.split()[-1].replace(",", ""))
        for line in printed[start + 1 :]
        if not line.startswith("  ")
    ]
    assert sum(numbers[:-1]) == numbers[-1] == report.file_bytes
