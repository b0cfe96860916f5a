"""What a finished file is worth, measured in the form that it runs in."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from torch import Tensor

import edgekit
from edgekit.errors import ModelFileError, UsageError
from edgekit.report.finetuning import render_card, render_table
from edgekit.train.chain import PACKED, REPORT
from edgekit.train.finetune import finetune
from edgekit.train.judge import measure_file
from edgekit.train.recipe import Grid, Retrain, Share
from edgekit.train.run import FinetuneReport
from edgekit.train.task import Classification
from edgekit.train.workers import ALONE
from tests.train.nets import CLASSES, SIDE, samples, tiny_data, tiny_model
from tests.train.runs import recipe, run

INT8 = (
    Retrain(epochs=6, learning_rate=0.1),
    Grid(steps="channel", activations=True, epochs=1),
)


class Height(Classification):
    """A metric that tells two forms of a file apart, where the classes are the same."""

    metric_name = "mean score"

    def metric(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The mean of a sample's scores."""
        return outputs.double().mean(dim=1)


def height(packed: Path, form: str, inputs: Tensor) -> float:
    """The same by hand, in one form."""
    session = edgekit.load(packed, run_as=form)  # type: ignore[arg-type]  # one of the forms
    outputs = session.run(None, {"x": inputs.numpy()})[0]
    return float(np.mean(outputs.astype(np.float64)))


def printed(report: FinetuneReport) -> str:
    written = io.StringIO()
    Console(file=written, width=300).print(render_table(report))
    return written.getvalue()


def with_input_of(kind: int) -> onnx.ModelProto:
    """The tiny model with an input of another type, which is cast at once."""
    model = tiny_model()
    model.graph.node.insert(0, helper.make_node("Cast", ["x"], ["xf"], to=TensorProto.FLOAT))
    model.graph.node[1].input[0] = "xf"
    model.graph.input[0].type.tensor_type.elem_type = kind
    return model


def all_of(kind: int) -> onnx.ModelProto:
    """The tiny model with every number in another type."""
    model = tiny_model()
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor).astype(helper.tensor_dtype_to_np_dtype(kind))
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.elem_type = kind
    return model


def test_a_file_is_judged_in_the_form_that_it_says(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    test = samples(96, 3)

    report = run(model, out, recipe(*INT8), task=Height())

    as_int8, as_float = (height(out / PACKED, form, test.inputs) for form in ("int8", "float"))
    assert as_int8 != pytest.approx(as_float, rel=1e-4)
    assert report.test is not None
    assert report.test[-1] == pytest.approx(as_int8, rel=1e-6)


def test_report_card_and_json_name_the_form(model: Path, tmp_path: Path) -> None:
    for form, stages in (("int8", INT8), ("float", (Share(epochs=0),))):
        report = run(model, tmp_path / form, recipe(*stages))

        said = f"the packed file, run as {form} in onnxruntime"
        assert report.run_form == form
        assert said in printed(report)
        assert f"The last row's test is of {said}" in render_card(report, "c")
        assert json.loads((tmp_path / form / REPORT).read_text())["run_form"] == form


def test_without_a_test_split_no_form_was_measured(model: Path, tmp_path: Path) -> None:
    data = dataclasses.replace(tiny_data(), test=None)

    report = finetune(str(model), tmp_path / "out", recipe=recipe(Share(epochs=0)), data=data)

    assert "in onnxruntime" not in printed(report) + render_card(report, "c")


@pytest.mark.parametrize(
    "other",
    [all_of(TensorProto.FLOAT16), with_input_of(TensorProto.DOUBLE)],
    ids=["float16", "float64"],
)
def test_a_model_of_another_float_type_is_trained_and_judged(
    tmp_path: Path, other: onnx.ModelProto
) -> None:
    onnx.save(other, tmp_path / "other.onnx")

    report = run(tmp_path / "other.onnx", tmp_path / "out", recipe(*INT8[:1], Grid(epochs=1)))

    assert report.test is not None
    assert report.test[0] < 0.6
    assert report.test[-1] > 0.9


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.UINT8])
def test_whole_numbers_as_inputs_are_refused_before_training(tmp_path: Path, kind: int) -> None:
    onnx.save(with_input_of(kind), tmp_path / "whole.onnx")
    said = f"input x of {tmp_path / 'whole.onnx'} is {TensorProto.DataType.Name(kind).lower()}"

    with pytest.raises(UsageError, match=said):
        run(tmp_path / "whole.onnx", tmp_path / "out", recipe(Share(epochs=1)))
    assert not (tmp_path / "out").exists()


def test_what_onnxruntime_cannot_run_is_refused_before_training(tmp_path: Path) -> None:
    """It has no convolution in float64."""
    onnx.save(all_of(TensorProto.DOUBLE), tmp_path / "wide.onnx")

    with pytest.raises(ModelFileError, match="onnxruntime can't load"):
        run(tmp_path / "wide.onnx", tmp_path / "out", recipe(Share(epochs=1)))
    assert not (tmp_path / "out").exists()


def test_inputs_that_onnxruntime_refuses_are_told_in_one_line(model: Path) -> None:
    wide = samples(4, 3)
    wide = dataclasses.replace(wide, inputs=wide.inputs.repeat(1, 1, 2, 2))

    with pytest.raises(ModelFileError, match=r"onnxruntime can't run .*tiny\.onnx") as caught:
        measure_file(model, wide, Classification(), ALONE)
    assert "\n" not in str(caught.value)


def test_a_split_without_labels_is_refused(model: Path) -> None:
    with pytest.raises(UsageError, match="the test split has no labels; leave it out"):
        measure_file(model, samples(4, 3, labelled=False), Classification(), ALONE)


@pytest.mark.parametrize("batch", [0, 7])
def test_the_metric_is_the_mean_over_all_samples(tmp_path: Path, batch: int) -> None:
    """Also where the last batch isn't full; the network written in torch is the judge."""
    made = tiny_model()
    for value in (made.graph.input[0], made.graph.output[0]):
        if batch:
            value.type.tensor_type.shape.dim[0].dim_value = batch
    onnx.save(made, tmp_path / "m.onnx")
    split = samples(600, 5)
    assert split.labels is not None

    found = measure_file(tmp_path / "m.onnx", split, Classification(), ALONE)

    values = {
        tensor.name: torch.tensor(numpy_helper.to_array(tensor))
        for tensor in made.graph.initializer
    }
    conv, pool = torch.nn.functional.conv2d, torch.nn.functional.max_pool2d
    a = conv(split.inputs, values["stem.weight"], values["stem.bias"], padding=1).relu()
    b = conv(a, values["deep.weight"], values["deep.bias"], padding=1, groups=8).relu()
    r = a + conv(b, values["point.weight"], values["point.bias"])
    scores = pool(r, SIDE // 2).flatten(1) @ values["head.weight"].T + values["head.bias"]
    assert scores.shape == (600, CLASSES)
    right = (scores.argmax(dim=1) == split.labels).double()
    assert found == pytest.approx(float(right.mean()), abs=1e-9)
