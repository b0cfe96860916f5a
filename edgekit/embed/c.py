"""`--to c`: an app of plain C99 that decodes tensor by tensor, without a runtime."""

from __future__ import annotations

from edgekit.embed.app import App, EmbeddedTensor, OutputType, filled, resource
from edgekit.packfile.layout import Coder

_ARRAY_BYTES = 1 << 20
"""Larger models aren't written as a C array: compilers take minutes and gigabytes for one."""

_DECODE = {
    OutputType.RESTORED: "ekd_decode_restored(&file, &tensor, work, sizeof work, buffer, "
    "sizeof buffer)",
    OutputType.FLOAT32: "ekd_decode_f32(&file, &tensor, work, sizeof work, (float *)buffer, "
    "@PREFIX@_BUFFER_BYTES / sizeof(float))",
    OutputType.INT8: "ekd_decode_stored(&file, &tensor, work, sizeof work, (uint8_t *)buffer, "
    "sizeof buffer)",
}
_DECODE[OutputType.RAW] = _DECODE[OutputType.INT8]


def files(app: App) -> dict[str, bytes]:
    """The folder's files by name."""
    prefix = app.prefix
    is_stored = app.output_type in {OutputType.INT8, OutputType.RAW}
    has_rans = any(record.coder is Coder.RANS for record in app.packed.records)
    left_out = [] if has_rans else ["-DEKD_NO_RANS"]
    words = {
        "prefix": prefix,
        "PREFIX": prefix.upper(),
        # Text that can't end a comment.
        "name": app.name.replace("*/", "* /"),
        "packed_bytes": str(len(app.data)),
        "tensor_count": str(len(app.tensors)),
        # A buffer of no bytes isn't C.
        "buffer_bytes": str(app.buffer_bytes or 1),
        "largest_bytes": str(app.largest_tensor_bytes),
        "decoded_bytes": str(app.decoded_bytes),
        "output_type": app.output_type.value,
        "version": ".".join(map(str, app.packed.version)),
        "packed_count": f"{len(app.data):,}",
        "buffer_count": f"{app.buffer_bytes:,}",
        "decoded_count": f"{app.decoded_bytes:,}",
        "digest": app.packed.digest,
        "rank": str(max((len(tensor.shape) for tensor in app.tensors), default=0) or 1),
        "ids": "\n".join(map(_id_line, app.tensors)) or f"    {prefix.upper()}_NONE",
        "table": "\n".join(map(_row, app.tensors)) or '    {0, 0, 0, 0, 0, {0}, ""},',
        "array": _array(app.data, prefix),
        "decode": _DECODE[app.output_type].replace("@PREFIX@", prefix.upper()),
        "is_stored": "1" if is_stored else "0",
        "flags": " ".join(left_out),
        "definitions": " ".join(flag.removeprefix("-D") for flag in left_out),
    }
    return {
        "edgekit_decode.h": resource("edgekit_decode.h"),
        f"{prefix}.ekp": app.data,
        f"{prefix}.h": filled("c/model.h.in", words),
        f"{prefix}.c": filled("c/data.c.in", words),
        "main.c": filled("c/main.c.in", words),
        "Makefile": filled("c/Makefile.in", words),
        "CMakeLists.txt": filled("c/CMakeLists.txt.in", words),
        "README.md": filled("c/README.md.in", words),
    }


def _id_line(tensor: EmbeddedTensor) -> str:
    shape = "x".join(map(str, tensor.shape)) or "scalar"
    scales = f", {tensor.scales} scale{'s' * (tensor.scales > 1)}" if tensor.scales else ""
    return f"    {tensor.constant} = {tensor.id}, /* {tensor.decoded_dtype} {shape}{scales} */"


def _row(tensor: EmbeddedTensor) -> str:
    elements = 1
    for size in tensor.shape:
        elements *= size
    sizes = ", ".join(f"{size}u" for size in tensor.shape) or "0"
    return (
        f"    {{{tensor.constant}, {elements}u, {tensor.decoded_bytes}u, {tensor.scales}u, "
        f"{len(tensor.shape)}, {{{sizes}}},\n     {_literal(tensor.name)}}},"
    )


def _array(data: bytes, prefix: str) -> str:
    if len(data) > _ARRAY_BYTES:
        return (
            '#error "this model is too large for a C array; use a compiler with .incbin or #embed"'
        )
    rows = (
        "    " + ",".join(map(str, data[start : start + 24])) + ","
        for start in range(0, len(data), 24)
    )
    end = f"const uint8_t *const {prefix}_data_end = {prefix}_data + sizeof {prefix}_data;"
    return "\n".join([f"const uint8_t {prefix}_data[] = {{", *rows, "};", end])


def _literal(text: str) -> str:
    """A C string literal; bytes outside printable ASCII, and ? of trigraphs, as octal escapes."""
    quoted = "".join(
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}"
        for byte in text.encode()
    )
    return f'"{quoted}"'
