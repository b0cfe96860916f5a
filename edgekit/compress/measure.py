"""What compression did: bytes and error of each layer, adding up to the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.compress.run_form import RunFormReport
from edgekit.graph import Kept, Weight
from edgekit.packfile.writer import PackReport
from edgekit.tensors import CodedTensor, CompressedTensor, StoredTensor, dequantize

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Fidelity:
    """A tensor before and after.

    operator: what uses it, or its role. elements: how many numbers it has.
    method: uniform, codebook, or for a stored tensor its number format; "constant" where all
        elements are equal.
    bits: a code's or stored number's nominal width. sparsity: share of exact zeros after.
    entropy_bits: zero-order entropy of what is coded, bits an element; a stored number's width.
    relative_error: root of the mean squared error over that of the mean squared weight.
    """

    name: str
    role: str
    operator: str
    shape: tuple[int, ...]
    dtype: str
    elements: int
    method: str
    bits: int
    sparsity: float
    entropy_bits: float
    relative_error: float

    @property
    def snr_db(self) -> float | None:
        """Signal-to-noise ratio in decibels; None where there is no noise."""
        return None if self.relative_error == 0 else float(-20 * np.log10(self.relative_error))


@dataclass(frozen=True, slots=True)
class LayerReport:
    """A tensor and its place in the file.

    mode: how its chunks are coded (docs/format.md, 3.1). coded_bytes: record and chunks.
    """

    fidelity: Fidelity
    mode: str
    coded_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, in one level."""
        return {
            **asdict(self.fidelity),
            "snr_db": self.fidelity.snr_db,
            "mode": self.mode,
            "coded_bytes": self.coded_bytes,
        }


@dataclass(frozen=True, slots=True)
class CompressionReport:
    """What `compress` did. Sizes are bytes of finished files.

    output: the file written, or None in a dry run. recipe: what was asked for.
    metrics: with calibration, divergence (nats) and top-1 agreement on held-back inputs, and
        "rejoined" where the file's codes were then made with these inputs too, and for a bound
        on these inputs' answers "of_file", what those codes reach on them; "unseen": coded tensors
        that no answer depended on, so that their share of the bits is a guess; where something was
        pruned, "original": both against the original model.
    layers: every tensor outside the skeleton, in the order of the file.
    rest: the file's other parts; with the layers' coded_bytes they add up to file_bytes.
    kept: tensors that stay in the skeleton, with reasons.
    changes: what was taken from the graph itself, channels and ranks, with the multiply-adds before
        and after; empty where nothing was.
    run_form: what was found about running it in 8 bits; None where that wasn't asked for.
    uncalibrated: why no noise was taken where calibration was neither given nor ruled out.
    sha256: of the packed file, as sha256sum prints it.
    """

    name: str
    output: str | None
    source_bytes: int
    source_sha256: str
    file_bytes: int
    sha256: str
    recipe: dict[str, Any]
    metrics: dict[str, Any]
    layers: tuple[LayerReport, ...]
    rest: tuple[tuple[str, int], ...]
    kept: tuple[Kept, ...]
    run_form: RunFormReport | None = None
    changes: dict[str, Any] = field(default_factory=dict)
    uncalibrated: str = ""

    def __post_init__(self) -> None:
        total = sum(layer.coded_bytes for layer in self.layers) + sum(n for _, n in self.rest)
        if total != self.file_bytes:
            raise AssertionError(f"parts of {total} bytes in a file of {self.file_bytes}")

    @property
    def ratio(self) -> float:
        """How many times smaller the packed file is than its source."""
        return self.source_bytes / self.file_bytes

    @property
    def elements(self) -> int:
        """Numbers in all layers."""
        return sum(layer.fidelity.elements for layer in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "name": self.name,
            "output": self.output,
            "source_bytes": self.source_bytes,
            "source_sha256": self.source_sha256,
            "file_bytes": self.file_bytes,
            "ratio": self.ratio,
            "sha256": self.sha256,
            "recipe": dict(self.recipe),
            "metrics": dict(self.metrics),
            "layers": [layer.to_dict() for layer in self.layers],
            "rest": [{"name": name, "bytes": size} for name, size in self.rest],
            "kept": [asdict(tensor) for tensor in self.kept],
            "run_form": None if self.run_form is None else self.run_form.to_dict(),
            "changes": dict(self.changes),
            "uncalibrated": self.uncalibrated,
        }


def measure_fidelity(weight: Weight, tensor: CompressedTensor) -> Fidelity:
    """Compare a tensor with what the packed file restores."""
    restored = dequantize(tensor)
    noise = signal = 0.0
    zeros = 0
    for before, after in zip(_blocks(weight.values), _blocks(restored), strict=True):
        original, result = _numbers(before, weight.dtype), _numbers(after, weight.dtype)
        noise += float(np.sum((result - original) ** 2))
        signal += float(np.sum(original**2))
        zeros += int(np.count_nonzero(result == 0))
    method, bits, entropy = _coding(weight, tensor)
    return Fidelity(
        name=weight.name,
        role=weight.role.value,
        operator="/".join(weight.ops),
        shape=weight.shape,
        dtype=weight.dtype,
        elements=restored.size,
        method=method,
        bits=bits,
        sparsity=zeros / max(restored.size, 1),
        entropy_bits=entropy,
        relative_error=float(np.sqrt(noise / signal)) if signal else float(noise > 0),
    )


def layer_reports(
    fidelities: Sequence[Fidelity], pack: PackReport
) -> tuple[tuple[LayerReport, ...], tuple[tuple[str, int], ...]]:
    """Each tensor with its bytes, and the bytes of the file's other parts."""
    layers = tuple(
        LayerReport(fidelity, size.mode, size.record_bytes + size.payload_bytes)
        for fidelity, size in zip(fidelities, pack.tensors, strict=True)
    )
    parts = {section.name: section.bytes for section in pack.sections}
    padding = parts.pop("tensors") + parts.pop("payload")
    padding -= sum(layer.coded_bytes for layer in layers)
    return layers, (*parts.items(), ("padding", padding))


def bits_per_code(codes: NDArray[np.int8] | NDArray[np.uint8]) -> float:
    """Zero-order entropy of codes of one byte, in bits a code."""
    flat = np.ascontiguousarray(codes).reshape(-1).view(np.uint8)
    counts = np.zeros(256, np.int64)
    for block in _blocks(flat):
        counts += np.bincount(block, minlength=256)
    shares = counts[counts > 0] / max(flat.size, 1)
    return max(0.0, float(-np.sum(shares * np.log2(shares))))


def _coding(weight: Weight, tensor: CompressedTensor) -> tuple[str, int, float]:
    """Method, nominal bits and entropy."""
    if isinstance(tensor, CodedTensor):
        entropy = bits_per_code(tensor.symbols)
        if tensor.codebook is not None:
            return "codebook", max(1, int(np.ceil(np.log2(tensor.codebook.size)))), entropy
        symbols = tensor.symbols.astype(np.int16)
        # -64 takes as many bits as 63 does.
        largest = int(np.where(symbols < 0, -symbols - tensor.on_trellis, symbols).max(initial=1))
        return "uniform", largest.bit_length() + 1, entropy
    return _stored(weight, tensor)


def _stored(weight: Weight, tensor: StoredTensor) -> tuple[str, int, float]:
    if weight.is_constant:
        return "constant", 0, 0.0
    width = tensor.values.dtype.itemsize * 8
    stored = weight.dtype if weight.dtype == "bfloat16" else tensor.values.dtype.name
    return stored, width, float(width)


def _blocks(array: NDArray[Any]) -> list[NDArray[Any]]:
    """Views of an array's elements in C order, a million at a time."""
    flat = array.reshape(-1)
    return [flat[start : start + _BLOCK] for start in range(0, flat.size, _BLOCK)]


def _numbers(block: NDArray[Any], dtype: str) -> NDArray[np.float64]:
    """Elements as float64; bfloat16 from its patterns."""
    if dtype == "bfloat16":
        block = (block.astype(np.uint32) << 16).view(np.float32)
    return block.astype(np.float64)
