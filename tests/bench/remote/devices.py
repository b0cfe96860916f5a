"""A made-up ssh: a program of that name that runs the device's command here, or fails."""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

_SSH = """#!{python}
import json, os, subprocess, sys
with open({log!r}, "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
said = os.environ.get("FAKE_SSH_SAYS")
if said:
    sys.stderr.write(said + "\\n")
    sys.exit(255)
os.environ.update(HOME={home!r}, TMPDIR={folder!r}, PYTHONPATH={hidden!r})
command = ["sh", "-c", {login!r} + sys.argv[-1]]
cut = int(os.environ.get("FAKE_SSH_CUTS_AFTER", 0))
if not cut:
    os.execvp("sh", command)
# A link that breaks: the device gets so many bytes and then the end of its input.
device = subprocess.Popen(command, stdin=subprocess.PIPE)
while cut:
    data = os.read(0, min(cut, 65536))
    device.stdin.write(data)
    device.stdin.flush()
    cut -= len(data)
device.stdin.close()
device.wait()
sys.stderr.write("client_loop: send disconnect: Broken pipe\\n")
sys.exit(255)
"""


@dataclass(frozen=True, slots=True)
class FakeDevice:
    """What a made-up ssh reaches: a home folder and a folder for temporary files, both empty."""

    home: Path
    temporary: Path
    modules: Path
    log: Path

    @property
    def leftovers(self) -> list[str]:
        """What a benchmark left behind."""
        return sorted(path.name for path in self.temporary.iterdir())

    def startup(self, code: str) -> None:
        """Run this at the start of every Python of the device."""
        (self.modules / "sitecustomize.py").write_text(code)


def fake_device(folder: Path, monkeypatch: pytest.MonkeyPatch, login: str = "") -> FakeDevice:
    """Put the made-up ssh first on PATH. login: shell code before every command."""
    device = FakeDevice(
        folder / "home", folder / "temporary", folder / "modules", folder / "ssh.log"
    )
    for path in (device.home, device.temporary, device.modules):
        path.mkdir(parents=True)
    program(
        folder / "bin" / "ssh",
        _SSH.format(
            python=sys.executable,
            log=str(device.log),
            home=str(device.home),
            folder=str(device.temporary),
            hidden=str(device.modules),
            login=login,
        ),
    )
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return device


def program(path: Path, text: str) -> Path:
    """An executable script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path
