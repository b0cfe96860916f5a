"""Gaps and masks: sparse codes as values and places."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgekit.codec import join_gaps, join_mask, split_gaps, split_mask
from edgekit.codec.survey import survey
from edgekit.errors import CorruptError


@st.composite
def sparse_codes(draw: st.DrawFn) -> NDArray[np.uint8]:
    """Codes of up to 3,000 elements with any share of zeros."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    codes = rng.integers(1, 256, draw(st.integers(0, 3000)), np.uint8)
    codes[rng.random(codes.size) < draw(st.sampled_from([0, 0.3, 0.9, 0.999, 1]))] = 0
    return codes


@given(sparse_codes())
@settings(deadline=None)
def test_gaps_bring_the_codes_back(codes: NDArray[np.uint8]) -> None:
    values, gaps = split_gaps(codes)

    assert np.array_equal(join_gaps(values, gaps, codes.size), codes)


@given(sparse_codes())
@settings(deadline=None)
def test_a_mask_brings_the_codes_back(codes: NDArray[np.uint8]) -> None:
    values, mask = split_mask(codes)

    assert np.array_equal(join_mask(values, mask, codes.size), codes)


@pytest.mark.parametrize(
    ("distance", "symbols"),
    [(0, [0]), (254, [254]), (255, [255, 0]), (509, [255, 254]), (600, [255, 255, 90])],
)
def test_a_long_gap_is_split_by_fillers(distance: int, symbols: list[int]) -> None:
    codes = np.zeros(distance + 1, np.uint8)
    codes[-1] = 7

    values, gaps = split_gaps(codes)

    assert gaps.tolist() == symbols
    assert values.tolist() == [7]


@pytest.mark.parametrize(
    ("values", "gaps", "elements", "message"),
    [
        (1, [3, 255], 300, "leads to no value"),
        (2, [255, 3], 600, "more or fewer gaps"),
        (1, [3], 3, "behind the end"),
    ],
)
def test_each_broken_rule_of_gaps_has_its_message(
    values: int, gaps: list[int], elements: int, message: str
) -> None:
    with pytest.raises(CorruptError, match=message):
        join_gaps(np.ones(values, np.uint8), np.array(gaps, np.uint8), elements)


def test_a_mask_bit_behind_the_last_element_is_rejected() -> None:
    with pytest.raises(CorruptError, match="behind the last"):
        join_mask(np.ones(1, np.uint8), np.array([0x80], np.uint8), 7)


def test_a_mask_with_more_bits_than_values_is_rejected() -> None:
    with pytest.raises(CorruptError, match="more or fewer bits"):
        join_mask(np.ones(1, np.uint8), np.array([0x03], np.uint8), 7)


def test_a_survey_counts_what_the_chunks_would_code(rng: np.random.Generator) -> None:
    codes = np.where(rng.random(5000) < 0.9, 0, rng.integers(1, 256, 5000)).astype(np.uint8)
    chunks = [codes[start : start + 512] for start in range(0, 5000, 512)]

    counted = survey(codes, 512)

    gaps = np.concatenate([split_gaps(chunk)[1] for chunk in chunks])
    masks = np.concatenate([split_mask(chunk)[1] for chunk in chunks])
    assert np.array_equal(counted.gaps, np.bincount(gaps, minlength=256))
    assert np.array_equal(counted.masks, np.bincount(masks, minlength=256))
