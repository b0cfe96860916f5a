"""What a machine is: processor, board, kernel and the versions of what runs on it.

Every reader takes the root folder of the files it reads, so that a tree copied from a board, or
made up, can be read anywhere. What can't be read is None.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import edgekit
from edgekit.bench.container import read_container
from edgekit.bench.sysfs import parse_integer, read_text

ROOT = Path("/")

FLAGS = (
    "sse4_1",
    "avx2",
    "fma",
    "avx_vnni",
    "avx512f",
    "avx512bw",
    "avx512vl",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "asimddp",
    "asimdhp",
    "i8mm",
    "bf16",
    "sve",
    "sve2",
)
"""Flags of /proc/cpuinfo that decide how fast a light CNN runs. asimddp is Arm's dotprod."""

_ARM_PARTS = {
    0xD03: "Cortex-A53",
    0xD04: "Cortex-A35",
    0xD05: "Cortex-A55",
    0xD07: "Cortex-A57",
    0xD08: "Cortex-A72",
    0xD09: "Cortex-A73",
    0xD0A: "Cortex-A75",
    0xD0B: "Cortex-A76",
    0xD0C: "Neoverse N1",
    0xD0D: "Cortex-A77",
    0xD40: "Neoverse V1",
    0xD41: "Cortex-A78",
    0xD42: "Cortex-A78AE",
    0xD46: "Cortex-A510",
    0xD47: "Cortex-A710",
    0xD49: "Neoverse N2",
    0xD4F: "Neoverse V2",
}
"""Part numbers of implementer 0x41, from the main ID register in Arm's reference manuals."""

_PACKAGES = ("onnxruntime", "numpy")


@dataclass(frozen=True, slots=True)
class Cpu:
    """A processor.

    model: as the kernel names it; on Arm, which kernels don't name, the cores' part numbers.
    cores: logical cores that are online. usable: those that this process may run on.
    flags: those of FLAGS that it has; None where the kernel doesn't list flags.
    """

    model: str | None
    architecture: str
    cores: int | None
    usable: int | None
    flags: tuple[str, ...] | None

    def has(self, flag: str) -> bool | None:
        """Whether it has one of FLAGS; None if unknown."""
        return None if self.flags is None else flag in self.flags


@dataclass(frozen=True, slots=True)
class Host:
    """What a machine is.

    board: model of a single-board computer. memory_bytes: main memory.
    container: kind of container that this process runs in, "" for none; None if unknown.
    versions: of python, edgekit, onnxruntime and numpy; None where not installed.
    """

    board: str | None
    cpu: Cpu
    memory_bytes: int | None
    kernel: str | None
    system: str | None
    container: str | None
    versions: dict[str, str | None]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        facts = asdict(self)
        facts["cpu"]["flags"] = None if self.cpu.flags is None else list(self.cpu.flags)
        return facts


def read_host(root: Path = ROOT) -> Host:
    """Everything of `Host`, from files below `root` and from this process."""
    return Host(
        board=read_board(root),
        cpu=read_cpu(root),
        memory_bytes=read_memory(root).get("MemTotal"),
        kernel=read_text(root / "proc/sys/kernel/osrelease"),
        system=_os_name(root),
        container=read_container(root),
        versions=versions(),
    )


def read_board(root: Path = ROOT) -> str | None:
    """The model of the device tree, or of /proc/cpuinfo on older Raspberry Pi kernels."""
    for place in ("proc/device-tree/model", "sys/firmware/devicetree/base/model"):
        if model := read_text(root / place):
            return model
    return _cpuinfo(root).get("Model")


def read_cpu(root: Path = ROOT) -> Cpu:
    """The processor, from /proc/cpuinfo and the list of online cores."""
    text = read_text(root / "proc/cpuinfo") or ""
    info = _cpuinfo(root)
    listed = info.get("flags") or info.get("Features")
    present = set((listed or "").split())
    return Cpu(
        model=info.get("model name") or _arm_cores(text),
        architecture=platform.machine(),
        cores=_count(read_text(root / "sys/devices/system/cpu/online")) or _processors(text),
        usable=_usable(),
        flags=None if listed is None else tuple(flag for flag in FLAGS if flag in present),
    )


def read_memory(root: Path = ROOT) -> dict[str, int]:
    """/proc/meminfo in bytes; entries that make no sense are left out."""
    sizes = {}
    for line in (read_text(root / "proc/meminfo") or "").splitlines():
        name, _, value = line.partition(":")
        words = value.split()
        number = parse_integer(words[0]) if words else None
        if number is not None and number >= 0 and words[1:] == ["kB"]:
            sizes[name] = number * 1024
    return sizes


def versions() -> dict[str, str | None]:
    """Versions of what decides a result; None for a package that isn't installed."""
    # Our own is in the code: what runs from a folder has no metadata, or another version's.
    found: dict[str, str | None] = {
        "python": platform.python_version(),
        "edgekit": edgekit.__version__,
    }
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def _cpuinfo(root: Path) -> dict[str, str]:
    """The first value of each key; several cores repeat them."""
    entries: dict[str, str] = {}
    for line in (read_text(root / "proc/cpuinfo") or "").splitlines():
        key, colon, value = line.partition(":")
        if colon and value.strip():
            entries.setdefault(key.strip(), value.strip())
    return entries


def _arm_cores(text: str) -> str | None:
    """Kinds of Arm cores, in the order of /proc/cpuinfo."""
    kinds: list[str] = []
    implementer = None
    for line in text.splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        if key == "CPU implementer":
            implementer = _hexadecimal(value)
        number = _hexadecimal(value) if key == "CPU part" else None
        if number is not None:
            known = _ARM_PARTS.get(number) if implementer == 0x41 else None
            kind = known or f"Arm core, implementer {implementer or 0:#x}, part {number:#x}"
            if kind not in kinds:
                kinds.append(kind)
    return " + ".join(kinds) or None


def _hexadecimal(text: str) -> int | None:
    return parse_integer(text, 16)


def _processors(cpuinfo: str) -> int | None:
    return sum(line.startswith("processor") for line in cpuinfo.splitlines()) or None


def _count(ranges: str | None) -> int | None:
    """How many numbers "0-3,8" holds."""
    total = 0
    for part in (ranges or "").split(","):
        first, dash, last = part.partition("-")
        low = parse_integer(first)
        high = parse_integer(last) if dash else low
        if low is None or high is None or high < low:
            return None
        total += high - low + 1
    return total


def _usable() -> int | None:
    # Not on every system, and narrower than the machine in a container or under taskset.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _os_name(root: Path) -> str | None:
    for line in (read_text(root / "etc/os-release") or "").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip("\"'") or None
    return None
