"""Why a device can't be used, in one sentence that says what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgekit import errors
from edgekit.bench.installed import NEEDED, is_older
from edgekit.bench.remote import answers
from edgekit.bench.remote.address import Device
from edgekit.bench.remote.answers import Facts, Hello
from edgekit.errors import DeviceError, EdgekitError, MissingDependencyError

LEAST_PYTHON = (3, 11)
_NO_WAY = 255
"""ssh's own exit code; any other is the remote program's."""

_BITS = 64
_SPARE_BYTES = 32 << 20
"""Room for what Python and onnxruntime write beside the files: byte code, a report."""

_NEEDS_64_BITS = (
    "onnxruntime has no wheel for 32-bit systems; install the 64-bit edition of its system (on a "
    "Raspberry Pi, Raspberry Pi OS 64-bit)"
)

_UNKNOWN_KEY = (
    "the host key of {device} isn't known: connect once with ssh, compare the key and accept it"
)
_CHANGED_KEY = (
    "the host key of {device} isn't the known one: if the device was set up anew, remove the old "
    "key with ssh-keygen -R; otherwise someone may be listening"
)
_REFUSED_LOGIN = (
    "{device} refuses the login: give it your key with ssh-copy-id, or load the key with ssh-add "
    "({last})"
)
_UNREACHABLE = "there is no route to {device}: is it on, and in this network?"

_SSH_SAYS = (
    ("HOST IDENTIFICATION HAS CHANGED", _CHANGED_KEY),
    ("Host key verification failed", _UNKNOWN_KEY),
    ("Permission denied", _REFUSED_LOGIN),
    ("Could not resolve hostname", "there is no host called {device}: check the name"),
    ("Connection refused", "{device} refuses the connection: is its ssh server running?"),
    ("timed out", "{device} doesn't answer: is it on, and in this network? ({last})"),
    ("No route to host", _UNREACHABLE),
    ("Network is unreachable", _UNREACHABLE),
)
"""What ssh says, and what to say instead; the first that fits."""


def cannot_connect(device: Device, code: int, said: Sequence[str]) -> DeviceError:
    """From how ssh ended, and what was written, before Python had answered.

    code: of ssh; 255 where it found no way, else that of the device's shell.
    """
    text = "\n".join(said)
    last = said[-1] if said else "ssh ended without a word"
    if code != _NO_WAY:
        return DeviceError(f"{device} lets ssh in but doesn't start Python, code {code}: {last}")
    for words, sentence in _SSH_SAYS:
        if words in text:
            return DeviceError(sentence.format(device=device, last=last))
    return DeviceError(f"can't reach {device}: {last}")


def link_lost(device: Device, doing: str, code: int | None, said: Sequence[str]) -> DeviceError:
    """From how ssh ended after the device had answered. code: of ssh; None while it runs."""
    last = f": {said[-1]}" if said else ""
    if code in {_NO_WAY, None}:
        return DeviceError(f"the link to {device} was lost while {doing}{last}")
    return DeviceError(f"{device} stopped while {doing}, code {code}{last}")


def no_python(device: Device, python: str, system: object) -> DeviceError:
    """Where the device's shell finds no such program. system: what `uname` says there."""
    found = f"; it is a {answers.printable(system)}" if system else ""
    return DeviceError(
        f"there is no program {python} on {device}{found}: install Python 3.11 or later, or name "
        "its Python with --device-python"
    )


def check_hello(device: Device, hello: Hello, python: str) -> None:
    """Raises DeviceError where onnxruntime can't exist on the device."""
    if hello.bits != _BITS:
        raise DeviceError(f"{device} runs a 32-bit Python ({hello.machine}): {_NEEDS_64_BITS}")
    if hello.version < LEAST_PYTHON:
        version = ".".join(map(str, hello.version))
        raise DeviceError(
            f"{python} on {device} is Python {version}: edgekit needs 3.11 or later; name another "
            "one with --device-python"
        )


def check_facts(device: Device, facts: Facts, python: str, send_bytes: int) -> None:
    """Raises DeviceError where packages or room are missing on the device."""
    missing = [name for name, version in facts.packages.items() if version is None]
    if missing:
        raise DeviceError(
            f"{python} on {device} has no {' and no '.join(missing)}: run there python3 -m venv "
            "~/edgekit && ~/edgekit/bin/pip install onnxruntime numpy, then give "
            "--device-python '~/edgekit/bin/python'"
        )
    if facts.fault is not None:
        raise DeviceError(f"importing onnxruntime on {device} fails: {facts.fault}")
    for name, version in facts.packages.items():
        if version is not None and is_older(version, NEEDED[name]):
            raise DeviceError(
                f"{name} on {device} is {version}, but edgekit needs {NEEDED[name]} or later: "
                "upgrade it there"
            )
    if facts.free_bytes < send_bytes + _SPARE_BYTES:
        raise DeviceError(
            f"{device} has {facts.free_bytes:,} bytes free in {facts.temporary}, but "
            f"{send_bytes + _SPARE_BYTES:,} are needed: make room"
        )


def remote_failure(device: Device, failure: Mapping[str, Any]) -> EdgekitError:
    """From a `failed` event."""
    stage, message = failure.get("stage"), answers.printable(failure.get("message", "no reason"))
    if stage == "receive":
        return DeviceError(f"{device} can't store the files: {message}")
    if stage == "bench":
        kind = getattr(errors, str(failure.get("kind")), DeviceError)
        ours = isinstance(kind, type) and issubclass(kind, EdgekitError)
        fits = ours and not issubclass(kind, MissingDependencyError)
        return (kind if fits else DeviceError)(f"on {device}: {message}")
    tail, code = failure.get("tail"), failure.get("code")
    how = f"ended with code {code}"
    if isinstance(code, int) and code < 0:
        how = f"was killed by signal {-code}"
    memory = ", perhaps for lack of memory" if code == -9 else ""
    last = f": {answers.printable(tail[-1])}" if isinstance(tail, list) and tail else ""
    return DeviceError(f"the benchmark on {device} {how}{memory}{last}")
