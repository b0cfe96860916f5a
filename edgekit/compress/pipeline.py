"""The chain from an ONNX file to a packed file: load, plan, prune, quantize, pack, check."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgekit import __version__
from edgekit.compress.carry_out import carry_out
from edgekit.compress.measure import (
    CompressionReport,
    Fidelity,
    layer_reports,
    measure_fidelity,
)
from edgekit.compress.plan import Method, Plan, Scope, check_recipe, make_plan
from edgekit.errors import OutputError, UsageError
from edgekit.files import write_atomic
from edgekit.graph import Graph, load_graph
from edgekit.packfile.writer import CoderName, measure, pack
from edgekit.tensors import CompressedModel, CompressedTensor


def compress(
    source: str | os.PathLike[str] | bytes,
    output: str | os.PathLike[str] | None,
    *,
    bits: int = 8,
    method: Method = "uniform",
    sparsity: float = 0.0,
    scope: Scope = "global",
    coder: CoderName = "huffman",
    dry_run: bool = False,
) -> CompressionReport:
    """Prune, quantize and entropy-code an ONNX model into one packed file.

    source: an ONNX file, by path or as bytes. output: the packed file; None only in a dry run.
    bits: width of a code, 2 to 8. method: "uniform", a grid with one step a channel, or
        "codebook", at most 2^bits shared values a layer.
    sparsity: share of the weights that become zero, smallest magnitudes first, in [0, 1); over
        all layers together with scope "global", in each layer with scope "layer".
    coder: "huffman" decodes fastest, "rans" makes the smallest file.
    dry_run: do all but write the file.

    The same source and settings give the same bytes. The file is read back and compared before
    it takes the place of an older one. Raises PlanError, ModelFileError and OutputError.
    """
    check_recipe(bits=bits, method=method, sparsity=sparsity, scope=scope)
    _check_output(output, dry_run=dry_run)
    graph = load_graph(source)
    plan = make_plan(graph.weights, bits=bits, method=method, sparsity=sparsity, scope=scope)
    name, kept = graph.name, graph.kept
    source_bytes, source_sha256 = graph.source_bytes, graph.source_sha256
    model, fidelities = apply_plan(graph, plan)
    # The float weights aren't needed any more, and a packed file is made in memory.
    del graph
    data = pack(model, coder=coder)
    if output is not None and not dry_run:
        write_atomic(output, data)
    packed = measure(data)
    layers, rest = layer_reports(fidelities, packed)
    return CompressionReport(
        name=name,
        output=None if output is None or dry_run else os.fspath(output),
        source_bytes=source_bytes,
        source_sha256=source_sha256,
        file_bytes=packed.file_bytes,
        sha256=packed.digest,
        recipe={**plan.recipe(), "coder": coder},
        layers=layers,
        rest=rest,
        kept=kept,
    )


def apply_plan(graph: Graph, plan: Plan) -> tuple[CompressedModel, tuple[Fidelity, ...]]:
    """The compressed model that a plan makes of a graph, and how far each tensor moved."""
    layers = {layer.name: layer for layer in plan.layers}
    tensors: list[CompressedTensor] = []
    fidelities: list[Fidelity] = []
    for weight in graph.weights:
        tensor = carry_out(weight, layers.get(weight.name))
        tensors.append(tensor)
        fidelities.append(measure_fidelity(weight, tensor))
    model = CompressedModel(tuple(tensors), graph.skeleton, _manifest(graph, plan))
    return model, tuple(fidelities)


def _manifest(graph: Graph, plan: Plan) -> dict[str, Any]:
    """Where the file comes from; nothing that two runs would write differently."""
    return {
        "name": graph.name,
        "source_sha256": graph.source_sha256,
        "source_bytes": graph.source_bytes,
        "recipe": plan.recipe(),
        "versions": {
            "edgekit": __version__,
            "numpy": np.__version__,
            "onnx": onnx.__version__,
        },
        "preprocessing": None,
        "metrics": {},
    }


def _check_output(output: str | os.PathLike[str] | None, *, dry_run: bool) -> None:
    """Say at once what would otherwise fail after the work."""
    if output is None:
        if not dry_run:
            raise UsageError("compress needs a file to write; only a dry run goes without")
        return
    folder = Path(output).parent
    if not folder.is_dir():
        raise OutputError(
            f"can't write {os.fspath(output)}: the folder {folder} doesn't exist; create it first"
        )
