"""The value types that travel from compression to the packed file and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

DTYPES = ("float32", "float16", "bfloat16", "float64", "int8", "uint8", "int32", "int64")
"""Element types of a restored tensor, by their ONNX names in lower case."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredTensor:
    """A tensor kept as plain numbers: a bias, or a weight that isn't worth coding.

    name: the initializer's name in the ONNX graph.
    dtype: element type of the restored tensor, one of DTYPES.
    values: the numbers as they lie in the file, in the tensor's shape. Their dtype is the
        stored one: float16 values may stand for a float32 tensor, which restores to float32.
        bfloat16 travels as its 16-bit patterns in uint16.
    """

    name: str
    dtype: str
    values: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the restored tensor."""
        return self.values.shape


@dataclass(frozen=True, slots=True, eq=False)
class CodedTensor:
    """A tensor as one small code a weight, with what turns codes into weights.

    name: the initializer's name in the ONNX graph.
    dtype: element type of the restored tensor, one of DTYPES.
    codes: the tensor's shape; int8 on a uniform grid, uint8 with a codebook.
    scale: step of the grid, float32, () for the whole tensor or (C,) for one a channel; with a
        codebook () 1.0 or the (C,) channel gains. None for an integer tensor, whose
        codes are its elements.
    axis: the channel axis that `scale` of shape (C,) runs along; 0 otherwise.
    codebook: (k,) float32 with k <= 256, or None for a uniform grid.
    on_trellis: whether its int8 codes follow a trellis along `axis` (edgekit.codec.trellis), so
        that the file needs not hold their lowest bits.

    A weight is codes * scale on a grid and codebook[codes] * scale with a codebook, each a
    single float32 product, then rounded to `dtype` (docs/format.md, chapter 6).
    """

    name: str
    dtype: str
    codes: NDArray[np.int8] | NDArray[np.uint8]
    scale: NDArray[np.float32] | None
    axis: int = 0
    codebook: NDArray[np.float32] | None = None
    on_trellis: bool = False

    @property
    def symbols(self) -> NDArray[np.int8] | NDArray[np.uint8]:
        """What the file codes, one symbol an element."""
        return self.codes >> 1 if self.on_trellis else self.codes

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the restored tensor."""
        return self.codes.shape


CompressedTensor = StoredTensor | CodedTensor


@dataclass(frozen=True, slots=True, eq=False)
class CompressedModel:
    """All that a packed file holds.

    tensors: in the order of the file; names are unique.
    skeleton: the serialized ONNX model whose initializers of those names carry name, type and
        shape but no data (data_location EXTERNAL).
    manifest: JSON-compatible facts: name, provenance, recipe, metrics, tool versions.
    """

    tensors: tuple[CompressedTensor, ...]
    skeleton: bytes
    manifest: dict[str, Any] = field(default_factory=dict)


def dequantize(tensor: CompressedTensor) -> NDArray[Any]:
    """The restored weights of a tensor, the plain reference for every decoder.

    Returns an array of the tensor's shape in its `dtype`; bfloat16 as 16-bit patterns in uint16.
    """
    if isinstance(tensor, StoredTensor):
        return cast(tensor.values, tensor.dtype)
    if tensor.scale is None:
        return tensor.codes
    values = (
        tensor.codes.astype(np.float32)
        if tensor.codebook is None
        else tensor.codebook[tensor.codes]
    )
    scale = tensor.scale
    if scale.ndim:
        extent = [1] * values.ndim
        extent[tensor.axis] = -1
        scale = scale.reshape(extent)
    # A hostile file may hold products that are too large: they become infinite, in every decoder.
    with np.errstate(over="ignore"):
        return cast(values * scale, tensor.dtype)


def cast(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Numbers in one of DTYPES; bfloat16 as 16-bit patterns in uint16."""
    if values.dtype == np.float16 and dtype == "float32":
        return _widen(values)
    if dtype != "bfloat16":
        return values.astype(dtype, copy=False)
    if values.dtype == np.uint16:
        return values
    patterns = values.astype(np.float32).view(np.uint32)
    # Round half to even on the 16 bits that fall away; a NaN keeps its quiet bit instead.
    rounded = (patterns + 0x7FFF + ((patterns >> 16) & 1)) >> 16
    quiet = (patterns >> 16) | 0x40
    return np.where(np.isnan(values), quiet, rounded).astype(np.uint16)


def _widen(halves: NDArray[Any]) -> NDArray[Any]:
    """float16 as float32; a NaN keeps its fraction, which not every processor leaves alone."""
    values = halves.astype(np.float32)
    is_nan = np.isnan(halves)
    if is_nan.any():
        bits = halves.view(np.uint16).astype(np.uint32)
        nans = (bits & 0x8000) << 16 | 0x7F800000 | (bits & 0x3FF) << 13
        values = np.where(is_nan, nans, values.view(np.uint32)).view(np.float32)
    return values
