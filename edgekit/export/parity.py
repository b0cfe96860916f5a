"""Compares a torch module with its ONNX export on random inputs, tensor by tensor if need be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgekit.errors import ExportError, ParityError
from edgekit.export.text import brief

BATCHES = (1, 2, 5)
TOLERANCE = 1e-4
"""Largest difference allowed, as a share of the largest magnitude in the torch output.

Kernels that add in another order differ by some 1e-6 of it; a wrong weight by far more.
"""
SEED = 0

Reference = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class BatchParity:
    """largest_difference: absolute, over all outputs. relative: to the largest magnitude."""

    batch: int
    largest_difference: float
    relative: float


def check_parity(
    module: nn.Module,
    model: onnx.ModelProto,
    input_shape: tuple[int, ...],
    *,
    program: torch.export.ExportedProgram | None = None,
    batches: tuple[int, ...] = BATCHES,
    tolerance: float = TOLERANCE,
) -> tuple[BatchParity, ...]:
    """Run both on the same standard-normal inputs and compare their outputs.

    program: the traced module that `model` was made from. Its values carry the names of the
    graph's tensors, which lets a failure name the first tensor that parts.

    Raises ParityError where a relative difference is above the tolerance, ExportError where
    onnxruntime refuses the model or a batch size.
    """
    session = open_session(model)
    generator = torch.Generator().manual_seed(SEED)
    results: list[BatchParity] = []
    for batch in batches:
        inputs = torch.randn(batch, *input_shape[1:], generator=generator)
        expected = run_module(module, inputs)
        found = run(session, inputs)
        if len(expected) != len(found):
            raise ParityError(
                f"the module returns {len(expected)} outputs, its ONNX form {len(found)}"
            )
        worst = max((_compare(a, b) for a, b in zip(expected, found, strict=True)), key=_relative)
        if not _relative(worst) <= tolerance:
            where = _first_parting(program, model, inputs, tolerance)
            raise ParityError(
                f"torch and onnxruntime differ by {_relative(worst):.2g} of the largest output "
                f"at batch {batch} (allowed {tolerance:g}); {where}"
            )
        results.append(BatchParity(batch, worst[0], worst[1]))
    return tuple(results)


def open_session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """A CPU session without a file. Raises ExportError where onnxruntime refuses the model."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise ExportError(f"onnxruntime refuses the exported model: {brief(error)}") from error


def run(session: onnxruntime.InferenceSession, inputs: Tensor) -> list[NDArray[np.float32]]:
    """All outputs for one input tensor."""
    try:
        outputs: list[NDArray[np.float32]] = session.run(
            None, {session.get_inputs()[0].name: inputs.numpy()}
        )
    except Exception as error:
        raise ExportError(
            f"onnxruntime can't run the exported model at batch {len(inputs)}: {brief(error)}"
        ) from error
    return outputs


def run_module(module: nn.Module, inputs: Tensor) -> list[NDArray[np.float32]]:
    """All outputs of a torch module for one input tensor.

    Raises ExportError where the module fails or returns anything but tensors.
    """
    try:
        with torch.no_grad():
            result = module(inputs)
    except Exception as error:
        raise ExportError(
            f"the module fails on an input of shape {tuple(inputs.shape)}: {brief(error)}"
        ) from error
    values = tuple(result) if isinstance(result, tuple | list) else (result,)
    if not values or not all(isinstance(value, Tensor) for value in values):
        raise ExportError(f"the module returns {type(result).__name__}; tensors are needed")
    return [value.numpy() for value in values]


def _compare(expected: NDArray[np.float32], found: NDArray[np.float32]) -> tuple[float, float]:
    """Largest absolute difference, and the same relative to the largest expected magnitude."""
    if expected.shape != found.shape:
        return float("inf"), float("inf")
    if expected.size == 0:
        return 0.0, 0.0
    difference = float(np.max(np.abs(expected.astype(np.float64) - found)))
    scale = float(np.max(np.abs(expected)))
    return difference, difference / max(scale, float(np.finfo(np.float32).tiny))


def _relative(comparison: tuple[float, float]) -> float:
    return comparison[1]


def _first_parting(
    program: torch.export.ExportedProgram | None,
    model: onnx.ModelProto,
    inputs: Tensor,
    tolerance: float,
) -> str:
    """A sentence on the first intermediate tensor, in the graph's order, that differs."""
    if program is None:
        return "TorchScript's tensors can't be matched to the module's, so the place is unknown"
    reference = _trace(program, inputs)
    names = [name for node in model.graph.node for name in node.output if name in reference]
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    known = {value.name for value in exposed.graph.output}
    exposed.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in known)
    session = open_session(exposed)
    values = dict(zip((o.name for o in session.get_outputs()), run(session, inputs), strict=True))
    for node in model.graph.node:
        for name in node.output:
            if name not in reference:
                continue
            relative = _relative(_compare(reference[name], values[name]))
            if not relative <= tolerance:
                weights = [i for i in node.input if i not in reference and i != "input"]
                using = f" with {', '.join(weights)}" if weights else ""
                return f"the first tensor that parts is {name!r} ({node.op_type}{using})"
    return "the first tensor that parts is the output itself"


def _trace(program: torch.export.ExportedProgram, inputs: Tensor) -> Reference:
    """Every float tensor that the traced module computes, by its name in the graph."""
    recorder = _Recorder(program.module())
    with torch.no_grad():
        recorder.run(inputs)
    return recorder.values


class _Recorder(torch.fx.Interpreter):
    def __init__(self, module: torch.fx.GraphModule) -> None:
        super().__init__(module)
        self.values: Reference = {}

    def run_node(self, n: torch.fx.Node) -> object:
        value = super().run_node(n)
        if isinstance(value, Tensor) and n.op == "call_function" and value.is_floating_point():
            self.values[n.name] = value.detach().numpy()
        return value
