"""Weights that calibration can't follow take their share of every bound, and are rounded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

import edgekit
from edgekit.compress.calibrate import Probe
from edgekit.compress.calibrated import Calibration
from edgekit.compress.goal import Goal
from edgekit.compress.layer_statistics import layer_statistics
from edgekit.compress.measure import CompressionReport
from edgekit.compress.pipeline import compress
from edgekit.compress.plan import Method
from edgekit.compress.sensitivity import measure_sensitivity
from edgekit.graph import load_graph
from edgekit.graph.layers import find_layers
from edgekit.packfile import read_packfile
from edgekit.tensors import CodedTensor
from tests.compress.test_any_onnx import embedding, recurrent, shared, transposed
from tests.onnx_files import branch, make_model
from tests.support import Cli

Rng = np.random.Generator


def normal(rng: Rng, *shape: int) -> NDArray[np.float32]:
    """Weights that keep the size of what flows through."""
    numbers = rng.normal(0, float(np.prod(shape[1:])) ** -0.5, shape)
    return np.asarray(numbers, np.float32)


def decoder(rng: Rng) -> ModelProto:
    """A convolution, and behind it a transposed one with most of the weights."""
    return make_model(
        [
            helper.make_node("Conv", ["x", "c"], ["a"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["a"], ["r"]),
            helper.make_node("ConvTranspose", ["r", "t"], ["u"], strides=[2, 2]),
            helper.make_node("Conv", ["u", "e"], ["y"]),
        ],
        {"x": ["N", 3, 8, 8]},
        {"y": ["N", 4, 16, 16]},
        {
            "c": normal(rng, 32, 3, 3, 3),
            "t": normal(rng, 32, 48, 2, 2),
            "e": normal(rng, 4, 48, 1, 1),
        },
    )


def patterns(rng: Rng) -> ModelProto:
    """Weights in bfloat16, made wider in the graph."""
    model = make_model(
        [
            helper.make_node("Cast", ["w"], ["wide"], to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["x", "wide"], ["y"]),
        ],
        {"x": ["N", 32]},
        {"y": ["N", 24]},
        {"w": normal(rng, 32, 24)},
    )
    numbers = normal(rng, 32, 24).reshape(-1)
    model.graph.initializer[0].CopyFrom(
        helper.make_tensor("w", TensorProto.BFLOAT16, (32, 24), numbers)
    )
    return model


def two_branches(rng: Rng) -> ModelProto:
    """The second branch is for inputs below 0."""
    then = branch(
        [helper.make_node("MatMul", ["x", "p"], ["t"])],
        "t",
        [numpy_helper.from_array(normal(rng, 48, 16), "p")],
    )
    other = branch(
        [helper.make_node("MatMul", ["x", "n"], ["e"])],
        "e",
        [numpy_helper.from_array(3 * normal(rng, 48, 16), "n")],
    )
    return make_model(
        [
            helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
            helper.make_node("Greater", ["sum", "zero"], ["is_positive"]),
            helper.make_node("If", ["is_positive"], ["y"], then_branch=then, else_branch=other),
        ],
        {"x": ["N", 48]},
        {"y": ["N", 16]},
        {"zero": np.array(0, np.float32)},
    )


def coded_entropy(report: CompressionReport) -> float:
    """Bits a weight of all codes together."""
    methods = {"uniform", "codebook"}
    coded = [layer.fidelity for layer in report.layers if layer.fidelity.method in methods]
    return sum(one.entropy_bits * one.elements for one in coded) / sum(x.elements for x in coded)


def test_a_bound_on_the_bits_counts_all_codes(rng: Rng) -> None:
    report = compress(
        decoder(rng).SerializeToString(), None, goal=Goal(bits_per_weight=3), dry_run=True
    )

    assert coded_entropy(report) == pytest.approx(3, abs=0.15)


def test_a_size_that_the_other_layers_alone_could_not_reach_is_kept(rng: Rng) -> None:
    report = compress(
        decoder(rng).SerializeToString(), None, goal=Goal(target_bytes=4500), dry_run=True
    )

    assert 4300 < report.file_bytes <= 4500


def test_all_coded_tensors_are_pruned_together(rng: Rng) -> None:
    report = compress(
        decoder(rng).SerializeToString(), None, sparsity=0.5, force=True, dry_run=True
    )

    coded = {layer.fidelity.name: layer.fidelity for layer in report.layers}
    zeros = sum(one.sparsity * one.elements for one in coded.values())
    assert zeros >= 0.5 * sum(one.elements for one in coded.values())
    assert coded["t"].sparsity > 0.4


BUILDERS = [transposed, recurrent, shared, two_branches, patterns, embedding]


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize("method", get_args(Method))
def test_a_model_of_which_nothing_is_followed_meets_bounds(
    build: Callable[[Rng], ModelProto], method: Method, rng: Rng
) -> None:
    model = build(rng).SerializeToString()
    # Indices of the embedding, which are fractions in this model, must be valid ones.
    inputs = (
        np.abs(rng.normal(0, 10, (40, 3))).astype(np.float32) if build is embedding else "noise"
    )

    def made(goal: Goal) -> CompressionReport:
        return compress(
            model,
            None,
            method=method,
            calibration=inputs,
            goal=goal,
            dry_run=True,
        )

    fine, coarse = made(Goal(bits_per_weight=6)), made(Goal(bits_per_weight=3))
    # Code tables count as well, and weigh much where weights are few.
    assert 1.5 < coded_entropy(coarse) <= 3
    assert coded_entropy(coarse) + 0.5 < coded_entropy(fine) <= 6
    size = (fine.file_bytes + coarse.file_bytes) // 2
    assert made(Goal(target_bytes=size)).file_bytes <= size
    assert made(Goal(max_divergence=0.01)).metrics["divergence"] <= 0.01
    assert made(Goal(min_agreement=0.5)).metrics["agreement"] >= 0.5
    # The codes are those that were judged: there is nothing to make again on all inputs.
    assert "rejoined" not in fine.metrics


def test_weights_that_are_not_followed_take_their_nearest_levels(rng: Rng, tmp_path: Path) -> None:
    model = decoder(rng).SerializeToString()

    codes = {}
    for calibration in ("noise", "none"):
        compress(model, tmp_path / "m.ekp", bits=4, calibration=calibration)
        for tensor in read_packfile(tmp_path / "m.ekp").tensors:
            assert isinstance(tensor, CodedTensor)
            codes[calibration, tensor.name] = tensor.codes

    np.testing.assert_array_equal(codes["noise", "t"], codes["none", "t"])
    assert not np.array_equal(codes["noise", "e"], codes["none", "e"])


def test_layers_to_keep_stay_finer_where_nothing_follows_them(rng: Rng) -> None:
    report = compress(
        decoder(rng).SerializeToString(),
        None,
        keep={"t": 6},
        goal=Goal(bits_per_weight=5),
        dry_run=True,
    )

    [kept] = [layer.fidelity for layer in report.layers if layer.fidelity.name == "t"]
    assert kept.bits == 6


def test_a_curvature_needs_no_layer(rng: Rng) -> None:
    graph = load_graph(
        make_model(
            [helper.make_node("MatMul", ["x", "w"], ["y"])],
            {"x": ["N", 32]},
            {"y": ["N", 8]},
            {"w": normal(rng, 32, 8)},
        ).SerializeToString()
    )
    inputs = rng.normal(0, 1, (20, 32)).astype(np.float32)
    probe, layers = Probe(graph, inputs), find_layers(graph)
    weights = {weight.name: weight for weight in graph.weights}
    statistics = layer_statistics(probe, layers, {"w": (32, 8)}, rng)

    followed = measure_sensitivity(probe, weights, layers, statistics, inputs)
    alone = measure_sensitivity(probe, weights, (), {}, inputs, plain=("w",))

    assert alone.curvatures == followed.curvatures
    assert not alone.unseen


def test_a_branch_that_was_not_taken_gets_bits_like_the_others_and_is_named(
    rng: Rng, cli: Cli, tmp_path: Path
) -> None:
    source, data = tmp_path / "m.onnx", tmp_path / "x.npy"
    source.write_bytes(two_branches(rng).SerializeToString())
    np.save(data, rng.uniform(0, 1, (40, 48)))

    report = compress(source, None, calibration=data, goal=Goal(bits_per_weight=4), dry_run=True)
    told = cli("compress", source, "--calibration", data, "--bits-per-weight", "4", "--dry-run")

    assert report.metrics["unseen"] == ["n_hoisted"]
    taken, unseen = (
        layer.fidelity for layer in report.layers if layer.fidelity.method == "uniform"
    )
    assert unseen.entropy_bits == pytest.approx(taken.entropy_bits, abs=0.5)
    assert "no answer depended on n_hoisted" in told.stdout


def narrow(rng: Rng, dtype: type[np.floating]) -> ModelProto:
    """Two dense layers in another type, whose inputs depend on each other."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    model = make_model(
        [
            helper.make_node("Gemm", ["x", "a", "b"], ["h"], transB=1),
            helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("MatMul", ["r", "c"], ["m"]),
            helper.make_node("Add", ["m", "d"], ["y"]),
        ],
        {"x": ["N", 24]},
        {"y": ["N", 10]},
        {
            "a": normal(rng, 48, 24).astype(dtype),
            "b": rng.normal(0, 0.1, 48).astype(dtype),
            "c": normal(rng, 10, 48).T.astype(dtype),
            "d": rng.normal(0, 0.1, 10).astype(dtype),
        },
        input_type=kind,
    )
    model.graph.output[0].type.tensor_type.elem_type = kind
    return model


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
@pytest.mark.parametrize("count", [100, 500])
def test_layers_in_other_types_are_followed_in_full(
    dtype: type[np.floating], count: int, rng: Rng, tmp_path: Path
) -> None:
    model = narrow(rng, dtype).SerializeToString()
    mixing = rng.normal(0, 1, (6, 24))
    inputs, fresh = (
        (rng.normal(0, 0.4, (rows, 6)) @ mixing).astype(np.float32) for rows in (count, 300)
    )

    errors = []
    [expected] = edgekit.load(model).run(None, {"x": fresh.astype(dtype)})
    for calibration in (inputs, "none"):
        compress(model, tmp_path / "m.ekp", bits=3, calibration=calibration)
        session = edgekit.load(tmp_path / "m.ekp")
        [found] = session.run(None, {"x": fresh.astype(dtype)})
        assert found.dtype == dtype
        errors.append(np.square(found.astype(np.float64) - expected).mean())

    calibrated, plain = errors
    assert calibrated < 0.6 * plain
    assert Calibration(load_graph(model), inputs).weight_count == 24 * 48 + 48 * 10
