"""In what state a machine is: clocks, temperatures, throttling, memory pressure and load.

Readers take the root folder of the files they read, as in edgekit.bench.host, and give None for
what can't be read. Read before and after a measurement; the difference tells what happened.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgekit.bench.host import ROOT, read_memory
from edgekit.bench.sysfs import folders, parse_float, parse_integer, read_integer, read_text

THROTTLE_BITS = ("under-voltage", "clock capped", "throttled", "soft temperature limit")
"""Bits 0 to 3 of a Raspberry Pi's get_throttled: now. Bits 16 to 19: the same since boot."""

_SINCE_BOOT = 16
_FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"
_TICKS = 100  # time_in_state counts hundredths of a second
_COLDEST, _HOTTEST = -100.0, 300.0
_TIMEOUT_S = 5


@dataclass(frozen=True, slots=True)
class Clock:
    """One core's clock, in hertz.

    time_in_state: seconds spent at each frequency since boot; None where it isn't counted.
    """

    core: int
    governor: str | None
    current_hz: int | None
    min_hz: int | None
    max_hz: int | None
    time_in_state: dict[int, float] | None


@dataclass(frozen=True, slots=True)
class Zone:
    """A thermal zone. celsius: None where its sensor gives nothing sensible."""

    kind: str
    celsius: float | None


@dataclass(frozen=True, slots=True)
class Throttle:
    """A Raspberry Pi's throttling: words of THROTTLE_BITS.

    now: at this moment. since_boot: at some time since boot, which may be long ago.
    """

    now: tuple[str, ...]
    since_boot: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class State:
    """A machine at one moment.

    clocks: a core each, empty where the kernel doesn't show them.
    throttle: None on other boards, or where it can't be read.
    under_voltage: by the board's own monitor. memory_stalled, cpu_stalled: share of the last ten
    seconds in which some task waited for memory or a processor, 0 to 1.
    load: tasks that ran or waited, mean of one minute.
    """

    clocks: tuple[Clock, ...]
    zones: tuple[Zone, ...]
    throttle: Throttle | None
    under_voltage: bool | None
    memory_available_bytes: int | None
    memory_stalled: float | None
    cpu_stalled: float | None
    load: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        facts = asdict(self)
        facts["clocks"] = [
            {
                **clock,
                # Keys of JSON objects are text.
                "time_in_state": None
                if clock["time_in_state"] is None
                else {str(hz): seconds for hz, seconds in clock["time_in_state"].items()},
            }
            for clock in facts["clocks"]
        ]
        facts["zones"] = list(facts["zones"])
        if self.throttle is not None:
            facts["throttle"] = {key: list(words) for key, words in facts["throttle"].items()}
        return facts


def read_state(root: Path = ROOT) -> State:
    """Everything of `State`. On a Raspberry Pi without sysfs this may start `vcgencmd`."""
    return State(
        clocks=read_clocks(root),
        zones=read_zones(root),
        throttle=read_throttle(root),
        under_voltage=read_under_voltage(root),
        memory_available_bytes=read_memory(root).get("MemAvailable"),
        memory_stalled=_stalled(root / "proc/pressure/memory"),
        cpu_stalled=_stalled(root / "proc/pressure/cpu"),
        load=_not_negative(parse_float((read_text(root / "proc/loadavg") or "").partition(" ")[0])),
    )


def read_clocks(root: Path = ROOT) -> tuple[Clock, ...]:
    """Each core that has a cpufreq folder."""
    clocks = []
    for core in folders(root / "sys/devices/system/cpu", "cpu"):
        folder = core / "cpufreq"
        clock = Clock(
            core=int(core.name.removeprefix("cpu")),
            governor=read_text(folder / "scaling_governor"),
            current_hz=_hertz(folder / "scaling_cur_freq"),
            min_hz=_hertz(folder / "scaling_min_freq"),
            max_hz=_hertz(folder / "cpuinfo_max_freq"),
            time_in_state=_time_in_state(read_text(folder / "stats/time_in_state")),
        )
        if clock.governor is not None or clock.current_hz is not None or clock.max_hz is not None:
            clocks.append(clock)
    return tuple(clocks)


def read_zones(root: Path = ROOT) -> tuple[Zone, ...]:
    """Thermal zones by type. A zone without a type is named for its folder."""
    zones = []
    for folder in folders(root / "sys/class/thermal", "thermal_zone"):
        kind, raw = read_text(folder / "type"), read_integer(folder / "temp")
        if kind is None and raw is None:
            continue
        celsius = None if raw is None else raw / 1000
        # Sensors that are switched off answer with absolute zero or with the largest integer.
        if celsius is not None and not _COLDEST < celsius < _HOTTEST:
            celsius = None
        zones.append(Zone(kind or folder.name, celsius))
    return tuple(zones)


def read_throttle(root: Path = ROOT) -> Throttle | None:
    """A Raspberry Pi's throttle bits: from sysfs, which containers see too, else `vcgencmd`."""
    bits = read_integer(root / _FIRMWARE, 16)
    if bits is None:
        bits = _ask_firmware()
    return None if bits is None or bits < 0 else decode_throttle(bits)


def decode_throttle(bits: int) -> Throttle:
    """What the bits of get_throttled mean."""

    def words(shift: int) -> tuple[str, ...]:
        return tuple(word for i, word in enumerate(THROTTLE_BITS) if bits >> (shift + i) & 1)

    return Throttle(now=words(0), since_boot=words(_SINCE_BOOT))


def read_under_voltage(root: Path = ROOT) -> bool | None:
    """Whether a Raspberry Pi's supply is too low, by its hardware monitor."""
    for folder in folders(root / "sys/class/hwmon", "hwmon"):
        if read_text(folder / "name") == "rpi_volt":
            alarm = read_integer(folder / "in0_lcrit_alarm")
            return None if alarm not in {0, 1} else alarm == 1
    return None


def _ask_firmware() -> int | None:
    program = shutil.which("vcgencmd")
    if program is None:
        return None
    try:
        answer = subprocess.run(  # noqa: S603 - the program that PATH names, with fixed words
            [program, "get_throttled"], capture_output=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    # "throttled=0x50005"; where it has no access it prints an error, sometimes with code 0.
    name, _, value = answer.stdout.decode("ascii", "replace").strip().partition("=")
    return parse_integer(value, 16) if answer.returncode == 0 and name == "throttled" else None


def _hertz(path: Path) -> int | None:
    kilohertz = read_integer(path)
    return None if kilohertz is None or kilohertz <= 0 else kilohertz * 1000


def _time_in_state(text: str | None) -> dict[int, float] | None:
    """Lines of "kHz ticks"."""
    times = {}
    for line in (text or "").splitlines():
        frequency, _, ticks = line.partition(" ")
        kilohertz, count = parse_integer(frequency), parse_integer(ticks)
        if kilohertz is None or count is None:
            return None
        times[kilohertz * 1000] = count / _TICKS
    return times or None


def _stalled(path: Path) -> float | None:
    """avg10 of the line "some avg10=0.12 ...", as a share."""
    for line in (read_text(path) or "").splitlines():
        words = line.split()
        if words[:1] == ["some"]:
            for word in words[1:]:
                name, _, value = word.partition("=")
                percent = _not_negative(parse_float(value)) if name == "avg10" else None
                if percent is not None:
                    return percent / 100
    return None


def _not_negative(value: float | None) -> float | None:
    return None if value is None or value < 0 else value
