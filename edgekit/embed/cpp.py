"""`--to cpp`: an app of C++17 that opens the packed model with onnxruntime's C++ API."""

from __future__ import annotations

import json

from edgekit.embed import c
from edgekit.embed.app import App, filled, resource
from edgekit.preprocess import Preprocess

_AS_THEY_ARE = (
    "edgekit_model.hpp",
    "edgekit_model.cpp",
    "edgekit_packed.hpp",
    "edgekit_packed.cpp",
    "edgekit_picture.hpp",
    "edgekit_picture.cpp",
    "edgekit_text.hpp",
    "edgekit_text.cpp",
)


def files(app: App) -> dict[str, bytes]:
    """The folder's files by name."""
    prefix = app.prefix
    # The model is linked in as in the C app.
    linked = c.files(app)
    words = {
        "prefix": prefix,
        # A backslash at its end would draw the next line into a comment.
        "name": app.name.replace("\\", "/"),
        "packed_bytes": f"{len(app.data):,}",
        "digest": app.packed.digest,
        "preprocess": _preprocess(app.preprocess),
        "labels": _labels(app.labels),
    }
    return {
        **{name: resource(f"templates/cpp/{name}") for name in _AS_THEY_ARE},
        **{name: linked[name] for name in ("edgekit_decode.h", f"{prefix}.ekp")},
        **{name: linked[name] for name in (f"{prefix}.h", f"{prefix}.c")},
        "classify.cpp": filled("cpp/classify.cpp.in", words),
        "Makefile": filled("cpp/Makefile.in", words),
        "CMakeLists.txt": filled("cpp/CMakeLists.txt.in", words),
        "cmake/FindOnnxRuntime.cmake": resource("templates/cpp/FindOnnxRuntime.cmake"),
        "README.md": filled("cpp/README.md.in", words),
    }


def _preprocess(settings: Preprocess | None) -> str:
    if settings is None:
        return "std::nullopt"
    fields = (
        settings.width,
        settings.height,
        settings.resize or 0,
        f"edgekit::Channels::{settings.channels}",
        _floats(settings.mean),
        _floats(settings.std),
        "true" if settings.layout == "nhwc" else "false",
    )
    return f"edgekit::Preprocess{{\n    {', '.join(map(str, fields))}}}"


def _floats(numbers: tuple[float, ...]) -> str:
    return "{" + ", ".join(f"{float(number)!r}f" for number in numbers) + "}"


def _labels(labels: tuple[str, ...]) -> str:
    rows = "".join(f"    {_literal(label)},\n" for label in labels)
    return f"\n{rows}" if rows else ""


def _literal(text: str) -> str:
    """A string literal in UTF-8; what can't be printed becomes a space."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return json.dumps(plain, ensure_ascii=False)
