"""Sequences of symbols cut into streams (docs/format.md, chapter 4.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Streams:
    """Where many streams lie in some bytes, and what they hold; each array is (k,) int64.

    starts, sizes: first byte and length of each stream, all inside the bytes.
    counts: symbols of each stream. tables: the number of the code that each stream uses.
    """

    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    counts: NDArray[np.int64]
    tables: NDArray[np.int64]

    @property
    def targets(self) -> NDArray[np.int64]:
        """Where each stream's symbols begin when they lie one stream behind another."""
        return np.cumsum(self.counts) - self.counts

    def longest_first(self) -> NDArray[np.int64]:
        """Order in which the streams that still run are a prefix at every step."""
        return np.argsort(-self.counts, kind="stable")


def segment_counts(symbols: int, streams: int) -> list[int]:
    """Symbols in each of the segments that a sequence is cut into."""
    longest = -(-symbols // streams)
    return [max(0, min(longest, symbols - longest * stream)) for stream in range(streams)]
