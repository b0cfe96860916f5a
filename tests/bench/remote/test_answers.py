from __future__ import annotations

from typing import Any

import pytest

from edgekit.bench.remote.answers import Facts, Hello, printable, read_facts, read_hello
from edgekit.errors import DeviceError

HELLO: dict[str, Any] = {"version": [3, 11, 2], "machine": "aarch64", "bits": 64}
FACTS: dict[str, Any] = {
    "packages": {"numpy": "2.1.0", "onnxruntime": None},
    "fault": "No module\x1b[2J",
    "temporary": "/t",
    "free_bytes": 7,
    "cffi": True,
    "installed": None,
}


def test_answers_become_values() -> None:
    assert read_hello(HELLO) == Hello((3, 11, 2), "aarch64", 64)
    assert read_facts(FACTS) == Facts(
        {"numpy": "2.1.0", "onnxruntime": None}, "No module [2J", "/t", 7, True, None
    )


@pytest.mark.parametrize(
    ("entry", "value"),
    [("version", []), ("version", "3.11"), ("version", ["3"]), ("machine", None), ("bits", "64")],
)
def test_a_greeting_that_makes_no_sense_is_refused(entry: str, value: object) -> None:
    with pytest.raises(DeviceError, match=f"no sensible '{entry}'"):
        read_hello(HELLO | {entry: value})


@pytest.mark.parametrize(
    ("entry", "value"),
    [("packages", []), ("fault", 3), ("free_bytes", "much"), ("cffi", None), ("installed", {})],
)
def test_facts_that_make_no_sense_are_refused(entry: str, value: object) -> None:
    with pytest.raises(DeviceError, match=f"no sensible '{entry}'"):
        read_facts(FACTS | {entry: value})


def test_what_could_steer_a_terminal_is_taken_out() -> None:
    assert printable("a\x1b[31mb\nc\u202e") == "a [31mb c "
