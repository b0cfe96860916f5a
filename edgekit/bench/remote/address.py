"""Addresses of devices: ssh://user@host:port."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgekit.errors import UsageError

_SCHEME = "ssh://"
# Nothing that ssh could take for a flag, and nothing that a shell would read.
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_ADDRESS = re.compile(
    rf"(?:(?P<user>{_NAME})@)?(?P<host>{_NAME}|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9]+)?\])"
    r"(?::(?P<port>[0-9]{1,5}))?/?"
)


@dataclass(frozen=True, slots=True)
class Device:
    """Where a device is. user, port: None to leave them to ssh and its configuration.

    host: a name, an address, or an alias of the user's ssh configuration.
    """

    host: str
    user: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        """The device in messages: user@host:port."""
        user = "" if self.user is None else f"{self.user}@"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{user}{host}" + ("" if self.port is None else f":{self.port}")

    def ssh_arguments(self) -> list[str]:
        """What ssh is told of it."""
        user = [] if self.user is None else ["-l", self.user]
        port = [] if self.port is None else ["-p", str(self.port)]
        return [*user, *port, "--", self.host]


def parse_device(text: str) -> Device:
    """A device from ssh://[user@]host[:port], with the scheme or without. Raises UsageError."""
    found = _ADDRESS.fullmatch(text.removeprefix(_SCHEME))
    port = None if found is None or found["port"] is None else int(found["port"])
    if found is None or (port is not None and not 0 < port < 1 << 16):
        raise UsageError(f"a device is ssh://user@host or ssh://user@host:port, not {text!r}")
    return Device(found["host"].strip("[]"), found["user"], port)
