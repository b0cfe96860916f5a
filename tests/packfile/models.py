"""Compressed models for the tests of the packed file."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgekit.tensors import CodedTensor, CompressedModel, CompressedTensor, StoredTensor


def laplacian(
    rng: np.random.Generator, count: int, spread: float, zeros: float
) -> NDArray[np.int8]:
    """Codes with the spread of weights, a share of them 0."""
    codes = np.clip(np.rint(rng.laplace(0, spread, count)), -127, 127).astype(np.int8)
    codes[rng.random(count) < zeros] = 0
    return codes


def sample_model(rng: np.random.Generator) -> CompressedModel:
    """One tensor of each kind, small enough to flip every byte of its file."""
    book = np.concatenate([[0], rng.normal(0, 1, 15)]).astype(np.float32)
    scale = np.full(8, 0.125, np.float32)
    scale[3] = 1 / 3
    tensors = (
        CodedTensor("dense", "float32", laplacian(rng, 160, 5, 0).reshape(8, 20), scale, 0),
        CodedTensor("thin", "float32", laplacian(rng, 400, 3, 0.9), np.array(0.5, np.float32)),
        CodedTensor(
            "book",
            "float16",
            rng.integers(0, 16, (4, 30), np.uint8),
            np.array(1, np.float32),
            0,
            book,
        ),
        CodedTensor("same", "bfloat16", np.full((2, 9), 3, np.int8), np.array(0.1, np.float32)),
        CodedTensor("small", "uint8", np.arange(5, dtype=np.uint8), None),
        StoredTensor("bias", "float32", rng.normal(0, 1, 7).astype(np.float16)),
        StoredTensor("shape", "int64", np.array([1, -1])),
        StoredTensor("empty", "float32", np.zeros((0, 3), np.float32)),
        StoredTensor("one", "float64", np.array(np.pi)),
    )
    return CompressedModel(tensors, b"graph", {"name": "sample", "bits": [6, 8]})


@st.composite
def coded_tensors(draw: st.DrawFn) -> CodedTensor:
    """Any coded tensor of up to 5,000 elements."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = tuple(draw(st.lists(st.integers(0, 17), max_size=3)))
    count = int(np.prod(shape))
    codes = laplacian(
        rng, count, draw(st.sampled_from([0, 1, 6, 60])), draw(st.sampled_from([0, 0.6, 0.95]))
    )
    codes = codes.reshape(shape)
    axis = draw(st.integers(0, len(shape) - 1)) if shape else 0
    kind = draw(st.sampled_from(["none", "one", "channels"] if shape else ["none", "one"]))
    scale = None if kind == "none" else rng.normal(0, 1, ()).astype(np.float32)
    if kind == "channels":
        scale = rng.choice(np.array([0.5, 0.25, 1 / 3], np.float32), shape[axis])
    if draw(st.booleans()):
        values = draw(st.integers(1, 256))
        book = rng.normal(0, 1, values).astype(np.float32)
        book[0] = draw(st.sampled_from([0.0, -0.0, 1.0]))
        dtype = draw(st.sampled_from(["float32", "float16", "bfloat16", "float64"]))
        scale = np.array(1, np.float32) if scale is None else scale
        indices = (codes.view(np.uint8).astype(np.int64) % values).astype(np.uint8)
        return CodedTensor("w", dtype, indices, np.asarray(scale), axis if scale.ndim else 0, book)
    if scale is None:
        return CodedTensor("w", "int8", codes, None)
    dtype = draw(st.sampled_from(["float32", "float16", "bfloat16", "float64"]))
    return CodedTensor("w", dtype, codes, np.asarray(scale), axis if scale.ndim else 0)


def one(tensor: CompressedTensor) -> CompressedModel:
    """A model of one tensor."""
    return CompressedModel((tensor,), b"", {})
