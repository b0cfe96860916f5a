"""Native kernels and their numpy twins give the same results."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgekit.codec import crc, gaps, huffman, kernels, mask, native, rans, survey, trellis

needs_native = pytest.mark.skipif(not native.available, reason=native.reason)


@st.composite
def sequences(draw: st.DrawFn) -> NDArray[np.uint8]:
    """Up to 5,000 codes of any spread and any share of zeros."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    count = draw(st.integers(0, 5000))
    codes = np.rint(rng.laplace(0, draw(st.sampled_from([0.1, 3, 40])), count))
    codes[rng.random(count) < draw(st.sampled_from([0, 0.7, 0.99]))] = 0
    return codes.astype(np.int64).astype(np.uint8)


def test_every_kernel_is_the_native_one_exactly_where_it_is_built() -> None:
    for name in kernels.__all__:
        chosen = getattr(kernels, name)
        assert (chosen.__module__ == "edgekit.codec.native") is native.available


@needs_native
@given(sequences())
@settings(deadline=None, max_examples=60)
def test_check_sums_and_counts_agree(codes: NDArray[np.uint8]) -> None:
    assert native.crc32c(codes) == crc.crc32c(codes)
    assert np.array_equal(native.histogram(codes), survey.histogram(codes))


@needs_native
@given(sequences())
@settings(deadline=None, max_examples=60)
def test_splits_agree(codes: NDArray[np.uint8]) -> None:
    for ours, theirs in (
        (gaps.split_gaps(codes), native.split_gaps(codes)),
        (mask.split_mask(codes), native.split_mask(codes)),
    ):
        assert all(map(np.array_equal, ours, theirs))


@needs_native
@given(sequences(), st.sampled_from([256, 512, 1 << 18]))
@settings(deadline=None, max_examples=60)
def test_surveys_agree(codes: NDArray[np.uint8], chunk_elements: int) -> None:
    ours, theirs = (
        survey.survey(codes, chunk_elements),
        native.survey(codes, chunk_elements),
    )

    assert np.array_equal(ours.gaps, theirs.gaps)
    assert np.array_equal(ours.masks, theirs.masks)


@needs_native
@given(sequences(), st.sampled_from([1, 4, 8]), st.sampled_from([11, 12]))
@settings(deadline=None, max_examples=60)
def test_huffman_streams_agree(codes: NDArray[np.uint8], streams: int, limit: int) -> None:
    lengths = huffman.code_lengths(survey.histogram(codes), limit)

    assert native.encode_streams(codes, lengths, streams) == huffman.encode_streams(
        codes, lengths, streams
    )


@needs_native
@given(sequences().filter(len))
@settings(deadline=None, max_examples=40)
def test_rans_streams_agree(codes: NDArray[np.uint8]) -> None:
    frequencies = rans.normalize(survey.histogram(codes))

    assert native.encode_rans(codes, frequencies) == rans.encode_rans(codes, frequencies)


@needs_native
@given(st.integers(0, 2**32), st.integers(0, 40), st.sampled_from([3, 10, 127]))
@settings(deadline=None, max_examples=60)
def test_searches_on_a_trellis_agree(seed: int, elements: int, limit: int) -> None:
    rng = np.random.default_rng(seed)
    wanted = rng.laplace(0, rng.choice([0.3, 5, 90]), (6, elements))
    # Ties, and numbers that are none.
    wanted[rng.random(wanted.shape) < 0.2] = rng.integers(-9, 9) / 2
    wanted[rng.random(wanted.shape) < 0.02] = np.nan
    begins = rng.random(wanted.shape) < 0.1
    weights = rng.choice([0.5, 1.0, 3.0], elements)

    ours, theirs = (
        search(wanted, weights, begins, limit)
        for search in (trellis.search_trellis, native.search_trellis)
    )

    assert np.array_equal(ours, theirs)
