"""The steps of the walk through Deep Compression, and its pictures."""

from __future__ import annotations

from pathlib import Path
from xml.dom import minidom

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from benchmarks.deep_compression import (
    KEEPS,
    Point,
    measure,
    points,
    split_convolutions,
    symbols,
    walk,
)
from benchmarks.deep_compression_figures import (
    accuracy_figure,
    symbols_figure,
    weights_figure,
)
from edgekit.data import Labelled
from edgekit.train.recipe import Prune, Share
from tests.train.nets import samples, tiny_data, tiny_model, write_tiny

LAYER = "head.weight"


@pytest.fixture
def held_out() -> Labelled:
    split = samples(60, 3)
    assert split.labels is not None
    return Labelled(split.inputs.numpy(), split.labels.numpy(), "rows", "test", "made up")


def scores(model: onnx.ModelProto) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    inputs = np.random.default_rng(0).standard_normal((4, 1, 6, 6)).astype(np.float32)
    found: np.ndarray = session.run(None, {"x": inputs})[0]
    return found


def numbers(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}


def elements(picture: str, name: str) -> list[minidom.Element]:
    # Our own picture, not a stranger's.
    return minidom.parseString(picture).getElementsByTagName(name)  # noqa: S318 - a picture of our own


def texts(picture: str) -> list[str]:
    return [
        "".join(child.data for child in element.childNodes if child.nodeType == child.TEXT_NODE)
        for element in elements(picture, "*")
    ]


def test_a_split_convolution_is_the_best_of_its_rank() -> None:
    before = numbers(tiny_model())

    after = numbers(split_convolutions(tiny_model(), 0.6))

    assert after["point.weight"].shape == (2, 8, 1, 1)
    assert after["point.weight.outer"].shape == (8, 2, 1, 1)
    found = after["point.weight.outer"][:, :, 0, 0] @ after["point.weight"][:, :, 0, 0]
    whole = before["point.weight"][:, :, 0, 0]
    # What the best one leaves is the singular values behind it (Eckart and Young).
    left = np.linalg.svd(whole, compute_uv=False)[2:]
    assert np.linalg.norm(whole - found) == pytest.approx(np.linalg.norm(left), rel=1e-4)


def test_layers_of_groups_stay_whole() -> None:
    assert "deep.weight.outer" not in numbers(split_convolutions(tiny_model(), 2.0))


def test_layers_at_full_rank_answer_as_before() -> None:
    model = tiny_model()

    split = split_convolutions(model, 2.0)

    assert len(split.graph.node) > len(model.graph.node)
    np.testing.assert_allclose(scores(split), scores(model), atol=1e-4)


def test_all_points_are_trained_for_as_long() -> None:
    for point in points(2)[1:]:
        assert sum(stage.epochs for stage in point.stages) == pytest.approx(2)
    assert len({point.folder for point in points(2)}) == len(points(2))
    assert sum(point.keep is not None for point in points(2)) == len(KEEPS)


def test_codes_take_at_least_their_entropy_and_less_than_a_fixed_width() -> None:
    codes = np.random.default_rng(1).geometric(0.5, 4000).clip(1, 15).astype(np.uint8)
    codes[np.random.default_rng(2).random(4000) < 0.8] = 0

    for stream in symbols(codes):
        assert stream.entropy_bits <= stream.mean_bits < stream.entropy_bits + 1
        assert stream.mean_bits < stream.fixed_bits
    values, gaps = symbols(codes)
    assert values.counts.sum() == np.count_nonzero(codes)
    assert gaps.counts.sum() >= values.counts.sum()
    assert values.fixed_bits == 4


def test_a_point_is_measured_walked_through_and_drawn(tmp_path: Path, held_out: Labelled) -> None:
    model = write_tiny(tmp_path / "tiny.onnx")
    point = Point("both", "50 %, 3 bits", (Prune(0.5, epochs=1), Share(3, epochs=1)))

    found = measure(point, model, tiny_data(), held_out, tmp_path / "run")
    layer = walk(tmp_path / "run", LAYER)

    assert found.ratio == model.stat().st_size / found.packed_bytes
    assert found.packed_bytes == (tmp_path / "run/model.ekp").stat().st_size
    assert layer.sparsity > 0
    # Tuning has moved the values that k-means found, but for the zero.
    assert layer.untuned[0] == layer.tuned[0] == 0
    assert layer.untuned.shape == layer.tuned.shape
    assert np.any(layer.untuned != layer.tuned)
    assert any("are zero" in text for text in texts(weights_figure(layer)))
    drawn = texts(symbols_figure(LAYER, *symbols(layer.codes)))
    assert any("on average" in text for text in drawn)


def test_points_far_below_are_drawn_hollow_at_the_edge() -> None:
    picture = accuracy_figure([("both", "a", 4.0, 0.92), ("both", "b", 20.0, 0.3)], 0.93, 10_000)

    circles = elements(picture, "circle")
    assert [circle.getAttribute("class") for circle in circles] == ["s0", "s0", "hollow s0"]
    assert "float 93.00%" in texts(picture)
