from __future__ import annotations

import pytest

from edgekit.bench.remote.address import Device, parse_device
from edgekit.errors import UsageError


@pytest.mark.parametrize(
    ("text", "device", "shown"),
    [
        ("ssh://pi@board.local", Device("board.local", "pi"), "pi@board.local"),
        ("ssh://pi@10.0.0.7:2222/", Device("10.0.0.7", "pi", 2222), "pi@10.0.0.7:2222"),
        ("ssh://[fe80::1%eth0]:22", Device("fe80::1%eth0", None, 22), "[fe80::1%eth0]:22"),
        ("ssh://My-Alias", Device("My-Alias"), "My-Alias"),
        ("pi@board", Device("board", "pi"), "pi@board"),
    ],
)
def test_an_address_is_taken_apart_and_shown(text: str, device: Device, shown: str) -> None:
    parsed = parse_device(text)

    assert parsed == device
    assert str(parsed) == shown


def test_what_isnt_given_is_left_to_ssh() -> None:
    assert Device("board").ssh_arguments() == ["--", "board"]
    assert Device("::1", "pi", 2222).ssh_arguments() == ["-l", "pi", "-p", "2222", "--", "::1"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ssh://",
        "ssh://@board",
        "ssh://-oProxyCommand=touch%20x",
        "-oProxyCommand=x",
        "ssh://-l@board",
        "ssh://pi@board:0",
        "ssh://pi@board:65536",
        "ssh://pi@board:22x",
        "ssh://pi@board/folder",
        "ssh://pi:secret@board",
        "ssh://pi@bo ard",
        "ssh://pi@$(touch x)",
        "ssh://pi@board\n",
        "http://board",
    ],
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="a device is ssh://user@host"):
        parse_device(text)
