"""Exports a torch module to ONNX.

```
source, weights ─► module ─► torch.export ─► ONNX ─► canonical ─► onnxsim ─► parity ─► model.onnx
                                └ fails: TorchScript            └ fails: as it was
```
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn

from edgekit.errors import (
    ExportError,
    OutputError,
    ParityError,
    UnsupportedOperatorError,
    UsageError,
)
from edgekit.export.canonical import canonicalise, name_by_scope, unfolded_norms
from edgekit.export.parity import TOLERANCE, BatchParity, check_parity, run_module
from edgekit.export.simplify import simplify as simplify_graph
from edgekit.export.source import Source, load_source
from edgekit.export.text import brief
from edgekit.files import check_apart, write_atomic

OPSET = 20
"""The one that torch's exporter writes by itself; onnxruntime 1.17 and later run it."""

MIN_OPSET, MAX_OPSET = 18, 23
INPUT, OUTPUT, BATCH = "input", "output", "batch"
MAX_BYTES = (1 << 31) - 1  # protobuf's limit for one message


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was exported, and how well it agrees with torch.

    exporter: `torch.export`, or `TorchScript` where that one failed. nodes_before, nodes: without
    and with onnxsim. parity: one entry a batch size. warnings: what went another way than usual.
    """

    source: str
    weights: str
    output: str
    output_bytes: int
    sha256: str
    exporter: str
    opset: int
    input_shape: tuple[int | str, ...]
    output_shape: tuple[int | str, ...]
    parameters: int
    nodes_before: int
    nodes: int
    parity: tuple[BatchParity, ...]
    tolerance: float
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-compatible values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class _Exported:
    model: onnx.ModelProto
    exporter: str
    program: torch.export.ExportedProgram | None


def export(
    source: str,
    output: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    input_shape: tuple[int, ...] | None = None,
    opset: int = OPSET,
    simplify: bool = True,
) -> ExportReport:
    """Export a torch module with a dynamic batch axis, check it against torch, write `output`.

    source: a zoo name, `package.module:factory` or `file.py:factory`. weights: a .safetensors,
    .pth or .pt file, `none` for random ones; by default the zoo's checkpoint, if it ships one.
    input_shape: with the batch axis, whose size here doesn't matter; the zoo knows its own.

    BatchNorm is folded into convolutions; initializers keep the names of torch's parameters. The
    same source and weights give the same bytes. `output` is written only after parity holds.

    Raises UnknownModelError, UsageError, UnsafeFileError, InputError for the source and weights;
    ExportError where no exporter takes the module; ParityError where the answers differ;
    OutputError where the file can't be written.
    """
    if not MIN_OPSET <= opset <= MAX_OPSET:
        raise UsageError(f"opset must be in {MIN_OPSET}..{MAX_OPSET}, got {opset}")
    if not Path(output).parent.is_dir():
        # Also found when the file is written, but that is half a minute of work later.
        raise OutputError(f"can't write {output}: its folder doesn't exist; create it first")
    check_apart([output], [source, weights])
    loaded = load_source(source, weights=weights, input_shape=input_shape)
    notes: list[str] = []
    exported = _export(loaded, opset, notes)
    plain = canonicalise(exported.model)
    model = _simplified(plain, notes) if simplify else plain
    parity, model = _checked(loaded, exported, plain, model, notes)
    norms = unfolded_norms(model)
    if norms:
        notes.append(f"BatchNorm is not folded into the convolution before it: {', '.join(norms)}")
    data = _serialize(model)
    write_atomic(output, data)
    return ExportReport(
        source=source,
        weights=loaded.weights,
        output=os.fspath(output),
        output_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        exporter=exported.exporter,
        opset=next(entry.version for entry in model.opset_import if not entry.domain),
        input_shape=_shape(model.graph.input[0]),
        output_shape=_shape(model.graph.output[0]),
        parameters=sum(p.numel() for p in loaded.module.parameters()),
        nodes_before=len(plain.graph.node),
        nodes=len(model.graph.node),
        parity=parity,
        tolerance=TOLERANCE,
        warnings=tuple(notes),
    )


def _export(source: Source, opset: int, notes: list[str]) -> _Exported:
    """Through torch.export, else through TorchScript. Raises ExportError where both fail."""
    # A batch of 2: torch.export takes an axis of size 1 for a constant.
    try:
        example = torch.zeros(2, *source.input_shape[1:])
    except (RuntimeError, TypeError, OverflowError) as error:
        raise ExportError(
            f"there is no memory for an input of shape {source.input_shape}: {brief(error)}"
        ) from error
    outputs = _output_names(source.module, example)
    try:
        return _current_exporter(source.module, example, outputs, opset)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other exporter gets its chance
        current = error
    try:
        exported = _older_exporter(source.module, example, outputs, opset)
    except Exception as error:
        failure = (
            UnsupportedOperatorError
            if isinstance(error, torch.onnx.errors.UnsupportedOperatorError)
            else ExportError
        )
        raise failure(
            f"neither exporter takes the module. torch.export: {brief(current)}; "
            f"TorchScript: {brief(error)}"
        ) from error
    notes.append(f"torch.export failed ({brief(current)}); exported through TorchScript instead")
    return exported


def _output_names(module: nn.Module, example: torch.Tensor) -> list[str]:
    """`output`, or `output_0` and so on; also a first test whether the module runs at all.

    Raises ExportError where the module can't take such an input or doesn't return tensors.
    """
    values = run_module(module, example)
    return [OUTPUT] if len(values) == 1 else [f"{OUTPUT}_{i}" for i in range(len(values))]


def _current_exporter(
    module: nn.Module, example: torch.Tensor, outputs: list[str], opset: int
) -> _Exported:
    with _quiet():
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            opset_version=opset,
            dynamic_shapes=({0: torch.export.Dim(BATCH)},),
            input_names=[INPUT],
            output_names=outputs,
            verbose=False,
        )
    if program is None:
        raise ExportError("the exporter returned nothing")
    return _Exported(program.model_proto, "torch.export", program.exported_program)


def _older_exporter(
    module: nn.Module, example: torch.Tensor, outputs: list[str], opset: int
) -> _Exported:
    buffer = io.BytesIO()
    with _quiet():
        torch.onnx.export(
            module,
            (example,),
            buffer,  # type: ignore[arg-type]  # this exporter takes a file, its annotation doesn't
            dynamo=False,
            opset_version=min(opset, 20),
            dynamic_axes={name: {0: BATCH} for name in (INPUT, *outputs)},
            input_names=[INPUT],
            output_names=outputs,
        )
    model = onnx.load_from_string(buffer.getvalue())
    return _Exported(name_by_scope(model), "TorchScript", None)


def _simplified(plain: onnx.ModelProto, notes: list[str]) -> onnx.ModelProto:
    result = simplify_graph(plain)
    if result.failure is not None:
        notes.append(f"{result.failure}; the graph is not simplified")
        return plain
    return canonicalise(result.model)


def _checked(
    source: Source,
    exported: _Exported,
    plain: onnx.ModelProto,
    model: onnx.ModelProto,
    notes: list[str],
) -> tuple[tuple[BatchParity, ...], onnx.ModelProto]:
    """Parity of `model`, or of the unsimplified graph where only simplifying broke it."""

    def check(candidate: onnx.ModelProto) -> tuple[BatchParity, ...]:
        return check_parity(source.module, candidate, source.input_shape, program=exported.program)

    if model is not plain:
        try:
            return check(model), model
        except (ParityError, ExportError) as error:
            changed = f"onnxsim changed the answers ({error}); the graph is not simplified"
    try:
        parity = check(plain)
    except ParityError as error:
        if exported.program is not None:
            raise
        # Why the other exporter was taken is most likely why the answers differ.
        raise ParityError(f"{error}; {notes[0]}") from error
    if model is not plain:
        notes.append(changed)
    return parity, plain


def _serialize(model: onnx.ModelProto) -> bytes:
    if model.ByteSize() > MAX_BYTES:
        raise ExportError(
            f"the model has {model.ByteSize():,} bytes, an ONNX file holds at most {MAX_BYTES:,}"
        )
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _shape(value: onnx.ValueInfoProto) -> tuple[int | str, ...]:
    return tuple(axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' advice to developers off the user's terminal; errors still raise."""
    # torch's loggers have handlers of their own, so only this switch reaches them all.
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
