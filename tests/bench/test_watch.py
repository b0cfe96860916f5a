from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from edgekit.bench import watch
from edgekit.bench.state import Zone
from edgekit.bench.watch import Watch
from tests.bench import trees


def wait_for_another(watching: Watch) -> None:
    """Until a reading that began after this call has ended: the second one from now."""
    enough = len(watching.samples) + 2
    deadline = time.monotonic() + 10
    while len(watching.samples) < enough and time.monotonic() < deadline:
        time.sleep(0.002)


def test_what_changes_while_watching_is_seen(tmp_path: Path) -> None:
    root = trees.pi4(tmp_path)
    temperature = root / "sys/class/thermal/thermal_zone0/temp"

    with Watch(0.01, root) as watching:
        temperature.write_text("84000\n")
        wait_for_another(watching)
        temperature.write_text("50000\n")

    degrees = [state.zones[0].celsius for _, state in watching.samples]
    elapsed = [seconds for seconds, _ in watching.samples]
    assert degrees[0] == 46.251
    assert 84.0 in degrees
    assert degrees[-1] == 50.0
    assert elapsed == sorted(elapsed)
    assert elapsed[0] < 1


def test_a_fall_back_between_start_and_end_is_not_lost(tmp_path: Path) -> None:
    root = trees.pi4(tmp_path, throttled="0")
    firmware = root / "sys/devices/platform/soc/soc:firmware/get_throttled"
    temperature = root / "sys/class/thermal/thermal_zone0/temp"

    with Watch(0.01, root) as watching:
        firmware.write_text("e0006\n")
        temperature.write_text("83000\n")
        wait_for_another(watching)
        firmware.write_text("e0000\n")
        temperature.write_text("61000\n")

    assert watching.throttled == ("clock capped", "throttled")
    assert watching.hottest == Zone("cpu-thermal", 83.0)


def test_a_machine_that_tells_nothing_has_no_hottest_moment(tmp_path: Path) -> None:
    with Watch(3600, tmp_path) as watching:
        pass

    assert (watching.hottest, watching.throttled) == (None, ())


def test_a_block_of_any_length_has_its_first_and_last_sample(tmp_path: Path) -> None:
    with Watch(3600, trees.pi5(tmp_path)) as watching:
        pass

    assert len(watching.samples) == 2


def test_files_that_vanish_are_not_available(tmp_path: Path) -> None:
    root = trees.pi3(tmp_path)

    with Watch(3600, root) as watching:
        (root / "sys/class/thermal/thermal_zone0/temp").unlink()
        (root / "sys/class/thermal/thermal_zone0/type").unlink()

    assert watching.samples[0][1].zones != ()
    assert watching.samples[-1][1].zones == ()


def test_a_reading_that_fails_never_ends_what_is_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_root: Path) -> object:
        raise OSError(24, "Too many open files")

    with Watch(0.01, trees.pi3(tmp_path)) as watching:
        monkeypatch.setattr(watch, "read_state", refuse)
        time.sleep(0.03)

    assert 1 <= len(watching.samples) <= 4


def test_an_error_inside_ends_the_thread_too(tmp_path: Path) -> None:
    with pytest.raises(KeyError), Watch(0.01, trees.pi3(tmp_path)):
        raise KeyError

    assert "edgekit-watch" not in [thread.name for thread in threading.enumerate()]
