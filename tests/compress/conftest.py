"""The tiny network as calibration takes it, and inputs for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.compress.noise import natural_noise
from edgekit.graph import Graph, load_graph


@pytest.fixture
def graph(tiny_onnx_path: Path) -> Graph:
    return load_graph(tiny_onnx_path)


@pytest.fixture
def inputs(rng: np.random.Generator) -> NDArray[np.float32]:
    return natural_noise(40, (1, 12, 12), rng)
