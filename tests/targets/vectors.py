"""Writes the golden vectors as C: python -m tests.targets.vectors FOLDER."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

GOLDEN = Path(__file__).parents[1] / "golden"

WIDTHS = {"float64": 8, "int64": 8, "float32": 4, "int32": 4, "float16": 2, "bfloat16": 2}
"""Bytes of an element; 1 for the others."""

BESIDE_THE_DECODER = ("packed_", "names_", "manifest_", "sha256")
"""Rules about parts of a file that the C decoder doesn't read."""


def array(kind: str, name: str, numbers: list[int]) -> str:
    """A constant array; C has none without an element."""
    return f"static const {kind} {name}[] = {{{','.join(map(str, numbers or [0]))}}};\n"


def accepted() -> list[tuple[Path, str, list[dict[str, object]]]]:
    """Files, their result and their tensors' expectations."""
    return [
        (file, "EKD_OK", json.loads(file.with_suffix(".json").read_text())["tensors"])
        for file in sorted((GOLDEN / "accept").glob("*.ekp"))
    ]


def rejected() -> list[tuple[Path, str, list[dict[str, object]]]]:
    """The same for files with an error, whose tensors aren't looked at."""
    expected = json.loads((GOLDEN / "reject" / "expected.json").read_text())
    return [
        (file, "EKD_" + expected[file.stem]["error"].removesuffix("Error").upper(), [])
        for file in sorted((GOLDEN / "reject").glob("*.ekp"))
        if not file.stem.startswith(BESIDE_THE_DECODER)
    ]


def main() -> None:
    """Write vectors.c, and largest.h with the size of the largest accepted tensor."""
    folder = Path(sys.argv[1])
    text = ['#include "edgekit_decode.h"\n\n#include "check.h"\n\n']
    rows = []
    largest = 0
    for number, (file, result, tensors) in enumerate(accepted() + rejected()):
        data = file.read_bytes()
        text.append(array("uint8_t", f"data{number}", list(data)))
        for name in ("codes", "restored"):
            crcs = [int(str(tensor[f"{name}_crc32c"] or 0)) for tensor in tensors]
            text.append(array("uint32_t", f"{name}{number}", crcs))
        for tensor in tensors:
            shape = tensor["shape"]
            assert isinstance(shape, list)
            largest = max(largest, math.prod(shape) * WIDTHS.get(str(tensor["dtype"]), 1))
        rows.append(
            f'    {{"{file.parent.name}/{file.stem}", data{number}, {len(data)}, {result}, '
            f"{len(tensors)}, codes{number}, restored{number}}},\n"
        )
    text += ["const check_vector check_vectors[] = {\n", *rows, "};\n"]
    text.append(f"const uint32_t check_vector_count = {len(rows)};\n")
    (folder / "vectors.c").write_text("".join(text))
    (folder / "largest.h").write_text(f"#define CHECK_LARGEST {largest}\n")


if __name__ == "__main__":
    main()
