"""Codes on a trellis: the rule of the document, and the search against trying everything."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgekit.codec.trellis import DISTORTION, join_trellis, reach, search_trellis, split_trellis
from edgekit.errors import UsageError


@st.composite
def tensors(draw: st.DrawFn) -> tuple[NDArray[np.uint8], int, int]:
    """Symbols of a tensor, an axis of it and the elements of a chunk."""
    shape = tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    symbols = rng.integers(0, 256, shape).astype(np.uint8)
    return symbols, draw(st.integers(0, len(shape) - 1)), draw(st.sampled_from([1, 7, 64, 1 << 18]))


def slow_join(symbols: NDArray[np.uint8], axis: int, chunk_elements: int) -> list[int]:
    """Chapter 4.7 of the specification, word for word."""
    stride = int(np.prod(symbols.shape[axis + 1 :], dtype=int))
    codes: list[int] = []

    def predecessor(place: int | None) -> int | None:
        if place is None or place // stride % symbols.shape[axis] == 0:
            return None
        return place - stride if place % chunk_elements >= stride else None

    for place, symbol in enumerate(symbols.reshape(-1).tolist()):
        before: list[int] = []
        at = predecessor(place)
        while len(before) < 6:
            before.append(0 if at is None else codes[at])
            at = predecessor(at)
        p1, p2, _, p4, _, p6 = before
        codes.append((2 * symbol + (p1 + p2 // 2 + p4 // 2 + p6) % 2) % 256)
    return codes


@given(tensors())
@settings(deadline=None, max_examples=100)
def test_codes_obey_the_rule_of_the_document(case: tuple[NDArray[np.uint8], int, int]) -> None:
    symbols, axis, chunk_elements = case

    codes = join_trellis(symbols, axis, chunk_elements)

    assert codes.reshape(-1).tolist() == slow_join(symbols, axis, chunk_elements)


@given(tensors())
@settings(deadline=None, max_examples=60)
def test_splitting_is_the_inverse(case: tuple[NDArray[np.uint8], int, int]) -> None:
    symbols, axis, chunk_elements = case
    # Codes of one byte have symbols of seven bits.
    symbols = (symbols.view(np.int8) >> 1).view(np.uint8)
    codes = join_trellis(symbols, axis, chunk_elements).view(np.int8)

    assert np.array_equal(split_trellis(codes, axis, chunk_elements), symbols)

    codes.reshape(-1)[codes.size // 2] ^= 1
    with pytest.raises(UsageError, match="trellis"):
        split_trellis(codes, axis, chunk_elements)


def test_no_path_reaches_back_into_another_chunk() -> None:
    assert reach((5, 3), 0, 1 << 18).tolist() == [[row] * 3 for row in range(5)]
    # A chunk of 8 begins inside the third row.
    assert reach((5, 3), 0, 8).tolist() == [
        [0, 0, 0],
        [1, 1, 1],
        [2, 2, 0],
        [0, 0, 1],
        [1, 1, 2],
    ]
    assert reach((2, 9), 1, 1 << 18).tolist() == [[0, 1, 2, 3, 4, 5, 6, 6, 6]] * 2


@pytest.mark.parametrize("begins", [(0,), (0, 4), (0, 1, 2, 3, 4, 5, 6)])
def test_the_search_finds_what_trying_all_codes_finds(
    rng: np.random.Generator, begins: tuple[int, ...]
) -> None:
    starts = np.zeros((9, 7), np.bool_)
    starts[:, begins] = True
    wanted, weights = rng.normal(0, 2, (9, 7)), rng.uniform(0.5, 2, 7)
    every = np.array([*itertools.product(range(-3, 4), repeat=7)], np.int8)
    parts = np.split(every, begins[1:], axis=1)
    allowed = every[np.logical_and.reduce([_follows(part) for part in parts])]

    found = search_trellis(wanted, weights, starts, 3)

    for numbers, codes in zip(wanted, found, strict=True):
        costs = (np.square(allowed - numbers) * weights).sum(axis=1)
        assert np.array_equal(codes, allowed[np.argmin(costs)])


def _follows(paths: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Whether the lowest bit of each code of a path is the one that those before it tell."""
    count = paths.shape[1]
    codes = np.hstack([np.zeros((len(paths), 6), np.int8), paths]) & 3
    p1, p2, p4, p6 = (codes[:, 6 - back :][:, :count] for back in (1, 2, 4, 6))
    return np.asarray(np.all((paths & 1) == (p1 ^ p2 >> 1 ^ p4 >> 1 ^ p6) & 1, axis=1))


def test_long_paths_err_as_little_as_is_reckoned_with(rng: np.random.Generator) -> None:
    wanted = rng.normal(0, 9, (40, 1000))
    begins = np.zeros(wanted.shape, np.bool_)
    begins[:, 0] = True

    codes = search_trellis(wanted, np.ones(1000), begins, 127)

    # Free levels two steps apart err by 2^2 / 12.
    assert np.square(codes - wanted).mean() * 12 / 4 == pytest.approx(DISTORTION, abs=0.005)


def test_numbers_out_of_range_take_the_outermost_codes() -> None:
    wanted = np.array([[500.0, -500.0, np.inf, -np.inf, np.nan]])
    begins = np.ones((1, 5), np.bool_)

    codes = search_trellis(wanted, np.ones(5), begins, 127)

    assert codes[0, :4].tolist() == [126, -126, 126, -126]
    assert codes.dtype == np.int8
    assert abs(int(codes[0, 4])) <= 127
