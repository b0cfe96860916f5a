"""Codes of a calibrated model, and what is judged: codes without the held-back inputs, the file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import edgekit
from edgekit.compress.answers import divergence
from edgekit.compress.calibrated import Calibration
from edgekit.compress.layers_in_turn import Walkers
from edgekit.compress.noise import natural_noise
from edgekit.compress.pipeline import apply_plan
from edgekit.compress.plan import make_plan
from edgekit.compress.rounding import in_turn
from edgekit.compress.split_inputs import ENOUGH_INPUTS
from edgekit.compress.views import Views
from edgekit.graph import Graph
from edgekit.packfile.writer import pack
from edgekit.tensors import dequantize


def test_codes_are_judged_without_the_inputs_that_judge(
    graph: Graph, inputs: NDArray[np.float32]
) -> None:
    calibration = Calibration(graph, inputs)
    codes = calibration.codes_at(0.1)

    found = calibration.judged(codes)

    assert not codes.is_judged
    assert found.is_judged
    assert found.is_rejoined
    assert found.held_back == 8
    for name, tensor in codes.coded.items():
        np.testing.assert_array_equal(found.coded[name].codes, tensor.codes)
    assert calibration.judged(found) is found
    without = in_turn(
        calibration._measured,
        codes.levels,
        codes.damping,
        _walkers(inputs[~_held_back(inputs)]),
    )
    expected, answers = (
        calibration.outputs(inputs[_held_back(inputs)], one) for one in (None, without)
    )
    assert found.divergence == pytest.approx(divergence(expected, answers), rel=1e-6)
    assert calibration.with_file_judged(found).of_file != (found.divergence, found.agreement)


def _walkers(inputs: NDArray[np.float32]) -> list[Walkers]:
    """Few pictures, small enough that all of their views go with them from the start on."""
    return [Walkers(inputs), *(Walkers(Views(inputs, seed)) for seed in range(4))]


def _held_back(inputs: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.asarray(np.arange(len(inputs)) % 5 == 0)


@pytest.mark.parametrize(
    ("count", "is_noise", "sparsity", "damping"),
    [(40, False, 0.0, 0.3), (40, True, 0.0, 0.1), (40, True, 0.3, 10.0), (330, True, 0.0, 0.1)],
)
def test_few_inputs_and_noise_have_a_damping_of_their_own(
    graph: Graph, count: int, *, is_noise: bool, sparsity: float, damping: float
) -> None:
    few = natural_noise(count, (1, 12, 12), np.random.default_rng(0))
    calibration = Calibration(graph, few, is_noise=is_noise, sparsity=sparsity)

    assert calibration.codes_at(0.1).damping == damping


def test_what_is_judged_is_the_file(graph: Graph, inputs: NDArray[np.float32]) -> None:
    plan = make_plan(graph.weights, bits=4)
    calibration = Calibration(graph, inputs, plan)

    found = calibration.at_bits(4)

    session = edgekit.load(pack(apply_plan(graph, plan, found)[0]), threads=2)
    (outputs,) = session.run(None, {session.get_inputs()[0].name: inputs[:10]})
    np.testing.assert_array_equal(calibration.outputs(inputs[:10], found), outputs)


def test_held_back_inputs_are_no_part_of_the_statistics(graph: Graph) -> None:
    inputs = natural_noise(ENOUGH_INPUTS * 5 // 4 + 5, (1, 12, 12), np.random.default_rng(3))
    spoiled = inputs.copy()
    spoiled[::5] *= 1.5
    plan = make_plan(graph.weights)

    plain, other = (Calibration(graph, data, plan).at_bits(4) for data in (inputs, spoiled))

    assert plain.divergence != other.divergence
    assert plain.damping == other.damping
    for name, tensor in plain.coded.items():
        np.testing.assert_array_equal(dequantize(tensor), dequantize(other.coded[name]))


_THREADS = """
import sys
from edgekit.compress import calibrate
from edgekit.compress.goal import Goal
from edgekit.compress.pipeline import compress
threads = int(sys.argv[2])
original = calibrate.Probe.__init__
def init(self, *rest, **named):
    original(self, *rest, **(named | {"threads": threads}))
calibrate.Probe.__init__ = init
goal = Goal(bits_per_weight=3.0)
print(compress(sys.argv[1], None, dry_run=True, calibration="noise", goal=goal).sha256)
"""


def test_the_bytes_are_the_same_whatever_the_threads(tiny_onnx_path: Path) -> None:
    digests = set()
    for threads in ("1", "2"):
        named = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), threads)
        done = subprocess.run(
            [sys.executable, "-c", _THREADS, str(tiny_onnx_path), threads],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, **named},
        )
        digests.add(done.stdout)

    assert len(digests) == 1
