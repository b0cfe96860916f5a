"""What a device says of itself, taken apart with trust in nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from edgekit.errors import DeviceError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Hello:
    """A device's Python: version, machine as it sees it, bits of a pointer."""

    version: tuple[int, ...]
    machine: str
    bits: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What a device has.

    packages: versions of numpy and onnxruntime, None where not installed. fault: why they can't be
    imported; None if they can. temporary, free_bytes: where files go, and room there. cffi:
    whether compiled modules can be loaded. installed: digest of an edgekit that is there.
    """

    packages: dict[str, str | None]
    fault: str | None
    temporary: str
    free_bytes: int
    cffi: bool
    installed: str | None


def read_hello(event: Mapping[str, Any]) -> Hello:
    """From a `hello` event. Raises DeviceError."""
    version = _entry(event, "version", list)
    if not version or not all(isinstance(number, int) for number in version):
        raise _not_understood("version")
    return Hello(
        tuple(version), printable(_entry(event, "machine", str)), _entry(event, "bits", int)
    )


def read_facts(event: Mapping[str, Any]) -> Facts:
    """From a `facts` event. Raises DeviceError."""
    packages = _entry(event, "packages", dict)
    return Facts(
        packages={name: _text_or_none(packages, name) for name in ("numpy", "onnxruntime")},
        fault=_text_or_none(event, "fault"),
        temporary=printable(_entry(event, "temporary", str)),
        free_bytes=_entry(event, "free_bytes", int),
        cffi=_entry(event, "cffi", bool),
        installed=_text_or_none(event, "installed"),
    )


def printable(text: object) -> str:
    """Text of a device on one line, without what could steer a terminal."""
    return "".join(c if c.isprintable() else " " for c in str(text))


def _text_or_none(event: Mapping[str, Any], name: str) -> str | None:
    return None if event.get(name) is None else printable(_entry(event, name, str))


def _entry(event: Mapping[str, Any], name: str, kind: type[T]) -> T:
    value = event.get(name)
    if not isinstance(value, kind):
        raise _not_understood(name)
    return value


def _not_understood(name: str) -> DeviceError:
    return DeviceError(
        f"the device's answer has no sensible {name!r}: something between here and its Python "
        "changes what it says"
    )
