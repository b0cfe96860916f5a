"""Export end to end: what the file holds, that it agrees with torch, and what can go wrong."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from edgekit.errors import ExportError, OutputError, ParityError, UsageError
from edgekit.export import pytorch
from edgekit.export.canonical import canonicalise
from edgekit.export.pytorch import ExportReport, export
from edgekit.export.simplify import Simplified
from edgekit.export.source import load_source

NETS = Path(__file__).with_name("nets.py")
SHAPE = (1, 3, 12, 12)


def test_the_file_agrees_with_torch_at_every_batch_size(
    exported: tuple[Path, ExportReport],
) -> None:
    path, report = exported
    module = load_source(f"{NETS}:net", input_shape=SHAPE).module
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    for batch in (1, 3, 8):
        inputs = torch.randn(batch, 3, 12, 12, generator=torch.Generator().manual_seed(batch))
        (found,) = session.run(["output"], {"input": inputs.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(found, module(inputs).numpy(), rtol=1e-4, atol=1e-6)
    assert [entry.batch for entry in report.parity] == [1, 2, 5]
    assert all(entry.relative <= report.tolerance for entry in report.parity)


def test_the_report_tells_what_the_file_is(exported: tuple[Path, ExportReport]) -> None:
    path, report = exported

    data = path.read_bytes()

    assert report.output_bytes == len(data)
    assert report.sha256 == hashlib.sha256(data).hexdigest()
    assert (report.exporter, report.opset) == ("torch.export", 20)
    assert report.input_shape == ("batch", 3, 12, 12)
    assert report.output_shape == ("batch", 4)
    assert report.warnings == ()


def test_batchnorm_is_folded_and_weights_keep_their_torch_names(
    exported_model: onnx.ModelProto,
) -> None:
    operators = [node.op_type for node in exported_model.graph.node]
    names = {tensor.name for tensor in exported_model.graph.initializer}

    assert "BatchNormalization" not in operators
    assert {
        "first.weight",
        "first.bias",
        "second.weight",
        "second.bias",
        "out.weight",
        "out.bias",
    } <= names
    assert not any(name.startswith("norm") for name in names)


def test_no_trace_of_the_machine_is_left(exported: tuple[Path, ExportReport]) -> None:
    data = exported[0].read_bytes()

    assert str(Path(__file__).parent).encode() not in data
    assert b"stack_trace" not in data
    assert b".py" not in data


def test_another_process_writes_the_same_bytes(
    exported: tuple[Path, ExportReport], tmp_path: Path
) -> None:
    path = tmp_path / "again.onnx"
    code = (
        "import sys; from edgekit.export.pytorch import export; "
        "export(sys.argv[1], sys.argv[2], input_shape=(4, 3, 12, 12))"
    )

    subprocess.run(
        [sys.executable, "-c", code, f"{NETS}:net", path],
        check=True,
        env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": "123"},
    )

    assert path.read_bytes() == exported[0].read_bytes()


def test_several_outputs_are_numbered(tmp_path: Path) -> None:
    path = tmp_path / "two.onnx"

    export(f"{NETS}:two_heads", path, input_shape=SHAPE, simplify=False)

    outputs = [value.name for value in onnx.load(path).graph.output]
    assert outputs == ["output_0", "output_1"]


def test_a_crashing_simplifier_costs_a_warning_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    child = tmp_path / "child.py"
    child.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setattr("edgekit.export.simplify.CHILD", child)

    report = export(f"{NETS}:net", tmp_path / "net.onnx", input_shape=SHAPE)

    assert report.warnings == ("onnxsim was ended by SIGSEGV; the graph is not simplified",)
    onnx.checker.check_model(onnx.load(tmp_path / "net.onnx"))
    assert len(report.parity) == 3


def test_a_simplifier_that_changes_the_answers_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def spoil(model: onnx.ModelProto) -> Simplified:
        spoiled = onnx.ModelProto()
        spoiled.CopyFrom(model)
        _add_one(spoiled, "second.weight")
        return Simplified(spoiled, None)

    monkeypatch.setattr(pytorch, "simplify_graph", spoil)

    report = export(f"{NETS}:net", tmp_path / "net.onnx", input_shape=SHAPE)

    (warning,) = report.warnings
    assert "onnxsim changed the answers" in warning
    assert "not simplified" in warning


def test_a_weight_that_changes_on_the_way_is_found_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plain = canonicalise

    def spoil(model: onnx.ModelProto) -> onnx.ModelProto:
        result = plain(model)
        _add_one(result, "second.weight")
        return result

    monkeypatch.setattr(pytorch, "canonicalise", spoil)
    target = tmp_path / "net.onnx"
    target.write_bytes(b"the old file")

    with pytest.raises(ParityError, match=r"first tensor that parts .* with second\.weight"):
        export(f"{NETS}:net", target, input_shape=SHAPE, simplify=False)

    assert target.read_bytes() == b"the old file"
    assert list(tmp_path.iterdir()) == [target]


def test_the_older_exporter_steps_in_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(pytorch, "_current_exporter", fail)

    report = export(f"{NETS}:net", tmp_path / "net.onnx", input_shape=SHAPE, simplify=False)

    assert report.exporter == "TorchScript"
    (warning,) = report.warnings
    assert warning.startswith("torch.export failed (RuntimeError: no such operator)")
    names = {tensor.name for tensor in onnx.load(tmp_path / "net.onnx").graph.initializer}
    assert {"first.weight", "first.bias", "second.weight", "second.bias", "out.weight"} <= names


def test_a_path_that_depends_on_the_numbers_fails_parity_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(ParityError, match=r"torch\.export failed .*data-dependent"):
        export(f"{NETS}:branching", tmp_path / "net.onnx", input_shape=SHAPE)

    assert not list(tmp_path.iterdir())


def test_a_fixed_batch_is_told(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"fails on an input of shape \(1, 3, 12, 12\)"):
        export(f"{NETS}:fixed_batch", tmp_path / "net.onnx", input_shape=SHAPE, simplify=False)


def test_an_input_that_the_module_can_t_take_is_told(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"fails on an input of shape \(2, 5, 12, 12\)"):
        export(f"{NETS}:net", tmp_path / "net.onnx", input_shape=(1, 5, 12, 12))


def test_a_module_must_return_tensors(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="returns dict; tensors are needed"):
        export(f"{NETS}:dictionary", tmp_path / "net.onnx", input_shape=SHAPE)


def test_an_unknown_opset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"opset must be in 18\.\.23, got 9"):
        export(f"{NETS}:net", tmp_path / "net.onnx", input_shape=SHAPE, opset=9)


def test_a_missing_output_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="doesn't exist; create it first"):
        export(f"{NETS}:net", tmp_path / "nowhere" / "n.onnx", input_shape=SHAPE, simplify=False)


def _add_one(model: onnx.ModelProto, name: str) -> None:
    for tensor in model.graph.initializer:
        if tensor.name == name:
            values = onnx.numpy_helper.to_array(tensor).copy()
            values.flat[0] += 1
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, name))
            return
    raise AssertionError(f"no tensor {name}")


def test_an_input_that_no_memory_holds_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="there is no memory for an input of shape") as caught:
        export(f"{NETS}:net", tmp_path / "net.onnx", input_shape=(1, 3, 99999999, 99999999))

    assert "\n" not in str(caught.value)
