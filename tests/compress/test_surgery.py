"""Channels that leave and layers that split: what they cost is measured and made up for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, helper

import edgekit
from edgekit.compress.answers import divergence
from edgekit.compress.calibrate import Probe
from edgekit.compress.channel_groups import Group
from edgekit.compress.channel_importance import (
    Moments,
    channel_importance,
    elimination_costs,
    made_up,
    measure_moments,
    repair,
)
from edgekit.compress.channels import choose, prune_channels
from edgekit.compress.goal import calibration_inputs
from edgekit.compress.low_rank import halve, split_low_rank
from edgekit.compress.pipeline import compress
from edgekit.compress.surgery import operate
from edgekit.data import load_labelled
from edgekit.errors import PlanError
from edgekit.export.pytorch import export
from edgekit.graph import load_graph
from edgekit.packfile import read_packfile
from tests.onnx_files import make_model, random_feeds, run
from tests.support import Cli

Wide = NDArray[np.float64]


def some_moments(rng: np.random.Generator, size: int) -> tuple[Moments, Wide]:
    rows = rng.normal(size=(400, size)) @ rng.normal(size=(size, size)) + rng.normal(size=size)
    still = np.zeros(size, np.bool_)
    return Moments(rows.mean(axis=0), np.cov(rows.T, bias=True), still), rows


@pytest.mark.parametrize("width", [1, 3])
def test_the_costs_are_the_least_squares_errors(rng: np.random.Generator, width: int) -> None:
    moments, rows = some_moments(rng, 5 * width)
    filters = rng.normal(size=(4, 5 * width))
    centred = rows - moments.mean

    costs = elimination_costs(filters, moments.covariance, 5)

    # The last to leave are foretold by none: together all costs are the whole variance.
    assert costs.sum() == pytest.approx(np.var(centred @ filters.T, axis=0).sum())
    first = int(np.argmin(costs))
    kept = np.arange(5) != first
    stay = np.repeat(kept, width)
    wanted = centred @ filters.T
    best = np.linalg.lstsq(centred[:, stay], wanted, rcond=None)[0]
    error = np.mean((centred[:, stay] @ best - wanted) ** 2, axis=0).sum()
    assert costs[first] == pytest.approx(error)


def test_what_is_made_up_for_is_the_least_squares_answer(rng: np.random.Generator) -> None:
    moments, rows = some_moments(rng, 12)
    filters = rng.normal(size=(3, 12))
    kept = np.array([True, False, True, True, False, True])

    left, shift = made_up(filters, moments, kept)

    stay = np.repeat(kept, 2)
    table = np.hstack([rows[:, stay], np.ones((len(rows), 1))])
    best = np.linalg.lstsq(table, rows @ filters.T, rcond=None)[0]
    np.testing.assert_allclose(left, best[:-1].T, atol=1e-6)
    np.testing.assert_allclose(shift, best[-1], atol=1e-6)


@pytest.mark.parametrize("work", [1e12, 0])
def test_making_up_leaves_zeros_alone(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, work: float
) -> None:
    """By least squares of the other weights, or cut from the free ones where that is too much."""
    monkeypatch.setattr("edgekit.compress.channel_importance._MOST_WORK", work)
    moments, rows = some_moments(rng, 12)
    filters = rng.normal(size=(3, 12)) * (rng.random((3, 12)) < 0.6)
    filters[0] = rng.normal(size=12)
    kept = np.array([True, False, True, True, False, True])
    stay = np.repeat(kept, 2)

    left, shift = made_up(filters, moments, kept)

    np.testing.assert_array_equal(left != 0, filters[:, stay] != 0)
    for row, found, gain in zip(filters, left, shift, strict=True):
        used = stay & (row != 0)
        wanted = rows @ row
        # Whatever the weights, the bias keeps the mean.
        assert np.mean(rows[:, stay] @ found + gain) == pytest.approx(np.mean(wanted))
        if work:
            table = np.hstack([rows[:, used], np.ones((len(rows), 1))])
            best = np.linalg.lstsq(table, wanted, rcond=None)[0]
            np.testing.assert_allclose(found[found != 0], best[:-1], atol=1e-6)
            assert gain == pytest.approx(best[-1], abs=1e-6)


def pruned_model(model: ModelProto, rng: np.random.Generator) -> ModelProto:
    """Two of three weights zero in every matrix and filter."""
    pruned = ModelProto()
    pruned.CopyFrom(model)
    for tensor in pruned.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.ndim > 1:
            kept = values * (rng.random(values.shape) < 1 / 3)
            tensor.CopyFrom(onnx.numpy_helper.from_array(kept.astype(np.float32), tensor.name))
    return pruned


def share_of_zeros(model: ModelProto) -> float:
    values = [onnx.numpy_helper.to_array(t) for t in model.graph.initializer if len(t.dims) > 1]
    return sum(np.count_nonzero(v == 0) for v in values) / sum(v.size for v in values)


def test_a_pruned_model_keeps_its_zeros_when_channels_leave(
    tiny_model: ModelProto, rng: np.random.Generator
) -> None:
    model = pruned_model(tiny_model, rng)
    before = share_of_zeros(model)

    narrow = operate(load_graph(model.SerializeToString()), None, channels=0.6).graph.model()

    assert share_of_zeros(narrow) == pytest.approx(before, abs=0.05)


def test_a_layer_is_split_where_that_saves_weights_that_are_not_zero(
    rng: np.random.Generator,
) -> None:
    filters = rng.normal(size=(40, 6)) @ rng.normal(size=(6, 30))
    pruned = filters.copy()
    pruned[10:] = 0

    whole, left = halve(filters, 1.0), halve(pruned, 1.0)

    assert whole is not None
    assert whole[0].size + whole[1].size == 6 * (40 + 30)
    # 300 weights that aren't zero are fewer than 420.
    assert left is None


def test_a_twin_costs_nothing_until_the_other_is_gone(rng: np.random.Generator) -> None:
    _, rows = some_moments(rng, 6)
    rows[:, 4] = rows[:, 1]
    covariance = np.cov(rows.T, bias=True) + 1e-9 * np.eye(6)

    costs = elimination_costs(rng.normal(size=(4, 6)), covariance, 6)

    one, other = sorted(costs[[1, 4]])
    assert one < 1e-6 * other


def test_dead_channels_go_first_and_cost_nothing(tiny_model: ModelProto, tmp_path: Path) -> None:
    for tensor in tiny_model.graph.initializer:
        if tensor.name in {"pointwise.weight", "pointwise.bias"}:
            values = onnx.numpy_helper.to_array(tensor).copy()
            values[5:15] = 0
            if values.ndim == 1:
                values[9] = 0.75  # constant, not zero
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    graph = load_graph(tiny_model.SerializeToString())
    inputs = calibration_inputs(graph, "noise").inputs
    moments = measure_moments(graph, Probe(graph, inputs))
    feeds = random_feeds(tiny_model)

    pruned = prune_channels(tiny_model, 0.92, channel_importance(graph, moments), multiple=1)
    repaired = repair(pruned, graph, moments)

    gone = set(pruned.removed["c3"].places.tolist())
    assert gone
    assert gone <= set(range(5, 15))
    assert set(pruned.removed) == {"c3", "r3", "pooled", "flat"}
    np.testing.assert_allclose(
        run(repaired, feeds)[0], run(tiny_model, feeds)[0], rtol=1e-4, atol=1e-5
    )


@given(
    keep=st.floats(0.05, 1),
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    multiple=st.sampled_from([1, 4, 8]),
)
def test_at_least_the_share_stays_and_something_of_every_part(
    keep: float, sizes: list[int], multiple: int
) -> None:
    rng = np.random.default_rng(len(sizes))
    groups = [
        Group((1000 * bundle + place,), float(rng.random()), (bundle,), 1 + bundle % 2)
        for bundle, size in enumerate(sizes)
        for place in range(size)
    ]

    chosen = choose(groups, keep, multiple)

    total = sum(group.channels for group in groups)
    assert sum(group.channels for group in chosen) <= (1 - keep) * total + 1e-6
    for bundle, size in enumerate(sizes):
        assert sum(group.bundle == (bundle,) for group in chosen) < size
    assert len({group.marks for group in chosen}) == len(chosen)


def test_wide_layers_keep_a_multiple_of_eight() -> None:
    rng = np.random.default_rng(1)
    groups = [Group((place,), float(rng.random()), (0,), 1) for place in range(100)]

    chosen = choose(groups, 0.7)

    assert (100 - len(chosen)) % 8 == 0
    assert len(chosen) == 28
    worst = max(group.score for group in chosen)
    assert all(group.score >= worst for group in groups if group not in chosen)


@pytest.mark.parametrize("keep", [0, -1, 1.01, float("nan")])
def test_a_share_that_is_none_is_refused(tiny_model: ModelProto, keep: float) -> None:
    with pytest.raises(PlanError, match="above 0 and at most 1"):
        prune_channels(tiny_model, keep)
    with pytest.raises(PlanError, match="above 0 and at most 1"):
        split_low_rank(tiny_model, keep)


def test_half_the_rank_is_found_where_it_is(rng: np.random.Generator) -> None:
    filters = rng.normal(size=(40, 6)) @ rng.normal(size=(6, 30))

    found = halve(filters, 1.0)

    assert found is not None
    first, second = found
    assert first.shape == (6, 30)
    np.testing.assert_allclose(second @ first, filters, atol=1e-9)
    assert halve(rng.normal(size=(40, 30)), 1.0) is None


def test_inputs_decide_which_directions_are_kept(rng: np.random.Generator) -> None:
    filters = rng.normal(size=(40, 30))
    moments, rows = some_moments(rng, 30)

    measured, alone = halve(filters, 0.6, moments), halve(filters, 0.6)

    assert measured is not None
    assert alone is not None
    assert len(measured[0]) < len(alone[0])
    lost = rows @ (filters - measured[1] @ measured[0]).T
    assert np.sum(lost**2) <= 0.4 * np.sum((rows @ filters.T) ** 2) * (1 + 1e-9)
    assert np.sum((filters - alone[1] @ alone[0]) ** 2) <= 0.4 * np.sum(filters**2) * (1 + 1e-9)


@pytest.mark.parametrize("op", ["Conv", "Gemm", "transposed Gemm", "MatMul"])
def test_a_split_layer_answers_as_before(op: str, rng: np.random.Generator) -> None:
    matrix = (rng.normal(size=(48, 4)) @ rng.normal(size=(4, 32))).astype(np.float32)
    bias = rng.normal(size=48).astype(np.float32)
    shapes: tuple[dict[str, list[int | str]], dict[str, list[int | str]]]
    if op == "Conv":
        node = helper.make_node("Conv", ["x", "w", "b"], ["y"], strides=[2, 2])
        shapes = {"x": ["N", 32, 6, 6]}, {"y": ["N", 48, 3, 3]}
        weight = matrix[:, :, None, None]
    else:
        kind, transposed = op.rsplit(maxsplit=1)[-1], int("transposed" in op)
        if kind == "Gemm":
            node = helper.make_node(kind, ["x", "w", "b"], ["y"], transB=transposed)
        else:
            node = helper.make_node(kind, ["x", "w"], ["y"])
        shapes = {"x": ["N", 32]}, {"y": ["N", 48]}
        weight = matrix if transposed else np.ascontiguousarray(matrix.T)
    model = make_model([node], shapes[0], shapes[1], {"w": weight, "b": bias})
    before = model.SerializeToString()

    found = split_low_rank(model, 1.0)

    onnx.checker.check_model(found.model, full_check=True)
    (split,) = found.splits
    assert (split.outputs, split.inputs, split.rank) == (48, 32, 4)
    assert split.saved == 48 * 32 - 4 * (48 + 32)
    assert len(found.model.graph.node) == 2
    assert model.SerializeToString() == before
    feeds = random_feeds(model)
    np.testing.assert_allclose(
        run(found.model, feeds)[0], run(model, feeds)[0], rtol=1e-4, atol=1e-4
    )
    assert split_low_rank(model, 1.0, leave={"w"}).splits == ()


def test_layers_that_cannot_be_split_stay(tiny_model: ModelProto) -> None:
    found = split_low_rank(tiny_model, 0.5)

    assert {split.weight for split in found.splits} == {"pointwise.weight", "gemm.weight"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trained") / "net.onnx"
    export("squeezenet_fashion", path)
    return path


def test_making_up_keeps_the_answers_of_a_trained_network(trained: Path) -> None:
    graph = load_graph(trained)
    model = graph.model()
    inputs = load_labelled("fashion-mnist", split="test").inputs[:250]
    probe = Probe(graph, inputs[:100])
    moments = measure_moments(graph, probe)
    reference = probe.outputs(inputs=inputs[100:])

    def hurt(changed: ModelProto) -> float:
        other = load_graph(changed.SerializeToString())
        return divergence(reference, Probe(other, inputs[100:]).outputs())

    pruned = prune_channels(model, 0.8, channel_importance(graph, moments))
    alone, repaired = hurt(pruned.model), hurt(repair(pruned, graph, moments))

    assert repaired < 0.05
    assert repaired < alone / 10


def test_both_changes_go_into_the_packed_file(trained: Path, tmp_path: Path) -> None:
    packed = tmp_path / "a.ekp"
    source = load_graph(trained)

    report = compress(trained, packed, bits=6, channels=0.8, low_rank=0.98)

    changes = report.changes
    assert changes["multiply_adds_left"] < 0.85 * changes["multiply_adds"]
    assert changes["low_rank"]
    assert report.source_sha256 == source.source_sha256
    manifest = read_packfile(packed).manifest
    assert manifest["recipe"]["channels"] == 0.8
    assert manifest["recipe"]["low_rank"] == 0.98
    (answers,) = edgekit.load(packed, threads=1).run(
        None, {"input": load_labelled("fashion-mnist").inputs[:4]}
    )
    assert answers.shape == (4, 10)


def test_layers_to_keep_are_not_split(trained: Path) -> None:
    graph = load_graph(trained)
    name = next(w.name for w in graph.weights if len(w.shape) == 4 and w.shape[2:] == (1, 1))

    every = operate(graph, None, low_rank=0.5).changes["low_rank"]
    fewer = operate(graph, None, low_rank=0.5, keep={name: "float"}).changes["low_rank"]

    assert {split["weight"] for split in every} - {split["weight"] for split in fewer} == {name}


def test_the_command_line_repeats_itself_from_its_plan(
    tiny_onnx_path: Path, tmp_path: Path, cli: Cli
) -> None:
    one, two, plan = tmp_path / "one.ekp", tmp_path / "two.ekp", tmp_path / "plan.toml"
    flags = ["--channels", "0.7", "--low-rank", "0.9", "--force", "--calibration", "noise"]

    first = cli("compress", tiny_onnx_path, "-o", one, *flags, "--save-plan", plan)
    second = cli("compress", tiny_onnx_path, "-o", two, "--plan", plan)

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "removable channels are gone" in first.stdout
    assert "multiply-adds" in first.stdout
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("flag", ["--channels", "--low-rank"])
def test_shares_outside_their_range_are_one_line(
    tiny_onnx_path: Path, tmp_path: Path, cli: Cli, flag: str
) -> None:
    done = cli("compress", tiny_onnx_path, "-o", tmp_path / "m.ekp", flag, "1.5")

    assert done.exit_code == 2
    assert "at most 1" in done.stderr
    assert done.stderr.count("\n") == 1
