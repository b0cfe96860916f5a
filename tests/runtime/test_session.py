"""Sessions from packed files: right answers, from memory, with nothing written."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

import edgekit
from edgekit.compress.pipeline import compress
from edgekit.errors import FormatError, InputError, ModelFileError, UsageError
from edgekit.packfile import write_packfile
from edgekit.packfile.onnx_model import decompress
from edgekit.tensors import CompressedModel
from tests.onnx_files import make_model

WITHOUT_FILES = """
import resource, sys
import numpy as np
import edgekit

path = sys.argv[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
opened = []

def watch(event, arguments):
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        raise AssertionError(f"{arguments[0]} is opened for writing")

sys.addaudithook(watch)
session = edgekit.load(path)
(scores,) = session.run(None, {"input": np.zeros((1, 1, 12, 12), np.float32)})
print(scores.shape)
"""


@pytest.fixture
def packed(tiny_onnx_path: Path, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.ekp"
    compress(tiny_onnx_path, path, bits=8)
    return path


@pytest.fixture
def inputs(rng: np.random.Generator) -> NDArray[np.float32]:
    return rng.standard_normal((3, 1, 12, 12)).astype(np.float32)


@pytest.mark.parametrize("as_bytes", [False, True])
def test_a_packed_file_answers_as_its_plain_form(
    packed: Path, tmp_path: Path, inputs: NDArray[np.float32], as_bytes: bool
) -> None:
    decompress(packed, tmp_path / "plain.onnx")

    found = edgekit.load(packed.read_bytes() if as_bytes else packed)
    expected = edgekit.load(tmp_path / "plain.onnx")

    np.testing.assert_allclose(
        found.run(None, {"input": inputs})[0], expected.run(None, {"input": inputs})[0], rtol=1e-6
    )


def test_eight_bits_stay_close_to_the_original(
    packed: Path, tiny_onnx_path: Path, inputs: NDArray[np.float32]
) -> None:
    found = edgekit.load(packed).run(None, {"input": inputs})[0]
    expected = edgekit.load(tiny_onnx_path).run(None, {"input": inputs})[0]

    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()


def test_nothing_is_written(packed: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_FILES, packed], check=False, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(1, 10)"


def test_the_weights_live_as_long_as_the_session(packed: Path, inputs: NDArray[np.float32]) -> None:
    session = edgekit.load(packed.read_bytes())
    before = session.run(None, {"input": inputs})[0]

    gc.collect()
    # Freed memory would be taken by these and read as weights.
    blocks = [np.full(size, np.nan, np.float32) for size in (288, 1920, 600, 60, 32) * 200]
    after = session.run(None, {"input": inputs})[0]

    np.testing.assert_array_equal(after, before)
    assert blocks


def test_bfloat16_weights_are_restored(tmp_path: Path) -> None:
    weights = np.linspace(-1, 1, 256, dtype=np.float32).reshape(16, 16)
    patterns = (weights.view(np.uint32) >> 16).astype(np.uint16)
    tensor = onnx.TensorProto(name="w", data_type=onnx.TensorProto.BFLOAT16, dims=[16, 16])
    tensor.raw_data = patterns.tobytes()
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Cast", ["w"], ["wide"], to=onnx.TensorProto.FLOAT),
            onnx.helper.make_node("MatMul", ["x", "wide"], ["y"]),
        ],
        "bf16",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 16])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 16])],
        [tensor],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9
    )
    compress(model.SerializeToString(), tmp_path / "b.ekp", bits=8)

    (found,) = edgekit.load(tmp_path / "b.ekp").run(None, {"x": np.ones((1, 16), np.float32)})

    np.testing.assert_allclose(found, weights.sum(axis=0, keepdims=True), atol=0.2)


@pytest.mark.parametrize("place", ["secret.bin", "../secret.bin"])
def test_a_graph_that_names_a_file_is_refused(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    np.ones((4, 4), np.float32).tofile(place)
    tensor = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[4, 4])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=place)
    model = make_model([onnx.helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": [4]}, {"y": [4]})
    model.graph.initializer.append(tensor)
    write_packfile(CompressedModel((), model.SerializeToString(), {}), "hostile.ekp")

    with pytest.raises(ModelFileError, match="onnxruntime can't load"):
        edgekit.load("hostile.ekp")


@pytest.mark.parametrize("threads", [0, -1, 257, 10**20])
def test_an_impossible_number_of_threads_is_refused(packed: Path, threads: int) -> None:
    with pytest.raises(UsageError, match="threads must be 1 to 256"):
        edgekit.load(packed, threads=threads)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"can't read .*none\.ekp: No such file"):
        edgekit.load(tmp_path / "none.ekp")


def test_bytes_that_are_no_model_are_refused() -> None:
    with pytest.raises(ModelFileError, match="onnxruntime can't load"):
        edgekit.load(b"these bytes are no model")


def test_a_cut_packed_file_breaks_the_format(packed: Path) -> None:
    with pytest.raises(FormatError):
        edgekit.load(packed.read_bytes()[:-1])
