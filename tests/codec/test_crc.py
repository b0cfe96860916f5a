"""CRC-32C in numpy against the definition, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.codec import crc32c


def slow_crc32c(data: bytes) -> int:
    """The definition: one bit at a time, polynomial 0x1EDC6F41 reflected."""
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = state >> 1 ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


def test_the_check_value_of_the_specification_comes_out() -> None:
    assert crc32c(b"123456789") == 0xE3069283


@pytest.mark.parametrize("length", [0, 1, 1023, 1024, 1025, 4096, 5000])
def test_any_length_agrees_with_the_definition(length: int) -> None:
    data = np.random.default_rng(length).integers(0, 256, length, np.uint8).tobytes()

    assert crc32c(data) == slow_crc32c(data)


@given(st.integers(0, 2**32), st.integers(0, 3000), st.integers(0, 3000))
@settings(deadline=None, max_examples=50)
def test_a_check_sum_continues_where_another_ends(seed: int, first: int, second: int) -> None:
    data = np.random.default_rng(seed).integers(0, 256, first + second, np.uint8).tobytes()

    assert crc32c(data[first:], crc32c(data[:first])) == crc32c(data)


def test_leading_zeros_change_the_check_sum() -> None:
    data = b"weights" * 300

    assert crc32c(bytes(5) + data) != crc32c(data)
