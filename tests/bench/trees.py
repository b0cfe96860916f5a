"""Made-up root folders of boards, after what their kernels show."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

A53_FLAGS = "fp asimd evtstrm crc32 cpuid"
A76_FLAGS = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm asimddp"


def plant(root: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write files below `root`, with their folders."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def pi(
    root: Path,
    model: str,
    *,
    part: str,
    flags: str,
    top_khz: int,
    governor: str = "ondemand",
    throttled: str | None = None,
) -> Path:
    """A 64-bit Raspberry Pi with four cores."""
    core = f"Features\t: {flags}\nCPU implementer\t: 0x41\nCPU part\t: {part}\n"
    files: dict[str, str | bytes] = {
        "proc/device-tree/model": f"{model}\0".encode(),
        "proc/cpuinfo": "".join(f"processor\t: {i}\n{core}\n" for i in range(4)),
        "proc/meminfo": "MemTotal: 3884384 kB\nMemAvailable: 3200000 kB\n",
        "proc/sys/kernel/osrelease": "6.6.51+rpt-rpi-v8\n",
        "proc/loadavg": "0.08 0.03 0.01 1/155 1234\n",
        "proc/1/cgroup": "0::/init.scope\n",
        "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
        "sys/devices/system/cpu/online": "0-3\n",
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
        "sys/class/thermal/thermal_zone0/temp": "46251\n",
        "sys/class/hwmon/hwmon0/name": "cpu_thermal\n",
        "sys/class/hwmon/hwmon1/name": "rpi_volt\n",
        "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "0\n",
    }
    for i in range(4):
        folder = f"sys/devices/system/cpu/cpu{i}/cpufreq"
        files |= {
            f"{folder}/scaling_governor": f"{governor}\n",
            f"{folder}/scaling_cur_freq": "600000\n",
            f"{folder}/scaling_min_freq": "600000\n",
            f"{folder}/cpuinfo_max_freq": f"{top_khz}\n",
            f"{folder}/stats/time_in_state": f"600000 12345\n{top_khz} 250\n",
        }
    if throttled is not None:
        files["sys/devices/platform/soc/soc:firmware/get_throttled"] = f"{throttled}\n"
    return plant(root, files)


def pi3(root: Path, throttled: str | None = "50005") -> Path:
    model = "Raspberry Pi 3 Model B Plus Rev 1.3"
    return pi(root, model, part="0xd03", flags=A53_FLAGS, top_khz=1400000, throttled=throttled)


def pi4(root: Path, throttled: str | None = "80000") -> Path:
    model = "Raspberry Pi 4 Model B Rev 1.4"
    return pi(root, model, part="0xd08", flags=A53_FLAGS, top_khz=1800000, throttled=throttled)


def pi5(root: Path, throttled: str | None = "0") -> Path:
    return pi(
        root,
        "Raspberry Pi 5 Model B Rev 1.0",
        part="0xd0b",
        flags=A76_FLAGS,
        top_khz=2400000,
        governor="performance",
        throttled=throttled,
    )


def jetson(root: Path) -> Path:
    """A board with several thermal zones, one of them switched off, and two governors."""
    core = f"Features\t: {A76_FLAGS}\nCPU implementer\t: 0x41\nCPU part\t: 0xd42\n"
    files: dict[str, str | bytes] = {
        "sys/firmware/devicetree/base/model": b"Jetson-like Developer Kit\0",
        "proc/cpuinfo": "".join(f"processor\t: {i}\n{core}\n" for i in range(6)),
        "sys/devices/system/cpu/online": "0-3,8-9\n",
        "proc/1/cgroup": "12:memory:/docker/0123\n",
        "sys/class/hwmon/hwmon0/name": "ina3221\n",
        "sys/class/hwmon/hwmon0/in0_lcrit_alarm": "1\n",
    }
    for i, (kind, temperature) in enumerate(
        [("cpu-thermal", "51500"), ("gpu-thermal", "-256000"), ("tj-thermal", "52031")]
    ):
        files[f"sys/class/thermal/thermal_zone{i}/type"] = kind
        files[f"sys/class/thermal/thermal_zone{i}/temp"] = temperature
    for i, governor in ((0, "schedutil"), (1, "schedutil"), (10, "performance")):
        files[f"sys/devices/system/cpu/cpu{i}/cpufreq/scaling_governor"] = governor
    return plant(root, files)


def virtual_machine(root: Path) -> Path:
    """An x86 guest: no clocks, zones or device tree."""
    core = "model name\t: AMD EPYC\nflags\t\t: fpu sse4_1 avx2 fma avx512f avx512_vnni amx_int8\n"
    return plant(
        root,
        {
            "proc/cpuinfo": f"processor\t: 0\n{core}\nprocessor\t: 1\n{core}\n",
            "proc/meminfo": "MemTotal: 24683656 kB\nMemAvailable: 20000000 kB\n",
            "proc/pressure/memory": "some avg10=2.50 avg60=0.10 avg300=0.00 total=1\n"
            "full avg10=9.00 avg60=0.00 avg300=0.00 total=0\n",
            "proc/pressure/cpu": "some avg10=12.00 avg60=0.10 avg300=0.00 total=1\n",
            "proc/loadavg": "3.25 1.00 0.50 2/300 999\n",
            "proc/1/cgroup": "0::/init.scope\n",
            ".dockerenv": "",
        },
    )


def garbage(root: Path) -> Path:
    """Every file is there and none of them makes sense."""
    noise = bytes(range(255, 127, -1)) + b"\nnan -7 1e999 \0 x: y: z\n"
    names = list(_names(pi3(root / "pattern")))
    planted = plant(root / "garbage", dict.fromkeys(names, noise))
    # A folder where a file should be.
    (planted / "proc/pressure/memory").mkdir(parents=True)
    return planted


def fake_vcgencmd(folder: Path, script: str) -> Path:
    """A program of that name; put `folder` on PATH."""
    program = plant(folder, {"vcgencmd": f"#!/bin/sh\n{script}\n"}) / "vcgencmd"
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return folder


def _names(root: Path) -> list[str]:
    return [str(path.relative_to(root)) for path in sorted(root.rglob("*")) if path.is_file()]
