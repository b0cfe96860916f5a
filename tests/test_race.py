"""Short runs that take turns."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from edgekit.race import race


def test_a_race_gives_each_runner_the_median_of_its_turns() -> None:
    clock = iter(np.arange(0.0, 1e6, 0.5))

    seconds = race([lambda: None, lambda: None], clock=lambda: float(next(clock)))

    assert seconds == [0.5, 0.5]


def test_the_slower_of_two_takes_longer() -> None:
    seconds = race([lambda: sum(range(100)), lambda: sum(range(20_000))], budget_s=0.2)

    assert seconds[0] < seconds[1]


def test_garbage_collection_is_back_on_after_a_race_that_broke() -> None:
    runs = iter(range(3))

    def breaks() -> None:
        next(runs)

    with pytest.raises(StopIteration):
        race([breaks])

    assert gc.isenabled()
