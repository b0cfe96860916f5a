from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edgekit.bench.remote.address import Device
from edgekit.bench.remote.answers import Facts, Hello
from edgekit.bench.remote.trouble import (
    cannot_connect,
    check_facts,
    check_hello,
    link_lost,
    no_python,
    remote_failure,
)
from edgekit.errors import ChecksumError, DeviceError, ModelFileError, UsageError

BOARD = Device("board", "pi")

HELLO = Hello((3, 11, 2), "aarch64", 64)
FACTS = Facts({"numpy": "2.1.0", "onnxruntime": "1.22.0"}, None, "/t", 1 << 30, True, None)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (
            ["@ REMOTE HOST IDENTIFICATION HAS CHANGED! @", "Host key verification failed."],
            "isn't the known one",
        ),
        (["Host key verification failed."], "the host key of pi@board isn't known"),
        (["pi@board: Permission denied (publickey)."], "ssh-copy-id"),
        (["ssh: Could not resolve hostname board: Name or service not known"], "no host called"),
        (["ssh: connect to host board port 22: Connection refused"], "is its ssh server running"),
        (["ssh: connect to host board port 22: Connection timed out"], "doesn't answer"),
        (["ssh: connect to host board port 22: No route to host"], "no route to pi@board"),
        (["ssh: connect to host board port 22: Network is unreachable"], "no route"),
        (["Bad configuration option: x"], "can't reach pi@board: Bad configuration option: x"),
        ([], "can't reach pi@board: ssh ended without a word"),
    ],
)  # fmt: skip
def test_what_ssh_says_becomes_what_to_do(said: list[str], sentence: str) -> None:
    error = cannot_connect(BOARD, 255, said)

    assert sentence in str(error)
    assert "pi@board" in str(error)
    assert error.exit_code == 5


def test_a_login_that_ends_by_itself_is_told_from_a_closed_way() -> None:
    error = cannot_connect(BOARD, 1, ["This account is currently not available."])

    assert str(error) == (
        "pi@board lets ssh in but doesn't start Python, code 1: This account is currently not "
        "available."
    )


def test_a_lost_link_is_told_from_a_program_that_stopped() -> None:
    lost = link_lost(BOARD, "measuring", 255, ["Timeout, server board not responding."])
    stopped = link_lost(BOARD, "measuring", 137, [])

    assert str(lost) == (
        "the link to pi@board was lost while measuring: Timeout, server board not responding."
    )
    assert str(stopped) == "pi@board stopped while measuring, code 137"


def test_a_board_in_order_passes() -> None:
    check_hello(BOARD, HELLO, "python3")
    check_facts(BOARD, FACTS, "python3", 1 << 20)


@pytest.mark.parametrize(
    ("hello", "sentence"),
    [
        (Hello((3, 11, 2), "armv7l", 32), r"32-bit Python \(armv7l\): onnxruntime has no wheel"),
        (Hello((3, 9, 2), "aarch64", 64), r"is Python 3\.9\.2: edgekit needs 3\.11"),
        (Hello((2, 7, 18), "aarch64", 64), r"is Python 2\.7\.18"),
    ],
)
def test_a_python_that_cant_run_it_is_refused(hello: Hello, sentence: str) -> None:
    with pytest.raises(DeviceError, match=sentence):
        check_hello(BOARD, hello, "python3")


def test_a_board_without_python_is_named_with_its_system() -> None:
    assert "; it is a Linux armv7l: install Python 3.11" in str(
        no_python(BOARD, "python3", "Linux armv7l")
    )
    assert "no program python3 on pi@board: install" in str(no_python(BOARD, "python3", None))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"packages": {"numpy": "2.1.0", "onnxruntime": None}}, "has no onnxruntime: run there"),
        (
            {"packages": {"numpy": None, "onnxruntime": None}},
            "has no numpy and no onnxruntime: run there",
        ),
        ({"packages": {"numpy": "1.24.2", "onnxruntime": "1.22.0"}}, "numpy on pi@board is 1.24.2"),
        ({"fault": "crashes with signal 4"}, "importing onnxruntime on pi@board fails: crashes"),
        ({"free_bytes": 1 << 20}, "1,048,576 bytes free in /t,"),
    ],
)
def test_missing_packages_and_room_are_named(changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DeviceError, match=sentence):
        check_facts(BOARD, replace(FACTS, **changed), "python3", 1 << 20)


def test_an_error_of_the_benchmark_keeps_its_kind() -> None:
    def failure(kind: str) -> dict[str, Any]:
        return {"stage": "bench", "kind": kind, "message": "no such input"}

    kinds = [
        type(remote_failure(BOARD, failure(kind)))
        for kind in ("UsageError", "ModelFileError", "ChecksumError")
    ]
    others = [
        type(remote_failure(BOARD, failure(kind)))
        for kind in ("annotations", "MissingDependencyError", "SystemExit", "")
    ]

    assert kinds == [UsageError, ModelFileError, ChecksumError]
    assert others == [DeviceError] * 4
    assert str(remote_failure(BOARD, failure("UsageError"))) == "on pi@board: no such input"


def test_a_crash_is_told_with_its_signal_and_last_words() -> None:
    killed = remote_failure(BOARD, {"stage": "run", "code": -9, "tail": []})
    ended = remote_failure(BOARD, {"stage": "run", "code": 1, "tail": ["a", "KeyError: 'x'"]})
    empty = remote_failure(BOARD, {})
    full = remote_failure(BOARD, {"stage": "receive", "message": "No space left on device"})

    assert str(killed) == (
        "the benchmark on pi@board was killed by signal 9, perhaps for lack of memory"
    )
    assert str(ended) == "the benchmark on pi@board ended with code 1: KeyError: 'x'"
    assert str(empty) == "the benchmark on pi@board ended with code None"
    assert str(full) == "pi@board can't store the files: No space left on device"
