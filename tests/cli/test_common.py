"""Shared flags and printing: data on stdout, in colour only where it is wanted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from rich.table import Column, Table
from rich.text import Text

from edgekit.cli.common import Format, log, show, stdout


@dataclass(frozen=True, slots=True)
class Sizes:
    name: str
    total_bytes: int

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "total_bytes": self.total_bytes}


def render_table(report: Sizes) -> Table:
    table = Table(Column("name", header_style="bold red"), "bytes")
    table.add_row(report.name, str(report.total_bytes))
    return table


def test_a_table_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    show(Sizes("tiny", 4096), render_table, Format.TABLE)

    captured = capsys.readouterr()
    assert "tiny" in captured.out
    assert "4096" in captured.out
    assert captured.err == ""


def test_json_is_the_report_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    show(Sizes("Größe", 4096), render_table, Format.JSON)

    assert json.loads(capsys.readouterr().out) == {"name": "Größe", "total_bytes": 4096}


def test_a_long_name_is_not_cut_outside_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    name = "features.18.block.2.depthwise.convolution.weight" * 2

    show(Sizes(name, 1), render_table, Format.TABLE)

    assert name in capsys.readouterr().out


def test_logs_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    log("epoch 1")

    assert capsys.readouterr() == ("", "epoch 1\n")


def test_no_color_is_honoured_even_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    show(Sizes("tiny", 1), render_table, Format.TABLE)
    coloured = capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    show(Sizes("tiny", 1), render_table, Format.TABLE)
    plain = capsys.readouterr().out

    assert "\x1b[1;31m" in coloured
    assert "31m" not in plain


def test_a_pipe_gets_no_colours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    stdout().print(Text("tiny [/x]", style="bold red"))

    # A name's brackets are no markup.
    assert capsys.readouterr().out == "tiny [/x]\n"
