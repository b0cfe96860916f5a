"""Numbers to bits and back: the coder of the packed file (docs/format.md, chapter 4)."""

from __future__ import annotations

from edgekit.codec.crc import crc32c
from edgekit.codec.gaps import join_gaps, split_gaps
from edgekit.codec.huffman import canonical_codes, code_lengths, kraft_sum
from edgekit.codec.mask import join_mask, split_mask
from edgekit.codec.rans import normalize

__all__ = [
    "canonical_codes",
    "code_lengths",
    "crc32c",
    "join_gaps",
    "join_mask",
    "kraft_sum",
    "normalize",
    "split_gaps",
    "split_mask",
]
