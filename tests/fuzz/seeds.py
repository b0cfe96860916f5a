"""Seeds of the fuzz targets: the golden vectors, and chunks as tests/c/fuzz_chunk.c reads them.

Run: python -m tests.fuzz.seeds FOLDER
"""

from __future__ import annotations

import itertools
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekit.codec.trellis import join_trellis
from edgekit.packfile import layout
from edgekit.packfile.layout import Coder, Mode
from tests.golden.accepted import grid, laplacian
from tests.golden.building import File, Tensor, coded, varint

GOLDEN = Path(__file__).parents[1] / "golden"
STREAMS = (1, 4, 8)
ELEMENTS = (100, 9000)
"""Without and with tables of several symbols an entry, which the targets build from 256 on."""


def chunk_seed(tensor: Tensor, mode: Mode, coder: Coder, streams: int) -> bytes:
    """A tensor of one chunk in the layout of fuzz_chunk.c, or b"" where its record is too long."""
    names = list(tensor.fields)
    kind = tensor.fields["scaling"][0] & 3
    begin = names.index("value table" if kind == 1 else "scales")
    record = b"".join(tensor.fields[name] for name in names[begin:])
    if len(record) > 255:
        return b""
    rows, columns = (*tensor.truth.shape, 1)[:2]
    head = [(mode - Mode.DIRECT) | coder << 4 | (kind - 1) << 5]
    head += [STREAMS.index(streams) + 3 * (columns - 1), len(record)]
    return bytes(head) + (rows - 1).to_bytes(2, "little") + record + tensor.payload + bytes(32)


def on_trellis(symbols: NDArray[np.int8], axis: int) -> NDArray[np.int8]:
    """The codes of some symbols, in one chunk."""
    return join_trellis(symbols.view(np.uint8), axis, symbols.size).view(np.int8)


def scaled_seeds(mode: Mode, streams: int) -> Iterator[tuple[str, bytes]]:
    """A matrix with a scale for each column, and one with an exception for a row."""
    codes = laplacian(7 * 300, 3, zeros=0.6).reshape(300, 7)
    columns = np.arange(1, 8, dtype=np.float16)
    row = np.ones(300, np.float16)
    row[260] = 2
    exceptions = b"\0\x00\x3c\1" + varint(260) + b"\x00\x40"
    for name, axis, scale, scales in (
        ("columns", 1, columns, (2 | 8, b"\1" + columns.astype("<f2").tobytes())),
        ("row", 0, row, (3 | 8, exceptions)),
    ):
        followed = on_trellis(codes, axis) if mode is Mode.TRELLIS else codes
        matrix = grid(followed, scale.astype(np.float32), axis=axis)
        tensor = coded(matrix, mode, streams=streams, chunk_log2=14, scales=scales)
        yield name, chunk_seed(tensor, mode, Coder.HUFFMAN, streams)


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
    for mode, streams in itertools.product(layout.CODED_MODES, STREAMS):
        for name, seed in scaled_seeds(mode, streams):
            (folder / "chunk" / f"{mode.name}_{streams}_{name}".lower()).write_bytes(seed)
    for mode, count, (spread, zeros) in itertools.product(
        layout.CODED_MODES, ELEMENTS, ((1.0, 0.0), (3.0, 0.7), (20.0, 0.3))
    ):
        codes = laplacian(count, spread, zeros=zeros)
        codes[0] = np.int8(1)  # a sequence with a symbol
        if mode is Mode.TRELLIS:
            codes = on_trellis(codes, 0)
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
