"""Length-limited canonical Huffman codes."""

from __future__ import annotations

import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgekit.codec import canonical_codes, code_lengths, huffman, kraft_sum
from edgekit.codec.streams import Streams, segment_counts
from edgekit.errors import CorruptError, TruncatedError


def frequencies(counts: dict[int, int]) -> NDArray[np.int64]:
    """(256,) counts."""
    table = np.zeros(256, np.int64)
    table[list(counts)] = list(counts.values())
    return table


counts_of_symbols = st.dictionaries(st.integers(0, 255), st.integers(1, 10**6), min_size=2).map(
    frequencies
)


def fibonacci(symbols: int) -> NDArray[np.int64]:
    """Counts that give the deepest unlimited code."""
    counts = [1, 1]
    while len(counts) < symbols:
        counts.append(counts[-1] + counts[-2])
    return frequencies(dict(enumerate(counts)))


def unlimited_bits(counts: NDArray[np.int64]) -> int:
    """Total bits of an unlimited Huffman code, by merging the two rarest."""
    heap = [int(count) for count in counts if count]
    heapq.heapify(heap)
    total = 0
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        total += merged
        heapq.heappush(heap, merged)
    return total


def textbook_package_merge(counts: NDArray[np.int64], limit: int) -> int:
    """Total bits of the best code of at most `limit` bits: coins as lists of symbols."""
    coins = [(int(count), [symbol]) for symbol, count in enumerate(counts) if count]
    packages: list[tuple[int, list[int]]] = []
    for _ in range(limit):
        merged = sorted(coins + packages, key=lambda coin: coin[0])
        packages = [
            (first[0] + second[0], first[1] + second[1])
            for first, second in zip(merged[::2], merged[1::2], strict=False)
        ]
    return sum(weight for weight, _ in packages[: len(coins) - 1])


def decode(
    streams: list[bytes], counts: list[int], lengths: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    sizes = np.array([len(stream) for stream in streams], np.int64)
    places = Streams(
        np.cumsum(sizes) - sizes, sizes, np.array(counts, np.int64), np.zeros_like(sizes)
    )
    return huffman.decode_streams(np.frombuffer(b"".join(streams), np.uint8), places, [lengths])


@given(counts_of_symbols, st.integers(8, 12))
@settings(deadline=None)
def test_codes_are_complete_and_keep_to_the_limit(counts: NDArray[np.int64], limit: int) -> None:
    lengths = code_lengths(counts, limit)

    assert kraft_sum(lengths) == 4096
    assert lengths.max() <= limit
    assert np.array_equal(lengths > 0, counts > 0)


@given(counts_of_symbols)
@settings(deadline=None)
def test_codes_are_within_one_bit_of_the_entropy(counts: NDArray[np.int64]) -> None:
    share = counts[counts > 0] / counts.sum()
    entropy = float(-(share * np.log2(share)).sum())

    mean_bits = huffman.coded_bits(counts, code_lengths(counts, 12)) / int(counts.sum())

    # A code of 256 symbols in 12 bits may lose a little to the limit; a bit is never reached.
    assert entropy - 1e-9 <= mean_bits < entropy + 1


@given(
    st.lists(st.integers(0, 500), min_size=2, max_size=12).filter(
        lambda c: np.count_nonzero(c) > 1
    ),
    st.integers(4, 12),
)
@settings(deadline=None)
def test_package_merge_is_as_good_as_the_textbook(counts: list[int], limit: int) -> None:
    table = frequencies(dict(enumerate(counts)))

    bits = huffman.coded_bits(table, code_lengths(table, limit))

    assert bits == textbook_package_merge(table, limit)


@given(counts_of_symbols)
@settings(deadline=None)
def test_the_limit_costs_nothing_where_the_best_code_keeps_to_it(counts: NDArray[np.int64]) -> None:
    # Counts of at most 10^6 never need 40 bits: their sum is below the 40th Fibonacci number.
    lengths = code_lengths(counts, 40)

    assert huffman.coded_bits(counts, lengths) == unlimited_bits(counts)


def test_fibonacci_counts_are_held_to_twelve_bits() -> None:
    lengths = code_lengths(fibonacci(30))

    assert lengths.max() == 12
    assert kraft_sum(lengths) == 4096


def test_equal_counts_get_lengths_by_symbol() -> None:
    lengths = code_lengths(frequencies({3: 5, 4: 5, 9: 5}))

    assert {symbol: int(lengths[symbol]) for symbol in (3, 4, 9)} == {3: 2, 4: 2, 9: 1}


def test_no_symbol_has_no_code_and_a_single_one_has_one_bit() -> None:
    assert not code_lengths(np.zeros(256, np.int64)).any()
    assert code_lengths(frequencies({77: 9}))[77] == 1


def test_codes_are_numbered_by_length_then_symbol() -> None:
    lengths = np.zeros(256, np.uint8)
    lengths[[0, 1, 2, 255]] = [1, 2, 3, 3]

    codes = canonical_codes(lengths)

    assert [int(codes[symbol]) for symbol in (0, 1, 2, 255)] == [0b0, 0b10, 0b110, 0b111]


@given(st.data(), st.sampled_from([1, 4, 8]), st.integers(0, 3000))
@settings(deadline=None, max_examples=60)
def test_symbols_come_back_from_any_number_of_streams(
    data: st.DataObject, streams: int, count: int
) -> None:
    seed = data.draw(st.integers(0, 2**32))
    spread = data.draw(st.floats(0.1, 60))
    rng = np.random.default_rng(seed)
    symbols = np.rint(rng.laplace(0, spread, count)).astype(np.int64).astype(np.uint8)
    lengths = code_lengths(np.bincount(symbols, minlength=256).astype(np.int64) + (count == 0))

    coded = huffman.encode_streams(symbols, lengths, streams)
    back = decode(coded, segment_counts(count, streams), lengths)

    assert np.array_equal(back, symbols)
    bits = huffman.coded_bits(np.bincount(symbols, minlength=256).astype(np.int64), lengths)
    assert bits <= 8 * sum(map(len, coded)) < bits + 8 * streams


def test_streams_of_different_tables_and_lengths_decode_together() -> None:
    rng = np.random.default_rng(5)
    parts = [
        rng.integers(0, high, count, np.uint8)
        for high, count in ((3, 7), (200, 1000), (2, 0), (9, 65))
    ]
    tables = [
        code_lengths(np.bincount(np.arange(256) % high, minlength=256).astype(np.int64))
        for high in (3, 200, 2, 9)
    ]
    coded = [
        huffman.encode_streams(part, table, 1)[0] for part, table in zip(parts, tables, strict=True)
    ]
    sizes = np.array([len(stream) for stream in coded], np.int64)
    streams = Streams(
        np.cumsum(sizes) - sizes,
        sizes,
        np.array([part.size for part in parts], np.int64),
        np.arange(4),
    )

    back = huffman.decode_streams(np.frombuffer(b"".join(coded), np.uint8), streams, tables)

    assert np.array_equal(back, np.concatenate(parts))


def test_an_overfull_code_is_rejected() -> None:
    lengths = np.zeros(256, np.uint8)
    lengths[:3] = 1

    with pytest.raises(CorruptError, match="overfull"):
        huffman.check_lengths(lengths)


def test_an_incomplete_code_is_rejected() -> None:
    lengths = np.zeros(256, np.uint8)
    lengths[:2] = [1, 2]

    with pytest.raises(CorruptError, match="incomplete"):
        huffman.check_lengths(lengths)


def test_a_single_symbol_of_two_bits_is_rejected() -> None:
    lengths = np.zeros(256, np.uint8)
    lengths[9] = 2

    with pytest.raises(CorruptError, match="single symbol"):
        huffman.check_lengths(lengths)


@pytest.mark.parametrize(
    ("stream", "error"),
    [
        (b"", TruncatedError),
        (b"\x55", TruncatedError),
        (b"\x55\x01\x00", CorruptError),
        (b"\x55\x09", CorruptError),
    ],
)
def test_a_stream_must_end_with_its_last_symbol(stream: bytes, error: type[Exception]) -> None:
    lengths = code_lengths(frequencies({0: 1, 1: 1}))

    with pytest.raises(error):
        decode([stream], [11], lengths)


@given(st.binary(max_size=60), st.integers(0, 500), st.integers(0, 2**32))
@settings(deadline=None, max_examples=150)
def test_any_bytes_decode_to_the_right_count_or_a_format_error(
    data: bytes, count: int, seed: int
) -> None:
    counts = np.random.default_rng(seed).integers(0, 50, 256)
    lengths = code_lengths(counts.astype(np.int64), 12)

    try:
        symbols = decode([data], [count], lengths)
    except (CorruptError, TruncatedError):
        return

    assert symbols.size == count
    assert huffman.encode_streams(symbols, lengths, 1) == [data]
