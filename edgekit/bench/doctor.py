"""Look over this machine: what is installed, what works, and what will be fast or slow on it.

Needs the standard library alone, so that it runs where onnxruntime can't be installed.
"""

from __future__ import annotations

import platform
import shutil
import struct
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import edgekit
from edgekit.bench.advice import NOT_AVAILABLE, Check, Verdict, power_checks, speed_checks
from edgekit.bench.host import ROOT, Host, read_host
from edgekit.bench.installed import EXTRAS, Package, missing_of, needed_packages
from edgekit.bench.state import State, read_state

SCHEMA = 1
"""Version of the report's form."""

LEAST_PYTHON = (3, 11)

_NARROW_MACHINES = frozenset({"armv6l", "armv7l", "armv8l", "i386", "i586", "i686"})
"""What a 32-bit kernel, or a 32-bit process under a 64-bit one, calls its processor."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The Python that would run a model: version, machine as it sees it, bits of a pointer."""

    version: tuple[int, int, int]
    machine: str
    bits: int


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """What was looked at, with the facts behind it."""

    checks: tuple[Check, ...]
    host: Host
    state: State

    @property
    def broken(self) -> tuple[Check, ...]:
        """Checks of things that edgekit can't do without."""
        return tuple(check for check in self.checks if check.verdict is Verdict.BROKEN)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "schema": SCHEMA,
            "kind": "edgekit.doctor",
            "usable": not self.broken,
            "checks": [{**asdict(check), "verdict": check.verdict.value} for check in self.checks],
            "host": self.host.to_dict(),
            "state": self.state.to_dict(),
        }


def doctor(root: str | Path = ROOT) -> DoctorReport:
    """Look over this machine.

    root: folder below which the kernel's files are read. Packages and Python are those of this
    process. Nothing is changed and nothing is sent.
    """
    host, state = read_host(Path(root)), read_state(Path(root))
    checks = (
        *system_checks(host, this_interpreter()),
        *package_checks(needed_packages()),
        _decoder(),
        *_extras(),
        _ssh(),
        *speed_checks(host),
        *power_checks(host, state),
    )
    return DoctorReport(checks, host, state)


def this_interpreter() -> Interpreter:
    """The Python of this process."""
    return Interpreter(sys.version_info[:3], platform.machine(), 8 * struct.calcsize("P"))


def system_checks(host: Host, interpreter: Interpreter) -> Iterator[Check]:
    """Board, system and Python: whether onnxruntime can exist here."""
    if host.board is not None:
        yield Check("board", Verdict.OK, host.board)
    kernel = f"kernel {host.kernel or NOT_AVAILABLE}"
    yield Check("system", Verdict.OK, f"{host.system or platform.system()}, {kernel}")
    if host.container is None:
        yield Check("container", Verdict.UNKNOWN, NOT_AVAILABLE)
    else:
        yield Check("container", Verdict.OK, host.container or "none found")
    version = ".".join(map(str, interpreter.version))
    found = f"{version}, {interpreter.bits} bits, {interpreter.machine}"
    if interpreter.bits != 64 or interpreter.machine in _NARROW_MACHINES:
        advice = (
            "onnxruntime has no wheel for 32-bit systems: install the 64-bit edition of the system "
            "(on a Raspberry Pi, Raspberry Pi OS 64-bit)"
        )
        yield Check("python", Verdict.BROKEN, found, advice)
    elif interpreter.version < LEAST_PYTHON:
        advice = f"edgekit needs Python {'.'.join(map(str, LEAST_PYTHON))} or later"
        yield Check("python", Verdict.BROKEN, found, advice)
    else:
        yield Check("python", Verdict.OK, found)
    yield Check("edgekit", Verdict.OK, edgekit.__version__)


def package_checks(packages: tuple[Package, ...]) -> Iterator[Check]:
    """Packages that every verb, or most of them, needs."""
    for package in packages:
        if package.fault is None:
            yield Check(package.name, Verdict.OK, package.version or "")
            continue
        found = ", ".join(filter(None, (package.version, package.fault)))
        how = "--upgrade" if package.version is None else "--force-reinstall"
        advice = f"python3 -m pip install {how} {package.name}"
        yield Check(package.name, Verdict.BROKEN, found, advice)


def _decoder() -> Check:
    try:
        from edgekit.codec import native
    except ImportError:
        # Without numpy, which is told in a line of its own.
        return Check("decoder", Verdict.UNKNOWN, NOT_AVAILABLE)
    if native.available:
        return Check("decoder", Verdict.OK, "compiled")
    advice = (
        "packed files open more slowly, with the same weights; install a C compiler and Python's "
        "headers (Debian: gcc libc6-dev python3-dev), then install edgekit again"
    )
    return Check("decoder", Verdict.NOTE, f"numpy: {native.reason}", advice)


def _extras() -> Iterator[Check]:
    for extra in EXTRAS:
        missing = missing_of(extra)
        if missing:
            found, advice = f"without {', '.join(missing)}", f"pip install 'edgekit[{extra}]'"
            yield Check(f"extra {extra}", Verdict.NOTE, found, advice)
        else:
            yield Check(f"extra {extra}", Verdict.OK, "installed")


def _ssh() -> Check:
    if shutil.which("ssh") is not None:
        return Check("ssh", Verdict.OK, "installed")
    advice = "edgekit bench --device needs the OpenSSH client (Debian: openssh-client)"
    return Check("ssh", Verdict.NOTE, "not installed", advice)
