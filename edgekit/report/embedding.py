"""The table of an app folder."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgekit.embed.generate import EmbedReport

_NEXT = {
    "c": "build and run it: make -C {} check",
    "cpp": "build and check it: make -C {} check ONNXRUNTIME_ROOT=FOLDER",
    "python": "run it: python3 {}/classify.py PICTURE or INPUT.npy",
    "web": "fetch the runtime and serve it: see {}/README.md",
}


def render_table(report: EmbedReport) -> RenderableType:
    """The files that were written, and what the app needs in memory."""
    table = Table(box=None, pad_edge=False)
    table.add_column("file")
    table.add_column("bytes", justify="right")
    for name, size in report.files:
        table.add_row(name, f"{size:,}")
    return Group(
        table,
        Text(),
        Text(
            f"{len(report.tensors)} tensors: {report.packed_bytes:,} bytes packed, "
            f"{report.decoded_bytes:,} decoded, {report.buffer_bytes:,} at a time"
            + ("; the app runs in 8 bits" if report.run_form == "int8" else "")
        ),
        Text(_NEXT[report.target].format(report.output)),
    )
