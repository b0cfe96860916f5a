"""Codes along a trellis: those before a code tell its lowest bit (docs/format.md, chapter 4.7).

Trellis-coded quantization (Marcellin and Fischer, 1990) on a uniform grid, whose even and odd
levels are the two unions of subsets of Fischer and Wang (1992). Which of the two is next is for
Ungerboeck's code of 64 states to say (1982, table I: parity checks 103 and 024, octal). A code
takes one bit less and has half of the levels to choose from; because there are many paths to
choose among, it errs 1.25 dB less than levels twice as far apart that are all free.

A path runs along one axis of a tensor, and begins anew where a chunk of the file does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import UsageError

CHUNK_LOG2 = 18
"""Elements of a chunk, as a power of 2. Paths gain little in their first elements."""
DISTORTION = 0.75
"""Mean squared error of long paths, beside that of free levels twice as far apart."""

TAPS = ((1, 0), (2, 1), (4, 1), (6, 0))
"""The bits whose sum, modulo 2, is a code's lowest bit: elements back, and place of the bit."""
_REACH = 6
_FAR = 1024.0
"""No code is so large; numbers beyond are as good as this."""

# Bit k of a state is what those before add to the lowest bit of the code k places ahead. The next
# state is the same moved by a place, and what the code between adds by its two lowest bits.
_COUNT = 1 << _REACH
_STATES = np.arange(_COUNT)
_LOWEST, _SECOND = (sum(1 << back - 1 for back, place in TAPS if place == bit) for bit in (0, 1))
_SECOND_BITS = np.arange(2)[:, None]
_LOWEST_BITS = _STATES >> _REACH - 1
_SUBSETS = _LOWEST_BITS | _SECOND_BITS << 1
"""(2, states): a code's two lowest bits, by its second bit and the state that it leads to."""
_ORIGINS = (_STATES ^ _LOWEST_BITS * _LOWEST ^ _SECOND_BITS * _SECOND) << 1 | _LOWEST_BITS
"""(2, states): the state that it comes from."""


def reach(shape: tuple[int, ...], axis: int, chunk_elements: int) -> NDArray[np.uint8]:
    """How many elements before each one on its path lie in its chunk, at most 6; of `shape`."""
    stride = int(np.prod(shape[axis + 1 :], dtype=np.int64))
    places = np.arange(int(np.prod(shape, dtype=np.int64)), dtype=np.uint32).reshape(shape)
    channels = np.arange(shape[axis]).reshape(-1, *(1,) * (len(shape) - axis - 1))
    found = np.minimum(places % np.uint32(chunk_elements) // np.uint32(stride), _REACH)
    return np.asarray(np.minimum(found, channels), np.uint8)


def split_trellis(
    codes: NDArray[np.int8], axis: int, chunk_elements: int = 1 << CHUNK_LOG2
) -> NDArray[np.uint8]:
    """Codes without their lowest bits, in their shape. Raises UsageError off the trellis."""
    front = np.moveaxis(codes, axis, 0)
    before = np.moveaxis(reach(codes.shape, axis, chunk_elements), axis, 0)
    told = np.zeros(front.shape, np.int8)
    for back, place in TAPS:
        told[back:] ^= (front[:-back] >> place & 1) * (before[back:] >= back)
    if not np.array_equal(told, front & 1):
        raise UsageError("the codes don't follow the trellis")
    return (codes >> 1).view(np.uint8)


def join_trellis(symbols: NDArray[np.uint8], axis: int, chunk_elements: int) -> NDArray[np.uint8]:
    """The codes of all elements, the inverse of `split_trellis`; any symbols have codes.

    symbols: in the tensor's shape.
    """
    codes = np.asarray(symbols << 1, np.uint8)
    front = np.moveaxis(codes, axis, 0)
    before = np.moveaxis(reach(symbols.shape, axis, chunk_elements), axis, 0)
    for row in range(1, len(front)):
        for back, place in TAPS:
            if back <= row:
                front[row] ^= (front[row - back] >> place & 1) * (before[row] >= back)
    return codes


def search_trellis(
    wanted: NDArray[np.float64],
    weights: NDArray[np.float64],
    begins: NDArray[np.bool_],
    limit: int,
) -> NDArray[np.int8]:
    """The codes of each path that are nearest to wanted numbers, by Viterbi's algorithm.

    wanted: (paths, elements), in steps of the grid. weights: (elements,), of the squared errors.
    begins: (paths, elements), True where no element before it tells a code's lowest bit.
    limit: codes stay within -limit..limit; from 3 to 127.
    """
    wanted = np.where(wanted > -_FAR, np.minimum(wanted, _FAR), -_FAR)
    paths, elements = wanted.shape
    everyone = np.arange(paths)
    subsets = np.arange(4)[:, None]
    highest, lowest = limit - (limit - subsets) % 4, (limit + subsets) % 4 - limit
    nearest = np.empty((elements, 4, paths), np.int8)
    second_bits = np.empty((elements, _COUNT, paths), np.uint8)
    ends = np.empty((elements, paths), np.intp)
    costs = np.full((_COUNT, paths), np.inf)
    costs[0] = 0
    for place in range(elements):
        ends[place] = np.argmin(costs, axis=0)
        # Where a path begins anew it is in state 0, behind the cheapest end of the one before it.
        anew = np.full_like(costs, np.inf)
        anew[0] = costs[ends[place], everyone]
        costs = np.where(begins[:, place], anew, costs)
        codes = 4 * np.rint((wanted[:, place] - subsets) / 4) + subsets
        codes = np.clip(codes, lowest, highest)
        distances = wanted[:, place] - codes
        errors = distances * distances * weights[place]
        both = costs[_ORIGINS] + errors[_SUBSETS]
        nearest[place] = codes
        second_bits[place] = both[1] < both[0]
        costs = np.minimum(both[0], both[1])
    found = np.empty((paths, elements), np.int8)
    states = np.argmin(costs, axis=0)
    for place in reversed(range(elements)):
        bits = second_bits[place, states, everyone]
        found[:, place] = nearest[place, _SUBSETS[bits, states], everyone]
        before = _ORIGINS[bits, states]
        states = np.where(begins[:, place], ends[place], before)
    return found
