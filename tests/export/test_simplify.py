"""The child process: a good end, and every bad one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.export import simplify as module
from edgekit.export.simplify import simplify

CHANGES_THE_INPUT = """
import sys, onnx
model = onnx.load(sys.argv[1])
model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
onnx.save(model, sys.argv[2])
"""


@pytest.fixture
def foldable() -> onnx.ModelProto:
    """output = input + (1 + 2), with the sum of constants still to be computed."""
    one, two = (
        numpy_helper.from_array(np.array([v], dtype=np.float32), n)
        for v, n in ((1, "one"), (2, "two"))
    )
    graph = helper.make_graph(
        [
            helper.make_node("Add", ["one", "two"], ["three"]),
            helper.make_node("Add", ["input", "three"], ["output"]),
        ],
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 2])],
        [one, two],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str) -> None:
    path = tmp_path / "child.py"
    path.write_text(code)
    monkeypatch.setattr(module, "CHILD", path)


def test_constants_are_folded(foldable: onnx.ModelProto) -> None:
    before = foldable.SerializeToString()

    result = simplify(foldable)

    assert result.failure is None
    assert [node.op_type for node in result.model.graph.node] == ["Add"]
    assert foldable.SerializeToString() == before


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        ("import os; os.abort()", "onnxsim was ended by SIGABRT"),
        ("import os, signal; os.kill(os.getpid(), 9)", "onnxsim was ended by SIGKILL"),
        ("raise ValueError('odd graph')", "onnxsim failed: ValueError: odd graph"),
        ("raise SystemExit(3)", "onnxsim failed with exit code 3"),
        ("pass", "onnxsim wrote an invalid model"),
        ("import sys; open(sys.argv[2], 'w').write('no model')", "onnxsim wrote an invalid model"),
        (CHANGES_THE_INPUT, "onnxsim changed the model's inputs or outputs"),
    ],
)
def test_a_bad_end_keeps_the_graph_and_gives_a_reason(
    foldable: onnx.ModelProto,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    code: str,
    failure: str,
) -> None:
    child(monkeypatch, tmp_path, code)

    result = simplify(foldable)

    assert result.model is foldable
    assert result.failure is not None
    assert result.failure.startswith(failure)


def test_a_child_that_never_ends_is_stopped(
    foldable: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    child(monkeypatch, tmp_path, "import time; time.sleep(60)")

    result = simplify(foldable, timeout_s=0.3)

    assert result.failure == "onnxsim took longer than 0.3 s"


def test_temporary_files_are_removed(
    foldable: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    child(monkeypatch, tmp_path, "import os; os.abort()")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))

    simplify(foldable)

    assert not list(scratch.iterdir())
