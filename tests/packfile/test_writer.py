"""The writer: smallest coding, exact report, same bytes, whole files."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgekit.codec.survey import histogram
from edgekit.codec.trellis import join_trellis
from edgekit.errors import OutputError, UsageError
from edgekit.packfile import encode, open_packfile, pack, read_packfile, read_weights, writer
from edgekit.packfile.layout import Coder, Feature, Mode, ScaleKind
from edgekit.packfile.writer import PackCheckError, measure, write_packfile
from edgekit.tensors import CodedTensor, CompressedModel, StoredTensor, dequantize
from tests.golden.building import coded
from tests.packfile.models import coded_tensors, laplacian, one, sample_model

HALF = np.array(0.5, np.float32)


@given(coded_tensors(), st.sampled_from(["huffman", "rans"]))
@settings(deadline=None, max_examples=80)
def test_any_coded_tensor_comes_back_bit_for_bit(
    tensor: CodedTensor, coder: Literal["huffman", "rans"]
) -> None:
    data = pack(one(tensor), coder=coder)

    weights = read_weights(data)["w"]
    expected = dequantize(tensor)
    assert weights.shape == expected.shape
    assert weights.dtype == expected.dtype
    assert weights.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("float32", np.array([0.0, -0.0, np.nan, np.inf, 1e-45], np.float32)),
        ("float32", np.array([0.5, -0.0, np.inf], np.float16)),
        ("float16", np.array([0.5, np.nan], np.float16)),
        ("bfloat16", np.array([0x7FC1, 0x8000], np.uint16)),
        ("float64", np.array([1e300, -0.0])),
        ("int32", np.array([[-(2**31)], [7]], np.int32)),
        ("int64", np.array(2**62)),
        ("int8", np.array([-128, 127], np.int8)),
        ("uint8", np.array([0, 255], np.uint8)),
    ],
)
def test_stored_numbers_come_back_bit_for_bit(dtype: str, values: np.ndarray[Any, Any]) -> None:
    tensor = StoredTensor("w", dtype, values)

    weights = read_weights(pack(one(tensor)))["w"]

    assert weights.shape == values.shape
    assert weights.tobytes() == dequantize(tensor).tobytes()


def test_big_endian_and_strided_values_come_back_as_numbers() -> None:
    values = np.arange(24, dtype=">f4").reshape(4, 6)[:, ::2]

    weights = read_weights(pack(one(StoredTensor("w", "float32", values.astype("<f4")))))["w"]

    assert np.array_equal(weights, values)


def test_the_whole_model_comes_back(rng: np.random.Generator) -> None:
    model = sample_model(rng)

    back = read_packfile(pack(model))

    assert back.skeleton == model.skeleton
    assert back.manifest == model.manifest
    assert [tensor.name for tensor in back.tensors] == [tensor.name for tensor in model.tensors]


def test_the_same_model_gives_the_same_bytes(rng: np.random.Generator) -> None:
    model = sample_model(rng)
    other_order = replace(model, manifest=dict(reversed(model.manifest.items())))

    assert pack(model) == pack(model) == pack(other_order)


@pytest.mark.parametrize("coder", ["huffman", "rans"])
def test_the_report_adds_up_to_the_byte(
    tmp_path: Path, rng: np.random.Generator, coder: Literal["huffman", "rans"]
) -> None:
    model = sample_model(rng)
    path = tmp_path / "model.ekp"

    report = write_packfile(model, path, coder=coder)

    sections = {section.name: section.bytes for section in report.sections}
    assert report.file_bytes == path.stat().st_size == sum(sections.values())
    records = sum(tensor.record_bytes for tensor in report.tensors)
    payload = sum(tensor.payload_bytes for tensor in report.tensors)
    assert records <= sections["tensors"] < records + 8
    assert payload <= sections["payload"] < payload + 8
    assert report.digest == open_packfile(path).digest
    assert report.to_dict()["tensors"][0]["name"] == "dense"


@pytest.mark.parametrize(
    ("spread", "zeros", "mode"), [(8, 0, "direct"), (8, 0.6, "mask"), (8, 0.97, "gap")]
)
def test_the_mode_follows_the_zeros(
    rng: np.random.Generator, spread: float, zeros: float, mode: str
) -> None:
    tensor = CodedTensor("w", "float32", laplacian(rng, 90_000, spread, zeros), HALF)

    (size,) = measure(pack(one(tensor))).tensors

    assert size.mode == mode


@pytest.mark.parametrize(
    ("count", "zeros"), list(itertools.product([3, 40, 700, 5000], [0, 0.5, 0.8, 0.99]))
)
def test_no_mode_would_have_been_smaller(count: int, zeros: float) -> None:
    rng = np.random.default_rng(count)
    tensor = CodedTensor("w", "float32", laplacian(rng, count, 3, zeros), HALF)

    (size,) = measure(pack(one(tensor))).tensors

    written = size.record_bytes + size.payload_bytes
    for mode in (Mode.RAW, Mode.DIRECT, Mode.GAP, Mode.MASK):
        for streams in (1,) if mode is Mode.RAW or np.count_nonzero(tensor.codes) < 1024 else (4,):
            other = coded(tensor, mode, streams=streams, chunk_log2=13, scales=(1 | 8, b"\x00\x38"))
            assert written <= len(other.record) + len(other.payload)


def test_candidates_are_never_smaller_than_their_bound(rng: np.random.Generator) -> None:
    for zeros in (0, 0.6, 0.95):
        codes = laplacian(rng, 6000, 3, zeros).view(np.uint8)
        for candidate in encode._candidates(codes, histogram(codes), Coder.RANS, zero_is_zero=True):
            assert encode._encode(codes, candidate).coded_bytes >= candidate.least_bytes


@pytest.mark.parametrize("count", [1, 255, 256, 257, 65535, 65536, 65537, 131072, 140000])
def test_the_raw_form_has_the_computed_size(count: int) -> None:
    raw = encode._encode_raw(np.zeros(count, np.uint8), 1)

    assert raw.coded_bytes == encode._raw_bytes(count)


def test_the_rans_coder_makes_the_smaller_file(rng: np.random.Generator) -> None:
    model = one(CodedTensor("w", "float32", laplacian(rng, 20_000, 0.6, 0), HALF))

    huffman, rans = pack(model), pack(model, coder="rans")

    assert len(rans) < len(huffman)
    assert Feature.RANS in open_packfile(rans).container.features
    assert not open_packfile(huffman).container.features


def on_trellis(symbols: NDArray[np.int8], axis: int) -> CodedTensor:
    codes = join_trellis(symbols.view(np.uint8), axis, 1 << 18).view(np.int8)
    return CodedTensor("w", "float32", codes, HALF, axis, on_trellis=True)


@pytest.mark.parametrize("axis", [0, 1])
def test_the_axis_of_a_trellis_comes_back(rng: np.random.Generator, axis: int) -> None:
    tensor = on_trellis(np.rint(rng.normal(0, 4, (30, 40))).astype(np.int8), axis)

    (back,) = open_packfile(pack(CompressedModel((tensor,), b"", {}))).model().tensors

    assert isinstance(back, CodedTensor)
    assert (back.on_trellis, back.axis) == (True, axis)
    assert np.array_equal(back.codes, tensor.codes)


def test_a_trellis_is_not_taken_where_another_mode_is_smaller() -> None:
    # Codes of 0 but for a few: a Huffman code takes a bit for each symbol, gaps much less.
    symbols = np.zeros((200, 40), np.int8)
    symbols[190:, :2] = 3
    tensor = on_trellis(symbols, 0)

    packed = open_packfile(pack(CompressedModel((tensor,), b"", {})))

    assert packed.records[0].mode is Mode.GAP
    (back,) = packed.model().tensors
    assert isinstance(back, CodedTensor)
    assert np.array_equal(back.codes, tensor.codes)


def test_a_sparse_mode_is_not_taken_where_code_0_is_no_zero(rng: np.random.Generator) -> None:
    codes = laplacian(rng, 5000, 3, 0.9).view(np.uint8)
    book = np.linspace(-1, 1, 256, dtype=np.float32)

    (size,) = measure(
        pack(one(CodedTensor("w", "float32", codes, np.array(1, np.float32), 0, book)))
    ).tensors

    assert size.mode == "direct"


def test_chunks_and_streams_follow_the_size(rng: np.random.Generator) -> None:
    def record(count: int, zeros: float) -> tuple[int, int]:
        tensor = CodedTensor("w", "float32", laplacian(rng, count, 6, zeros), HALF)
        (entry,) = open_packfile(pack(one(tensor))).records
        return entry.streams, entry.chunk_log2

    assert record(900, 0) == (1, 10)
    assert record(1024, 0) == (4, 10)
    assert record(200_000, 0) == (4, 16)
    assert record(600_000, 0.95) == (4, 18)


def test_scales_are_exceptions_where_most_are_equal(rng: np.random.Generator) -> None:
    scale = np.full(64, 0.5, np.float32)
    scale[[5, 60]] = [0.25, 1 / 3]
    tensor = CodedTensor("w", "float32", laplacian(rng, 640, 3, 0).reshape(64, 10), scale, 0)

    (record,) = open_packfile(pack(one(tensor))).records

    scales = record.scale_array()
    assert record.scale_kind is ScaleKind.EXCEPTIONS
    assert scales is not None
    assert np.array_equal(scales, scale)


def test_equal_scales_are_stored_once(rng: np.random.Generator) -> None:
    codes = laplacian(rng, 640, 3, 0).reshape(64, 10)
    tensor = CodedTensor("w", "float32", codes, np.full(64, 0.3, np.float32), 0)

    packed = open_packfile(pack(one(tensor)))

    assert packed.records[0].scale_kind is ScaleKind.ONE
    assert packed.weights()["w"].tobytes() == dequantize(tensor).tobytes()


def test_numbers_that_f16_holds_take_two_bytes(rng: np.random.Generator) -> None:
    codes = laplacian(rng, 640, 3, 0).reshape(64, 10)
    short = rng.normal(0, 1, 64).astype(np.float16).astype(np.float32)
    long = rng.normal(0, 1, 64).astype(np.float32)

    sizes = [
        measure(pack(one(CodedTensor("w", "float32", codes, scale, 0)))).tensors[0].record_bytes
        for scale in (short, long)
    ]

    assert sizes[1] - sizes[0] == 2 * 64


def test_the_manifest_may_not_hold_nan() -> None:
    with pytest.raises(UsageError, match="JSON"):
        pack(CompressedModel((), b"", {"loss": float("nan")}))


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ((StoredTensor("a", "float32", np.zeros(1, np.float32)),) * 2, "unique"),
        ((StoredTensor("", "float32", np.zeros(1, np.float32)),), "unique"),
        ((StoredTensor("a", "complex64", np.zeros(1, np.complex64)),), "no type complex64"),
        ((StoredTensor("a", "float32", np.zeros(1)),), "can't be restored"),
        ((StoredTensor("a", "float32", np.zeros((1,) * 9, np.float32)),), "rank 9"),
        (
            (CodedTensor("a", "float32", np.zeros(2, np.int8), np.array(np.nan, np.float32)),),
            "finite",
        ),
        ((CodedTensor("a", "float32", np.zeros(2, np.int8), np.ones(3, np.float32)),), "scale"),
        ((CodedTensor("a", "int8", np.zeros(2, np.int8), HALF),), "int8"),
        ((CodedTensor("a", "float32", np.zeros(2, np.int8), None),), "float32"),
        (
            (
                CodedTensor(
                    "a", "float32", np.full(2, 4, np.uint8), HALF, 0, np.zeros(4, np.float32)
                ),
            ),
            "codebook",
        ),
        (
            (CodedTensor("a", "float32", np.zeros(2, np.uint8), HALF, 0, np.zeros(0, np.float32)),),
            "codebook",
        ),
        (
            (CodedTensor("a", "float32", np.ones(3, np.int8), HALF, on_trellis=True),),
            "tensor a: .* trellis",
        ),
        (
            (CodedTensor("a", "int8", np.zeros(3, np.int8), None, on_trellis=True),),
            "only codes on a grid",
        ),
    ],
)
def test_a_tensor_without_a_place_in_the_format_is_refused(
    tensors: tuple[StoredTensor | CodedTensor, ...], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        pack(CompressedModel(tensors, b"", {}))


def test_a_file_that_reads_back_differently_is_never_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    path = tmp_path / "model.ekp"
    path.write_bytes(b"old")
    monkeypatch.setattr(writer, "_same_tensor", lambda back, tensor: False)

    with pytest.raises(PackCheckError, match="read back"):
        write_packfile(sample_model(rng), path)

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="doesn't exist"):
        write_packfile(CompressedModel((), b"", {}), tmp_path / "none" / "model.ekp")
