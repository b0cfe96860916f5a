"""Every network of the zoo goes the whole way: export, count, compress, load and run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import edgekit
import edgekit_models
from edgekit.compress.pipeline import compress
from edgekit.count import count
from edgekit.export.pytorch import export
from edgekit.footprint import measure_footprint
from edgekit.graph import load_graph
from edgekit_models import footprint
from edgekit_models.counting import count_totals

# Networks that end in layers of a fixed size can't take smaller pictures.
FIXED_INPUT = {"alexnet", "vgg16"}
SIDE = 64


@pytest.mark.slow
@pytest.mark.parametrize("name", edgekit_models.names())
def test_a_network_exports_counts_compresses_loads_and_runs(name: str, tmp_path: Path) -> None:
    channels, height, width = edgekit_models.spec(name).input_shape
    if name not in FIXED_INPUT:
        height, width = min(height, SIDE), min(width, SIDE)
    onnx_path, packed_path = tmp_path / "m.onnx", tmp_path / "m.ekp"

    exported = export(name, onnx_path, weights="none", input_shape=(1, channels, height, width))
    # Plainly: calibration by noise would take most of the time.
    compressed = compress(onnx_path, packed_path, bits=6, calibration="none")
    session = edgekit.load(packed_path, threads=1)
    inputs = np.random.default_rng(0).normal(size=(2, channels, height, width))
    (answers,) = session.run(None, {"input": inputs.astype(np.float32)})

    assert exported.exporter == "torch.export"
    assert exported.warnings == ()
    assert compressed.file_bytes < exported.output_bytes / 4
    assert answers.shape == (2, edgekit_models.spec(name).classes)
    assert np.isfinite(answers).all()
    graph = load_graph(onnx_path)
    counts = count(graph)
    with torch.device("meta"):
        module = edgekit_models.build(name)
    totals = count_totals(module, (channels, height, width))
    assert counts.weights == totals.weights
    assert counts.multiply_adds == totals.under("conv+fc")
    assert counts.convolution_multiply_adds == totals.under("conv")
    seen = footprint.measure_footprint(module, (channels, height, width)).receptive_field
    assert measure_footprint(graph).receptive_field == seen
