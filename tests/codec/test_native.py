"""The compiled decoder through its binding."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from edgekit.codec import crc, native
from edgekit.errors import CorruptError, FormatError, LimitError
from edgekit.packfile import pack, read_weights
from edgekit.tensors import CodedTensor, CompressedModel, dequantize

pytestmark = pytest.mark.skipif(not native.available, reason=native.reason)

GOLDEN = Path(__file__).parents[1] / "golden"
CAP = 1 << 32


@pytest.fixture(scope="module")
def model() -> CompressedModel:
    """Tensors of several chunks in every way of scaling, dense and sparse, and a small one."""
    rng = np.random.default_rng(5)
    dense = np.clip(np.rint(rng.laplace(0, 6, (300, 500))), -100, 100).astype(np.int8)
    sparse = np.where(rng.random((500, 600)) < 0.9, 0, rng.integers(1, 32, (500, 600)))
    halves = np.where(rng.random((400, 800)) < 0.6, 0, rng.integers(1, 64, (400, 800)))
    book = np.concatenate([[0], rng.normal(size=63)]).astype(np.float32)
    gains = rng.uniform(-1, 1, 600).astype(np.float32)
    return CompressedModel(
        (
            CodedTensor("dense", "float32", dense, rng.uniform(-1, 1, 300).astype(np.float32)),
            CodedTensor(
                "last axis", "float32", dense, rng.uniform(0, 1, 500).astype(np.float32), 1
            ),
            CodedTensor("book", "float32", sparse.astype(np.uint8), gains, 1, book),
            CodedTensor(
                "mask", "float32", halves.astype(np.uint8), np.float32(-2) * _one(), 0, book
            ),
            CodedTensor("halves", "float16", halves.astype(np.uint8), _one(), 0, book),
            CodedTensor("small", "float32", dense[:2, :9], _one() * np.float32(0.25)),
        ),
        b"",
    )


def _one() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.array(1, np.float32)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("coder", ["huffman", "rans"])
def test_weights_are_the_plain_reference_to_the_bit(
    model: CompressedModel, coder: str, threads: int
) -> None:
    data = pack(model, coder=coder)  # type: ignore[arg-type]  # one of two literals

    arrays = native.decode_weights(data, threads=threads, max_bytes=CAP)

    for array, tensor in zip(arrays, model.tensors, strict=True):
        expected = dequantize(tensor)
        assert array.dtype == expected.dtype, tensor.name
        assert array.tobytes() == expected.tobytes(), tensor.name


def test_codes_come_back_flat(model: CompressedModel) -> None:
    elements = native.StoredElements(pack(model))

    # Backwards too, and one twice.
    for index in [*range(len(model.tensors)), len(model.tensors) - 1, 0]:
        tensor = model.tensors[index]
        assert isinstance(tensor, CodedTensor)
        assert elements.decode(index).tobytes() == tensor.codes.tobytes()


def test_restored_bytes_are_counted_before_memory_is_taken(model: CompressedModel) -> None:
    data = pack(model)

    with pytest.raises(LimitError, match="more than the 1000 bytes"):
        native.decode_weights(data, max_bytes=1000)


@pytest.mark.parametrize("at", [0, 20, 40, -1000])
def test_damage_is_one_of_our_errors(model: CompressedModel, at: int) -> None:
    data = bytearray(pack(model))
    data[at] ^= 0x10

    with pytest.raises(FormatError):
        native.decode_weights(bytes(data), max_bytes=CAP)


def test_no_bytes_are_refused() -> None:
    with pytest.raises(FormatError, match="truncated"):
        native.decode_weights(b"", max_bytes=CAP)


def test_rejected_vectors_raise_the_error_of_their_rule() -> None:
    expected = json.loads((GOLDEN / "reject" / "expected.json").read_text())
    beside = ("packed_", "names_", "manifest_", "sha256")  # parts that this decoder doesn't read

    for name, rule in expected.items():
        data = (GOLDEN / "reject" / f"{name}.ekp").read_bytes()
        if name.startswith(beside):
            continue
        with pytest.raises(FormatError) as caught:
            native.decode_weights(data, max_bytes=CAP)
        assert type(caught.value).__name__ == rule["error"], name


def test_a_thread_hands_its_error_on(model: CompressedModel) -> None:
    data = bytearray(pack(model))
    data[len(data) // 2] ^= 1  # in the payload, so that opening the file passes

    with pytest.raises(FormatError):
        native.decode_weights(bytes(data), threads=2, max_bytes=CAP)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 4095, 4096, 4097, 4119, 4120, 30001])
def test_crc32c_is_the_table_version_at_every_length(count: int) -> None:
    data = np.random.default_rng(count).integers(0, 256, count).astype(np.uint8)

    assert native.crc32c(data) == crc.crc32c(data)
    assert native.crc32c(data, 0x1234ABCD) == crc.crc32c(data, 0x1234ABCD)


def test_crc32c_of_the_standard_check_string() -> None:
    assert native.crc32c(b"123456789") == 0xE3069283
    assert native.crc32c(b"123456789") != zlib.crc32(b"123456789")


def test_reading_weights_takes_the_same_way(model: CompressedModel) -> None:
    weights = read_weights(pack(model), threads=2)

    assert weights["book"].tobytes() == dequantize(model.tensors[2]).tobytes()


def test_an_index_behind_the_last_tensor_is_refused(model: CompressedModel) -> None:
    with pytest.raises(FormatError):
        native.StoredElements(pack(model)).decode(99)


def test_a_code_above_the_codebook_is_corrupt() -> None:
    data = (GOLDEN / "reject" / "codebook_index.ekp").read_bytes()

    with pytest.raises(CorruptError):
        native.decode_weights(data, max_bytes=CAP)
