"""Range ANS against a decoder written out step by step."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgekit.codec import normalize, rans
from edgekit.codec.streams import Streams
from edgekit.errors import CorruptError, FormatError, TruncatedError


def histogram(symbols: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.bincount(symbols, minlength=256).astype(np.int64)


def decode(stream: bytes, count: int, frequencies: NDArray[np.uint16]) -> NDArray[np.uint8]:
    one = np.zeros(1, np.int64)
    streams = Streams(one, one + len(stream), one + count, one)
    return rans.decode_streams(np.frombuffer(stream, np.uint8), streams, [frequencies])


def slow_decode(stream: bytes, count: int, frequencies: NDArray[np.uint16]) -> list[int]:
    """Chapter 4.6 of the specification, word for word."""
    if count == 0:
        return []
    states = list(struct.unpack_from("<4I", stream))
    words = [word for (word,) in struct.iter_unpack("<H", stream[16:])]
    starts = np.cumsum(frequencies.astype(np.int64)) - frequencies
    symbols = []
    for number in range(count):
        x = states[number % 4]
        slot = x % 4096
        symbol = max(s for s in range(256) if frequencies[s] and starts[s] <= slot)
        x = int(frequencies[symbol]) * (x // 4096) + slot - int(starts[symbol])
        if x < 2**16:
            x = x * 2**16 + words.pop(0)
        states[number % 4] = x
        symbols.append(symbol)
    assert states == [2**16] * 4
    assert not words
    return symbols


@st.composite
def sequences(draw: st.DrawFn) -> NDArray[np.uint8]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    spread = draw(st.sampled_from([0.0, 0.5, 5, 50]))
    count = draw(st.integers(0, 900))
    return np.rint(rng.laplace(0, spread, count)).astype(np.int64).astype(np.uint8)


@given(sequences())
@settings(deadline=None, max_examples=60)
def test_symbols_come_back(symbols: NDArray[np.uint8]) -> None:
    frequencies = normalize(histogram(symbols) + (symbols.size == 0))

    stream = rans.encode_rans(symbols, frequencies)

    assert decode(stream, symbols.size, frequencies).tolist() == symbols.tolist()
    assert slow_decode(stream, symbols.size, frequencies) == symbols.tolist()


@given(st.dictionaries(st.integers(0, 255), st.integers(1, 10**7), min_size=1))
@settings(deadline=None)
def test_frequencies_add_up_and_come_back_from_their_table(counts: dict[int, int]) -> None:
    table = np.zeros(256, np.int64)
    table[list(counts)] = list(counts.values())

    frequencies = normalize(table)
    back, end = rans.read_table(rans.write_table(frequencies) + b"\x99", 0)

    assert frequencies.sum(dtype=np.int64) == 4096
    assert np.array_equal(frequencies > 0, table > 0)
    assert np.array_equal(back, frequencies)
    assert end == len(rans.write_table(frequencies))


def test_a_long_sequence_is_within_a_percent_of_its_entropy(rng: np.random.Generator) -> None:
    symbols = np.rint(rng.laplace(0, 4, 20_000)).astype(np.int64).astype(np.uint8)
    counts = histogram(symbols)
    share = counts[counts > 0] / counts.sum()
    entropy_bytes = float(-(share * np.log2(share)).sum()) * symbols.size / 8

    stream = rans.encode_rans(symbols, normalize(counts))

    assert entropy_bytes < len(stream) < 1.01 * entropy_bytes


def test_streams_of_different_lengths_decode_together(rng: np.random.Generator) -> None:
    parts = [rng.integers(0, 9, count, np.uint8) for count in (5, 0, 700, 3)]
    frequencies = normalize(np.bincount(np.arange(9), minlength=256).astype(np.int64))
    coded = [rans.encode_rans(part, frequencies) for part in parts]
    sizes = np.array([len(stream) for stream in coded], np.int64)
    counts = np.array([part.size for part in parts], np.int64)
    streams = Streams(np.cumsum(sizes) - sizes, sizes, counts, np.zeros_like(counts))

    back = rans.decode_streams(np.frombuffer(b"".join(coded), np.uint8), streams, [frequencies])

    assert np.array_equal(back, np.concatenate(parts))


@given(st.binary(max_size=60), st.integers(0, 60))
@settings(deadline=None, max_examples=150)
def test_any_bytes_decode_to_the_right_count_or_a_format_error(data: bytes, count: int) -> None:
    frequencies = normalize(np.arange(256, dtype=np.int64))

    try:
        symbols = decode(data, count, frequencies)
    except (CorruptError, TruncatedError):
        return

    assert rans.encode_rans(symbols, frequencies) == data


@given(st.binary(max_size=60))
@settings(deadline=None, max_examples=200)
def test_any_bytes_are_a_frequency_table_or_a_format_error(data: bytes) -> None:
    try:
        frequencies, end = rans.read_table(data, 0)
    except FormatError:
        return

    assert end <= len(data)
    assert frequencies.sum(dtype=np.int64) == 4096


@pytest.mark.parametrize("change", [1 << 20, -(1 << 12)])
def test_a_state_that_ends_elsewhere_is_rejected(change: int) -> None:
    symbols = np.array([1, 1, 2, 1], np.uint8)
    frequencies = normalize(histogram(symbols))
    stream = rans.encode_rans(symbols, frequencies)
    (state,) = struct.unpack_from("<I", stream)

    with pytest.raises(FormatError):
        decode(struct.pack("<I", state + change) + stream[4:], 4, frequencies)
