"""Codebooks of plain and of scaled channels: what each errs, which pays, and the file they make."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import numpy_helper

from edgekit.codec import native
from edgekit.compress.answers import divergence
from edgekit.compress.calibrate import Probe
from edgekit.compress.calibrated import Calibration
from edgekit.compress.cluster import cluster
from edgekit.compress.goal import Goal
from edgekit.compress.levels import SharedLevels
from edgekit.compress.noise import natural_noise
from edgekit.compress.pipeline import compress
from edgekit.compress.plan import make_plan
from edgekit.compress.shared import (
    Filters,
    candidates,
    channel_gains,
    choose,
    input_importance,
)
from edgekit.errors import CheckFailedError
from edgekit.graph import load_graph
from edgekit.packfile import read_packfile, read_weights
from edgekit.tensors import CodedTensor, dequantize

DECODERS: tuple[Literal["numpy", "native"], ...] = ("numpy", "native")


@pytest.fixture
def uneven(tiny_model: onnx.ModelProto, rng: np.random.Generator) -> onnx.ModelProto:
    """`tiny_model` with the same answers, but filters of 0.1 to 10 times their size.

    ReLU lets a positive factor through, so the depthwise layer takes back the first one's factors.
    """
    factors = np.exp(rng.uniform(np.log(0.1), np.log(10), 32)).astype(np.float32)
    shapes = {
        "conv.weight": factors.reshape(32, 1, 1, 1),
        "conv.bias": factors,
        "depthwise.weight": 1 / factors.reshape(32, 1, 1, 1),
    }
    model = onnx.ModelProto()
    model.CopyFrom(tiny_model)
    for tensor in model.graph.initializer:
        if tensor.name in shapes:
            values = numpy_helper.to_array(tensor) * shapes[tensor.name]
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model


@pytest.fixture
def uneven_path(uneven: onnx.ModelProto, tmp_path: Path) -> Path:
    path = tmp_path / "uneven.onnx"
    path.write_bytes(uneven.SerializeToString())
    return path


def _uneven_filters(rng: np.random.Generator) -> NDArray[np.float32]:
    spread = np.geomspace(0.001, 1, 24)[:, None]
    return (rng.normal(0, 1, (24, 60)) * spread).astype(np.float32)


def test_scaled_channels_err_alike_where_plain_ones_lose_the_small(
    rng: np.random.Generator,
) -> None:
    plain, scaled = candidates(Filters(_uneven_filters(rng)), 4)

    assert plain.levels.gains.ndim == 0
    assert scaled.levels.gains.shape == (24,)
    assert plain.error > 0.2
    assert scaled.error < 0.05
    chosen = choose({"w": (plain, scaled)})["w"]
    assert chosen is scaled


def test_gains_that_buy_nothing_are_not_paid(rng: np.random.Generator) -> None:
    weights = rng.normal(0, 0.1, (200, 9)).astype(np.float32)
    weights[:, 0] = 0.4
    forms = candidates(Filters(weights), 4)

    assert choose({"w": forms})["w"] is forms[0]


def test_one_price_holds_for_all_layers(rng: np.random.Generator) -> None:
    """A small layer that is lost without gains gets them, though a large one goes without."""
    even = candidates(Filters(rng.normal(0, 0.1, (200, 90)).astype(np.float32)), 4)
    uneven = candidates(Filters(_uneven_filters(rng)), 4)

    chosen = choose({"even": even, "uneven": uneven})

    assert chosen["even"] is even[0]
    assert chosen["uneven"] is uneven[1]


@given(bits=st.integers(2, 8), seed=st.integers(0, 1000), has_zeros=st.booleans())
def test_what_was_restored_is_shared_exactly(bits: int, seed: int, *, has_zeros: bool) -> None:
    rng = np.random.default_rng(seed)
    weights = _uneven_filters(rng)[:, :20]
    pruned = np.abs(weights) < 0.3 * np.abs(weights).max(axis=1, keepdims=True)
    first = candidates(Filters(weights, pruned if has_zeros else None), bits)[-1]
    restored = first.levels.restored(first.codes)

    again = candidates(Filters(restored, pruned if has_zeros else None), bits)[-1]

    assert again.error == 0
    np.testing.assert_array_equal(again.levels.restored(again.codes), restored)


def test_importance_moves_values_to_the_weights_that_count(rng: np.random.Generator) -> None:
    weights = rng.normal(0, 0.1, (30, 40)).astype(np.float32)
    weights[:, :4] *= 0.2
    counts = np.where(np.arange(40) < 4, 50, 0.1) * np.ones((30, 1))
    importance = counts.astype(np.float32)

    alike, weighted = (
        candidates(Filters(weights, None, given), 3)[0] for given in (None, importance)
    )

    def error(codes: NDArray[np.uint8], levels: SharedLevels) -> float:
        return float(np.sum(importance * (levels.restored(codes) - weights) ** 2))

    assert error(weighted.codes, weighted.levels) < 0.8 * error(alike.codes, alike.levels)
    assert weighted.squared_error > alike.squared_error


def test_pruned_weights_alone_take_code_zero(rng: np.random.Generator) -> None:
    weights = _uneven_filters(rng)
    pruned = rng.random(weights.shape) < 0.5

    for form in candidates(Filters(weights, pruned), 3):
        assert form.levels.values.size <= 8
        assert form.levels.values[:1].view(np.uint32)[0] == 0
        np.testing.assert_array_equal(form.codes == 0, pruned)


def test_gains_are_float16_numbers_and_never_zero(rng: np.random.Generator) -> None:
    weights = rng.normal(0, 0.1, (5, 30)).astype(np.float32)
    weights[3] = 0

    gains = channel_gains(weights)

    np.testing.assert_array_equal(gains, gains.astype(np.float16).astype(np.float32))
    assert (gains > 0).all()
    tiny = channel_gains(weights * np.float32(1e-9))
    np.testing.assert_array_equal(tiny[:3], np.abs(weights * np.float32(1e-9)).max(axis=1)[:3])


def test_importance_is_that_of_each_groups_inputs() -> None:
    hessians = np.stack([np.diag([1.0, 3.0]), np.diag([300.0, 100.0]), np.zeros((2, 2))])

    grouped = input_importance(hessians, 6)
    whole = input_importance(hessians[0], 2)

    assert grouped is not None
    assert whole is not None
    np.testing.assert_allclose(
        grouped, [[0.6, 1.6]] * 2 + [[1.6, 0.6]] * 2 + [[0.1, 0.1]] * 2, rtol=1e-6
    )
    np.testing.assert_allclose(whole, [[0.6, 1.6]] * 2, rtol=1e-6)
    assert input_importance(None, 3) is None


@pytest.mark.parametrize("coder", ["huffman", "rans"])
@pytest.mark.parametrize("sparsity", [0.0, 0.6])
def test_scaled_codebooks_come_back_bit_for_bit_from_every_decoder(
    uneven_path: Path, tmp_path: Path, coder: Literal["huffman", "rans"], sparsity: float
) -> None:
    packed = tmp_path / "m.ekp"
    # Every layer keeps some of its weights.
    compress(
        uneven_path, packed, bits=4, method="codebook", coder=coder, sparsity=sparsity,
        scope="layer", force=True,
    )  # fmt: skip

    model = read_packfile(packed, decoder="numpy")

    tensors = {tensor.name: tensor for tensor in model.tensors}
    depthwise = tensors["depthwise.weight"]
    assert isinstance(depthwise, CodedTensor)
    assert depthwise.codebook is not None
    assert depthwise.scale is not None
    assert depthwise.scale.shape == (32,)
    for decoder in DECODERS[: 1 + native.available]:
        for name, weights in read_weights(packed, decoder=decoder).items():
            assert weights.tobytes() == dequantize(tensors[name]).tobytes()


def test_a_matrix_stored_inputs_first_has_gains_along_its_outputs(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    weights = _uneven_filters(rng).T.copy()
    helper = onnx.helper
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["input", "w"], ["output"])],
        "product",
        [helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, ["N", 60])],
        [helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, ["N", 24])],
        [numpy_helper.from_array(weights, "w")],
    )
    source = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path / "m.ekp"
    given = rng.normal(size=(40, 60)).astype(np.float32)

    for calibration in (None, given):
        compress(
            source.SerializeToString(), path, bits=5, method="codebook", calibration=calibration
        )

        (tensor,) = read_packfile(path).tensors
        assert isinstance(tensor, CodedTensor)
        assert tensor.axis == 1
        error = dequantize(tensor) - weights
        assert (np.square(error).sum(axis=0) < 0.02 * np.square(weights).sum(axis=0)).all()


def test_a_calibrated_depthwise_network_keeps_its_answers(
    uneven: onnx.ModelProto, inputs: NDArray[np.float32], rng: np.random.Generator
) -> None:
    graph = load_graph(uneven.SerializeToString())
    fresh = natural_noise(60, (1, 12, 12), rng)
    probe = Probe(graph, fresh)
    expected = probe.outputs()
    one_each = {
        weight.name: (shared := cluster(weight.float32(), 4)).values[shared.codes]
        for weight in graph.weights
        if weight.name.endswith(".weight")
    }

    calibration = Calibration(graph, inputs, make_plan(graph.weights, method="codebook"))
    found = calibration.at_bits(4)

    lost = divergence(expected, probe.outputs(one_each))
    assert divergence(expected, calibration.outputs(fresh, found)) < 0.1 * lost
    assert all(tensor.codebook is not None for tensor in found.coded.values())


def test_calibrated_codebooks_are_repeated_to_the_byte(
    uneven_path: Path, tmp_path: Path, inputs: NDArray[np.float32]
) -> None:
    for name in ("a", "b"):
        compress(uneven_path, tmp_path / name, bits=4, method="codebook", calibration=inputs)

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_calibrated_pruning_leaves_zeros_in_codebooks(
    uneven_path: Path, tmp_path: Path, inputs: NDArray[np.float32]
) -> None:
    compress(
        uneven_path, tmp_path / "m.ekp", bits=4, method="codebook", calibration=inputs,
        sparsity=0.5, force=True,
    )  # fmt: skip

    coded = [t for t in read_packfile(tmp_path / "m.ekp").tensors if isinstance(t, CodedTensor)]
    zeros = sum(int(np.count_nonzero(tensor.codes == 0)) for tensor in coded)
    assert zeros == round(0.5 * sum(tensor.codes.size for tensor in coded))
    assert all(tensor.codebook is not None and tensor.codebook[0] == 0 for tensor in coded)


def test_a_size_is_met_by_widths_that_differ(
    uneven_path: Path, tmp_path: Path, inputs: NDArray[np.float32]
) -> None:
    report = compress(
        uneven_path, tmp_path / "m.ekp", method="codebook", calibration=inputs,
        goal=Goal(target_bytes=3000),
    )  # fmt: skip

    assert 0.85 * 3000 <= report.file_bytes <= 3000
    coded = [layer.fidelity for layer in report.layers if layer.fidelity.method == "codebook"]
    assert len({layer.bits for layer in coded}) > 1


def test_a_largest_divergence_and_kept_layers_hold_for_codebooks(
    uneven_path: Path, tmp_path: Path, inputs: NDArray[np.float32]
) -> None:
    report = compress(
        uneven_path, tmp_path / "m.ekp", method="codebook", calibration=inputs,
        goal=Goal(max_divergence=0.002), keep={"conv": 8, "gemm": "float"},
    )  # fmt: skip

    assert report.metrics["divergence"] <= 0.002
    layers = {layer.fidelity.name: layer.fidelity for layer in report.layers}
    assert layers["conv.weight"].bits == 8
    assert layers["gemm.weight"].method == "float16"


def test_codebooks_below_two_bits_are_refused_in_one_line(
    uneven_path: Path, tmp_path: Path, inputs: NDArray[np.float32]
) -> None:
    with pytest.raises(CheckFailedError, match="can't be reached"):
        compress(
            uneven_path, tmp_path / "m.ekp", method="codebook", calibration=inputs,
            goal=Goal(bits_per_weight=0.5),
        )  # fmt: skip

    assert not (tmp_path / "m.ekp").exists()
