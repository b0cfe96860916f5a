from __future__ import annotations

import io

from rich.console import Console

from edgekit.bench.advice import Check, Verdict
from edgekit.bench.doctor import DoctorReport
from edgekit.report.doctor import render_table
from tests.bench.reports import BOARD, QUIET


def printed(*checks: Check) -> str:
    out = io.StringIO()
    console = Console(file=out, width=80, highlight=False)
    console.print(render_table(DoctorReport(checks, BOARD, QUIET)))
    return out.getvalue()


def test_advice_stands_below_what_was_found_within_80_columns() -> None:
    advice = "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"

    lines = printed(
        Check("governor", Verdict.NOTE, "ondemand", advice),
        Check("load", Verdict.WARNING, "3.00 tasks in the last minute"),
    ).splitlines()

    assert lines[0].split() == ["note", "governor", "ondemand"]
    assert "echo performance" in lines[1]
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "ready; one warning about measurements"


def test_what_is_broken_is_named_at_the_end() -> None:
    text = printed(
        Check("python", Verdict.BROKEN, "3.9.2"),
        Check("onnx", Verdict.BROKEN, "not installed"),
        Check("load", Verdict.WARNING, "3.00"),
    )

    assert text.splitlines()[-1] == "can't run models here: python, onnx"


def test_a_machine_in_order_is_ready() -> None:
    assert printed(Check("python", Verdict.OK, "3.11.2")).splitlines()[-1] == "ready"
