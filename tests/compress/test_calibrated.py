"""Calibration: what layers see, what rounding does to their mean, and files that meet a bound."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from PIL import Image

import edgekit
from edgekit.compress.answers import divergence
from edgekit.compress.calibrate import Probe
from edgekit.compress.calibrated import Calibration
from edgekit.compress.correct import output_shift
from edgekit.compress.goal import Goal, calibration_inputs, parse_size
from edgekit.compress.layer_statistics import (
    LayerStatistics,
    group_patches,
    joined,
    layer_statistics,
    patches,
)
from edgekit.compress.noise import natural_noise
from edgekit.compress.pipeline import compress
from edgekit.compress.plan import make_plan
from edgekit.compress.search import within_entropy
from edgekit.compress.sensitivity import measure_sensitivity
from edgekit.errors import CheckFailedError, DataError, PlanError
from edgekit.graph import Graph, load_graph
from edgekit.graph.layers import Layer, find_layers
from edgekit.packfile import open_packfile
from edgekit.packfile.pictures import packed_preprocess
from edgekit.preprocess import make_preprocess


def _values(graph: Graph) -> dict[str, NDArray[np.float32]]:
    return {weight.name: weight.float32() for weight in graph.weights}


def _shapes(graph: Graph) -> dict[str, tuple[int, ...]]:
    return {weight.name: weight.shape for weight in graph.weights}


def test_layers_are_found_with_what_flows_through_them(graph: Graph) -> None:
    layers = find_layers(graph)

    assert [(layer.weight, layer.source, layer.output) for layer in layers] == [
        ("conv.weight", "input", "c1"),
        ("depthwise.weight", "r1", "c2"),
        ("pointwise.weight", "r2", "c3"),
        ("gemm.weight", "flat", "output"),
    ]
    assert [layer.groups for layer in layers] == [1, 32, 1, 1]


def test_the_hessian_is_that_of_the_patches(graph: Graph, inputs: NDArray[np.float32]) -> None:
    layers = find_layers(graph)
    small = inputs[:9]

    found = layer_statistics(Probe(graph, small), layers, _shapes(graph), np.random.default_rng(0))

    hessian = found["conv.weight"].hessian
    assert hessian is not None
    assert hessian.shape == (9, 9)
    assert np.linalg.eigvalsh(hessian).min() > -1e-6
    assert found["depthwise.weight"].inputs == 9
    np.testing.assert_allclose(found["conv.weight"].mean, small.mean(axis=(0, 2, 3)), rtol=1e-5)


def test_patches_of_each_group_are_those_of_its_own_channels(rng: np.random.Generator) -> None:
    source = rng.standard_normal((2, 6, 7, 7)).astype(np.float32)
    layer = Layer("w", None, "x", "y", "Conv", groups=2, strides=(2, 1), pads=(1, 0, 1, 0))

    found = group_patches(layer, source, (4, 3, 3, 3), rng)

    assert found is not None
    for group, channels in enumerate((source[:, :3], source[:, 3:])):
        padded = np.pad(channels, ((0, 0), (0, 0), (1, 1), (0, 0)))
        rows = np.array(
            [
                padded[number, :, row : row + 3, column : column + 3].reshape(-1)
                for number in range(2)
                for row in range(0, 7, 2)
                for column in range(5)
            ]
        )
        np.testing.assert_allclose(
            found[group].T @ found[group], rows.T @ rows, rtol=1e-4, atol=1e-4
        )
    assert patches(layer, source, (4, 3, 3, 3), rng) is None


def test_statistics_joined_are_those_of_all_inputs(
    graph: Graph, inputs: NDArray[np.float32]
) -> None:
    layers, shapes = find_layers(graph), _shapes(graph)

    def gathered(some: NDArray[np.float32]) -> dict[str, LayerStatistics]:
        return layer_statistics(Probe(graph, some), layers, shapes, np.random.default_rng(0))

    together = joined(gathered(inputs[:30]), gathered(inputs[30:]))

    for name, found in gathered(inputs).items():
        np.testing.assert_allclose(together[name].mean, found.mean, rtol=1e-5, atol=1e-6)
        assert together[name].inputs == found.inputs == 40
    dense, expected = (part["gemm.weight"].hessian for part in (together, gathered(inputs)))
    assert dense is not None
    assert expected is not None
    np.testing.assert_allclose(dense, expected, rtol=1e-4)


def test_the_hessian_of_a_dense_layer_is_exact(graph: Graph, inputs: NDArray[np.float32]) -> None:
    layers = find_layers(graph)
    probe = Probe(graph, inputs)
    rows = np.concatenate([values["flat"] for values in probe.values(["flat"])])

    found = layer_statistics(probe, layers, _shapes(graph), np.random.default_rng(0))

    hessian = found["gemm.weight"].hessian
    assert hessian is not None
    np.testing.assert_allclose(hessian, rows.T @ rows, rtol=1e-4)


@pytest.mark.parametrize("name", ["pointwise.weight", "depthwise.weight", "gemm.weight"])
def test_the_shift_is_the_mean_that_an_error_adds(
    graph: Graph, rng: np.random.Generator, name: str
) -> None:
    layer = next(layer for layer in find_layers(graph) if layer.weight == name)
    weight = _values(graph)[name]
    error = rng.normal(0, 0.1, layer.filters(weight).shape).astype(np.float32)
    channels = weight.shape[1] * layer.groups
    mean = rng.normal(0, 1, channels)

    shift = output_shift(layer, error, mean, weight.shape)

    if layer.groups > 1:
        expected = error.sum(axis=1) * mean
    else:
        expected = error @ np.repeat(mean, error.shape[1] // channels)
    np.testing.assert_allclose(shift, expected, rtol=1e-5)


def test_curvature_finds_the_layer_that_matters_more(
    tiny_model: onnx.ModelProto, inputs: NDArray[np.float32]
) -> None:
    def measured(scale: float) -> Mapping[str, float]:
        model = onnx.ModelProto()
        model.CopyFrom(tiny_model)
        for tensor in model.graph.initializer:
            if tensor.name == "gemm.weight":
                values = onnx.numpy_helper.to_array(tensor) * np.float32(scale)
                tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
        graph = load_graph(model.SerializeToString())
        layers, probe = find_layers(graph), Probe(graph, inputs)
        statistics = layer_statistics(probe, layers, _shapes(graph), np.random.default_rng(0))
        weights = {weight.name: weight for weight in graph.weights}
        return measure_sensitivity(probe, weights, layers, statistics, inputs).curvatures

    plain, louder = measured(1.0), measured(4.0)

    # Outputs four times as large make every layer below four squared times as sensitive.
    assert louder["pointwise.weight"] > 4 * plain["pointwise.weight"]


def test_divergence_of_scores_and_of_other_outputs() -> None:
    scores = np.log(np.array([[0.5, 0.5]], np.float32))
    moved = np.log(np.array([[0.25, 0.75]], np.float32))
    picture = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)

    assert divergence(scores, moved) == pytest.approx(
        0.5 * np.log(2) + 0.5 * np.log(2 / 3), abs=1e-6
    )
    assert divergence(picture, picture) == 0
    assert divergence(picture, picture + 1) == pytest.approx(1 / (2 * picture.var()))


def test_calibrated_codes_part_less_than_plain_ones(
    graph: Graph, inputs: NDArray[np.float32]
) -> None:
    calibration = Calibration(graph, inputs, make_plan(graph.weights))

    coarse, fine = calibration.at_bits(3), calibration.at_bits(6)

    assert fine.divergence < coarse.divergence
    assert max(np.abs(tensor.codes).max() for tensor in coarse.coded.values()) == 3


def test_bits_a_weight_are_met(graph: Graph, inputs: NDArray[np.float32]) -> None:
    calibration = Calibration(graph, inputs, make_plan(graph.weights))

    found = within_entropy(calibration, 3.0)

    codes = np.concatenate([tensor.codes.reshape(-1) for tensor in found.coded.values()])
    assert codes.size == calibration.weight_count
    assert found.divergence < within_entropy(calibration, 2.0).divergence


def test_pruned_weights_are_zero_and_as_many_as_asked(
    graph: Graph, inputs: NDArray[np.float32]
) -> None:
    found = Calibration(graph, inputs, make_plan(graph.weights), sparsity=0.5).at_bits(6)

    codes = np.concatenate([tensor.codes.reshape(-1) for tensor in found.coded.values()])
    assert np.count_nonzero(codes == 0) >= round(0.5 * codes.size)


def test_a_target_size_is_kept_and_nearly_used(
    tiny_onnx_path: Path, tmp_path: Path, inputs: NDArray[np.float32]
) -> None:
    target = 3000

    report = compress(
        tiny_onnx_path, tmp_path / "t.ekp", calibration=inputs, goal=Goal(target_bytes=target)
    )

    assert 0.93 * target <= report.file_bytes <= target
    assert report.metrics["held_back"] == 8
    # Of 40 inputs: the file's codes were made with all of them.
    assert report.metrics["rejoined"]


def test_a_size_that_no_grid_reaches_is_refused(
    tiny_onnx_path: Path, tmp_path: Path, inputs: NDArray[np.float32]
) -> None:
    with pytest.raises(CheckFailedError, match="no file of 300 bytes can be made of this model"):
        compress(
            tiny_onnx_path, tmp_path / "t.ekp", calibration=inputs, goal=Goal(target_bytes=300)
        )

    assert not (tmp_path / "t.ekp").exists()


def test_a_largest_divergence_is_kept(
    tiny_onnx_path: Path, tmp_path: Path, inputs: NDArray[np.float32]
) -> None:
    report = compress(
        tiny_onnx_path, tmp_path / "t.ekp", calibration=inputs, goal=Goal(max_divergence=0.001)
    )

    assert report.metrics["divergence"] <= 0.001


def test_noise_stands_in_for_data_and_says_so(tiny_onnx_path: Path, tmp_path: Path) -> None:
    report = compress(tiny_onnx_path, tmp_path / "t.ekp", goal=Goal(bits_per_weight=4.0))

    assert report.recipe["calibration"] == "1/f noise, seed 0"
    session = edgekit.load(tmp_path / "t.ekp")
    assert session.run(None, {"input": np.zeros((2, 1, 12, 12), np.float32)})[0].shape == (2, 10)


def test_the_same_inputs_give_the_same_bytes(
    tiny_onnx_path: Path, tmp_path: Path, inputs: NDArray[np.float32]
) -> None:
    for name in ("a", "b"):
        compress(
            tiny_onnx_path, tmp_path / name, calibration=inputs, goal=Goal(bits_per_weight=3.0)
        )

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_inputs_of_another_shape_are_refused(graph: Graph, rng: np.random.Generator) -> None:
    with pytest.raises(DataError, match="refuses calibration inputs"):
        Calibration(
            graph,
            rng.standard_normal((4, 3, 12, 12)).astype(np.float32),
            make_plan(graph.weights),
        )


def test_calibration_layer_by_layer_is_refused(
    tiny_onnx_path: Path, tmp_path: Path, inputs: NDArray[np.float32]
) -> None:
    with pytest.raises(PlanError, match="global scope"):
        compress(tiny_onnx_path, tmp_path / "t.ekp", scope="layer", calibration=inputs)


def test_two_bounds_are_refused() -> None:
    with pytest.raises(PlanError, match="give one of"):
        Goal(bits_per_weight=3.0, target_bytes=1000)


@pytest.mark.parametrize(
    ("text", "size"), [("1.5MB", 1_500_000), ("200kB", 200_000), ("65536", 65536), ("12 B", 12)]
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "1.5 gigs", "-3MB", "0"])
def test_sizes_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(PlanError, match="as a size"):
        parse_size(text)


def test_noise_falls_with_frequency(rng: np.random.Generator) -> None:
    pictures = natural_noise(20, (1, 32, 32), rng)

    power = np.abs(np.fft.rfft2(pictures[:, 0])) ** 2
    assert power[:, 0, 1].mean() > 20 * power[:, 0, 8].mean() > 20 * power[:, 0, 16].mean()


def test_a_folder_of_pictures_calibrates_and_leaves_its_settings_in_the_file(
    tiny_onnx_path: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(6):
        pixels = rng.integers(0, 256, (14, 16), dtype=np.uint8)
        Image.fromarray(pixels).save(pictures / f"{number}.png")

    report = compress(
        tiny_onnx_path,
        tmp_path / "m.ekp",
        bits=6,
        calibration=pictures,
        preprocess="symmetric",
    )

    packed = open_packfile(tmp_path / "m.ekp")
    assert report.recipe["calibration"] == "pictures all"
    assert packed_preprocess(packed) == make_preprocess("symmetric", (1, 1, 12, 12))


def test_batches_are_taken_until_there_are_enough(graph: Graph, rng: np.random.Generator) -> None:
    drawn = []

    def batches() -> Iterator[NDArray[np.float32]]:
        for _ in range(100):
            drawn.append(1)
            yield rng.normal(size=(300, 1, 12, 12)).astype(np.float32)

    found = calibration_inputs(graph, batches())

    assert found.array.shape == (1024, 1, 12, 12)
    assert len(drawn) == 4


@pytest.mark.parametrize(
    ("shapes", "message"),
    [([], "no inputs"), ([(2, 3), (2, 4)], "alike in shape"), ([(5,)], "takes the shape")],
)
def test_batches_that_cannot_be_used_are_refused(
    graph: Graph, shapes: list[tuple[int, ...]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        calibration_inputs(graph, (np.zeros(shape, np.float32) for shape in shapes))


@pytest.mark.parametrize(
    "batches",
    [[(np.zeros((2, 3)), np.zeros(2))], ["text"], 5, np.array(["1", "2"]), [np.array([["a"]])]],
)
def test_what_holds_no_arrays_of_inputs_is_refused(graph: Graph, batches: Any) -> None:
    with pytest.raises(DataError, match="arrays"):
        calibration_inputs(graph, batches)


def test_open_sizes_ask_for_data(tiny_model: onnx.ModelProto) -> None:
    tiny_model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    graph = load_graph(tiny_model.SerializeToString())

    with pytest.raises(DataError, match="leaves sizes open"):
        calibration_inputs(graph, "noise")


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 1e30, -1e300])
@pytest.mark.parametrize("is_array", [True, False])
def test_inputs_that_cannot_be_summed_are_refused(
    graph: Graph, number: float, is_array: bool
) -> None:
    array: NDArray[Any] = np.zeros((20, 1, 12, 12))
    array[7, 0, 3, 4] = number

    with pytest.raises(DataError, match="NaN, infinity or numbers beyond"):
        calibration_inputs(graph, array if is_array else [array[:10], array[10:]])


def test_a_file_of_inputs_too_large_to_be_summed_is_refused(graph: Graph, tmp_path: Path) -> None:
    np.save(tmp_path / "huge.npy", np.full((20, 1, 12, 12), 1e30, np.float32))

    with pytest.raises(DataError, match="numbers beyond"):
        calibration_inputs(graph, tmp_path / "huge.npy")


def test_a_single_number_is_no_input(graph: Graph) -> None:
    with pytest.raises(DataError, match=r"takes the shape .*, the data have \(\)"):
        calibration_inputs(graph, np.array(1.0))
