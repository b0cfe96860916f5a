"""The one place that picks the native kernels where they are built, and numpy's elsewhere.

Both give the same results; only their speed differs.
"""

from __future__ import annotations

from edgekit.codec.crc import crc32c
from edgekit.codec.gaps import split_gaps
from edgekit.codec.huffman import encode_streams
from edgekit.codec.mask import split_mask
from edgekit.codec.rans import encode_rans
from edgekit.codec.survey import histogram, survey

__all__ = [
    "crc32c",
    "encode_rans",
    "encode_streams",
    "histogram",
    "split_gaps",
    "split_mask",
    "survey",
]
