"""The native module `edgekit.codec._native`: the C decoder and the kernels of the encoder.

Built by setup.py through cffi in API mode, against Python's stable ABI. cffi releases the
interpreter lock around every call.
"""

from __future__ import annotations

import re
from pathlib import Path

from cffi import FFI

_ROOT = Path(__file__).resolve().parents[1]
_DECODER = _ROOT / "embed" / "edgekit_decode.h"


def _declarations() -> str:
    """The decoder's types and functions as cffi reads them: the header up to its bodies."""
    text = _DECODER.read_text().partition("#endif /* EDGEKIT_DECODE_H */")[0]
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    text = re.sub(r'#ifdef __cplusplus\nextern "C" \{\n#endif', "", text)
    text = re.sub(r"#ifdef __cplusplus\n\}\n#endif", "", text)
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return "\n".join(lines)


_KERNELS = """
void ekk_prepare(void);
uint32_t ekk_crc32c(uint32_t value, const uint8_t *bytes, size_t count);
void ekk_histogram(const uint8_t *symbols, size_t count, int64_t *counts);
size_t ekk_split_gaps(const uint8_t *codes, size_t count, uint8_t *values, uint8_t *gaps,
                      size_t *value_count);
size_t ekk_split_mask(const uint8_t *codes, size_t count, uint8_t *values, uint8_t *masks);
void ekk_survey(const uint8_t *codes, size_t count, size_t chunk, int64_t *gaps, int64_t *masks);
size_t ekk_encode_stream(const uint8_t *symbols, size_t count, const uint16_t *codes,
                         const uint8_t *lengths, uint8_t *out);
size_t ekk_encode_rans(const uint8_t *symbols, size_t count, const uint16_t *frequencies,
                       uint8_t *out, size_t room);
void ekk_search_trellis(const double *wanted, const double *weights, const uint8_t *begins,
                        size_t paths, size_t count, int limit, int8_t *work, int8_t *codes);
"""

# The decoder's own CRC-32C is small; here it uses the kernels' fast one, and their look-up.
_SOURCE = """
#include "kernels.h"
#include "trellis.h"
#define EKD_CRC32C(bytes, count) ekk_crc32c(0, bytes, count)
#define EKD_LOOK_UP ekk_look_up
#define EDGEKIT_DECODE_IMPLEMENTATION
#include "edgekit_decode.h"
"""

ffibuilder = FFI()
ffibuilder.cdef(_declarations() + _KERNELS)
ffibuilder.set_source(
    "edgekit.codec._native",
    _SOURCE,
    # Relative to the project, as setuptools wants them; a change of any rebuilds the module.
    include_dirs=["edgekit/codec", "edgekit/embed"],
    depends=[
        "edgekit/codec/kernels.h",
        "edgekit/codec/trellis.h",
        "edgekit/embed/edgekit_decode.h",
    ],
    # No fused products: sums are the same as numpy's, on every processor.
    extra_compile_args=["-O3", "-ffp-contract=off"],
    py_limited_api=True,
)
