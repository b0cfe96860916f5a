"""Costly layers, dead channels and correlations, on a model made so that the answers are known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper

from edgekit.compress.pipeline import compress
from edgekit.errors import DataError
from edgekit.inspect.analyze import AnalysisReport, advise, analyze
from edgekit.inspect.channels import ChannelStatistics, Gatherer
from edgekit.report.analysis import picture
from tests.onnx_files import make_model
from tests.support import Cli

DEAD, TWIN, ORIGINAL = 0, 2, 1


@pytest.fixture
def model_path(tmp_path: Path) -> Path:
    """conv 3x3 to 6 channels, of which one never fires and two are alike, ReLU, conv 1x1, mean."""
    rng = np.random.default_rng(5)
    weights: dict[str, NDArray[np.float32]] = {
        "first.weight": rng.standard_normal((6, 1, 3, 3)).astype(np.float32),
        "first.bias": np.zeros(6, np.float32),
        "second.weight": rng.standard_normal((4, 6, 1, 1)).astype(np.float32),
    }
    weights["first.weight"][TWIN] = weights["first.weight"][ORIGINAL]
    weights["first.bias"][DEAD] = -100
    nodes = [
        helper.make_node(
            "Conv", ["input", "first.weight", "first.bias"], ["a"], "n0", pads=[1] * 4
        ),
        helper.make_node("Relu", ["a"], ["b"], "n1"),
        helper.make_node("Conv", ["b", "second.weight"], ["c"], "n2"),
        helper.make_node("GlobalAveragePool", ["c"], ["d"], "n3"),
        helper.make_node("Flatten", ["d"], ["output"], "n4"),
    ]
    model = make_model(nodes, {"input": ["N", 1, 8, 8]}, {"output": ["N", 4]}, weights)
    onnx.save(model, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


@pytest.fixture
def data_path(tmp_path: Path) -> Path:
    rng = np.random.default_rng(6)
    np.savez(tmp_path / "d.npz", inputs=rng.standard_normal((40, 1, 8, 8)).astype(np.float32))
    return tmp_path / "d.npz"


@pytest.fixture
def report(model_path: Path, data_path: Path) -> AnalysisReport:
    return analyze(model_path, str(data_path))


def test_shares_are_those_worked_out_by_hand(report: AnalysisReport) -> None:
    first, second = (layer.cost for layer in report.layers)

    assert (first.name, second.name) == ("first", "second")
    assert (first.multiply_adds, second.multiply_adds) == (6 * 9 * 64, 4 * 6 * 64)
    assert first.multiply_add_share == pytest.approx(54 / 78)
    assert first.parameter_share == pytest.approx(60 / 84)
    assert (report.inputs, report.layers[0].channels) == (40, 6)
    assert report.others == ()


@pytest.mark.parametrize("alone", [False, True])
def test_a_transposed_layer_is_counted_and_timed_beside_the_others(
    alone: bool, tmp_path: Path, data_path: Path
) -> None:
    weights = {
        "up.weight": np.ones((1, 4, 4, 4), np.float32),
        "conv.weight": np.ones((4, 4, 3, 3), np.float32),
    }
    nodes = [
        helper.make_node("ConvTranspose", ["input", "up.weight"], ["a"], "n0", strides=[2, 2]),
        helper.make_node("Conv", ["a", "conv.weight"], ["b"], "n1"),
        helper.make_node("GlobalAveragePool", ["a" if alone else "b"], ["output"], "n2"),
    ]
    if alone:
        del nodes[1], weights["conv.weight"]
    model = make_model(nodes, {"input": ["N", 1, 8, 8]}, {"output": ["N", 4, 1, 1]}, weights)
    onnx.save(model, tmp_path / "up.onnx")

    report = analyze(tmp_path / "up.onnx", str(data_path))

    (up,) = report.others
    costs = [up, *(layer.cost for layer in report.layers)]
    assert (up.name, up.op, up.multiply_adds) == ("up", "ConvTranspose", 64 * 64)
    assert up.seconds > 0
    assert len(costs) == 2 - alone
    assert sum(cost.multiply_add_share or 0 for cost in costs) == pytest.approx(1)


def test_time_is_measured_for_every_layer(report: AnalysisReport) -> None:
    assert all(layer.cost.seconds > 0 for layer in report.layers)
    assert 0 < sum(layer.cost.time_share for layer in report.layers) <= 1


def test_a_channel_that_never_fires_is_found_and_its_removal_changes_nothing(
    report: AnalysisReport,
) -> None:
    first = report.layers[0]

    assert (first.never, first.hardly) == (1, 1)
    assert first.removals[0].channel == DEAD
    assert first.removals[0].change == 0
    assert all(removal.change > 0 for removal in first.removals[1:])
    assert "prune: 1 of 6 channels hardly fire" in first.advice


def test_a_layer_without_a_relu_has_no_dead_channels(report: AnalysisReport) -> None:
    assert report.layers[1].never is None
    assert report.layers[1].hardly is None


def test_channels_that_do_the_same_correlate_fully(report: AnalysisReport) -> None:
    correlation = report.layers[0].statistics.correlation

    assert correlation[ORIGINAL, TWIN] == pytest.approx(1)
    assert not correlation[DEAD, 1:].any()
    assert report.layers[0].effective_rank < 5


def test_a_removal_is_the_change_that_zeroed_weights_make(
    report: AnalysisReport, model_path: Path, data_path: Path
) -> None:
    second = report.layers[1]
    channel = second.removals[0].channel
    inputs = np.load(data_path)["inputs"][:20]

    whole = outputs_of(onnx.load(model_path), inputs)
    expected = np.sqrt(np.mean(whole[:, channel] ** 2) / 4) / np.sqrt(np.mean(whole**2))

    assert second.removals[0].change == pytest.approx(expected, rel=1e-4)


def test_a_packed_file_is_analysed_as_its_model(model_path: Path, data_path: Path) -> None:
    packed = model_path.with_suffix(".ekp")
    compress(model_path, packed, bits=8)

    report = analyze(packed, str(data_path))

    assert [layer.cost.name for layer in report.layers] == ["first", "second"]
    assert report.layers[0].never == 1


def test_statistics_are_numpys(rng: np.random.Generator) -> None:
    values = np.maximum(rng.standard_normal((30, 5, 4, 4)), 0)
    gatherer = Gatherer(axis=1)
    for batch in np.split(values, 3):
        gatherer.add(batch)

    found = gatherer.statistics()

    rows = values.transpose(0, 2, 3, 1).reshape(-1, 5)
    np.testing.assert_allclose(found.correlation, np.corrcoef(rows.T), atol=1e-9)
    np.testing.assert_allclose(found.deviation, rows.std(axis=0))
    np.testing.assert_allclose(found.firing, (rows != 0).mean(axis=0))


@pytest.mark.parametrize(
    ("correlation", "rank"),
    [(np.eye(6), 6.0), (np.ones((6, 6)), 1.0), (np.kron(np.eye(2), np.ones((3, 3))), 2.0)],
)
def test_the_effective_rank_counts_independent_channels(
    correlation: NDArray[np.float64], rank: float
) -> None:
    ones = np.ones(6)

    assert ChannelStatistics(ones, ones, ones, correlation).effective_rank == pytest.approx(rank)


@pytest.mark.parametrize(
    ("correlation", "share", "hardly", "groupable", "words"),
    [
        (np.eye(6), 0.5, 0, True, ["group"]),
        (np.eye(6), 0.5, 0, False, []),
        (np.eye(6), 0.01, 0, True, []),
        (np.ones((6, 6)), 0.5, 2, True, ["prune", "bottleneck", "separate"]),
        (np.eye(6), None, None, True, []),
    ],
)
def test_the_advice_follows_the_numbers(
    correlation: NDArray[np.float64],
    share: float | None,
    hardly: int | None,
    groupable: bool,
    words: list[str],
) -> None:
    ones = np.ones(6)
    statistics = ChannelStatistics(ones, ones, ones, correlation)

    said = advise(statistics, share=share, hardly=hardly, groupable=groupable)

    assert [line.partition(":")[0] for line in said] == words


def test_the_picture_is_a_png_and_the_same_each_time(report: AnalysisReport) -> None:
    pytest.importorskip("matplotlib")

    first, second = picture(report), picture(report)

    assert first.startswith(b"\x89PNG\r\n")
    assert first == second


def test_the_command_prints_and_draws(
    cli: Cli, model_path: Path, data_path: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    words = ("inspect", model_path, "--analyze", "--data", data_path)

    table = cli(*words, "--picture", tmp_path / "p.png")
    plain = json.loads(cli(*words, "--format", "json").stdout)

    assert table.exit_code == 0
    assert "prune: 1 of 6 channels hardly fire" in table.stdout
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert plain["layers"][0]["never"] == 1
    assert plain["layers"][0]["firing"][DEAD] == 0


def test_data_of_another_shape_are_refused(model_path: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", inputs=np.zeros((4, 3, 8, 8), np.float32))

    with pytest.raises(DataError, match="refuses"):
        analyze(model_path, str(tmp_path / "x.npz"))


@pytest.mark.parametrize(
    ("words", "told"),
    [(("--analyze",), "--analyze needs --data"), (("--data", "d.npz"), "go with --analyze")],
)
def test_flags_that_lack_their_partner_are_one_line(
    cli: Cli, model_path: Path, words: tuple[str, ...], told: str
) -> None:
    outcome = cli("inspect", model_path, *words)

    assert outcome.exit_code == 2
    assert told in outcome.stderr
    assert outcome.stderr.count("\n") == 1


def outputs_of(model: onnx.ModelProto, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """The model by plain numpy: its convolutions as sums over shifted maps."""
    named = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    padded = np.pad(inputs[:, 0], ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
    maps = np.einsum("nyxij,cij->ncyx", windows, named["first.weight"][:, 0])
    maps = np.maximum(maps + named["first.bias"][:, None, None], 0)
    scores = np.einsum("ncyx,kc->nk", maps, named["second.weight"][:, :, 0, 0]) / 64
    return np.asarray(scores, np.float32)
