"""The int8 run form through every verb that meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import edgekit
from edgekit.compress.pipeline import compress
from edgekit.embed.generate import embed
from edgekit.errors import UsageError
from edgekit.packfile import open_packfile, pack, read_packfile
from edgekit.packfile.onnx_model import decompress
from edgekit.runtime.verify import verify
from edgekit.tensors import CompressedModel
from tests.int8_nets import branchy, inputs
from tests.onnx_files import run
from tests.support import Cli


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """net.onnx, net.ekp that says int8, and labelled data."""
    path = tmp_path_factory.mktemp("int8")
    (path / "net.onnx").write_bytes(branchy().SerializeToString())
    compress(
        path / "net.onnx", path / "net.ekp", calibration=inputs(30), run_as="int8", int8_floats=()
    )
    (scores,) = run(branchy(), {"input": inputs(40, seed=9)})
    np.savez(path / "data.npz", inputs=inputs(40, seed=9), labels=scores.argmax(1))
    return path


def test_decompress_gives_either_form(folder: Path, tmp_path: Path) -> None:
    decompress(folder / "net.ekp", tmp_path / "float.onnx")
    decompress(folder / "net.ekp", tmp_path / "int8.onnx", run_as="int8")

    feed = {"input": inputs(4)}
    for form in ("float", "int8"):
        model = onnx.load(tmp_path / f"{form}.onnx")
        onnx.checker.check_model(model, full_check=True)
        (expected,) = edgekit.load(folder / "net.ekp", run_as=form).run(None, feed)
        np.testing.assert_array_equal(run(model, feed)[0], expected)
    int8 = onnx.load(tmp_path / "int8.onnx")
    assert "DequantizeLinear" in {node.op_type for node in int8.graph.node}
    types = {tensor.name: tensor.data_type for tensor in int8.graph.initializer}
    assert types["stem"] == TensorProto.INT8


def test_decompress_of_a_file_without_an_int8_form_writes_nothing(
    cli: Cli, folder: Path, tmp_path: Path
) -> None:
    compress(folder / "net.onnx", tmp_path / "plain.ekp")

    done = cli("decompress", tmp_path / "plain.ekp", "-o", tmp_path / "x.onnx", "--run-as", "int8")

    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "x.onnx").exists()


def test_verify_measures_both_forms_and_bounds_the_one_that_the_file_says(
    cli: Cli, folder: Path
) -> None:
    report = verify(folder / "net.ekp", against=folder / "net.onnx", data=folder / "data.npz")

    assert report.form == "int8"
    assert report.answers is not None
    assert report.int8_answers is not None
    assert report.answers.divergence is not None
    assert report.int8_answers.divergence is not None
    assert 0 < report.answers.divergence < report.int8_answers.divergence
    between = (report.answers.output.largest + report.int8_answers.output.largest) / 2
    bounded = verify(
        folder / "net.ekp",
        against=folder / "net.onnx",
        data=folder / "data.npz",
        max_difference=between,
    )
    assert len(bounded.failures) == 1
    done = cli("verify", folder / "net.ekp", "--against", folder / "net.onnx")
    assert done.exit_code == 0
    assert "as int8" in done.stdout


def test_verify_without_a_reference_gives_the_accuracy_of_both(cli: Cli, folder: Path) -> None:
    done = cli("verify", folder / "net.ekp", "--data", folder / "data.npz", "--format", "json")

    report = json.loads(done.stdout)
    assert report["accuracy"] >= 0.9
    assert report["int8_accuracy"] >= 0.8
    assert report["int8_answers"] is None


def test_inspect_names_the_run_form(cli: Cli, folder: Path) -> None:
    done = cli("inspect", folder / "net.ekp")

    assert "run form" in done.stdout
    assert "int8; as int8, 11 values in 8 bits and 0 layers in float" in done.stdout


def test_inspect_of_hostile_activations_is_one_line(cli: Cli, folder: Path, tmp_path: Path) -> None:
    model = read_packfile(folder / "net.ekp")
    broken = {**model.manifest, "activations": {"tensors": {"x": [0, 0]}}}
    data = pack(CompressedModel(model.tensors, model.skeleton, broken))
    (tmp_path / "bad.ekp").write_bytes(data)

    done = cli("inspect", tmp_path / "bad.ekp")

    assert done.exit_code == 4
    assert done.stderr.count("\n") == 1


def test_a_python_app_runs_in_8_bits_without_onnx(folder: Path, tmp_path: Path) -> None:
    report = embed(folder / "net.ekp", tmp_path / "app", target="python")

    np.save(tmp_path / "input.npy", inputs(1))
    script = (
        "import sys, numpy, edgekit_loader\n"
        "sys.modules['onnx'] = None\n"
        "session = edgekit_loader.load('model.ekp')\n"
        "scores = session.run(None, {'input': numpy.load('../input.npy')})[0]\n"
        "numpy.save('../scores.npy', scores)\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path / "app", check=True)
    (expected,) = edgekit.load(folder / "net.ekp").run(None, {"input": inputs(1)})
    np.testing.assert_array_equal(np.load(tmp_path / "scores.npy"), expected)
    assert report.run_form == "int8"
    assert report.packed_bytes == (tmp_path / "app" / "model.ekp").stat().st_size


def test_an_embedded_int8_file_is_a_normal_packed_file_of_the_same_codes(
    folder: Path, tmp_path: Path
) -> None:
    embed(folder / "net.ekp", tmp_path / "app", target="web", run_as="int8")

    before = read_packfile(folder / "net.ekp")
    after = read_packfile(tmp_path / "app" / "model.ekp")

    assert {"activations", "run_as"}.isdisjoint(after.manifest)
    codes = {tensor.name: tensor for tensor in after.tensors}
    for tensor in before.tensors:
        if tensor.name in {"stem", "depthwise", "pointwise", "left", "right", "head"}:
            assert codes[tensor.name].dtype == "int8"
    feed = {"input": inputs(3)}
    (answers,) = edgekit.load(tmp_path / "app" / "model.ekp").run(None, feed)
    (expected,) = edgekit.load(folder / "net.ekp").run(None, feed)
    np.testing.assert_array_equal(answers, expected)


def test_an_app_in_float_and_a_c_app_carry_the_file_as_it_is(folder: Path, tmp_path: Path) -> None:
    plain = embed(folder / "net.ekp", tmp_path / "web", target="web", run_as="float")
    c = embed(folder / "net.ekp", tmp_path / "c", target="c")

    assert (plain.run_form, c.run_form) == ("float", None)
    data = bytes(open_packfile(folder / "net.ekp").data)
    assert (tmp_path / "web" / "model.ekp").read_bytes() == data
    assert c.packed_bytes == len(data)
    with pytest.raises(UsageError, match="C app"):
        embed(folder / "net.ekp", tmp_path / "no", target="c", run_as="int8")
    assert not (tmp_path / "no").exists()
