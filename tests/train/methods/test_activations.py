"""Activations that round in training as an int8 session rounds them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

import edgekit
from edgekit.packfile.activations import Activations, Quantized
from edgekit.packfile.writer import pack
from edgekit.train.graph_module import GraphModule
from edgekit.train.methods.activations import round_activations
from edgekit.train.recipe import Grid
from edgekit.train.stages import Workpiece
from tests.train.nets import samples, tiny_model


@given(scale=st.floats(1e-3, 10), zero=st.integers(0, 255), seed=st.integers(0, 99))
def test_values_take_one_of_256_steps_and_gradients_pass(
    scale: float, zero: int, seed: int
) -> None:
    module = GraphModule(tiny_model())
    round_activations(module, Activations({"a": Quantized(scale, zero)}))
    values = 200 * scale * np.random.default_rng(seed).standard_normal(500).astype(np.float32)
    given_ = torch.from_numpy(values).requires_grad_()

    rounded = module.activation_transforms["a"](given_)
    torch.autograd.backward(rounded.sum())

    steps = np.clip(values / np.float32(scale), -zero, 255 - zero)
    np.testing.assert_allclose(rounded.detach().numpy(), np.round(steps) * scale, rtol=1e-5)
    within = (steps > -zero) & (steps < 255 - zero)
    assert given_.grad is not None
    np.testing.assert_allclose(given_.grad.numpy()[within], 1, rtol=1e-5)
    assert np.all(given_.grad.numpy()[~within & (np.abs(steps) != 0)] == 0)


def test_a_network_in_training_answers_as_its_int8_session(tmp_path: Path) -> None:
    calibration = samples(256, 1)
    piece = Workpiece(
        tiny_model(),
        Grid(steps="channel", activations=True),
        calibration=calibration,
        seed=0,
    )
    inputs = samples(64, 9).inputs
    with torch.no_grad():
        trained = piece.module(inputs)[0].numpy()
    (tmp_path / "m.ekp").write_bytes(pack(piece.compressed(piece.outcome(), {})))
    as_int8, as_float = (
        edgekit.load(tmp_path / "m.ekp", run_as=form).run(None, {"x": inputs.numpy()})[0]
        for form in ("int8", "float")
    )

    off = np.abs(as_int8 - as_float).mean()
    assert off > 0
    # A rounding at the edge of a step may fall to either side.
    assert np.abs(trained - as_int8).mean() < 0.2 * off
