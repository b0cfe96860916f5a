"""`--to python`: a loader in one file, and an app around it, for numpy and onnxruntime alone."""

from __future__ import annotations

import json
from importlib import resources

from edgekit.embed.app import App, filled, resource
from edgekit.embed.bundle import bundle

_MODULES = (
    "errors",
    "preprocess",
    "images",
    "tensors",
    "codec.crc",
    "codec.bits",
    "codec.runs",
    "codec.streams",
    "codec.huffman",
    "codec.rans",
    "codec.gaps",
    "codec.mask",
    "codec.trellis",
    "codec.native",
    "packfile.layout",
    "packfile.cursor",
    "packfile.container",
    "packfile.records",
    "packfile.decode",
    "packfile.reader",
    "runtime.session",
)
"""What the loader is cut from, lower ones first."""

_STAND_INS = {"codec.native": "python/native.py.in"}
"""Modules that the loader has in another form."""

_ROOTS = (
    ("edgekit.runtime.session", "load"),
    ("edgekit.packfile.reader", "open_packfile"),
    ("edgekit.packfile.reader", "read_weights"),
    ("edgekit.preprocess", "from_dict"),
    ("edgekit.preprocess", "prepare"),
    ("edgekit.images", "read_picture"),
    ("edgekit_loader", "check_tensors"),
    ("edgekit_loader", "main"),
)

_SETUP = """\
# onnxruntime's own builds send telemetry unless this is set before they are imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")\
"""


def files(app: App) -> dict[str, bytes]:
    """The folder's files by name."""
    words = {
        "prefix": app.prefix,
        # Text that can't end a heading or a docstring.
        "name": app.name.replace("\\", "/").replace('"', "'"),
        "packed_bytes": f"{len(app.data):,}",
        "digest": app.packed.digest,
        "preprocess": _preprocess(app),
        "labels": _labels(app),
        "pictures": _PICTURES if app.preprocess else _NO_PICTURES,
    }
    return {
        "edgekit_loader.py": loader().encode(),
        f"{app.prefix}.ekp": app.data,
        "classify.py": filled("python/classify.py.in", words),
        "requirements.txt": resource("templates/python/requirements.txt.in"),
        "README.md": filled("python/README.md.in", words),
    }


def loader() -> str:
    """The text of edgekit_loader.py, cut from this package's own reader."""
    sources = {f"edgekit.{name}": _source(name) for name in _MODULES}
    sources["edgekit_loader"] = resource("templates/python/check.py.in").decode()
    header = resource("templates/python/header.py.in").decode().rstrip()
    text = bundle(sources, _ROOTS, header, _SETUP)
    return f'{text}\n\nif __name__ == "__main__":\n    sys.exit(main(sys.argv[1:]))\n'


def _source(name: str) -> str:
    if name in _STAND_INS:
        return resource(f"templates/{_STAND_INS[name]}").decode()
    path = resources.files("edgekit") / f"{name.replace('.', '/')}.py"
    return path.read_text(encoding="utf-8")


_PICTURES = """\
    python3 classify.py photo.jpg       # any picture, with Pillow: pip install pillow
    python3 classify.py pixels.npy      # uint8, (height, width, 3) or (height, width)
    python3 classify.py pixels.raw      # the same bytes without a header
    python3 classify.py input.npy       # float32, a finished input\
"""
_NO_PICTURES = """\
    python3 classify.py input.npy       # float32, a finished input\
"""


def _preprocess(app: App) -> str:
    if app.preprocess is None:
        return "None"
    rows = "".join(
        f'        "{key}": {_literal(value)},\n' for key, value in app.preprocess.to_dict().items()
    )
    return f"from_dict(\n    {{\n{rows}    }}\n)"


def _labels(app: App) -> str:
    rows = "".join(f"    {_literal(label)},\n" for label in app.labels)
    return f"(\n{rows})" if rows else "()"


def _literal(value: object) -> str:
    """A Python literal, strings in double quotes."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
