"""Choosing the int8 run form: grids, layers left float, size, and what is said about speed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

import edgekit
from edgekit.compress import run_form
from edgekit.compress.activations import BINS, Histogram, find_values, measure_values
from edgekit.compress.calibrate import Probe
from edgekit.compress.goal import Goal
from edgekit.compress.pipeline import compress
from edgekit.compress.run_form import graph_of
from edgekit.errors import PlanError, UsageError
from edgekit.packfile import open_packfile, read_packfile
from tests.int8_nets import CHANNELS, branchy, inputs, mean_and_matmul
from tests.onnx_files import make_model
from tests.support import Cli

NET = branchy().SerializeToString()


def test_the_file_grows_by_its_activations_alone(tmp_path: Path) -> None:
    plain, int8 = tmp_path / "plain.ekp", tmp_path / "int8.ekp"
    compress(NET, plain, calibration=inputs(30))

    compress(NET, int8, calibration=inputs(30), run_as="int8", int8_floats=())

    before, after = open_packfile(plain), open_packfile(int8)
    assert after.manifest.keys() - before.manifest.keys() == {"activations", "run_as"}
    assert bytes(after.payload) == bytes(before.payload)
    assert after.skeleton == before.skeleton
    grown = len(after.data) - len(before.data)
    assert 0 < grown <= 24 * len(after.manifest["activations"]["tensors"])


def test_the_same_layers_in_float_give_the_same_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / "one.ekp", tmp_path / "two.ekp"]
    for path in paths:
        compress(NET, path, calibration=inputs(30), run_as="int8", int8_floats=["stem"])

    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert read_packfile(paths[0]).manifest["activations"]["float"] == ["stem"]


def test_a_size_holds_for_the_file_with_its_activations(tmp_path: Path) -> None:
    report = compress(
        NET,
        tmp_path / "small.ekp",
        calibration=inputs(30),
        goal=Goal(target_bytes=4_500),
        run_as="int8",
        int8_floats=(),
    )

    assert 4_200 < report.file_bytes <= 4_500


def test_values_that_no_8_bit_kernel_needs_are_left_alone() -> None:
    model = edgekit_model(branchy())

    everything = find_values(model).sources
    assert everything["flat"] == "mean"
    assert everything["pooled"] == "sum"
    assert "output" not in everything
    assert "c0" not in everything
    assert find_values(model, ["stem"]).sources.keys() == everything.keys() - {"input"}
    without_head = find_values(model, ["head"]).sources
    assert everything.keys() - without_head.keys() == {"flat", "mean", "both"}


def edgekit_model(proto: onnx.ModelProto) -> Any:
    from edgekit.compress.pipeline import apply_plan
    from edgekit.compress.plan import make_plan
    from edgekit.graph import load_graph

    graph = load_graph(proto.SerializeToString())
    return apply_plan(graph, make_plan(graph.weights))[0]


def test_histograms_hold_every_value_once_however_batches_are_cut() -> None:
    model = edgekit_model(branchy())

    found = measure_values(Probe(graph_of(model), inputs(23)), ["input", "a1"])

    assert found["input"].counts.sum() == inputs(23).size
    assert found["input"].high == inputs(23).max()
    assert found["input"].low == inputs(23).min()
    assert 0 <= found["a1"].low <= found["a1"].high <= 6


def test_a_clipped_range_leaves_out_the_share_at_either_end() -> None:
    counts = np.ones(BINS, np.int64)
    histogram = Histogram(-1.0, 1.0, counts)

    low, high = histogram.clipped(0.1)

    assert histogram.clipped(0.0) == (-1.0, 1.0)
    assert abs(low + 0.8) <= 2 / BINS
    assert abs(high - 0.8) <= 2 / BINS


def test_a_constant_activation_has_a_grid() -> None:
    counts = np.zeros(BINS, np.int64)

    assert Histogram(0.0, 0.0, counts).clipped(1e-3) == (0.0, 0.0)


@pytest.mark.parametrize(("seconds", "form"), [([2.0, 1.0], "int8"), ([1.0, 1.1], "float")])
def test_auto_takes_the_faster_form_and_says_so_where_that_is_float(
    seconds: list[float], form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_form, "race", fake_race(seconds))

    report = compress(NET, tmp_path / "net.ekp", calibration=inputs(30), run_as="auto")

    assert report.run_form is not None
    assert report.run_form.form == read_packfile(tmp_path / "net.ekp").manifest["run_as"] == form
    assert ("so the file says float" in report.run_form.note) == (form == "float")
    # What it found about int8 is kept, for machines where that is faster.
    assert edgekit.load(tmp_path / "net.ekp", run_as="int8").get_outputs()[0].name == "output"


def fake_race(seconds: list[float]) -> Any:
    def found(runners: list[Any], **_: Any) -> list[float]:
        return seconds if len(runners) == 2 else [1.0] * len(runners)

    return found


def test_int8_that_is_slower_here_is_said_in_one_line(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net.onnx").write_bytes(NET)
    np.savez(tmp_path / "data.npz", inputs=inputs(30))
    monkeypatch.setattr(run_form, "race", fake_race([1.0, 3.0]))

    done = cli(
        *("compress", tmp_path / "net.onnx", "-o", tmp_path / "net.ekp", "--run-as", "int8"),
        *("--calibration", tmp_path / "data.npz"),
    )

    assert done.exit_code == 0
    (line,) = done.stderr.splitlines()
    assert "0.33 times as fast as float" in line
    assert "runs as int8" in done.stdout


def test_a_plan_repeats_what_was_chosen_by_time(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(NET)
    np.savez(tmp_path / "data.npz", inputs=inputs(30))
    first = cli(
        *("compress", tmp_path / "net.onnx", "-o", tmp_path / "one.ekp", "--run-as", "auto"),
        *("--calibration", tmp_path / "data.npz", "--save-plan", tmp_path / "plan.toml"),
    )

    again = cli(
        *("compress", tmp_path / "net.onnx", "-o", tmp_path / "two.ekp"),
        *("--plan", tmp_path / "plan.toml"),
    )

    assert first.exit_code == again.exit_code == 0
    assert "int8_floats" in (tmp_path / "plan.toml").read_text()
    assert (tmp_path / "one.ekp").read_bytes() == (tmp_path / "two.ekp").read_bytes()


def factor(count: int, first: float) -> NDArray[np.float32]:
    """Ones, but for the first."""
    return np.array([first] + [1] * (count - 1), np.float32)


def test_layers_whose_8_bits_cost_most_stay_float() -> None:
    net = branchy()
    # One channel a hundred times as large, which the head takes back: float answers are the same,
    # but its outputs leave the other channels a few steps of their common grid.
    factors = {
        "right": factor(CHANNELS, 100)[:, None, None, None],
        "right.bias": factor(CHANNELS, 100),
        "head": np.concatenate([np.ones(CHANNELS, np.float32), factor(CHANNELS, 0.01)]),
    }
    for weight in net.graph.initializer:
        if weight.name in factors:
            values = onnx.numpy_helper.to_array(weight) * factors[weight.name]
            weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    spoilt = net.SerializeToString()

    chosen, everything = (
        compress(
            spoilt, None, dry_run=True, calibration=inputs(60), run_as="int8", int8_floats=floats
        ).run_form
        for floats in (None, ())
    )

    assert chosen is not None
    assert chosen.divergence is not None
    assert everything is not None
    assert everything.divergence is not None
    # Not one of the first layers, which may stay float for their speed: it was found.
    assert "right" in chosen.floats
    assert chosen.divergence < everything.divergence


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"calibration": "none"}, "leave out --calibration none"),
        ({"scope": "layer"}, "leave out --calibration none and --scope layer"),
        ({"method": "codebook"}, "leave out --method codebook"),
        ({"run_as": "float", "int8_floats": (), "method": "codebook"}, "--method codebook"),
        ({"calibration": inputs(20), "int8_floats": ["nowhere"]}, "nowhere isn't a layer"),
    ],
)
def test_what_cannot_run_as_int8_is_one_line_and_no_file(
    options: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        compress(NET, tmp_path / "net.ekp", **{"run_as": "int8", **options})

    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", [{"run_as": "int8"}, {"goal": Goal(target_bytes=5000)}])
@pytest.mark.parametrize("calibration", [None, inputs(20)])
def test_a_model_kept_float_throughout_has_nothing_to_calibrate(
    options: dict[str, Any], calibration: NDArray[np.float32] | None
) -> None:
    with pytest.raises(PlanError, match="every layer stays float"):
        compress(NET, None, dry_run=True, calibration=calibration, keep={"*": "float"}, **options)


def test_a_model_kept_float_throughout_is_packed_and_says_so() -> None:
    report = compress(NET, None, dry_run=True, keep={"*": "float"})

    assert report.uncalibrated == "every layer stays float"


def test_activations_are_calibrated_on_noise_where_no_data_are_given(tmp_path: Path) -> None:
    compress(NET, tmp_path / "unasked.ekp", run_as="int8", int8_floats=())
    compress(NET, tmp_path / "asked.ekp", run_as="int8", int8_floats=(), calibration="noise")

    assert (tmp_path / "unasked.ekp").read_bytes() == (tmp_path / "asked.ekp").read_bytes()
    manifest = read_packfile(tmp_path / "asked.ekp").manifest
    assert manifest["run_as"] == manifest["recipe"]["run_as"] == "int8"


def test_auto_is_float_and_says_why_where_no_noise_can_be_made(cli: Cli, tmp_path: Path) -> None:
    weights = np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32)
    nodes = [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])]
    model = make_model(nodes, {"x": ["N", 16]}, {"y": ["N", 16]}, {"w": weights})
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    flags = ("compress", tmp_path / "m.onnx", "-o")

    done = cli(*flags, tmp_path / "1.ekp", "--run-as", "auto", "--save-plan", tmp_path / "p.toml")
    again = cli(*flags, tmp_path / "2.ekp", "--plan", tmp_path / "p.toml")

    assert done.exit_code == again.exit_code == 0
    assert "the file says float: input x isn't pictures" in done.stderr
    assert (tmp_path / "1.ekp").read_bytes() == (tmp_path / "2.ekp").read_bytes()


def test_auto_without_an_8_bit_form_is_float_and_says_why(tmp_path: Path) -> None:
    old = mean_and_matmul()
    for node in old.graph.node:
        if node.op_type == "ReduceMean":
            del node.input[1:]
            node.attribute.append(onnx.helper.make_attribute("axes", [2, 3]))
    old.opset_import[0].version = 9

    report = compress(
        old.SerializeToString(), tmp_path / "net.ekp", calibration=inputs(20), run_as="auto"
    )

    assert report.run_form is not None
    assert report.run_form.form == "float"
    assert "opset 9" in report.run_form.note
    assert "activations" not in open_packfile(tmp_path / "net.ekp").manifest
