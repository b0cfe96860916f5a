"""`--to c`: an app of plain C99 that decodes tensor by tensor, without a runtime."""

from __future__ import annotations

from edgekit.embed.app import App, EmbeddedTensor, filled, resource

_ARRAY_BYTES = 1 << 20
"""Larger models aren't written as a C array: compilers take minutes and gigabytes for one."""


def files(app: App) -> dict[str, bytes]:
    """The folder's files by name."""
    prefix = app.prefix
    words = {
        "prefix": prefix,
        "PREFIX": prefix.upper(),
        # Text that can't end a comment.
        "name": app.name.replace("*/", "* /"),
        "packed_bytes": str(len(app.data)),
        "tensor_count": str(len(app.tensors)),
        # A buffer of no bytes isn't C.
        "largest_bytes": str(app.largest_tensor_bytes or 1),
        "restored_bytes": str(app.restored_bytes),
        "digest": app.packed.digest,
        "ids": "\n".join(map(_id_line, app.tensors)) or f"    {prefix.upper()}_NONE",
        "names": "\n".join(f"    {_literal(tensor.name)}," for tensor in app.tensors) or '    "",',
        "array": _array(app.data, prefix),
    }
    return {
        "edgekit_decode.h": resource("edgekit_decode.h"),
        f"{prefix}.ekp": app.data,
        f"{prefix}.h": filled("c/model.h.in", words),
        f"{prefix}.c": filled("c/data.c.in", words),
        "main.c": filled("c/main.c.in", words),
        "Makefile": filled("c/Makefile.in", words),
    }


def _id_line(tensor: EmbeddedTensor) -> str:
    shape = "x".join(map(str, tensor.shape)) or "scalar"
    return f"    {tensor.constant} = {tensor.id}, /* {tensor.dtype} {shape} */"


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
