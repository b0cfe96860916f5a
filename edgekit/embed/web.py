"""`--to web`: a static page that runs the model in a visitor's browser, on onnxruntime-web."""

from __future__ import annotations

import json
from html import escape

from edgekit.embed.app import App, filled, resource
from edgekit.errors import UsageError

_AS_THEY_ARE = (
    "app.js",
    "edgekit.d.ts",
    "edgekit.js",
    "errors.js",
    "icon.svg",
    "package.json",
    "pictures.js",
    "sample.svg",
    "scores.js",
    "sections.js",
    "serve.mjs",
    "skeleton.js",
    "style.css",
    "vendor.mjs",
    "worker.js",
)


def files(app: App) -> dict[str, bytes]:
    """The folder's files by name.

    Raises UsageError for a model that takes no pictures: the page would have nothing to show it.
    """
    if app.preprocess is None:
        raise UsageError(
            "the page shows pictures to the model, but this one's first input isn't a picture of "
            "known size; say how pictures become inputs with --preprocess FILE.toml"
        )
    packed = f"{app.prefix}.ekp"
    float_bytes = _float_bytes(app)
    settings = {
        "name": app.name,
        "packed": packed,
        "packedBytes": len(app.data),
        "floatBytes": float_bytes,
        "preprocess": app.preprocess.to_dict(),
        "labels": list(app.labels),
    }
    words = {
        "name": app.name,
        "packed": packed,
        "packed_bytes": f"{len(app.data):,}",
        "float_bytes": f"{float_bytes:,}",
    }
    return {
        "README.md": filled("web/README.md.in", words),
        "index.html": filled("web/index.html.in", {"name": escape(app.name)}),
        **{name: resource(f"templates/web/{name}") for name in _AS_THEY_ARE},
        "edgekit_decode.wasm": resource("wasm/edgekit_decode.wasm"),
        "model.json": json.dumps(settings, indent=1, ensure_ascii=False).encode() + b"\n",
        packed: app.data,
    }


def _float_bytes(app: App) -> int:
    """Bytes of the plain model: of the file that was compressed, where the packed file says so."""
    source = app.packed.manifest.get("source_bytes")
    if isinstance(source, int) and not isinstance(source, bool) and source > 0:
        return source
    return app.decoded_bytes
