"""The one place that picks the native kernels where they are built, and numpy's elsewhere.

Both give the same results; only their speed differs.
"""

from __future__ import annotations

from edgekit.codec import crc, gaps, huffman, mask, native, rans, trellis
from edgekit.codec import survey as surveys

__all__ = [
    "crc32c",
    "encode_rans",
    "encode_streams",
    "histogram",
    "search_trellis",
    "split_gaps",
    "split_mask",
    "survey",
]

crc32c = native.crc32c if native.available else crc.crc32c
encode_rans = native.encode_rans if native.available else rans.encode_rans
encode_streams = native.encode_streams if native.available else huffman.encode_streams
histogram = native.histogram if native.available else surveys.histogram
search_trellis = native.search_trellis if native.available else trellis.search_trellis
split_gaps = native.split_gaps if native.available else gaps.split_gaps
split_mask = native.split_mask if native.available else mask.split_mask
survey = native.survey if native.available else surveys.survey
