"""Layers with bits of their own, finer than the rest or coarser: `conv1:8, fc:float`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Literal

from edgekit.compress.quantize import check_bits
from edgekit.errors import PlanError

Keep = int | Literal["float"]
"""Bits of a layer's codes, or "float": stored as numbers."""

_SUFFIX = ".weight"


def parse_keep(text: str) -> dict[str, Keep]:
    """`NAME:BITS` or `NAME:float`, with commas between; a name may be a pattern with * and ?.

    Raises PlanError.
    """
    found: dict[str, Keep] = {}
    for part in text.split(","):
        name, colon, width = (piece.strip() for piece in part.rpartition(":"))
        if not (name and colon and (width == "float" or width.isdecimal())):
            raise PlanError(
                f"can't read {part.strip()!r} as a layer to keep; write NAME:BITS or NAME:float"
            )
        found[name] = "float" if width == "float" else int(width)
    return found


def kept_layers(keep: Mapping[str, Keep], names: Iterable[str]) -> dict[str, Keep]:
    """What `keep` says of each weight tensor that it names; a later entry wins.

    names: of the weight tensors that are coded. An entry is a name or pattern, with or without
    `.weight` at its end. Raises PlanError for bits outside 2 to 8, and for an entry that names
    no tensor, with the nearest one that there is.
    """
    known = list(names)
    found: dict[str, Keep] = {}
    for entry, width in keep.items():
        if isinstance(width, int):
            check_bits(width)
        elif width != "float":
            raise PlanError(f"{entry}: keep bits or 'float', not {width!r}")
        matched = [
            name
            for name in known
            if fnmatchcase(name, entry) or fnmatchcase(name.removesuffix(_SUFFIX), entry)
        ]
        if not matched:
            shorter = [name.removesuffix(_SUFFIX) for name in known]
            near = difflib.get_close_matches(entry, [*shorter, *known], 1, 0.4)
            raise PlanError(
                f"no coded layer is called {entry!r}"
                + (f"; did you mean {near[0]!r}?" if near else "")
            )
        found |= dict.fromkeys(matched, width)
    return found
