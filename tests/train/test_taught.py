"""Which networks can teach: ONNX files and trained ones of the zoo, with the data's inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import safetensors.torch
import torch
from onnx import TensorProto

import edgekit_models
from edgekit.errors import InputError, RecipeError, UnknownModelError, UsageError
from edgekit.graph.inputs import input_shapes
from edgekit.train import taught
from edgekit.train.recipe import Distillation, Share
from edgekit.train.taught import check_teacher, find_teacher
from tests.train.nets import SIDE, tiny_data, tiny_model
from tests.train.runs import recipe, run

TAUGHT = recipe(Share(bits=3, epochs=1), distillation=Distillation())


def with_side(side: int) -> onnx.ModelProto:
    """The tiny model with another height and width in its input, 0 for open ones."""
    model = tiny_model()
    for size in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        size.Clear()
        if side:
            size.dim_value = side
    return model


def test_a_name_of_the_zoo_is_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    named: list[str] = []

    def exported(name: str) -> bytes:
        named.append(name)
        return bytes(tiny_model().SerializeToString())

    monkeypatch.setattr(taught, "exported", exported)

    model = find_teacher("mobilenetv2_fashion")

    assert named == ["mobilenetv2_fashion"]
    assert len(model.graph.node) == len(tiny_model().graph.node)


@pytest.mark.slow
def test_a_name_of_the_zoo_is_its_trained_network() -> None:
    spec = edgekit_models.spec("squeezenet_fashion")
    assert spec.checkpoint_path is not None
    inputs = torch.randn(2, *spec.input_shape, generator=torch.Generator().manual_seed(0))
    module = edgekit_models.build("squeezenet_fashion").eval()
    module.load_state_dict(safetensors.torch.load_file(spec.checkpoint_path))

    model = find_teacher("squeezenet_fashion")

    assert next(iter(input_shapes(model).values()))[1:] == spec.input_shape
    session = ort.InferenceSession(model.SerializeToString())
    answers = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})[0]
    with torch.no_grad():
        np.testing.assert_allclose(answers, module(inputs).numpy(), atol=1e-3)


def test_a_file_comes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(tiny_model(), "squeezenet_fashion")

    assert [node.op_type for node in find_teacher("squeezenet_fashion").graph.node] == [
        node.op_type for node in tiny_model().graph.node
    ]


@pytest.mark.parametrize(
    ("teacher", "error", "message"),
    [
        ("none.onnx", InputError, "can't read none.onnx"),
        ("squeezenet_fashoin", UnknownModelError, "a teacher is an ONNX file or a network of"),
        ("resnet18", RecipeError, "resnet18 has random weights alone, which teach nothing"),
    ],
)
def test_what_cannot_teach_is_told_before_anything_is_trained(
    model: Path, tmp_path: Path, teacher: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(model, tmp_path / "out", TAUGHT, teacher=teacher)
    assert not (tmp_path / "out").exists()


def test_a_teacher_for_other_inputs_is_refused(model: Path, tmp_path: Path) -> None:
    """Its global pooling would take them without a word."""
    onnx.save(with_side(2 * SIDE), tmp_path / "large.onnx")

    said = r"takes inputs of shape \(1, 12, 12\), and those of rows are \(1, 6, 6\)"
    with pytest.raises(RecipeError, match=said):
        run(model, tmp_path / "out", TAUGHT, teacher=tmp_path / "large.onnx")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("side", [0, SIDE])
def test_an_open_size_fits_any_inputs(side: int) -> None:
    check_teacher(with_side(side), tiny_data())


def test_a_teacher_without_a_shape_is_tried() -> None:
    model = tiny_model()
    model.graph.input[0].type.tensor_type.ClearField("shape")

    check_teacher(model, tiny_data())


def test_a_teacher_of_whole_numbers_is_refused(tmp_path: Path) -> None:
    other = tiny_model()
    other.graph.input[0].type.tensor_type.elem_type = TensorProto.INT32
    other.graph.node.insert(0, onnx.helper.make_node("Cast", ["x"], ["xf"], to=TensorProto.FLOAT))
    other.graph.node[1].input[0] = "xf"
    onnx.save(other, tmp_path / "whole.onnx")

    with pytest.raises(UsageError, match=r"input x of the teacher .*whole\.onnx is int32"):
        find_teacher(tmp_path / "whole.onnx")


def test_a_run_learns_from_a_teacher_beside_it(model: Path, tmp_path: Path) -> None:
    onnx.save(tiny_model(seed=1), tmp_path / "other.onnx")

    alone = run(model, tmp_path / "alone", TAUGHT)
    other = run(model, tmp_path / "taught", TAUGHT, teacher=tmp_path / "other.onnx")

    assert alone.sha256 != other.sha256
