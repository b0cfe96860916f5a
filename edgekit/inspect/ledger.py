"""Where each byte of a model file goes, for packed files and for ONNX files."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, ValueInfoProto

from edgekit.compress.measure import bits_per_code
from edgekit.count import Share, count
from edgekit.footprint import Footprint, measure_footprint
from edgekit.graph import load_graph
from edgekit.packfile import PackedModel, layout, open_packfile
from edgekit.packfile.onnx_model import to_model_proto
from edgekit.packfile.records import TensorRecord
from edgekit.packfile.writer import PackReport, measure
from edgekit.runtime.session import is_packed, read_source
from edgekit.tensors import CodedTensor, CompressedTensor


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """A tensor and what it takes.

    coding: how it is stored: mode and coder in a packed file, the element type in an ONNX file.
    values: how codes become numbers, "" where elements are stored as numbers.
    entropy_bits: zero-order entropy of the codes in bits an element, or None without codes.
    bytes: in a packed file record and chunks, in an ONNX file the elements.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    coding: str
    values: str
    elements: int
    sparsity: float
    entropy_bits: float | None
    bytes: int


@dataclass(frozen=True, slots=True)
class InspectReport:
    """A model file.

    kind: "packed" or "onnx". parts: everything beside the tensors, by name and bytes; with the
    tensors' bytes they add up to file_bytes. sha256: of the file, as sha256sum prints it. digest:
    what a packed file ends with (docs/format.md, 2.5), None for ONNX.
    inputs, outputs: name, type and shape. operators: nodes of each operator type.
    parameters, multiply_adds: by the rules of edgekit.count; multiply_adds is None where a shape
    is open. batch, uncounted: as edgekit.count tells them. shares: both by form of layer.
    footprint: activations' peak and receptive field.
    """

    path: str
    kind: str
    format: str
    file_bytes: int
    sha256: str
    digest: str | None
    tensors: tuple[TensorEntry, ...]
    parts: tuple[tuple[str, int], ...]
    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]
    operators: tuple[tuple[str, int], ...]
    parameters: int
    multiply_adds: int | None
    batch: int
    uncounted: tuple[str, ...]
    shares: tuple[Share, ...]
    footprint: Footprint
    manifest: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def inspect(path: str | os.PathLike[str]) -> InspectReport:
    """The tensors of a model file, what each takes, and what the rest of the file is.

    Raises InputError for a file that can't be read, and the FormatError or ModelFileError of the
    rule that it breaks.
    """
    data = read_source(path)
    if is_packed(data):
        packed = open_packfile(data)
        return _packed_report(os.fspath(path), packed, measure(bytes(data)))
    return _onnx_report(os.fspath(path))


def _packed_report(path: str, packed: PackedModel, sizes: PackReport) -> InspectReport:
    whole = packed.model()
    tensors = tuple(
        _packed_entry(record, tensor, size.record_bytes + size.payload_bytes)
        for record, tensor, size in zip(packed.records, whole.tensors, sizes.tensors, strict=True)
    )
    inside = {"tensors", "payload"}
    parts = [(part.name, part.bytes) for part in sizes.sections if part.name not in inside]
    padding = sizes.file_bytes - sum(entry.bytes for entry in tensors) - sum(b for _, b in parts)
    model = ModelProto()
    model.ParseFromString(packed.skeleton)
    # Shapes say all that counting needs, but a graph is checked as a whole.
    graph = load_graph(to_model_proto(whole).SerializeToString())
    counted = count(graph)
    return InspectReport(
        path,
        "packed",
        ".".join(map(str, packed.version)),
        sizes.file_bytes,
        hashlib.sha256(packed.data).hexdigest(),
        packed.digest,
        tensors,
        (*parts, ("padding", padding)),
        *_graph_facts(model),
        counted.parameters,
        counted.multiply_adds,
        counted.batch,
        counted.uncounted,
        counted.shares,
        measure_footprint(graph),
        packed.manifest,
    )


def _packed_entry(record: TensorRecord, tensor: CompressedTensor, taken: int) -> TensorEntry:
    coding = record.mode.name.lower()
    if record.mode in layout.CODED_MODES:
        coding += f" {record.coder.name.lower()}"
    values, entropy = "", None
    if isinstance(tensor, CodedTensor):
        elements: NDArray[Any] = tensor.codes
        entropy = bits_per_code(tensor.symbols)
        if tensor.codebook is not None:
            values = f"codebook of {tensor.codebook.size}"
        elif record.scale_kind is not layout.ScaleKind.NONE:
            one = record.scale_kind is layout.ScaleKind.ONE
            values = "one grid" if one else "grid per channel"
    else:
        elements = tensor.values
        coding += f" {record.stored.name.lower()}"
    return TensorEntry(
        tensor.name,
        tensor.shape,
        tensor.dtype,
        coding,
        values,
        record.elements,
        _zeros(elements),
        entropy,
        taken,
    )


def _onnx_report(path: str) -> InspectReport:
    graph = load_graph(path)
    tensors = tuple(
        TensorEntry(
            weight.name,
            weight.shape,
            weight.dtype,
            weight.dtype,
            "",
            weight.values.size,
            _zeros(weight.values),
            None,
            weight.values.nbytes,
        )
        for weight in graph.weights
    )
    counted = count(graph)
    # External data lie in another file, and a constant that a node makes takes no bytes at all:
    # the rest is then negative, which says so better than a made-up split.
    rest = graph.source_bytes - sum(entry.bytes for entry in tensors)
    model = graph.empty_model()
    return InspectReport(
        path,
        "onnx",
        f"IR {model.ir_version}, "
        + ", ".join(f"{entry.domain or 'opset'} {entry.version}" for entry in model.opset_import),
        graph.source_bytes,
        graph.source_sha256,
        None,
        tensors,
        (("graph and small tensors", rest),),
        *_graph_facts(model),
        counted.parameters,
        counted.multiply_adds,
        counted.batch,
        counted.uncounted,
        counted.shares,
        measure_footprint(graph),
    )


def _graph_facts(
    model: ModelProto,
) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...], tuple[tuple[str, int], ...]]:
    """Inputs, outputs and operators."""
    initializers = {tensor.name for tensor in model.graph.initializer}
    inputs = tuple(
        (value.name, _value_type(value))
        for value in model.graph.input
        if value.name not in initializers
    )
    outputs = tuple((value.name, _value_type(value)) for value in model.graph.output)
    operators = Counter(node.op_type for node in model.graph.node)
    return inputs, outputs, tuple(sorted(operators.items(), key=lambda pair: (-pair[1], pair[0])))


def _value_type(value: ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    sizes = [
        str(size.dim_value) if size.HasField("dim_value") else size.dim_param or "?"
        for size in tensor.shape.dim
    ]
    return f"{TensorProto.DataType.Name(tensor.elem_type).lower()} {'x'.join(sizes) or 'scalar'}"


def _zeros(values: NDArray[Any]) -> float:
    return float(np.mean(values == 0)) if values.size else 0.0
