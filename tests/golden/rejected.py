"""The packed files that every decoder must refuse: each breaks one rule of docs/format.md."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from edgekit.codec import huffman
from edgekit.packfile.layout import Coder, Mode
from edgekit.tensors import CodedTensor, StoredTensor
from tests.golden.accepted import HALF, ONE, grid, signed, sparse
from tests.golden.building import File, Tensor, coded, stored, varint
from tests.golden.rejected_containers import (
    CHECKSUM,
    CORRUPT,
    EXAMPLE,
    LIMIT,
    RANS,
    RAW,
    TRELLIS,
    TRUNCATED,
    rejected_containers,
)

Vector = tuple[str, str, str, bytes]
"""Name, error, rule and bytes."""

GAP = coded(grid(sparse(300, 3, 280)), Mode.GAP, chunk_log2=9)
MASK = coded(grid(sparse(13, 2, 12)), Mode.MASK)
CONSTANT = stored(StoredTensor("w", "float32", np.ones(4, np.float32)), Mode.CONSTANT)
CHANNELS = coded(grid(signed(1, 2, 1, 2), np.array([1, 2], np.float32)), Mode.DIRECT)
BOOK = coded(
    CodedTensor(
        "w", "float32", np.array([0, 1, 1], np.uint8), ONE, 0, np.array([0, 2], np.float32)
    ),
    Mode.DIRECT,
)


def rejected() -> Iterator[Vector]:
    """All vectors, in the order of chapter 7's checks."""
    for name, error, rule, file in rejected_containers():
        yield name, error, rule, file if isinstance(file, bytes) else file.to_bytes()
    for name, error, rule, tensor in (
        *_heads(),
        *_types_and_modes(),
        *_scales(),
        *_huffman_tables(),
        *_indices(),
        *_streams(),
        *_sparse(),
        *_rans(),
        *_trellis(),
    ):
        yield name, error, rule, File((tensor,)).to_bytes()


_Broken = Iterator[tuple[str, str, str, Tensor]]


def _heads() -> _Broken:
    yield (
        "record_longer",
        CORRUPT,
        "3: a byte behind the record's last field",
        EXAMPLE.change(stream_bytes__0=b"\0"),
    )
    yield (
        "record_shorter",
        TRUNCATED,
        "3: the record ends inside its last field",
        EXAMPLE.change(crc32c__0=b"\0"),
    )
    yield (
        "varint_long",
        CORRUPT,
        "1: a varint with a needless zero byte",
        EXAMPLE.change(dims=b"\x88\0"),
    )
    yield (
        "varint_33_bits",
        CORRUPT,
        "1: a varint of 2^32",
        EXAMPLE.change(dims=b"\x80\x80\x80\x80\x10"),
    )
    yield (
        "varint_six_bytes",
        CORRUPT,
        "1: a varint of 6 bytes",
        EXAMPLE.change(dims=b"\x80\x80\x80\x80\x80\x01"),
    )
    yield "mode", CORRUPT, "3.1: mode 6", EXAMPLE.change(coding=b"\x06")
    yield "coder", CORRUPT, "3: coder 2", EXAMPLE.change(coding=b"\x22")
    yield "restored_type", CORRUPT, "3.2: restored type 9", EXAMPLE.change(types=b"\x09")
    yield "stored_type", CORRUPT, "3.2: stored type 9", EXAMPLE.change(types=b"\x91")
    yield "scaling_bits", CORRUPT, "3: bit 5 of the scaling byte", EXAMPLE.change(scaling=b"\x29")
    yield "layout_bits", CORRUPT, "3: bit 6 of the layout byte", EXAMPLE.change(layout=b"\x41")
    yield "streams", CORRUPT, "3: stream field 3", EXAMPLE.change(layout=b"\x31")
    yield "rank", LIMIT, "8: rank 9", EXAMPLE.change(layout=b"\x09", dims=b"\1" * 8 + b"\x08")
    yield "chunk_small", CORRUPT, "3: chunks of 2^7 elements", EXAMPLE.change(chunk_log2=b"\x07")
    yield "chunk_large", LIMIT, "8: chunks of 2^21 elements", EXAMPLE.change(chunk_log2=b"\x15")
    yield (
        "elements",
        LIMIT,
        "8: 2^32 elements",
        EXAMPLE.change(layout=b"\x02", dims=varint(1 << 16) * 2),
    )
    yield (
        "elements_beside_zero",
        LIMIT,
        "3: dimensions beside a 0 that multiply to 2^32",
        EXAMPLE.change(layout=b"\x03", dims=b"\0" + varint(1 << 16) * 2),
    )
    yield (
        "constant_elements",
        LIMIT,
        "8: a constant of 2^24 + 1 elements",
        CONSTANT.change(dims=varint(2**24 + 1)),
    )
    empty = stored(StoredTensor("w", "float32", np.zeros(0, np.float32)))
    yield (
        "empty_not_raw",
        CORRUPT,
        "3: no elements, but mode 1",
        CONSTANT.change(dims=empty.fields["dims"]),
    )


def _types_and_modes() -> _Broken:
    yield "restored_code", CORRUPT, "3.2: restored type 0", EXAMPLE.change(types=b"\x00")
    yield "stored_int8", CORRUPT, "3.2: stored type 5", RAW.change(types=b"\x55")
    yield (
        "codes_unscaled",
        CORRUPT,
        "3.2: codes to float32 without scale or codebook",
        EXAMPLE.change(scaling=b"\0", scales=b""),
    )
    yield (
        "codes_to_int32",
        CORRUPT,
        "3.2: codes with a scale to int32",
        EXAMPLE.change(types=b"\x07"),
    )
    yield (
        "codes_to_scaled_int8",
        CORRUPT,
        "3.2: codes with a scale to int8",
        EXAMPLE.change(types=b"\x05"),
    )
    yield (
        "numbers_scaled",
        CORRUPT,
        "3.2: float32 with a scale",
        RAW.change(scaling=b"\x09", dims=b"\3\x00\x38"),
    )
    yield (
        "numbers_converted",
        CORRUPT,
        "3.2: float16 restored to float64",
        RAW.change(types=b"\x24"),
    )
    yield "coded_numbers", CORRUPT, "3.1: mode 2 with stored type 1", RAW.change(coding=b"\x02")
    yield "raw_coder", CORRUPT, "3.1: mode 0 with coder 1", RAW.change(coding=b"\x10")
    yield "raw_streams", CORRUPT, "3.1: mode 0 with 4 streams", RAW.change(layout=b"\x11")


def _scales() -> _Broken:
    infinite, nan = b"\0\0\x80\x7f", b"\0\0\xc0\x7f"
    yield (
        "scale_infinite",
        CORRUPT,
        "3.3: a scale of infinity",
        CHANNELS.change(scales=b"\0" + infinite * 2),
    )
    yield "scale_nan", CORRUPT, "3.3: a scale of NaN", EXAMPLE.change(scaling=b"\x01", scales=nan)
    yield (
        "scale_half_infinite",
        CORRUPT,
        "3.3: an f16 scale of infinity",
        EXAMPLE.change(scales=b"\x00\x7c"),
    )
    yield (
        "axis",
        CORRUPT,
        "3: axis 1 of rank 1",
        CHANNELS.change(scales=b"\1" + CHANNELS.fields["scales"][1:]),
    )
    yield (
        "scales_cut",
        TRUNCATED,
        "3.3: more channels than bytes",
        CHANNELS.change(dims=varint(2**31)),
    )
    number = struct.pack("<f", 1)
    for name, error, rule, exceptions in (
        ("exceptions_none", CORRUPT, "3.3: kind 3 with no exception", b"\0"),
        (
            "exceptions_many",
            CORRUPT,
            "3.3: 5 exceptions for 4 channels",
            b"\5" + (b"\0" + number) * 5,
        ),
        ("exceptions_channel", CORRUPT, "3.3: an exception for channel 4 of 4", b"\1\4" + number),
        ("exceptions_cut", TRUNCATED, "3.3: fewer exceptions than stated", b"\4\0" + number[:1]),
    ):
        tensor = CHANNELS.change(scaling=b"\x03", scales=b"\0" + number + exceptions)
        cut = {"value table": b"", "chunk_bytes 0": b"", "crc32c 0": b""}
        yield (
            name,
            error,
            rule,
            replace(tensor, fields=tensor.fields | cut) if error == TRUNCATED else tensor,
        )
    empty = coded(grid(np.zeros((0, 4), np.int8), np.ones(4, np.float32), axis=1), Mode.RAW)
    yield (
        "exceptions_empty",
        CORRUPT,
        "3.3: kind 3 without elements",
        empty.change(scaling=b"\x03", scales=b"\1" + number + b"\1\0" + number),
    )
    yield "scales_flag", CORRUPT, "3: f16 scales that aren't there", BOOK.change(scaling=b"\x0c")
    yield (
        "codebook_flag",
        CORRUPT,
        "3: an f16 codebook that isn't there",
        EXAMPLE.change(scaling=b"\x19"),
    )
    yield (
        "codebook_nan",
        CORRUPT,
        "3: a codebook value of NaN",
        BOOK.change(codebook=bytes(4) + nan),
    )
    yield (
        "codebook_index",
        CORRUPT,
        "6: code 1 in a codebook of 1",
        BOOK.change(codebook_last=b"\0", codebook=bytes(4)),
    )
    constant = coded(
        CodedTensor("w", "float32", np.full(5, 1, np.uint8), ONE, 0, np.ones(2, np.float32)),
        Mode.CONSTANT,
    )
    yield (
        "codebook_index_constant",
        CORRUPT,
        "6: constant code 2 in a codebook of 2",
        constant.change(constant=b"\2"),
    )
    codes = np.zeros(300, np.uint8)
    codes[[1, 280]] = [1, 2]
    book = CodedTensor("w", "float32", codes, ONE, 0, np.array([0, 2, 4], np.float32))
    for name, place, tensor in (
        ("second", "in the second of two chunks", coded(book, Mode.DIRECT, streams=4)),
        ("gap", "among the values of gaps", coded(book, Mode.GAP, chunk_log2=9)),
        ("mask", "among the values of a mask", coded(book, Mode.MASK, chunk_log2=9)),
    ):
        yield (
            f"codebook_index_{name}",
            CORRUPT,
            f"6: code 2 in a codebook of 2, {place}",
            tensor.change(codebook_last=b"\1", codebook=b"\0\0\0\0\0\0\0\x40"),
        )


def _table(tensor: Tensor, table: bytes) -> Tensor:
    return tensor.change(value__table=table)


def _huffman_tables() -> _Broken:
    nibbles = {
        "table_overfull": ("4.3: three codes of one bit", b"\2\x11\x01"),
        "table_incomplete": ("4.3: codes of one and two bits", b"\1\x21"),
        "table_single_length": ("4.3: a single symbol of length 2", b"\0\x02"),
        "table_leading_repeat": ("4.3: nibble 13 first", b"\2\x0d\x00"),
        "table_run": ("4.3: a run of zeros passes the largest symbol", b"\2\x1e\x01"),
        "table_repeat": ("4.3: a repetition passes the largest symbol", b"\3\xd2\x02"),
        "table_largest": ("4.3: the largest symbol has length 0", b"\2\x11\x00"),
        "table_filling": ("4.3: a filling nibble of 1", b"\2\x21\x12"),
    }
    for name, (rule, table) in nibbles.items():
        yield name, CORRUPT, rule, _table(EXAMPLE, table)
    cut = {"chunk_bytes 0": b"", "crc32c 0": b""}
    short = _table(EXAMPLE, b"\xff\x11")
    yield (
        "table_cut",
        TRUNCATED,
        "4.3: a table ends before its largest symbol",
        replace(short, fields=short.fields | cut),
    )


def _indices() -> _Broken:
    yield (
        "raw_chunk_bytes",
        CORRUPT,
        "3.4: 11 bytes for 3 float32",
        replace(RAW.change(chunk_bytes__0=b"\x0b"), payload=RAW.payload[:-1]),
    )
    yield (
        "value_count",
        CORRUPT,
        "3.4: more values than elements",
        MASK.change(value_count__0=varint(14)),
    )
    yield "gap_count_few", CORRUPT, "3.4: fewer gaps than values", GAP.change(gap_count__0=b"\1")
    yield (
        "gap_count_many",
        CORRUPT,
        "3.4: more gaps than elements allow",
        GAP.change(gap_count__0=b"\x04"),
    )
    yield (
        "stream_bytes",
        CORRUPT,
        "3.4: streams longer than their chunk",
        GAP.change(stream_bytes__0=b"\x7f"),
    )
    yield "chunk_check", CHECKSUM, "3.4: a chunk's CRC-32C", EXAMPLE.change(crc32c__0=bytes(4))
    two = coded(grid(np.tile(signed(1, 2, 3), 100)), Mode.DIRECT, streams=4)
    for name, field in (("first", {"crc32c__0": bytes(4)}), ("second", {"crc32c__1": bytes(4)})):
        yield (
            f"chunk_check_{name}",
            CHECKSUM,
            f"3.4: the CRC-32C of the {name} of two chunks with 4 streams",
            two.change(**field),
        )


def _streams() -> _Broken:
    yield (
        "stream_cut",
        TRUNCATED,
        "4.5: a stream without its last byte",
        EXAMPLE.with_payload(EXAMPLE.payload[:-1]),
    )
    yield (
        "stream_longer",
        CORRUPT,
        "4.5: a byte behind the last symbol",
        EXAMPLE.with_payload(EXAMPLE.payload + b"\0"),
    )
    first, last = EXAMPLE.payload
    yield (
        "stream_end_bits",
        CORRUPT,
        "4.5: a last bit of 1",
        EXAMPLE.with_payload(bytes([first, last | 0x80])),
    )
    single = coded(grid(np.full(5, 7, np.int8)), Mode.DIRECT)
    yield (
        "single_symbol_bit",
        CORRUPT,
        "4.3: a bit of 1 where the only code is 0",
        single.with_payload(b"\x04"),
    )


def _sparse() -> _Broken:
    yield (
        "gap_code_for_zero",
        CORRUPT,
        "3.1: the value table gives symbol 0 a code",
        _table(GAP, b"\2\x21\x02"),
    )
    book = coded(
        CodedTensor(
            "w", "float32", np.array([0, 1, 1], np.uint8), ONE, 0, np.array([0, 2], np.float32)
        ),
        Mode.GAP,
    )
    yield (
        "gap_codebook_zero",
        CORRUPT,
        "3.1: codebook value 0 is -0",
        book.change(codebook=b"\0\0\0\x80" + b"\0\0\0\x40"),
    )
    yield (
        "gap_behind_end",
        CORRUPT,
        "4.2: a value behind the chunk's end",
        GAP.change(dims=varint(280)),
    )
    yield (
        "gap_last_filler",
        CORRUPT,
        "4.2: the last gap symbol is 255",
        _gaps(300, [3, 255], values=1),
    )
    yield (
        "gap_values",
        CORRUPT,
        "4.2: two values, one gap below 255",
        _gaps(600, [255, 3], values=2),
    )
    yield (
        "mask_behind_end",
        CORRUPT,
        "4.2: a bit behind the last element",
        MASK.change(dims=b"\x0c"),
    )
    yield "mask_values", CORRUPT, "4.2: three bits, two values", _mask(13, [0b111, 0], values=2)


def _sequences(elements: int, mode: Mode, positions: list[int], values: int) -> Tensor:
    """A sparse tensor with any position symbols: two tables, both sequences, right lengths."""
    symbols = np.array(positions, np.uint8)
    table = huffman.code_lengths(np.bincount(symbols, minlength=256).astype(np.int64))
    streams = huffman.encode_streams(symbols, table, 1)
    good = coded(grid(sparse(elements, 0)), mode, chunk_log2=10)
    value_bytes = bytes(-(-values // 8))
    fields = {"position table": huffman.write_table(table), "value_count 0": varint(values)}
    if mode is Mode.GAP:
        fields["gap_count 0"] = varint(symbols.size)
    fields["stream_bytes 0"] = varint(len(value_bytes))
    return replace(good, fields=good.fields | fields).with_payload(value_bytes + streams[0])


def _gaps(elements: int, gaps: list[int], *, values: int) -> Tensor:
    return _sequences(elements, Mode.GAP, gaps, values)


def _mask(elements: int, mask: list[int], *, values: int) -> Tensor:
    return _sequences(elements, Mode.MASK, mask, values)


def _rans() -> _Broken:
    yield "rans_streams", CORRUPT, "3.1: rANS with 4 streams", RANS.change(layout=b"\x11")
    for name, rule, table in (
        (
            "rans_sum",
            "4.6: frequencies that add up to 4095",
            b"\1\xbc" + (1023 << 11).to_bytes(3, "little"),
        ),
        ("rans_single_class", "4.6: a single symbol of class 2", b"\0\x02\0"),
        (
            "rans_table_bits",
            "4.6: a bit of 1 behind the frequencies",
            b"\1\xcc" + (1 << 22).to_bytes(3, "little"),
        ),
    ):
        yield name, CORRUPT, rule, _table(RANS, table)
    short = _table(RANS, b"\1\xcc\0")
    cut = {"chunk_bytes 0": b"", "crc32c 0": b""}
    yield (
        "rans_table_cut",
        TRUNCATED,
        "4.6: a table ends inside its frequencies",
        replace(short, fields=short.fields | cut),
    )
    payload = RANS.payload
    yield (
        "rans_states_cut",
        TRUNCATED,
        "4.6: 15 bytes of the states",
        RANS.with_payload(payload[:15]),
    )
    yield "rans_word_left", CORRUPT, "4.6: a word is left", RANS.with_payload(payload + bytes(2))
    yield "rans_byte_left", CORRUPT, "4.6: a byte is left", RANS.with_payload(payload + b"\0")
    yield (
        "rans_state_low",
        CORRUPT,
        "4.6: a state of 65535 at the start",
        RANS.with_payload(b"\xff\xff\0\0" + payload[4:]),
    )
    yield (
        "rans_state_end",
        CORRUPT,
        "4.6: a state of another number at the end",
        RANS.with_payload(_changed_state(payload)),
    )
    words = coded(grid(np.tile(signed(1, 2, 3, 4, 5, 6, 7, 8), 8)), Mode.DIRECT, coder=Coder.RANS)
    yield (
        "rans_word_cut",
        TRUNCATED,
        "4.6: a word is missing",
        words.with_payload(words.payload[:-2]),
    )
    yield (
        "rans_half_word",
        TRUNCATED,
        "4.6: one byte where a word is needed",
        words.with_payload(words.payload[:-1]),
    )
    empty = coded(grid(sparse(20)), Mode.GAP, coder=Coder.RANS)
    yield (
        "rans_empty_bytes",
        CORRUPT,
        "4.6: bytes for a sequence without symbols",
        empty.with_payload(bytes(16)),
    )


def _trellis() -> _Broken:
    yield (
        "trellis_axis",
        CORRUPT,
        "3: paths along axis 1 of 1",
        TRELLIS.change(scales=b"\1" + HALF.astype("<f2").tobytes()),
    )
    codes = TRELLIS.truth
    assert isinstance(codes, CodedTensor)
    yield (
        "trellis_no_scale",
        CORRUPT,
        "3.1: a trellis without a scale",
        coded(replace(codes, dtype="int8", scale=None), Mode.TRELLIS),
    )
    book = np.array([0, 2], np.float32)
    yield (
        "trellis_codebook",
        CORRUPT,
        "3.1: a trellis with a codebook",
        coded(replace(codes, codes=np.zeros((2, 2), np.uint8), codebook=book), Mode.TRELLIS),
    )
    yield (
        "trellis_streams",
        CORRUPT,
        "3.1: rANS on a trellis with 4 streams",
        coded(codes, Mode.TRELLIS, coder=Coder.RANS).change(layout=b"\x11"),
    )


def _changed_state(payload: bytes) -> bytes:
    """The first state with another number above its slot bits, so that only its end differs."""
    (state,) = struct.unpack_from("<I", payload)
    return struct.pack("<I", state + (1 << 20)) + payload[4:]
