"""CRC-32C, the Castagnoli check sum (docs/format.md, chapter 1), in numpy.

A CRC without its initial value is linear over bits, and leading zeros don't change it. So long
data are cut into lanes that advance together, one byte of each lane an array operation, and the
lanes' results are joined in pairs.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

_POLYNOMIAL = np.uint32(0x82F63B78)
"""0x1EDC6F41 with its bits reversed."""
_LANE_BYTES = 256
_PLAIN_BELOW = 1024
"""Below this many bytes a loop over them is faster than the lanes."""


@cache
def _byte_table() -> NDArray[np.uint32]:
    """What each value of the lowest byte becomes when the state moves on by eight bits."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        carried = np.where(table & np.uint32(1), _POLYNOMIAL, np.uint32(0))
        table = (table >> np.uint32(1)) ^ carried
    return table


@cache
def _byte_list() -> list[int]:
    return [int(entry) for entry in _byte_table()]


@cache
def _zeros_operator(log2_bytes: int) -> NDArray[np.uint32]:
    """What each of the 32 state bits becomes behind 2 ** log2_bytes zero bytes; (32,) uint32."""
    if log2_bytes == 0:
        bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
        images: NDArray[np.uint32] = _byte_table()[bits & 0xFF] ^ (bits >> np.uint32(8))
        return images
    half = _zeros_operator(log2_bytes - 1)
    return _apply(half, half)


def _apply(operator: NDArray[np.uint32], states: NDArray[np.uint32]) -> NDArray[np.uint32]:
    result = np.zeros_like(states)
    for place in range(32):
        result ^= np.where(states >> np.uint32(place) & 1, operator[place], np.uint32(0))
    return result


@cache
def _zeros_tables(log2_bytes: int) -> NDArray[np.uint32]:
    """The operator for each value of each of the four bytes of a state; (4, 256) uint32."""
    values = np.arange(256, dtype=np.uint32)
    places = np.arange(0, 32, 8, dtype=np.uint32)[:, None]
    return _apply(_zeros_operator(log2_bytes), values << places)


def _append_zeros(states: NDArray[np.uint32], log2_bytes: int) -> NDArray[np.uint32]:
    """The states behind 2 ** log2_bytes more zero bytes."""
    tables = _zeros_tables(log2_bytes)
    low, second, third, high = (states >> np.uint32(place) & 0xFF for place in (0, 8, 16, 24))
    result: NDArray[np.uint32] = tables[0][low] ^ tables[1][second] ^ tables[2][third]
    result ^= tables[3][high]
    return result


def crc32c(data: bytes | memoryview | NDArray[np.uint8], value: int = 0) -> int:
    """CRC-32C of `data`; `value` is the result for the bytes before it, 0 at the beginning."""
    message = np.frombuffer(data, np.uint8)
    if message.size < _PLAIN_BELOW:
        state, table = value ^ 0xFFFFFFFF, _byte_list()
        for byte in message.tobytes():
            state = table[(state ^ byte) & 0xFF] ^ state >> 8
        return state ^ 0xFFFFFFFF

    lanes = 1 << (-(-message.size // _LANE_BYTES) - 1).bit_length()
    padded = np.zeros(lanes * _LANE_BYTES, np.uint8)
    start = padded.size - message.size
    padded[start:] = message
    # The initial value acts like four bytes mixed into the beginning of the message.
    padded[start : start + 4] ^= np.array([value ^ 0xFFFFFFFF], "<u4").view(np.uint8)
    states = np.zeros(lanes, np.uint32)
    bytes_table = _byte_table()
    for column in np.ascontiguousarray(padded.reshape(lanes, _LANE_BYTES).T):
        states = bytes_table[(states ^ column) & 0xFF] ^ (states >> 8)
    log2_bytes = _LANE_BYTES.bit_length() - 1
    while states.size > 1:
        states = _append_zeros(states[0::2], log2_bytes) ^ states[1::2]
        log2_bytes += 1
    return int(states[0]) ^ 0xFFFFFFFF
