"""What of edgekit's own needs is installed: packages that it can't do without, and extras."""

from __future__ import annotations

import importlib.metadata
import re
import signal
import subprocess
import sys
from dataclasses import dataclass

NEEDED = {
    "numpy": "2.0",
    "onnx": "1.18",
    "onnxruntime": "1.22",
    "rich": "13.9",
    "typer": "0.16",
}
"""Packages of the plain install with their least versions, as in pyproject.toml."""

EXTRAS = {
    "torch": ("torch", "onnxscript", "onnxsim", "safetensors"),
    "images": ("pillow",),
    "report": ("jinja2", "matplotlib"),
}
"""Packages that each extra brings, as in pyproject.toml."""

_IMPORT_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Package:
    """A package that edgekit needs.

    version: None where it isn't installed. fault: why it can't be used, in a few words; None if
    it can.
    """

    name: str
    version: str | None
    fault: str | None


def needed_packages() -> tuple[Package, ...]:
    """Each of NEEDED. Each is imported in a process of its own, because one may crash."""
    return tuple(_examine(name, least) for name, least in NEEDED.items())


def missing_of(extra: str) -> tuple[str, ...]:
    """Packages of an extra that aren't installed."""
    return tuple(package for package in EXTRAS[extra] if installed_version(package) is None)


def installed_version(package: str) -> str | None:
    """A package's version by its metadata; None where it isn't installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def import_fault(module: str) -> str | None:
    """Why a module can't be imported; None if it can."""
    try:
        child = subprocess.run(  # noqa: S603 - this interpreter, and a name of NEEDED
            [sys.executable, "-P", "-c", f"import {module}"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_IMPORT_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"its import takes more than {_IMPORT_TIMEOUT_S} s"
    if child.returncode == 0:
        return None
    if child.returncode < 0:
        return f"its import crashes with {signal.Signals(-child.returncode).name}"
    said = child.stderr.strip().splitlines() or [f"code {child.returncode}"]
    return f"its import fails: {said[-1]}"


def is_older(version: str, least: str) -> bool:
    """Whether a version comes before another, by the numbers of both."""
    return _numbers(version) < _numbers(least)


def _numbers(version: str) -> tuple[int, ...]:
    release = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, release.group().split("."))) if release else ()


def _examine(name: str, least: str) -> Package:
    version = installed_version(name)
    if version is None:
        return Package(name, None, "not installed")
    if is_older(version, least):
        return Package(name, version, f"older than {least}")
    return Package(name, version, import_fault(name))
