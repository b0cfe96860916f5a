"""The native decoder against the plain one over whole files."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.codec import native
from edgekit.errors import FormatError, UsageError
from edgekit.packfile import open_packfile, pack, read_packfile, read_weights
from edgekit.packfile.layout import Mode
from edgekit.tensors import CodedTensor, CompressedModel, dequantize
from tests.golden.building import File, coded, scale_fields
from tests.golden.make_golden import FOLDER
from tests.packfile.models import coded_tensors, laplacian, one, sample_model

_LIB = vars(native).get("lib")
needs_native = pytest.mark.skipif(not native.available, reason=native.reason)
REJECT: dict[str, dict[str, str]] = json.loads((FOLDER / "reject" / "expected.json").read_text())


@needs_native
@given(coded_tensors(), st.sampled_from(["huffman", "rans"]))
@settings(deadline=None, max_examples=80)
def test_weights_of_any_tensor_are_the_same_bits(
    tensor: CodedTensor, coder: Literal["huffman", "rans"]
) -> None:
    data = pack(one(tensor), coder=coder)

    ours = read_weights(data, decoder="numpy")["w"]
    theirs = read_weights(data, decoder="native")["w"]

    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    assert ours.tobytes() == theirs.tobytes()


@needs_native
@given(
    st.integers(1, 6 * 2048),
    st.sampled_from([1, 4, 8]),
    st.floats(0.3, 60),
    st.sampled_from([8, 10, 11]),
    st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=60)
def test_chunks_of_any_number_and_streams_are_the_same_bits(
    elements: int, streams: int, spread: float, chunk_log2: int, seed: int
) -> None:
    codes = np.random.default_rng(seed).laplace(0, spread, elements).clip(-127, 127)
    grid = CodedTensor("w", "float32", codes.astype(np.int8), np.array(0.3, np.float32))
    tensor = coded(grid, Mode.DIRECT, streams=streams, chunk_log2=chunk_log2)
    data = File((tensor,)).to_bytes()

    assert native.StoredElements(data).decode(0).tobytes() == grid.codes.tobytes()
    assert read_weights(data, decoder="native")["w"].tobytes() == dequantize(grid).tobytes()


@needs_native
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9)),
    st.integers(0, 2),
    st.sampled_from([None, 0.05, 0.5, 0.95]),
    st.sampled_from([Mode.DIRECT, Mode.GAP, Mode.MASK, Mode.RAW]),
    st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=150)
def test_scales_along_any_axis_over_any_chunks_are_the_same_bits(
    shape: tuple[int, int, int], axis: int, share: float | None, mode: Mode, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.laplace(0, 2, shape).clip(-127, 127).astype(np.int8)
    scale = rng.uniform(0.1, 2, shape[axis]).astype(np.float32)
    if share is not None:
        scale[rng.random(scale.size) > share] = 1
        # An exception at least, as the format wants it.
        scale[rng.integers(scale.size)] = 3
    grid = CodedTensor("w", "float32", codes, scale, axis)
    common = None if share is None else 1.0
    tensor = coded(grid, mode, scales=scale_fields(scale, axis, common=common))
    data = File((tensor,)).to_bytes()

    weights = read_weights(data, decoder="native")["w"]

    assert weights.tobytes() == dequantize(grid).tobytes()
    assert read_weights(data, decoder="numpy")["w"].tobytes() == weights.tobytes()


class Counted:
    """The compiled functions, which counts how often each is called."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        found = getattr(_LIB, name)
        if not callable(found):
            return found

        def call(*arguments: Any) -> Any:
            self.calls[name] += 1
            return found(*arguments)

        return call


@needs_native
def test_many_tensors_are_read_in_one_pass(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is opened once and each record is visited once, whatever their number."""
    count = 60
    codes = rng.integers(-128, 128, (count, 5000), np.int8)
    grids = (
        CodedTensor(f"w{index}", "float32", codes[index], np.array(0.5, np.float32))
        for index in range(count)
    )
    data = File(tuple(coded(grid, Mode.DIRECT, chunk_log2=13) for grid in grids)).to_bytes()
    counted = Counted()
    monkeypatch.setattr(native, "lib", counted)

    model = read_packfile(data, decoder="native")

    assert len(model.tensors) == count
    assert counted.calls["ekd_decode_stored"] == count
    assert counted.calls["ekd_open"] == 1
    assert counted.calls["ekd_first"] + counted.calls["ekd_next"] <= count + 1


@needs_native
@pytest.mark.parametrize("values", [2, 16, 31, 32, 33, 64, 65, 256])
@pytest.mark.parametrize("run", [1, 31, 47, 5000])
def test_codebooks_of_any_size_give_the_same_bits(
    rng: np.random.Generator, values: int, run: int
) -> None:
    book = rng.normal(size=values).astype(np.float32)
    scale = rng.uniform(0.5, 2, 3).astype(np.float32)
    codes = rng.integers(0, values, (3, run)).astype(np.uint8)
    tensor = CodedTensor("w", "float32", codes, scale, 0, book)

    weights = read_weights(pack(one(tensor)), decoder="native")["w"]

    assert weights.tobytes() == dequantize(tensor).tobytes()


@needs_native
@pytest.mark.parametrize("coder", ["huffman", "rans"])
@pytest.mark.parametrize("threads", [1, 3])
def test_large_tensors_are_the_same_bits(
    rng: np.random.Generator, coder: Literal["huffman", "rans"], threads: int
) -> None:
    model = CompressedModel(
        tuple(
            CodedTensor(
                name, "float32", laplacian(rng, 300_000, 8, zeros), np.array(0.1, np.float32)
            )
            for name, zeros in (("dense", 0.0), ("half", 0.6), ("thin", 0.95))
        ),
        b"",
        {},
    )
    data = pack(model, coder=coder)

    theirs = read_weights(data, decoder="native", threads=threads)

    for name, weights in read_weights(data, decoder="numpy").items():
        assert weights.tobytes() == theirs[name].tobytes()
    for ours, codes in zip(
        read_packfile(data, decoder="numpy").tensors,
        read_packfile(data, decoder="native").tensors,
        strict=True,
    ):
        assert isinstance(ours, CodedTensor)
        assert isinstance(codes, CodedTensor)
        assert np.array_equal(ours.codes, codes.codes)


@needs_native
@pytest.mark.parametrize(
    "path", sorted((FOLDER / "accept").glob("*.ekp")), ids=lambda path: path.stem
)
def test_accepted_vectors_are_the_same_bits(path: object) -> None:
    source = str(path)

    theirs = read_weights(source, decoder="native")

    for name, weights in read_weights(source, decoder="numpy").items():
        assert weights.dtype == theirs[name].dtype
        assert weights.tobytes() == theirs[name].tobytes()


@needs_native
@pytest.mark.parametrize("name", REJECT)
def test_rejected_vectors_are_refused_with_the_same_error(name: str) -> None:
    with pytest.raises(FormatError) as caught:
        read_weights(FOLDER / "reject" / f"{name}.ekp", decoder="native")

    assert type(caught.value).__name__ == REJECT[name]["error"]


def test_a_missing_native_decoder_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    data = pack(sample_model(np.random.default_rng(1)))
    monkeypatch.setattr(native, "available", False)
    monkeypatch.setattr(native, "reason", "the compiled decoder isn't installed")

    with pytest.raises(UsageError, match="isn't installed; decode with decoder='numpy'"):
        read_weights(data, decoder="native")
    assert len(read_weights(data)) == len(open_packfile(data).names)
