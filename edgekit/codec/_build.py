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
uint32_t ekn_crc32c(uint32_t value, const uint8_t *bytes, size_t count);
void ekn_histogram(const uint8_t *symbols, size_t count, int64_t *counts);
size_t ekn_split_gaps(const uint8_t *codes, size_t count, uint8_t *values, uint8_t *gaps,
                      size_t *value_count);
size_t ekn_split_mask(const uint8_t *codes, size_t count, uint8_t *values, uint8_t *masks);
void ekn_survey(const uint8_t *codes, size_t count, size_t chunk, int64_t *gaps, int64_t *masks);
size_t ekn_encode_stream(const uint8_t *symbols, size_t count, const uint16_t *codes,
                         const uint8_t *lengths, uint8_t *out);
size_t ekn_encode_rans(const uint8_t *symbols, size_t count, const uint16_t *frequencies,
                       uint8_t *out, size_t room);
"""

_SOURCE = """
#include "kernels.h"

static uint32_t ekn_crc32c(uint32_t value, const uint8_t *bytes, size_t count) {
    if (!ekk_crc_tables[0][1]) ekk_prepare();
    return ekk_crc32c(value, bytes, count);
}
#define EKD_CRC32C(bytes, count) ekn_crc32c(0, bytes, count)
#define EDGEKIT_DECODE_IMPLEMENTATION
#include "edgekit_decode.h"
""" + "\n".join(
    f"static {head} ekn_{name}({declared}) {{ {back}ekk_{name}({given}); }}"
    for head, name, declared, back, given in (
        (
            "void",
            "histogram",
            "const uint8_t *s, size_t n, int64_t *c",
            "",
            "s, n, c",
        ),
        (
            "size_t",
            "split_gaps",
            "const uint8_t *s, size_t n, uint8_t *v, uint8_t *g, size_t *k",
            "return ",
            "s, n, v, g, k",
        ),
        (
            "size_t",
            "split_mask",
            "const uint8_t *s, size_t n, uint8_t *v, uint8_t *m",
            "return ",
            "s, n, v, m",
        ),
        (
            "void",
            "survey",
            "const uint8_t *s, size_t n, size_t c, int64_t *g, int64_t *m",
            "",
            "s, n, c, g, m",
        ),
        (
            "size_t",
            "encode_stream",
            "const uint8_t *s, size_t n, const uint16_t *c, const uint8_t *l, uint8_t *o",
            "return ",
            "s, n, c, l, o",
        ),
        (
            "size_t",
            "encode_rans",
            "const uint8_t *s, size_t n, const uint16_t *f, uint8_t *o, size_t r",
            "return ",
            "s, n, f, o, r",
        ),
    )
)

ffibuilder = FFI()
ffibuilder.cdef(_declarations() + _KERNELS)
ffibuilder.set_source(
    "edgekit.codec._native",
    _SOURCE,
    # Relative to the project, as setuptools wants them; a change of either rebuilds the module.
    include_dirs=["edgekit/codec", "edgekit/embed"],
    depends=["edgekit/codec/kernels.h", "edgekit/embed/edgekit_decode.h"],
    extra_compile_args=["-O3"],
    py_limited_api=True,
)
