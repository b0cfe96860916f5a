"""Other makers of small networks, for benchmarks/compression.py: an 8-bit file from each.

onnxruntime's quantizers with all defaults, with a scale a channel, and in the dynamic form, which
needs no data; NNCF's post-training quantization where it is installed (`pip install --no-deps
nncf`, then what it imports).
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

Array = NDArray[np.float32]
Peer = tuple[str, Callable[[Path], object]]
"""What a row is called, and what writes its file."""


def peers(model: Path, calibration: Array, data: str) -> Iterator[Peer]:
    """Every peer that is installed. data: what calibrates, for the rows' names."""
    name = onnx.load(model).graph.input[0].name
    yield (
        f"onnxruntime static int8, defaults, {data}",
        lambda path: quantize_static(model, path, _Feeds(name, calibration)),
    )
    yield (
        f"onnxruntime static int8, U8S8 per channel, {data}",
        lambda path: quantize_static(
            model,
            path,
            _Feeds(name, calibration),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        ),
    )
    yield "onnxruntime dynamic int8", partial(quantize_dynamic, model)
    if importlib.util.find_spec("nncf") is not None:
        yield f"NNCF int8, {data}", partial(_nncf, model, name, calibration)


def zstd_bytes(path: Path) -> str:
    """The size of a file through zstd -19, or nothing where that isn't installed."""
    if importlib.util.find_spec("zstandard") is None:
        return ""
    coder = importlib.import_module("zstandard").ZstdCompressor(level=19)
    return f"{len(coder.compress(path.read_bytes())):,}"


class _Feeds(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no annotations
    """Hands inputs to onnxruntime's calibrator one by one."""

    def __init__(self, name: str, inputs: Array) -> None:
        self._feeds = ({name: inputs[index : index + 1]} for index in range(len(inputs)))

    def get_next(self) -> dict[str, Array] | None:
        """The next feed, or None behind the last."""
        return next(self._feeds, None)


def _nncf(model: Path, name: str, calibration: Array, path: Path) -> None:
    nncf = importlib.import_module("nncf")
    feeds = [{name: calibration[index : index + 1]} for index in range(len(calibration))]
    quantized = nncf.quantize(
        onnx.load(model),
        nncf.Dataset(feeds),
        subset_size=len(feeds),
        target_device=nncf.TargetDevice.CPU,
    )
    onnx.save(quantized, path)
