"""The packed file: layout, writer and reader (docs/format.md)."""

from __future__ import annotations

from edgekit.packfile.reader import PackedModel, open_packfile, read_packfile, read_weights
from edgekit.packfile.writer import PackReport, pack, write_packfile

__all__ = [
    "PackReport",
    "PackedModel",
    "open_packfile",
    "pack",
    "read_packfile",
    "read_weights",
    "write_packfile",
]
