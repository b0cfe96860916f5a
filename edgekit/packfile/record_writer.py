"""One tensor as record and payload (docs/format.md, chapter 3)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import UsageError
from edgekit.packfile import layout
from edgekit.packfile.decode import STORED_DTYPES
from edgekit.packfile.encode import (
    Coding,
    encode_codes,
    encode_elements,
    encode_trellis,
    varint,
)
from edgekit.packfile.layout import Coder, Mode, ScaleKind, Type
from edgekit.tensors import DTYPES, CodedTensor, CompressedTensor, StoredTensor


@dataclass(frozen=True, slots=True)
class EncodedTensor:
    """A tensor's record with its length field, and the coding that holds its chunks."""

    record: bytes
    coding: Coding


def encode_tensor(tensor: CompressedTensor, coder: Coder) -> EncodedTensor:
    """The smallest form of a tensor; RANS tries both coders.

    Raises UsageError for a tensor that the format has no place for.
    """
    _check_shape(tensor)
    restored = Type[tensor.dtype.upper()]
    scaling, scales = 0, b""
    if isinstance(tensor, CodedTensor):
        _check_coded(tensor)
        stored = Type.CODE
        coding = _coding(tensor, coder)
        scaling, scales = _scaling(tensor, coding.mode)
    else:
        stored = _stored_type(tensor, restored)
        elements = _bytes(tensor.values, stored)
        if stored in layout.INTEGER_CODE_TYPES:
            # Small integers are codes that need no scale.
            stored = Type.CODE
            coding = encode_codes(elements, coder, zero_is_zero=True)
        else:
            coding = encode_elements(elements, layout.TYPE_BYTES[stored])
    streams = layout.STREAM_COUNTS.index(coding.streams) << layout.STREAMS_SHIFT
    body = b"".join(
        (
            bytes(
                [
                    coding.mode | coding.coder << 4,
                    restored | stored << 4,
                    scaling,
                    len(tensor.shape) | streams,
                    coding.chunk_log2,
                ]
            ),
            *(varint(size) for size in tensor.shape),
            scales,
            coding.tables,
            coding.index,
        )
    )
    return EncodedTensor(varint(len(body)) + body, coding)


def _coding(tensor: CodedTensor, coder: Coder) -> Coding:
    if tensor.on_trellis:
        try:
            return encode_trellis(tensor.codes.view(np.int8), tensor.axis, coder)
        except UsageError as error:
            raise UsageError(f"tensor {tensor.name}: {error}") from error
    codes = np.ascontiguousarray(tensor.codes).reshape(-1).view(np.uint8)
    return encode_codes(codes, coder, zero_is_zero=_zero_is_zero(tensor.codebook))


def _check_shape(tensor: CompressedTensor) -> None:
    if tensor.dtype not in DTYPES:
        raise UsageError(f"tensor {tensor.name}: the format has no type {tensor.dtype}")
    if len(tensor.shape) > layout.MAX_RANK:
        raise UsageError(
            f"tensor {tensor.name}: rank {len(tensor.shape)} is above {layout.MAX_RANK}"
        )
    if math.prod(size for size in tensor.shape if size) > layout.MAX_ELEMENTS:
        raise UsageError(
            f"tensor {tensor.name}: the shape {tensor.shape} has 2^32 elements or more"
        )


def _check_coded(tensor: CodedTensor) -> None:
    """What tensors.CodedTensor promises and chapters 3.2, 3.3 and 6 need."""
    scale, codebook = tensor.scale, tensor.codebook
    if codebook is not None and not 1 <= codebook.size <= layout.MAX_CODEBOOK_VALUES:
        raise UsageError(f"tensor {tensor.name}: a codebook of {codebook.size} values")
    is_integer = scale is None and codebook is None
    allowed = layout.INTEGER_CODE_TYPES if is_integer else layout.FLOAT_TYPES
    if Type[tensor.dtype.upper()] not in allowed or (scale is None and codebook is not None):
        raise UsageError(
            f"tensor {tensor.name}: codes {'without' if scale is None else 'with'} a scale can't "
            f"be restored to {tensor.dtype}"
        )
    expected = tensor.dtype if is_integer else "int8" if codebook is None else "uint8"
    if tensor.codes.dtype != expected:
        raise UsageError(f"tensor {tensor.name}: codes are {tensor.codes.dtype}, not {expected}")
    for name, numbers in (("scale", scale), ("codebook", codebook)):
        if numbers is not None and (numbers.dtype != np.float32 or not np.isfinite(numbers).all()):
            raise UsageError(f"tensor {tensor.name}: its {name} isn't finite float32 numbers")
    if scale is not None and scale.shape not in {(), tensor.shape[tensor.axis : tensor.axis + 1]}:
        raise UsageError(
            f"tensor {tensor.name}: a scale of shape {scale.shape} for axis {tensor.axis} of "
            f"{tensor.shape}"
        )
    if tensor.on_trellis and (is_integer or codebook is not None or not tensor.codes.ndim):
        raise UsageError(f"tensor {tensor.name}: only codes on a grid follow a trellis")
    if codebook is not None and tensor.codes.size and int(tensor.codes.max()) >= codebook.size:
        raise UsageError(f"tensor {tensor.name}: a code is above the codebook's last index")


def _zero_is_zero(codebook: NDArray[np.float32] | None) -> bool:
    """Whether code 0 means weight 0, which the gap and mask modes need (3.1)."""
    return codebook is None or int(codebook[:1].view(np.uint32)[0]) == 0


def _stored_type(tensor: StoredTensor, restored: Type) -> Type:
    """The type of a stored tensor's values, which chapter 3.2 must allow."""
    dtype = tensor.values.dtype.newbyteorder("<")
    if restored is Type.FLOAT32 and dtype == STORED_DTYPES[Type.FLOAT16]:
        return Type.FLOAT16
    if dtype != STORED_DTYPES[restored]:
        raise UsageError(
            f"tensor {tensor.name}: values of type {tensor.values.dtype} can't be restored to "
            f"{tensor.dtype}"
        )
    return restored


def _bytes(values: NDArray[Any], stored: Type) -> NDArray[np.uint8]:
    flat = np.ascontiguousarray(values, STORED_DTYPES[stored]).reshape(-1)
    return flat.view(np.uint8)


def _scaling(tensor: CodedTensor, mode: Mode) -> tuple[int, bytes]:
    """The `scaling` byte, and the fields from `axis` to `codebook` (3.3)."""
    scale, codebook = common_scale(tensor.scale), tensor.codebook
    scaling = 0
    fields = b""
    if scale is not None and not (
        codebook is not None and scale.ndim == 0 and _same_bits(scale, np.float32(1))
    ):
        kind, is_half, fields = _scale_fields(tensor, np.asarray(scale, np.float32))
        if kind in layout.CHANNEL_SCALES or mode is Mode.TRELLIS:
            fields = varint(tensor.axis) + fields
        scaling |= kind | (layout.SCALES_F16_FLAG if is_half else 0)
    if codebook is not None:
        is_half, values = _halves(np.asarray(codebook, np.float32))
        scaling |= layout.CODEBOOK_FLAG | (layout.CODEBOOK_F16_FLAG if is_half else 0)
        fields += bytes([codebook.size - 1]) + values
    return scaling, fields


def common_scale(scale: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
    """Scales as the file holds them: () where all channels have the same, bit for bit."""
    if scale is None or scale.ndim == 0 or not scale.size:
        return scale
    patterns = np.ascontiguousarray(scale).view(np.uint32)
    return scale[0].reshape(()) if bool(np.all(patterns == patterns[0])) else scale


def _scale_fields(tensor: CodedTensor, scale: NDArray[np.float32]) -> tuple[ScaleKind, bool, bytes]:
    """Kind, whether scales are f16, and the fields: kind 2 or 3 by exact size."""
    is_half, values = _halves(scale)
    if scale.ndim == 0:
        return ScaleKind.ONE, is_half, values
    if scale.size and tensor.codes.size:
        patterns = scale.view(np.uint32)
        options, counts = np.unique(patterns, return_counts=True)
        common = options[np.argmax(counts)]
        others = np.flatnonzero(patterns != common)
        if others.size:
            steps = np.diff(others, prepend=-1) - 1
            width = len(values) // scale.size
            first = int(np.flatnonzero(patterns == common)[0])
            exceptions = values[first * width : (first + 1) * width] + varint(others.size)
            exceptions += b"".join(
                varint(int(step)) + values[channel * width : (channel + 1) * width]
                for step, channel in zip(steps, others.tolist(), strict=True)
            )
            if len(exceptions) < len(values):
                return ScaleKind.EXCEPTIONS, is_half, exceptions
    return ScaleKind.CHANNELS, is_half, values


def _halves(numbers: NDArray[np.float32]) -> tuple[bool, bytes]:
    """Numbers as f16 where each one is the same in f16, and as f32 otherwise."""
    with np.errstate(over="ignore"):
        short = numbers.astype("<f2")
    if _same_bits(short.astype(np.float32), numbers):
        return True, short.tobytes()
    return False, numbers.astype("<f4").tobytes()


def _same_bits(left: NDArray[Any] | np.float32, right: NDArray[Any] | np.float32) -> bool:
    return np.asarray(left).tobytes() == np.asarray(right).tobytes()
