"""What other programs took is told from what this one took."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgekit.bench.neighbours import Accounts, busy_elsewhere, read_accounts


def test_the_first_line_of_stat_is_added_up_without_idle_and_guests(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/stat").write_text(
        "cpu  100 20 30 9000 700 5 6 40 11 12\ncpu0 1 2 3 4 5 6 7 8 9 10\n"
    )

    assert read_accounts(tmp_path).busy_s == pytest.approx(2.01)


@pytest.mark.parametrize(
    "text", ["", "cpu 1 2 3", "cpu a b c d e f g h i j", "intr 1 2 3 4 5 6 7 8"]
)
def test_what_makes_no_sense_is_not_known(tmp_path: Path, text: str) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/stat").write_text(text)

    assert read_accounts(tmp_path).busy_s is None


def test_others_are_what_all_took_without_ours_per_second() -> None:
    before, after = Accounts(10.0, 100.0, 5.0), Accounts(12.0, 104.0, 6.0)

    assert busy_elsewhere(before, after) == pytest.approx(1.5)


def test_rounding_never_gives_less_than_nothing() -> None:
    assert busy_elsewhere(Accounts(0.0, 0.0, 0.0), Accounts(1.0, 0.98, 1.0)) == 0.0


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Accounts(0.0, None, 0.0), Accounts(1.0, 1.0, 0.0)),
        (Accounts(0.0, 0.0, 0.0), Accounts(1.0, None, 0.0)),
        (Accounts(0.0, 0.0, 0.0), Accounts(0.1, 0.2, 0.0)),
    ],
)
def test_an_unknown_account_or_a_short_time_tells_nothing(
    before: Accounts, after: Accounts
) -> None:
    assert busy_elsewhere(before, after) is None


def test_a_busy_program_beside_us_is_seen() -> None:
    script = "import time; end = time.time() + 5\nwhile time.time() < end: pass"
    with subprocess.Popen([sys.executable, "-c", script]) as program:
        before = read_accounts()
        time.sleep(1.0)
        after = read_accounts()
        program.kill()
    if after.busy_s is None or after.busy_s == before.busy_s:
        pytest.skip("this system keeps no such accounts")

    found = busy_elsewhere(before, after)

    assert found is not None
    assert found > 0.3
