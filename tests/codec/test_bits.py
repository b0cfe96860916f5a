"""Bit streams and nibbles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.codec.bits import NibbleReader, pack_bits, pack_nibbles
from edgekit.errors import TruncatedError


@given(
    st.lists(st.integers(0, 12).flatmap(lambda w: st.tuples(st.integers(0, 2**w - 1), st.just(w))))
)
@settings(deadline=None)
def test_packed_bits_are_one_number_with_the_first_value_lowest(
    fields: list[tuple[int, int]],
) -> None:
    values = np.array([value for value, _ in fields], np.uint16)
    widths = np.array([width for _, width in fields], np.uint8)

    packed = pack_bits(values, widths)

    number = place = 0
    for value, width in fields:
        number |= value << place
        place += width
    assert packed == number.to_bytes(-(-place // 8), "little")


def test_nibbles_are_read_back_in_order_low_one_first() -> None:
    data = pack_nibbles([1, 2, 15])
    reader = NibbleReader(data, 0)

    read = [reader.next() for _ in range(3)]

    assert data == bytes([0x21, 0x0F])
    assert read == [1, 2, 15]
    assert reader.is_mid_byte
    assert reader.offset == 2


def test_nibbles_behind_the_end_are_truncated() -> None:
    reader = NibbleReader(b"\x21", 0)
    reader.next()
    reader.next()

    with pytest.raises(TruncatedError, match="ends before"):
        reader.next()
