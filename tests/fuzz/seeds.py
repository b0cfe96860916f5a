"""Seeds of the fuzz targets: the golden vectors, and chunks as tests/c/fuzz_chunk.c reads them.

Run: python -m tests.fuzz.seeds FOLDER
"""

from __future__ import annotations

import itertools
import shutil
import sys
from pathlib import Path

import numpy as np

from edgekit.packfile.layout import Coder, Mode
from tests.golden.accepted import grid, laplacian
from tests.golden.building import File, Tensor, coded

GOLDEN = Path(__file__).parents[1] / "golden"
STREAMS = (1, 4, 8)
ELEMENTS = (100, 9000)
"""Without and with tables of several symbols an entry, which the targets build from 256 on."""


def chunk_seed(tensor: Tensor, mode: Mode, coder: Coder, streams: int) -> bytes:
    """A tensor of one chunk in the layout of fuzz_chunk.c, or b"" where its record is too long."""
    names = list(tensor.fields)
    record = b"".join(tensor.fields[name] for name in names[names.index("value table") :])
    if len(record) > 255:
        return b""
    head = bytes([(mode - Mode.DIRECT) | coder << 4, STREAMS.index(streams), len(record)])
    elements = (tensor.truth.shape[0] - 1).to_bytes(2, "little")
    return head + elements + record + tensor.payload + bytes(32)


def pair_seed(spread: float) -> bytes:
    """A file of three chunks, of which two are decoded at once."""
    codes = laplacian(2 * 4096 + 900, spread)
    return File((coded(grid(codes), Mode.DIRECT, streams=4, chunk_log2=12),)).to_bytes()


def main(words: list[str]) -> None:
    """Write both folders of seeds into the folder that is named."""
    folder = Path(words[0])
    for name in ("file", "chunk"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for vector in sorted(GOLDEN.glob("*/*.ekp")):
        shutil.copy(vector, folder / "file" / f"{vector.parent.name}_{vector.name}")
    for spread in (0.6, 2.0):
        (folder / "file" / f"pairs_{spread:.0f}").write_bytes(pair_seed(spread))
    for mode, count, (spread, zeros) in itertools.product(
        (Mode.DIRECT, Mode.GAP, Mode.MASK), ELEMENTS, ((1.0, 0.0), (3.0, 0.7), (20.0, 0.3))
    ):
        codes = laplacian(count, spread, zeros=zeros)
        codes[0] = np.int8(1)  # a sequence with a symbol
        for coder, streams in (
            (Coder.HUFFMAN, 1),
            *((Coder.HUFFMAN, n) for n in (4, 8)),
            (Coder.RANS, 1),
        ):
            tensor = coded(grid(codes), mode, coder=coder, streams=streams, chunk_log2=14)
            seed = chunk_seed(tensor, mode, coder, streams)
            if seed:
                name = f"{mode.name}_{coder.name}_{streams}_{count}_{spread:.0f}".lower()
                (folder / "chunk" / name).write_bytes(seed)


if __name__ == "__main__":
    main(sys.argv[1:])
