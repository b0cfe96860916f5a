"""The reader against damaged and hostile files."""

from __future__ import annotations

import contextlib
import hashlib
import struct
import time
import tracemalloc
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.codec import crc32c, native
from edgekit.errors import (
    FormatError,
    InputError,
    LimitError,
    TruncatedError,
    UsageError,
    VersionError,
)
from edgekit.packfile import open_packfile, pack, read_packfile, read_weights
from edgekit.packfile.layout import Mode
from edgekit.tensors import CodedTensor, CompressedModel, StoredTensor
from tests.golden.accepted import grid
from tests.golden.building import File, coded, packed, stored, varint
from tests.packfile.models import laplacian, one, sample_model


@pytest.fixture(scope="module")
def sample() -> bytes:
    """A small file with a tensor of each kind."""
    return pack(sample_model(np.random.default_rng(3)))


def resealed(data: bytes) -> bytes:
    """The file with all check sums of container and SHA-256 made right again."""
    (count,) = struct.unpack_from("<I", data, 28)
    changed = bytearray(data)
    for place in range(count):
        entry = 32 + 24 * place
        kind, _, offset, size = struct.unpack_from("<IIQQ", changed, entry)
        crc = 0 if kind == 2 else crc32c(bytes(changed[offset : offset + size]))
        struct.pack_into("<I", changed, entry + 4, crc)
    check = 32 + 24 * count
    struct.pack_into("<I", changed, check, crc32c(bytes(changed[:check])))
    changed[-32:] = hashlib.sha256(changed[:-32]).digest()
    return bytes(changed)


def test_any_single_changed_byte_is_refused(sample: bytes) -> None:
    for place in range(len(sample)):
        damaged = bytearray(sample)
        damaged[place] ^= 1 << place % 8

        with pytest.raises(FormatError):
            read_packfile(damaged)


def test_a_cut_at_any_length_is_truncated(sample: bytes) -> None:
    for length in range(len(sample)):
        with pytest.raises(TruncatedError):
            open_packfile(sample[:length])


def test_changed_bytes_under_right_check_sums_never_escape_the_error_tree(sample: bytes) -> None:
    """Check sums keep accidents out, not attackers; those meet the rules behind them."""
    refused = 0
    for place in range(160, len(sample) - 32):
        damaged = bytearray(sample)
        damaged[place] ^= 0xFF
        try:
            read_weights(resealed(bytes(damaged)), max_bytes=1 << 24, decoder="numpy")
        except FormatError:
            refused += 1

    assert refused > 100


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        open_packfile(data)


@given(st.binary(max_size=80))
@settings(deadline=None, max_examples=200)
def test_any_tensor_section_is_read_or_refused(section: bytes) -> None:
    file = File((coded(grid(np.zeros(1, np.int8)), Mode.RAW),), tensor_section=section)

    with contextlib.suppress(FormatError):
        read_weights(file.to_bytes(), max_bytes=1 << 24, decoder="numpy")


def test_a_future_major_version_says_what_to_do() -> None:
    with pytest.raises(VersionError, match=r"version 2\.1 .* use a newer edgekit"):
        open_packfile(File(header={"major": 2, "minor": 1}).to_bytes())


def test_an_unknown_feature_says_what_to_do() -> None:
    with pytest.raises(VersionError, match=r"feature bits 0x4; use a newer edgekit"):
        open_packfile(File(header={"features": 4}).to_bytes())


def hostile_files() -> list[tuple[str, bytes]]:
    """Small files that claim gigabytes, each in another field; all check sums are right."""
    raw = stored(StoredTensor("w", "float32", np.zeros(2, np.float32)))
    gap = coded(grid(np.zeros(9, np.int8)), Mode.GAP)
    constant = stored(StoredTensor("w", "float64", np.zeros(2)), Mode.CONSTANT)
    constant = constant.change(dims=varint(2**24))
    scale = struct.pack("<f", 1)
    return [
        ("file_bytes", File((raw,), header={"file_bytes": 2**32}).to_bytes()),
        ("tensor_count", File((raw,), header={"tensor_count": 1_000_000}).to_bytes()),
        ("section", File((raw,), directory={(4, "bytes"): 2**32}).to_bytes()),
        ("names", File((raw,), names=struct.pack("<I", 2**26) + packed(b"w\0")[4:]).to_bytes()),
        ("dims", File((raw.change(dims=varint(2**30)),)).to_bytes()),
        ("record", File((raw,), tensor_section=varint(2**32 - 1) + raw.record[1:]).to_bytes()),
        ("chunks", File((gap.change(dims=varint(2**32 - 1), chunk_log2=b"\x14"),)).to_bytes()),
        ("chunk", File((raw.change(chunk_bytes__0=varint(2**32 - 1)),)).to_bytes()),
        (
            "exceptions",
            File(
                (
                    gap.change(
                        dims=varint(2**32 - 1),
                        scaling=b"\3",
                        scales=b"\0" + scale + b"\1\0" + scale,
                    ),
                )
            ).to_bytes(),
        ),
        ("constants", File((constant,) * 40, names=packed(b"")).to_bytes()),
        ("bomb", File((raw,), manifest=packed(bytes(1 << 20))).to_bytes()),
    ]


@pytest.mark.parametrize("name", [name for name, _ in hostile_files()])
def test_a_small_file_that_claims_gigabytes_is_refused_in_little_memory(name: str) -> None:
    data = dict(hostile_files())[name]
    assert len(data) < 2500

    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            read_weights(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    # The bomb unpacks to the 1 MiB that its length states; all others take next to nothing.
    assert peak < (4 << 20 if name == "bomb" else 1 << 18)


def test_a_200_byte_file_that_claims_4_gib_is_refused_in_little_memory() -> None:
    data = File(
        header={"file_bytes": 2**32, "tensor_count": 1},
    ).to_bytes()[:200]

    tracemalloc.start()
    try:
        with pytest.raises(TruncatedError, match="200 bytes of 4294967296"):
            read_weights(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 1 << 16


def test_the_caller_caps_the_memory_of_the_weights(sample: bytes) -> None:
    restored = sum(array.nbytes for array in read_weights(sample).values())

    assert read_weights(sample, max_bytes=restored)
    with pytest.raises(LimitError, match="the caller allows"):
        read_weights(sample, max_bytes=restored - 1)


def test_errors_name_tensor_and_byte(rng: np.random.Generator) -> None:
    good = coded(grid(laplacian(rng, 50, 3, 0), name="a"), Mode.DIRECT)
    bad = coded(grid(laplacian(rng, 50, 3, 0), name="b"), Mode.DIRECT).change(crc32c__0=bytes(4))
    file = File((good, bad)).to_bytes()

    with pytest.raises(FormatError) as caught:
        read_packfile(file)

    assert caught.value.tensor == 1
    assert caught.value.offset == open_packfile(file).records[1].offset


def test_a_path_gives_what_its_bytes_give(tmp_path: Path, sample: bytes) -> None:
    path = tmp_path / "sample.ekp"
    path.write_bytes(sample)

    by_path, by_bytes = open_packfile(path), open_packfile(memoryview(sample))

    assert by_path.names == by_bytes.names
    assert by_path.digest == by_bytes.digest == hashlib.sha256(sample[:-32]).hexdigest()
    assert by_path.version == (1, 0)
    assert [entry.kind for entry in by_path.sections] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("name", ["none.ekp", "."])
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="can't read") as caught:
        open_packfile(tmp_path / name)

    assert "\n" not in str(caught.value)


def test_one_tensor_can_be_decoded_alone(sample: bytes) -> None:
    packed_model = open_packfile(sample)
    model = packed_model.model()

    for index, tensor in enumerate(model.tensors):
        alone = packed_model.tensor(index)
        assert alone.name == tensor.name
        values = alone.codes if isinstance(alone, CodedTensor) else alone.values
        assert (
            values.tobytes()
            == (tensor.codes if isinstance(tensor, CodedTensor) else tensor.values).tobytes()
        )


def test_many_small_tensors_decode_like_each_alone(rng: np.random.Generator) -> None:
    tensors = [
        coded(grid(laplacian(rng, int(count), 4, zeros), name=f"w{number}"), mode, chunk_log2=9)
        for number, (count, zeros, mode) in enumerate(
            zip(
                rng.integers(1, 2000, 30),
                rng.choice([0.0, 0.5, 0.9], 30),
                [Mode.DIRECT, Mode.GAP, Mode.MASK] * 10,
                strict=True,
            )
        )
    ]

    model = read_packfile(File(tuple(tensors)).to_bytes())

    for tensor, back in zip(tensors, model.tensors, strict=True):
        assert isinstance(back, CodedTensor)
        assert isinstance(tensor.truth, CodedTensor)
        assert np.array_equal(back.codes, tensor.truth.codes)


def test_the_numpy_decoder_keeps_its_pace(rng: np.random.Generator) -> None:
    """3 MB/s is the goal on a quiet machine; a third of it still tells a loop over symbols."""
    data = pack(
        one(CodedTensor("w", "float32", laplacian(rng, 400_000, 8, 0), np.array(1, np.float32)))
    )

    start = time.process_time()
    read_packfile(data)

    assert 400_000 / (time.process_time() - start) > 1e6


@pytest.mark.parametrize("coder", ["huffman", "rans"])
def test_many_code_tables_take_no_memory_together(coder: Literal["huffman", "rans"]) -> None:
    rng = np.random.default_rng(5)
    tensors = tuple(
        CodedTensor(f"t{index}", "float32", laplacian(rng, 300, 4, 0), np.array(0.5, np.float32))
        for index in range(1500)
    )
    file = pack(CompressedModel(tensors, b"", {}), coder=coder)

    tracemalloc.start()
    packed = open_packfile(file)
    for tensor in packed.tensors(decoder="numpy"):
        assert tensor.shape == (300,)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    # A look-up table takes 36 or 68 KB, which is 54 or 102 MB for all of them.
    assert peak < 30e6


@pytest.mark.skipif(not native.available, reason="the compiled decoder isn't built")
def test_fewer_than_one_thread_is_refused(sample: bytes) -> None:
    for threads in (0, -1):
        with pytest.raises(UsageError, match="threads must be at least 1"):
            read_weights(sample, threads=threads)
