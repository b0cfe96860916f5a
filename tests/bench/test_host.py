from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import edgekit
from edgekit.bench import state
from edgekit.bench.container import read_container
from edgekit.bench.host import read_board, read_cpu, read_host, versions
from edgekit.bench.state import (
    Throttle,
    decode_throttle,
    read_clocks,
    read_state,
    read_throttle,
    read_under_voltage,
    read_zones,
)
from tests.bench import trees


@pytest.fixture(autouse=True)
def no_vcgencmd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only a test's own programs are found."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


@pytest.mark.parametrize(
    ("board", "model", "core", "top_hz"),
    [
        (trees.pi3, "Raspberry Pi 3 Model B Plus Rev 1.3", "Cortex-A53", 1_400_000_000),
        (trees.pi4, "Raspberry Pi 4 Model B Rev 1.4", "Cortex-A72", 1_800_000_000),
        (trees.pi5, "Raspberry Pi 5 Model B Rev 1.0", "Cortex-A76", 2_400_000_000),
    ],
)
def test_a_pi_is_named_with_its_cores_and_clocks(
    board: Callable[[Path], Path], model: str, core: str, top_hz: int, tmp_path: Path
) -> None:
    root = board(tmp_path / "root")

    host, clocks = read_host(root), read_clocks(root)

    assert (host.board, host.cpu.model, host.cpu.cores) == (model, core, 4)
    assert (host.memory_bytes, host.container) == (3884384 * 1024, "")
    assert host.system == "Debian GNU/Linux 12 (bookworm)"
    assert [clock.core for clock in clocks] == [0, 1, 2, 3]
    assert (clocks[0].current_hz, clocks[0].max_hz) == (600_000_000, top_hz)
    assert clocks[0].time_in_state == {600_000_000: 123.45, top_hz: 2.5}


def test_the_version_of_edgekit_is_that_of_the_code_that_runs() -> None:
    assert versions()["edgekit"] == edgekit.__version__
    assert set(versions()) == {"python", "edgekit", "onnxruntime", "numpy"}


def test_only_the_pi_5_has_dotprod(tmp_path: Path) -> None:
    older, newer = read_cpu(trees.pi4(tmp_path / "4")), read_cpu(trees.pi5(tmp_path / "5"))

    assert (older.has("asimd"), older.has("asimddp")) == (True, False)
    assert (newer.has("asimddp"), newer.has("i8mm"), newer.has("sve")) == (True, False, False)


def test_live_and_sticky_throttle_bits_are_told_apart(tmp_path: Path) -> None:
    assert read_throttle(trees.pi3(tmp_path / "3")) == Throttle(
        now=("under-voltage", "throttled"), since_boot=("under-voltage", "throttled")
    )
    assert read_throttle(trees.pi4(tmp_path / "4")) == Throttle((), ("soft temperature limit",))
    assert read_throttle(trees.pi5(tmp_path / "5")) == Throttle((), ())


def test_every_throttle_bit_has_its_word() -> None:
    assert decode_throttle(0b0010 | 0b0100 << 16) == Throttle(("clock capped",), ("throttled",))
    assert decode_throttle(0xF000F).now == decode_throttle(0xF000F).since_boot
    assert len(decode_throttle(0xF000F).now) == 4


def test_sysfs_is_asked_before_vcgencmd(tmp_path: Path) -> None:
    trees.fake_vcgencmd(tmp_path / "bin", "echo throttled=0x4")

    assert read_throttle(trees.pi5(tmp_path / "5")) == Throttle((), ())
    assert read_throttle(trees.pi5(tmp_path / "old", throttled=None)) == Throttle(
        ("throttled",), ()
    )


@pytest.mark.parametrize(
    "script",
    [
        "echo VCHI initialization failed",
        "echo throttled=0x0; exit 255",
        "echo throttled=",
        "exit 1",
    ],
)
def test_a_vcgencmd_without_an_answer_is_not_never_throttled(script: str, tmp_path: Path) -> None:
    trees.fake_vcgencmd(tmp_path / "bin", script)

    assert read_throttle(tmp_path) is None


def test_a_hanging_vcgencmd_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trees.fake_vcgencmd(tmp_path / "bin", "exec /bin/sleep 30")
    monkeypatch.setattr(state, "_TIMEOUT_S", 0.1)

    assert read_throttle(tmp_path) is None


def test_only_the_boards_own_monitor_tells_of_under_voltage(tmp_path: Path) -> None:
    low = trees.pi4(tmp_path / "4")
    (low / "sys/class/hwmon/hwmon1/in0_lcrit_alarm").write_text("1\n")

    assert read_under_voltage(low) is True
    assert read_under_voltage(trees.pi5(tmp_path / "5")) is False
    assert read_under_voltage(trees.jetson(tmp_path / "jetson")) is None


def test_zones_go_by_type_and_dead_sensors_give_nothing(tmp_path: Path) -> None:
    zones = read_zones(trees.jetson(tmp_path))

    assert [(zone.kind, zone.celsius) for zone in zones] == [
        ("cpu-thermal", 51.5),
        ("gpu-thermal", None),
        ("tj-thermal", 52.031),
    ]


def test_cores_may_differ_in_their_governor(tmp_path: Path) -> None:
    root = trees.jetson(tmp_path)

    assert [(clock.core, clock.governor) for clock in read_clocks(root)] == [
        (0, "schedutil"),
        (1, "schedutil"),
        (10, "performance"),
    ]
    assert read_cpu(root).cores == 6
    assert read_container(root) == "docker"
    assert read_board(root) == "Jetson-like Developer Kit"


def test_a_virtual_machine_shows_no_clocks_and_no_board(tmp_path: Path) -> None:
    root = trees.virtual_machine(tmp_path)

    host, now = read_host(root), read_state(root)

    assert (host.board, host.container) == (None, "docker")
    assert (host.cpu.model, host.cpu.cores) == ("AMD EPYC", 2)
    assert host.cpu.flags == ("sse4_1", "avx2", "fma", "avx512f", "avx512_vnni", "amx_int8")
    assert (now.clocks, now.zones, now.throttle, now.under_voltage) == ((), (), None, None)
    assert (now.memory_stalled, now.cpu_stalled, now.load) == (0.025, 0.12, 3.25)


@pytest.mark.parametrize("board", [trees.garbage, lambda path: path])
def test_garbage_and_nothing_are_not_available(
    board: Callable[[Path], Path], tmp_path: Path
) -> None:
    root = board(tmp_path)

    host, now = read_host(root), read_state(root)

    assert (host.memory_bytes, host.cpu.cores) == (None, None)
    assert (now.memory_available_bytes, now.memory_stalled, now.load) == (None, None, None)
    assert (now.throttle, now.under_voltage) == (None, None)
    assert all(zone.celsius is None for zone in now.zones)
    assert all(clock.current_hz is None for clock in now.clocks)
    assert all(clock.time_in_state is None for clock in now.clocks)
    json.dumps([host.to_dict(), now.to_dict()], allow_nan=False)


def test_a_file_that_vanishes_between_listing_and_reading_is_not_available(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = trees.pi3(tmp_path / "root")
    real_open = Path.open

    def vanish(path: Path, mode: str = "r", **options: Any) -> object:
        if path.is_relative_to(root):
            path.unlink(missing_ok=True)
        return real_open(path, mode, **options)

    monkeypatch.setattr(Path, "open", vanish)

    host, now = read_host(root), read_state(root)

    assert (host.board, host.memory_bytes, host.cpu.flags) == (None, None, None)
    assert (now.clocks, now.zones, now.throttle, now.load) == ((), (), None, None)


def test_a_driver_that_answers_with_an_error_is_not_available(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = trees.pi3(tmp_path / "root")

    def refuse(path: Path, _mode: str) -> object:
        raise OSError(22, os.strerror(22), str(path))

    monkeypatch.setattr(Path, "open", refuse)

    assert read_state(root).zones == ()


def test_the_state_is_plain_data(tmp_path: Path) -> None:
    facts = json.loads(json.dumps(read_state(trees.pi3(tmp_path)).to_dict()))

    assert facts["throttle"]["now"] == ["under-voltage", "throttled"]
    assert facts["clocks"][0]["time_in_state"]["600000000"] == 123.45
    assert facts["zones"] == [{"kind": "cpu-thermal", "celsius": 46.251}]
