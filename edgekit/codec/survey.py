"""Symbol counts of every mode for one tensor, so that modes are sized before anything is coded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekit.codec.gaps import split_gaps
from edgekit.codec.mask import split_mask


@dataclass(frozen=True, slots=True)
class Survey:
    """What the gap and mask modes would code, summed over the chunks of a tensor.

    gaps, masks: (256,) int64, how often each gap symbol and each mask byte occurs.
    """

    gaps: NDArray[np.int64]
    masks: NDArray[np.int64]


def histogram(symbols: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How often each byte occurs; (256,) int64."""
    return np.bincount(symbols, minlength=256).astype(np.int64, copy=False)


def survey(codes: NDArray[np.uint8], chunk_elements: int) -> Survey:
    """Count gap symbols and mask bytes of flat codes that are cut into chunks."""
    gaps, masks = np.zeros(256, np.int64), np.zeros(256, np.int64)
    for start in range(0, codes.size, chunk_elements):
        chunk = codes[start : start + chunk_elements]
        gaps += histogram(split_gaps(chunk)[1])
        masks += histogram(split_mask(chunk)[1])
    return Survey(gaps, masks)
