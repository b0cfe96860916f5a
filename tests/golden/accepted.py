"""The packed files that every decoder must accept, each with what it shows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edgekit.codec import rans
from edgekit.codec.trellis import join_trellis
from edgekit.packfile.layout import Coder, Mode
from edgekit.tensors import CodedTensor, StoredTensor
from tests.golden.building import Codes, File, Tensor, coded, packed, stored, varint

ONE = np.array(1, np.float32)
HALF = np.array(0.5, np.float32)
THIRD = np.array(1 / 3, np.float32)


def signed(*codes: int) -> NDArray[np.int8]:
    """Codes of a grid."""
    return np.array(codes, np.int8)


def grid(codes: Codes, scale: NDArray[np.float32] = THIRD, **more: object) -> CodedTensor:
    """A tensor of codes on a uniform grid."""
    options: dict[str, object] = {"name": "w", "dtype": "float32"} | more
    return CodedTensor(codes=codes, scale=scale, **options)  # type: ignore[arg-type]  # options


def laplacian(count: int, spread: float, *, zeros: float = 0.0) -> NDArray[np.int8]:
    """Codes that look like weights; the same for the same arguments."""
    rng = np.random.default_rng(count)
    codes = np.clip(np.rint(rng.laplace(0, spread, count)), -127, 127).astype(np.int8)
    codes[rng.random(count) < zeros] = 0
    return codes


def sparse(count: int, *places: int) -> NDArray[np.int8]:
    """Zeros but for some places."""
    codes = np.zeros(count, np.int8)
    codes[list(places)] = np.arange(len(places)) % 5 + 1
    return codes


def twelve_bit_lengths() -> NDArray[np.uint8]:
    """A complete code with lengths 1 to 12."""
    lengths = np.zeros(256, np.uint8)
    lengths[:13] = [*range(1, 13), 12]
    return lengths


WORKED_EXAMPLE = coded(
    grid(signed(0, 1, 0, -1, 0, 2, 0, 1), HALF),
    Mode.DIRECT,
    scales=(1 | 8, HALF.astype("<f2").tobytes()),
)
"""The tensor of docs/format.md, chapter 5."""

WORKED_RANS_FREQUENCIES = np.zeros(256, np.uint16)
WORKED_RANS_FREQUENCIES[:3] = [4064, 16, 16]

WORKED_RANS = (
    coded(
        grid(signed(1, 0, 0, 0, 2, 0), HALF),
        Mode.DIRECT,
        coder=Coder.RANS,
        scales=(1 | 8, HALF.astype("<f2").tobytes()),
    )
    .change(value__table=rans.write_table(WORKED_RANS_FREQUENCIES))
    .with_payload(
        rans.encode_rans(signed(1, 0, 0, 0, 2, 0).view(np.uint8), WORKED_RANS_FREQUENCIES)
    )
)
"""The tensor of chapter 5.1."""


WORKED_TRELLIS = coded(
    grid(signed(2, -2, 1, 0, 3, 0, 1, -1), HALF),
    Mode.TRELLIS,
    scales=(1 | 8, HALF.astype("<f2").tobytes()),
)
"""The tensor of chapter 5.2."""


def accepted() -> Iterator[tuple[str, str, File]]:
    """Name, note and file of each vector."""
    yield "no_tensors", "the smallest file: no tensor, an empty payload", File()
    yield "worked_example", "the tensor of chapter 5", File((WORKED_EXAMPLE,))
    yield "worked_rans", "the tensor of chapter 5.1", File((WORKED_RANS,))
    yield "worked_trellis", "the tensor of chapter 5.2", File((WORKED_TRELLIS,))
    yield from _modes()
    yield from _codes()
    yield from _types()
    yield from _scaling()
    yield from _shapes()
    yield from _rans()
    yield from _trellis()
    yield from _container()


def _modes() -> Iterator[tuple[str, str, File]]:
    codes = laplacian(600, 3)
    yield (
        "direct_four_streams",
        "4 streams",
        File((coded(grid(codes), Mode.DIRECT, streams=4, chunk_log2=10),)),
    )
    yield (
        "direct_eight_streams",
        "8 streams",
        File((coded(grid(codes), Mode.DIRECT, streams=8, chunk_log2=10),)),
    )
    yield (
        "direct_empty_streams",
        "9 symbols in 8 streams: 4 of 2 symbols, 1 of 1, 3 empty ones",
        File((coded(grid(laplacian(9, 3)), Mode.DIRECT, streams=8),)),
    )
    yield (
        "direct_chunks",
        "3 chunks, the last one short",
        File((coded(grid(codes), Mode.DIRECT, streams=4),)),
    )
    thin = laplacian(700, 4, zeros=0.8)
    yield "gap", "nonzero values and distances", File((coded(grid(thin), Mode.GAP, chunk_log2=10),))
    yield (
        "gap_four_streams",
        "4 streams of values, then 4 of gaps",
        File((coded(grid(thin), Mode.GAP, streams=4, chunk_log2=10),)),
    )
    yield (
        "gap_chunks",
        "gaps begin anew in each chunk; the second chunk has no value",
        File((coded(grid(sparse(600, 0, 255, 513, 599)), Mode.GAP),)),
    )
    yield (
        "gap_longest",
        "gaps of 0, 254, 255 and 600 elements: fillers before a value",
        File((coded(grid(sparse(1200, 0, 255, 511, 1112)), Mode.GAP, chunk_log2=11),)),
    )
    yield (
        "gap_no_values",
        "all codes are 0, so both sequences are empty",
        File((coded(grid(sparse(20)), Mode.GAP),)),
    )
    yield (
        "mask",
        "nonzero values and one bit an element",
        File((coded(grid(laplacian(400, 4, zeros=0.5)), Mode.MASK, chunk_log2=9),)),
    )
    yield (
        "mask_odd_elements",
        "13 elements: 3 bits of the last mask byte are unused",
        File((coded(grid(sparse(13, 2, 12)), Mode.MASK),)),
    )
    yield (
        "mask_four_streams",
        "4 streams of values, then 4 of mask bytes, in 3 chunks",
        File((coded(grid(laplacian(600, 4, zeros=0.6)), Mode.MASK, streams=4),)),
    )
    yield "raw_codes", "codes as they are", File((coded(grid(laplacian(20, 40)), Mode.RAW),))
    yield (
        "raw_chunks",
        "codes as they are, in 2 chunks",
        File((coded(grid(laplacian(300, 40)), Mode.RAW),)),
    )
    yield (
        "constant_codes",
        "one code for 1,000 elements, no payload",
        File((coded(grid(np.full((10, 100), -3, np.int8)), Mode.CONSTANT),)),
    )
    yield (
        "constant_numbers",
        "one float64 for all elements",
        File((stored(StoredTensor("w", "float64", np.full((3, 3), np.pi)), Mode.CONSTANT),)),
    )


def _codes() -> Iterator[tuple[str, str, File]]:
    codes = np.arange(13, dtype=np.uint8).view(np.int8)
    yield (
        "twelve_bit_codes",
        "code lengths 1 to 12",
        File((coded(grid(codes), Mode.DIRECT, lengths=twelve_bit_lengths()),)),
    )
    yield (
        "single_symbol",
        "a table of one symbol: its code is one bit, 0",
        File((coded(grid(np.full(11, 7, np.int8)), Mode.DIRECT),)),
    )
    yield (
        "all_symbols",
        "all 256 codes, each of 8 bits: a table of runs",
        File((coded(grid(np.arange(256, dtype=np.uint8).view(np.int8)), Mode.DIRECT),)),
    )
    yield (
        "two_symbols",
        "0 and 255 alone: a long run of zeros in the table",
        File((coded(grid(signed(0, -1, -1, 0, 0)), Mode.DIRECT),)),
    )


def _types() -> Iterator[tuple[str, str, File]]:
    numbers = np.array([[0.0, -0.0, 1.5], [-2.25, 3e4, 6e-8]])
    nans = np.array([0x7C01, 0xFD00, 0x7DFF, 0x7E00, 0xFE01, 0xFC00], np.uint16)
    patterns = np.array([0x3F80, 0xC020, 0x7F80, 0x7FC1], np.uint16)
    integers = np.array([0, -1, 2**31 - 1, -(2**31)])
    for name, note, tensor in (
        ("float32", "float32 as it is", StoredTensor("w", "float32", numbers.astype(np.float32))),
        ("float16", "float16 as it is", StoredTensor("w", "float16", numbers.astype(np.float16))),
        (
            "bfloat16",
            "bfloat16 patterns, infinity and NaN among them",
            StoredTensor("w", "bfloat16", patterns),
        ),
        ("float64", "float64 as it is", StoredTensor("w", "float64", numbers)),
        ("int32", "int32 as it is", StoredTensor("w", "int32", integers.astype(np.int32))),
        ("int64", "int64 as it is", StoredTensor("w", "int64", integers * 2**32 + 1)),
        (
            "float16_to_float32",
            "float16, restored to float32",
            StoredTensor("w", "float32", numbers.astype(np.float16)),
        ),
        (
            "float16_nans",
            "signalling and quiet NaNs of either sign, restored to float32",
            StoredTensor("w", "float32", nans.view(np.float16)),
        ),
    ):
        yield f"stored_{name}", note, File((stored(tensor),))
    codes = signed(-128, -3, 0, 1, 127, 5, 5, 5, 5)
    for dtype in ("float16", "bfloat16", "float64"):
        yield (
            f"codes_to_{dtype}",
            f"the float32 product, rounded to {dtype}",
            File((coded(grid(codes, dtype=dtype), Mode.DIRECT),)),
        )
    yield (
        "codes_to_int8",
        "codes are the elements, signed",
        File((coded(CodedTensor("w", "int8", codes, None), Mode.DIRECT),)),
    )
    yield (
        "codes_to_uint8",
        "codes are the elements, unsigned",
        File((coded(CodedTensor("w", "uint8", codes.view(np.uint8), None), Mode.DIRECT),)),
    )


def _scaling() -> Iterator[tuple[str, str, File]]:
    codes = laplacian(24, 3).reshape(2, 3, 4)
    halves = np.array([0.5, -0.25, 6e-5], np.float16).astype(np.float32)
    thirds = np.array([1, 2, 1e-42], np.float32) / np.float32(3)
    yield (
        "scale_half",
        "one scale in f16",
        File((coded(grid(codes, HALF), Mode.DIRECT, scales=(1 | 8, b"\x00\x38")),)),
    )
    yield "scale_float", "one scale in f32", File((coded(grid(codes), Mode.DIRECT),))
    yield (
        "scale_negative",
        "a negative scale turns code 0 into -0.0",
        File((coded(grid(codes, -HALF), Mode.GAP),)),
    )
    yield (
        "channels_float",
        "a scale for each index of axis 1, one of them subnormal",
        File((coded(grid(codes, thirds, axis=1), Mode.DIRECT),)),
    )
    yield (
        "channels_half",
        "the same in f16",
        File(
            (
                coded(
                    grid(codes, halves, axis=1),
                    Mode.DIRECT,
                    scales=(2 | 8, b"\1" + halves.astype("<f2").tobytes()),
                ),
            )
        ),
    )
    scale = np.full(200, 0.5, np.float32)
    scale[[0, 3, 199]] = [2, 4, 8]
    exceptions = b"\0\x00\x38\3\0\x00\x40\2\x00\x44" + varint(195) + b"\x00\x48"
    yield (
        "channels_exceptions",
        "one scale for 197 channels, exceptions for channels 0, 3 and 199",
        File(
            (
                coded(
                    grid(laplacian(400, 2).reshape(200, 2), scale),
                    Mode.DIRECT,
                    chunk_log2=9,
                    scales=(3 | 8, exceptions),
                ),
            )
        ),
    )
    book = np.array([0, -1.5, 0.1, 7], np.float32)
    indices = np.array([0, 1, 2, 3, 3, 0, 0, 2], np.uint8).reshape(2, 4)
    yield (
        "codebook_float",
        "codes are indices into four f32",
        File((coded(CodedTensor("w", "float32", indices, ONE, 0, book), Mode.DIRECT),)),
    )
    short = book.astype(np.float16).astype(np.float32)
    yield (
        "codebook_half",
        "the same in f16",
        File(
            (
                coded(
                    CodedTensor("w", "float32", indices, ONE, 0, short),
                    Mode.DIRECT,
                    half_codebook=True,
                ),
            )
        ),
    )
    yield (
        "codebook_scale",
        "a codebook and one scale",
        File((coded(CodedTensor("w", "float32", indices, THIRD, 0, book), Mode.DIRECT),)),
    )
    yield (
        "codebook_gains",
        "a codebook and a scale for each channel",
        File((coded(CodedTensor("w", "float32", indices, thirds[:2], 0, book), Mode.GAP),)),
    )
    full = np.linspace(-1, 1, 256, dtype=np.float32)
    yield (
        "codebook_256",
        "the largest codebook, code 255 among the codes",
        File(
            (
                coded(
                    CodedTensor(
                        "w", "float32", np.array([255, 0, 128, 255], np.uint8), ONE, 0, full
                    ),
                    Mode.DIRECT,
                ),
            )
        ),
    )


def _shapes() -> Iterator[tuple[str, str, File]]:
    yield (
        "scalar",
        "rank 0 has one element",
        File((stored(StoredTensor("w", "float32", np.array(2.5, np.float32))),)),
    )
    yield (
        "empty",
        "a dimension of 0: no elements, no chunk",
        File((stored(StoredTensor("w", "float32", np.zeros((3, 0, 2), np.float32))),)),
    )
    yield (
        "empty_codes",
        "a tensor of codes without elements",
        File((coded(grid(np.zeros((0, 4), np.int8), np.ones(4, np.float32), axis=1), Mode.RAW),)),
    )
    yield (
        "rank_8",
        "the largest rank",
        File((coded(grid(laplacian(16, 3).reshape(1, 2, 1, 2, 2, 1, 2, 1)), Mode.DIRECT),)),
    )


def _rans() -> Iterator[tuple[str, str, File]]:
    def file(codes: NDArray[np.int8], mode: Mode, chunk_log2: int = 10) -> File:
        return File((coded(grid(codes), mode, coder=Coder.RANS, chunk_log2=chunk_log2),))

    thin = laplacian(700, 4, zeros=0.8)
    yield "rans_direct", "4 states, frequencies of 12 bits", file(laplacian(600, 3), Mode.DIRECT)
    yield "rans_chunks", "states begin anew in each chunk", file(laplacian(600, 3), Mode.DIRECT, 8)
    yield "rans_gap", "rANS for values and gaps", file(thin, Mode.GAP)
    yield "rans_mask", "rANS for values and mask bytes", file(thin, Mode.MASK)
    yield (
        "rans_empty_sequence",
        "a chunk without values: no bytes for its sequences",
        file(sparse(600, 3, 9, 590), Mode.GAP, 8),
    )
    yield "rans_three_symbols", "fewer symbols than states", file(signed(1, 2, 1), Mode.DIRECT)
    yield (
        "rans_single_symbol",
        "a frequency of 4096: states alone",
        file(np.full(50, 9, np.int8), Mode.DIRECT),
    )


def _trellis() -> Iterator[tuple[str, str, File]]:
    def file(
        shape: tuple[int, ...],
        axis: int,
        scale: NDArray[np.float32] = HALF,
        coder: Coder = Coder.HUFFMAN,
        chunk_log2: int = 10,
    ) -> File:
        symbols = laplacian(int(np.prod(shape)), 9).view(np.uint8).reshape(shape)
        codes = join_trellis(symbols, axis, 1 << chunk_log2).view(np.int8)
        tensor = grid(codes, scale, axis=axis)
        return File((coded(tensor, Mode.TRELLIS, coder=coder, chunk_log2=chunk_log2),))

    yield "trellis", "paths along axis 0", file((20, 5, 3, 3), 0)
    yield "trellis_rans", "the same with rANS", file((20, 5, 3, 3), 0, coder=Coder.RANS)
    yield (
        "trellis_chunks",
        "paths begin anew in each chunk, inside a row",
        file((24, 60), 0, chunk_log2=9),
    )
    yield (
        "trellis_long_rows",
        "rows longer than a chunk: no code has one before it",
        file((3, 300), 0, chunk_log2=8),
    )
    yield (
        "trellis_middle_axis",
        "paths along axis 1, a scale for each of its indices",
        file((4, 19, 6), 1, (np.arange(19) / 8 + 1).astype(np.float32), chunk_log2=8),
    )
    yield "trellis_last_axis", "paths of neighbours", file((7, 60), 1, chunk_log2=8)
    wide = np.arange(256, dtype=np.uint8).reshape(64, 4)
    codes = join_trellis(wide, 0, 256).view(np.int8)
    yield (
        "trellis_all_symbols",
        "symbols from 64 to 191 too: codes are counted modulo 256",
        File((coded(grid(codes), Mode.TRELLIS),)),
    )


def _container() -> Iterator[tuple[str, str, File]]:
    tensors: tuple[Tensor, ...] = (
        WORKED_EXAMPLE,
        coded(
            grid(laplacian(300, 3, zeros=0.7), name="Gewicht ü", dtype="float16"),
            Mode.MASK,
            chunk_log2=9,
        ),
        stored(StoredTensor("b", "float32", np.array([1, 2], np.float16))),
    )
    yield (
        "several_tensors",
        "three tensors, a name outside ASCII, a skeleton and a manifest",
        File(tensors, skeleton=packed(b"graph" * 9), manifest=packed(b'{"name":"three"}')),
    )
    yield (
        "newer_minor",
        "minor version 7, which a reader ignores",
        File((WORKED_EXAMPLE,), header={"minor": 7}),
    )
    yield (
        "free_sections",
        "sections 256 and 70000 of a later minor version, which a reader skips",
        File((WORKED_EXAMPLE,), extra=((256, b"later"), (70000, b""))),
    )
