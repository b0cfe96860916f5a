"""One program on one device, driven through ssh's stdin and stdout."""

from __future__ import annotations

import json
import os
import queue
import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

from edgekit.bench.remote import agent, trouble
from edgekit.bench.remote.address import Device
from edgekit.bench.remote.answers import Facts, Hello, printable, read_facts, read_hello
from edgekit.errors import DeviceError

CONNECT_TIMEOUT_S = 10

_HELLO_TIMEOUT_S = 60
"""For the login, the shell and Python's start; a first login on a slow card takes long."""

_FACTS_TIMEOUT_S = 150
_QUIET_S = 10
"""A sign of life goes out after so long without news; the device waits for one a minute."""

_CLOSING_S = 10
_READING_S = 2
_KEPT_LINES = 20
_CHUNK = 1 << 16
_LONGEST_LINE = 256 << 20

# Runs on any Python, so that an old one can be named. The agent's source follows on stdin.
_BOOTSTRAP = """
import json, platform, struct, sys
sys.path[:] = [p for p in sys.path if p]
hello = {"event": "hello", "version": list(sys.version_info[:3]), "machine": platform.machine(),
         "bits": 8 * struct.calcsize("P")}
sys.stdout.write("\\n%s%s\\n" % (PREFIX, json.dumps(hello)))
sys.stdout.flush()
if sys.version_info >= LEAST:
    exec(compile(sys.stdin.buffer.read(SIZE), "edgekit-agent", "exec"))
"""


@contextmanager
def connect(
    device: Device,
    *,
    python: str = "python3",
    ssh_config: str | os.PathLike[str] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Session]:
    """A session; at its end the device has removed what it was sent.

    python: the device's Python; a leading ~/ is the home folder there. ssh_config: a file for ssh
    in place of the user's own. say: takes a line for the person who waits.

    ssh is the system's: its configuration, agent, jump hosts and known hosts are the user's. Host
    keys are checked as that says, and nothing is asked. Raises DeviceError where there is no ssh.
    """
    command = ssh_command(device, python, ssh_config)
    if shutil.which(command[0]) is None:
        raise DeviceError("there is no program ssh here: install the OpenSSH client")
    child = subprocess.Popen(  # noqa: S603 - ssh; all that the user gave is in quotes
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Its messages are compared with known ones.
        env={**os.environ, "LC_ALL": "C"},
        # Ctrl-C is for us alone: ssh must live until the device has cleaned up.
        start_new_session=True,
    )
    session = Session(device, child, python, say)
    try:
        yield session
    finally:
        session.close()


class Session:
    """A program on a device, from its greeting to its report."""

    def __init__(
        self,
        device: Device,
        child: subprocess.Popen[bytes],
        python: str,
        say: Callable[[str], None],
    ) -> None:
        self._device, self._child, self._python, self._say = device, child, python, say
        self._stdin = cast("IO[bytes]", child.stdin)
        self._doing = "connecting"
        self._stopped = False
        self._names: Callable[[str], str] = str
        self._said: list[str] = []
        self._heard: list[str] = []
        self._events: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._readers = [
            threading.Thread(target=self._read_events, args=(child.stdout,), daemon=True),
            threading.Thread(target=self._read_errors, args=(child.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def hello(self) -> Hello:
        """What the device is. Raises DeviceError where onnxruntime can't exist there."""
        event = self._receive(_HELLO_TIMEOUT_S, "hello", "no-python")
        if event["event"] == "no-python":
            raise trouble.no_python(self._device, self._python, event.get("system"))
        hello = read_hello(event)
        trouble.check_hello(self._device, hello, self._python)
        return hello

    def facts(self) -> Facts:
        """What the device has. Raises DeviceError for an answer that makes no sense."""
        self._doing = "starting"
        self._write(_agent_source())
        return read_facts(self._receive(_FACTS_TIMEOUT_S, "facts"))

    def check(self, facts: Facts, send_bytes: int) -> None:
        """Raises DeviceError where packages or room for so many bytes are missing."""
        trouble.check_facts(self._device, facts, self._python, send_bytes)

    def order(
        self, order: dict[str, Any], files: Iterable[Path], names: Callable[[str], str]
    ) -> None:
        """Send what to do, and the bytes of the files that it names; wait until all are there.

        names: puts the names of our files into a text of the device.
        """
        self._names = names
        self._doing = "sending files"
        self._write(json.dumps(order).encode() + b"\n")
        for entry, path in zip(order["files"], files, strict=True):
            left = entry["size"]
            with path.open("rb") as file:
                while left:
                    data = file.read(min(left, _CHUNK))
                    if not data:
                        raise DeviceError(f"{path} became shorter while it was sent; try again")
                    if self._stopped:
                        raise self._lost()
                    self._write(data, flush=False)
                    left -= len(data)
        self._write(b"")
        # What is written may still lie in a buffer on the way.
        self._receive(None, "received")
        self._doing = "measuring"

    def result(self) -> object:
        """The report, as plain data. Raises the device's own error, or DeviceError."""
        return self._receive(None, "report").get("report")

    def stop(self) -> None:
        """End what another thread waits for; it then gets a DeviceError."""
        self._stopped = True
        self._events.put(None)

    def close(self) -> None:
        """End of input ends the device's program, which removes its files."""
        child = self._child
        try:
            # An unsent rest is of no use to a device that hung up.
            with suppress(BrokenPipeError):
                self._stdin.close()
            child.wait(_CLOSING_S)
        except subprocess.TimeoutExpired:
            self._say(f"{self._device} doesn't answer: files may be left in its temporary folder")
        finally:
            child.kill()
            child.wait()
            self._join_readers()
            for reader, stream in zip(self._readers, (child.stdout, child.stderr), strict=True):
                if stream is not None and not reader.is_alive():
                    stream.close()

    def _receive(self, timeout_s: float | None, *wanted: str) -> dict[str, Any]:
        """The next event of one of these names; progress is passed on on the way."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            try:
                event = self._events.get(timeout=_QUIET_S)
            except queue.Empty:
                if deadline is not None and time.monotonic() > deadline:
                    raise DeviceError(
                        f"no answer from {self._device} in {timeout_s:.0f} s while {self._doing}"
                    ) from None
                if deadline is None:
                    self._write(b"\n")
                continue
            if event is None:
                raise self._lost()
            if event["event"] == "failed":
                if isinstance(event.get("message"), str):
                    event["message"] = self._names(event["message"])
                raise trouble.remote_failure(self._device, event)
            if event["event"] == "progress":
                self._say(f"{self._device}: {self._names(printable(event.get('text')))}")
            elif event["event"] in wanted:
                return event

    def _write(self, data: bytes, *, flush: bool = True) -> None:
        try:
            self._stdin.write(data)
            if flush:
                self._stdin.flush()
        except BrokenPipeError:
            # The device hung up: it has told why, or ssh has.
            self._receive(_CLOSING_S)

    def _lost(self) -> DeviceError:
        if self._stopped:
            return DeviceError(f"{self._device} was stopped while {self._doing}")
        code = self._child.wait()
        self._join_readers()
        if self._doing == "connecting":
            return trouble.cannot_connect(self._device, code, self._said or self._heard)
        return trouble.link_lost(self._device, self._doing, code, self._said)

    def _join_readers(self) -> None:
        # A connection that ssh keeps for later sessions may hold its streams open.
        for reader in self._readers:
            reader.join(_READING_S)

    def _read_events(self, stream: IO[bytes]) -> None:
        prefix = agent.PREFIX.encode()
        while line := stream.readline(_LONGEST_LINE):
            if not line.startswith(prefix):
                _keep(self._heard, line)
                continue
            try:
                event = json.loads(line.removeprefix(prefix))
                known = isinstance(event["event"], str)
            except (ValueError, TypeError, KeyError, RecursionError):
                continue
            if known:
                self._events.put(event)
        self._events.put(None)

    def _read_errors(self, stream: IO[bytes]) -> None:
        for line in stream:
            _keep(self._said, line)


def ssh_command(
    device: Device, python: str, ssh_config: str | os.PathLike[str] | None
) -> list[str]:
    """The program to start, with its words."""
    config = [] if ssh_config is None else ["-F", os.fspath(ssh_config)]
    options = [
        "BatchMode=yes",
        f"ConnectTimeout={CONNECT_TIMEOUT_S}",
        "ServerAliveInterval=5",
        "ServerAliveCountMax=3",
        # At which it says why a link ended.
        "LogLevel=INFO",
        # What the user's configuration may ask for in a session of their own.
        "ClearAllForwardings=yes",
        "RemoteCommand=none",
    ]
    flags = [word for option in options for word in ("-o", option)]
    return [
        "ssh",
        *config,
        "-T",
        "-a",
        "-x",
        *flags,
        *device.ssh_arguments(),
        _remote_command(python),
    ]


def _remote_command(python: str) -> str:
    """One command for the device's login shell, whichever that is: all is in quotes."""
    program = shlex.quote(python)
    if python.startswith("~/"):
        program = f'"$HOME"/{shlex.quote(python.removeprefix("~/"))}'
    script = (
        f"PREFIX = {agent.PREFIX!r}; LEAST = {trouble.LEAST_PYTHON!r}; "
        f"SIZE = {len(_agent_source())}\n{_BOOTSTRAP}"
    )
    no_python = f'{agent.PREFIX}{{"event": "no-python", "system": "%s"}}'
    shell = (
        f"command -v {program} >/dev/null 2>&1 || "
        f"{{ printf '\\n{no_python}\\n' \"$(uname -sm)\"; exit 0; }}; "
        f"exec {program} -c {shlex.quote(script)}"
    )
    return f"exec sh -c {shlex.quote(shell)}"


def _agent_source() -> bytes:
    return Path(agent.__file__).read_bytes()


def _keep(lines: list[str], line: bytes) -> None:
    """Add a line to the last ones, if something is on it."""
    text = printable(line.decode("utf-8", "replace")).strip()
    if text:
        lines.append(text)
        del lines[:-_KEPT_LINES]
