"""An ssh server of our own, a relay that can be cut, and a network that can be unplugged."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SSHD = "/usr/sbin/sshd"
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Server:
    """A running sshd.

    folder: with its keys; `user` is the key that it accepts. config: for ssh, with the known host.
    temporary: where its programs write temporary files. programs: first on its PATH.
    """

    address: str
    port: int
    folder: Path
    config: Path
    temporary: Path
    programs: Path

    @property
    def url(self) -> str:
        return f"ssh://{self.address}:{self.port}"

    @property
    def leftovers(self) -> list[str]:
        return sorted(path.name for path in self.temporary.iterdir())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def make_key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


@contextlib.contextmanager
def serve(folder: Path, address: str = LOOPBACK, within: tuple[str, ...] = ()) -> Iterator[Server]:
    """An sshd on a free port. within: words before its command, such as `ip netns exec NAME`."""
    server = Server(
        address, free_port(), folder, folder / "config", folder / "temporary", folder / "programs"
    )
    server.temporary.mkdir()
    server.programs.mkdir()
    host, user = make_key(folder / "host"), make_key(folder / "user")
    (folder / "sshd.conf").write_text(f"""
ListenAddress {address}
Port {server.port}
HostKey {host}
AuthorizedKeysFile {user}.pub
PidFile {folder}/pid
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
ClientAliveInterval 3
ClientAliveCountMax 12
SetEnv PATH={server.programs}:/usr/bin:/bin TMPDIR={server.temporary}
""")
    key = host.with_suffix(".pub").read_text()
    (folder / "known").write_text(f"[{address}]:{server.port} {key}")
    write_config(server)
    # Its place for unprivileged children.
    Path("/run/sshd").mkdir(exist_ok=True)
    daemon = subprocess.Popen(
        [*within, SSHD, "-D", "-f", folder / "sshd.conf", "-E", folder / "log"]
    )
    try:
        _wait_for(folder / "log")
        yield server
    finally:
        daemon.terminate()
        daemon.wait()


def write_config(
    server: Server, extra: str = "", *, key: str = "user", known: str = "known"
) -> Path:
    """A configuration for ssh. extra: entries before the common ones, which win."""
    server.config.write_text(f"""{extra}
Host *
  IdentityFile {server.folder / key}
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile {server.folder / known}
  GlobalKnownHostsFile none
""")
    return server.config


def _wait_for(log: Path) -> None:
    deadline = time.monotonic() + 10
    while not (log.exists() and "listening" in log.read_text()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"sshd doesn't listen: {log.read_text() if log.exists() else ''}")
        time.sleep(0.05)


class Relay:
    """Passes bytes on to a port until it is told to break off or to fall silent.

    after: bytes from the client that still go through. A silent relay keeps connections open, as
    a network does whose cable was pulled.
    """

    def __init__(self, port: int, *, after: int, silent: bool) -> None:
        self._target, self._left, self._silent = port, after, silent
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """End all connections."""
        for end in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            client, _ = self._listener.accept()
            server = socket.create_connection((LOOPBACK, self._target))
            self._open += [client, server]
            for ends in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if counted:
                    self._left -= len(data)
                if self._left < 0 and not self._silent:
                    self.close()
                    return
                if self._left >= 0:
                    target.sendall(data)


@contextlib.contextmanager
def namespace(name: str) -> Iterator[tuple[str, str]]:
    """A network namespace behind a cable: its address, and our end of the cable."""
    near, far = f"{name}-a", f"{name}-b"
    commands = [
        ["ip", "netns", "add", name],
        ["ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", name],
        ["ip", "address", "add", "10.213.77.1/30", "dev", near],
        ["ip", "link", "set", near, "up"],
        ["ip", "-n", name, "address", "add", "10.213.77.2/30", "dev", far],
        ["ip", "-n", name, "link", "set", far, "up"],
        ["ip", "-n", name, "link", "set", "lo", "up"],
    ]
    try:
        for command in commands:
            subprocess.run(command, check=True, capture_output=True)
        yield "10.213.77.2", near
    finally:
        # A namespace lives as long as its last process, so the cable doesn't always go with it.
        for words in (["link", "delete", near], ["netns", "delete", name]):
            subprocess.run(["ip", *words], check=False, capture_output=True)


def namespaces_work() -> bool:
    """Whether this process may make network namespaces."""
    if os.geteuid() != 0:
        return False
    try:
        with namespace("edgekit-try"):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False
