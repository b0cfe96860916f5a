"""A process is bound to the cores that were asked for, and released again."""

from __future__ import annotations

import os

import pytest

from edgekit.bench.checks import bound_to
from edgekit.errors import UsageError

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="this system can't bind a process"
)


def test_the_cores_are_used_and_given_back_after_an_error() -> None:
    usable = os.sched_getaffinity(0)
    one = min(usable)

    bound: list[set[int]] = []

    def fail() -> None:
        bound.append(os.sched_getaffinity(0))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), bound_to([one]):
        fail()

    assert bound == [{one}]
    assert os.sched_getaffinity(0) == usable


@pytest.mark.parametrize("cores", [[4095], []])
def test_cores_that_are_not_there_are_named_with_those_that_are(cores: list[int]) -> None:
    usable = ", ".join(map(str, sorted(os.sched_getaffinity(0))))

    with pytest.raises(UsageError, match=f"isn't among the usable ones, {usable}"), bound_to(cores):
        pass
