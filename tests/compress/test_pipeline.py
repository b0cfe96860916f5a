"""From an ONNX file to a packed file: what comes back, what adds up, what is refused."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from edgekit.compress import pipeline, run_form
from edgekit.compress.goal import Goal
from edgekit.compress.pipeline import compress
from edgekit.errors import ModelFileError, OutputError, PlanError, UsageError
from edgekit.graph import load_graph
from edgekit.packfile import read_packfile
from edgekit.packfile.onnx_model import to_model_proto
from edgekit.tensors import CodedTensor, StoredTensor
from tests.int8_nets import branchy, inputs
from tests.onnx_files import constant, make_model, random_feeds, run


def answers(path: Path, model: ModelProto) -> tuple[np.ndarray, np.ndarray]:
    """Outputs of a model and of its packed form on the same inputs."""
    feeds = random_feeds(model)
    return run(model, feeds)[0], run(to_model_proto(read_packfile(path)), feeds)[0]


@pytest.mark.parametrize("method", ["uniform", "codebook"])
def test_answers_come_closer_with_more_bits(
    tiny_model: ModelProto, tiny_onnx_path: Path, tmp_path: Path, method: Any
) -> None:
    packed = tmp_path / "tiny.ekp"

    errors = []
    for bits in (3, 5, 8):
        compress(tiny_onnx_path, packed, bits=bits, method=method)
        expected, found = answers(packed, tiny_model)
        errors.append(float(np.abs(expected - found).max() / np.abs(expected).max()))

    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.02


@pytest.mark.parametrize("coder", ["huffman", "rans"])
@pytest.mark.parametrize("method", ["uniform", "codebook"])
@pytest.mark.parametrize("sparsity", [0.0, 0.6])
def test_the_report_adds_up_to_the_file(
    tiny_onnx_path: Path, tmp_path: Path, method: Any, sparsity: float, coder: Any
) -> None:
    packed = tmp_path / "tiny.ekp"

    report = compress(tiny_onnx_path, packed, bits=5, method=method, sparsity=sparsity, coder=coder)

    parts = sum(layer.coded_bytes for layer in report.layers) + sum(n for _, n in report.rest)
    assert parts == report.file_bytes == packed.stat().st_size
    assert report.source_bytes == tiny_onnx_path.stat().st_size
    assert json.loads(json.dumps(report.to_dict()))["file_bytes"] == report.file_bytes


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("method", ["uniform", "codebook"])
def test_pruned_weights_stay_zero_and_number_as_asked(
    tiny_onnx_path: Path, tmp_path: Path, method: Any, scope: Any
) -> None:
    packed = tmp_path / "tiny.ekp"

    report = compress(tiny_onnx_path, packed, bits=8, method=method, sparsity=0.75, scope=scope)

    weights = [layer.fidelity for layer in report.layers if layer.fidelity.role == "weight"]
    total = sum(weight.elements for weight in weights)
    zeros = sum(round(weight.sparsity * weight.elements) for weight in weights)
    # The grid may round a few survivors to zero too; a codebook doesn't.
    assert zeros >= round(0.75 * total)
    assert zeros <= round(0.75 * total) + (0 if method == "codebook" else 0.02 * total)
    if scope == "layer":
        assert all(abs(weight.sparsity - 0.75) < 0.02 for weight in weights)


def test_the_same_source_gives_the_same_bytes(tiny_onnx_path: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "one.ekp", tmp_path / "two.ekp"

    compress(tiny_onnx_path, first, bits=6, sparsity=0.3)
    compress(tiny_onnx_path, second, bits=6, sparsity=0.3)

    assert first.read_bytes() == second.read_bytes()


def test_the_manifest_says_where_the_file_comes_from(tiny_onnx_path: Path, tmp_path: Path) -> None:
    packed = tmp_path / "tiny.ekp"

    report = compress(tiny_onnx_path, packed, bits=6, sparsity=0.5)

    manifest = read_packfile(packed).manifest
    assert manifest["name"] == "tiny"
    assert manifest["source_sha256"] == report.source_sha256
    assert manifest["source_bytes"] == report.source_bytes
    assert manifest["recipe"] == {
        "bits": 6,
        "method": "uniform",
        "sparsity": 0.5,
        "scope": "global",
        "coder": "huffman",
        "calibration": "1/f noise, seed 0",
        "seed": 0,
        "run_as": "float",
    }
    assert str(tmp_path) not in json.dumps(manifest)


def test_codes_keep_to_their_bits_and_biases_are_float16(
    tiny_onnx_path: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "tiny.ekp"

    compress(tiny_onnx_path, packed, bits=4)

    for tensor in read_packfile(packed).tensors:
        if tensor.name.endswith("weight"):
            assert isinstance(tensor, CodedTensor)
            assert np.abs(tensor.codes.astype(int)).max() == 7
        else:
            assert isinstance(tensor, StoredTensor)
            assert tensor.values.dtype == np.float16
            assert tensor.dtype == "float32"


def test_compressing_what_was_decompressed_changes_no_weight(
    tiny_onnx_path: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "one.ekp", tmp_path / "two.ekp"

    compress(tiny_onnx_path, first, bits=4, method="codebook")
    once = to_model_proto(read_packfile(first))
    compress(once.SerializeToString(), second, bits=4, method="codebook")

    twice = to_model_proto(read_packfile(second))
    assert list(once.graph.initializer) == list(twice.graph.initializer)


def test_numbers_that_float16_cannot_hold_stay_float32(tmp_path: Path) -> None:
    bias = np.linspace(1, 1e6, 16, dtype=np.float32)
    variance = np.logspace(-9, 0, 16).astype(np.float32)
    ones = np.ones(16, np.float32) + np.arange(16, dtype=np.float32) / 16
    rng = np.random.default_rng(0)
    model = make_model(
        [
            helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv"),
            helper.make_node("BatchNormalization", ["c", "s", "o", "m", "v"], ["y"], "bn"),
        ],
        {"x": ["N", 3, 8, 8]},
        {"y": ["N", 16, 6, 6]},
        {
            "w": rng.normal(0, 1, (16, 3, 3, 3)).astype(np.float32),
            "b": bias,
            "s": ones,
            "o": ones,
            "m": ones,
            "v": variance,
        },
    )

    compress(model.SerializeToString(), tmp_path / "m.ekp", bits=8)

    stored = {t.name: t for t in read_packfile(tmp_path / "m.ekp").tensors}
    for name, expected in (("b", "float32"), ("v", "float32"), ("s", "float16"), ("m", "float16")):
        tensor = stored[name]
        assert isinstance(tensor, StoredTensor)
        assert tensor.values.dtype == expected


@pytest.mark.parametrize("sparsity", [0.0, 0.9])
@pytest.mark.parametrize("method", ["uniform", "codebook"])
@pytest.mark.parametrize(
    "weights",
    [
        np.zeros((16, 3, 3, 3), np.float32),
        np.full((16, 3, 3, 3), -0.02, np.float32),
        np.where(np.arange(432).reshape(16, 3, 3, 3) == 7, 1, 0).astype(np.float32),
        (np.arange(432).reshape(16, 3, 3, 3) * 1e-42).astype(np.float32),
        np.resize(np.array([-1, 1], np.float32), (16, 3, 3, 3)),
    ],
    ids=["zeros", "constant", "one", "denormal", "binary"],
)
def test_degenerate_layers_are_packed(
    weights: np.ndarray, method: Any, sparsity: float, tmp_path: Path
) -> None:
    model = make_model(
        [helper.make_node("Conv", ["x", "w"], ["y"], "conv")],
        {"x": ["N", 3, 8, 8]},
        {"y": ["N", 16, 6, 6]},
        {"w": weights},
    )
    packed = tmp_path / "m.ekp"

    # Nine tenths of weights that are nearly zero anyway: what is left needn't mean anything.
    report = compress(
        model.SerializeToString(), packed, bits=6, method=method, sparsity=sparsity, force=True
    )

    expected, found = answers(packed, model)
    assert np.all(np.isfinite(found))
    if not sparsity:
        np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-5)
    assert report.file_bytes == packed.stat().st_size


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float16", 0.05), ("float64", 0.03), ("bfloat16", 0.05)]
)
def test_a_model_of_another_float_type_keeps_it(
    dtype: str, tolerance: float, tmp_path: Path
) -> None:
    rng = np.random.default_rng(5)
    kind = TensorProto.DataType.Value("DOUBLE" if dtype == "float64" else dtype.upper())
    weights = rng.normal(0, 1, (32, 16))
    model = make_model(
        [
            helper.make_node("Cast", ["w"], ["w32"], to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["x", "w32"], ["y"]),
        ],
        {"x": ["N", 32]},
        {"y": ["N", 16]},
    )
    model.graph.initializer.append(helper.make_tensor("w", kind, [32, 16], weights.reshape(-1)))
    packed = tmp_path / "m.ekp"

    compress(model.SerializeToString(), packed, bits=8)

    (tensor,) = read_packfile(packed).tensors
    assert isinstance(tensor, CodedTensor)
    assert tensor.dtype == dtype
    expected, found = answers(packed, model)
    np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max())


def test_integer_weights_come_back_exactly(tmp_path: Path) -> None:
    codes = np.random.default_rng(1).integers(-9, 10, (32, 16)).astype(np.int8)
    model = make_model(
        [
            constant("w", codes),
            helper.make_node("DequantizeLinear", ["w", "s"], ["f"]),
            helper.make_node("MatMul", ["x", "f"], ["y"]),
        ],
        {"x": ["N", 32]},
        {"y": ["N", 16]},
        {"s": np.array(0.1, np.float32)},
    )
    packed = tmp_path / "m.ekp"

    compress(model.SerializeToString(), packed, bits=2)

    expected, found = answers(packed, model)
    np.testing.assert_array_equal(expected, found)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bits": 9}, "bits must be from 2 to 8, got 9"),
        ({"bits": 1}, "bits must be from 2 to 8, got 1"),
        ({"sparsity": 1.5}, "sparsity must be at least 0 and below 1, got 1.5"),
        ({"sparsity": -0.1}, "sparsity must be at least 0 and below 1, got -0.1"),
        ({"method": "magic"}, "method must be uniform or codebook, got 'magic'"),
        ({"scope": "row"}, "scope must be global or layer, got 'row'"),
    ],
)
def test_impossible_settings_are_refused_before_anything_is_read(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(PlanError, match=message):
        compress(tmp_path / "missing.onnx", tmp_path / "m.ekp", **settings)


def test_a_missing_output_folder_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"folder .* doesn't exist"):
        compress(tmp_path / "missing.onnx", tmp_path / "nowhere" / "m.ekp")


def test_only_a_dry_run_goes_without_output(tiny_onnx_path: Path) -> None:
    with pytest.raises(UsageError, match="needs a file to write"):
        compress(tiny_onnx_path, None)


def test_a_dry_run_foretells_the_file_and_writes_none(tiny_onnx_path: Path, tmp_path: Path) -> None:
    packed = tmp_path / "tiny.ekp"

    foretold = compress(tiny_onnx_path, packed, bits=6, dry_run=True)

    assert foretold.output is None
    assert not packed.exists()
    assert compress(tiny_onnx_path, packed, bits=6).sha256 == foretold.sha256


def _full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def _ctrl_c(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("failure", "error"), [(_full_disk, OutputError), (_ctrl_c, KeyboardInterrupt)]
)
def test_a_failed_write_leaves_the_old_file_and_no_other(
    tiny_onnx_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failure: Callable[..., None],
    error: type[BaseException],
) -> None:
    packed = tmp_path / "tiny.ekp"
    packed.write_bytes(b"the old file")
    before = sorted(tmp_path.iterdir())

    def half_written(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
        failure()
        raise AssertionError("not reached")

    monkeypatch.setattr(Path, "write_bytes", half_written)
    with pytest.raises(error):
        compress(tiny_onnx_path, packed)

    assert packed.read_bytes() == b"the old file"
    assert sorted(tmp_path.iterdir()) == before


def test_a_file_that_does_not_read_back_is_not_written(
    tiny_onnx_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = tmp_path / "tiny.ekp"
    packed.write_bytes(b"the old file")

    def broken(*_: object, **__: object) -> bytes:
        raise OutputError("doesn't read back")

    monkeypatch.setattr(pipeline, "pack", broken)
    with pytest.raises(OutputError):
        compress(tiny_onnx_path, packed)

    assert packed.read_bytes() == b"the old file"


def test_a_broken_model_leaves_the_old_file(tiny_onnx_path: Path, tmp_path: Path) -> None:
    packed = tmp_path / "tiny.ekp"
    packed.write_bytes(b"the old file")
    tiny_onnx_path.write_bytes(tiny_onnx_path.read_bytes()[:-100])

    with pytest.raises(ModelFileError):
        compress(tiny_onnx_path, packed)

    assert packed.read_bytes() == b"the old file"


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet"])
def test_a_light_model_of_onnx_is_packed_and_runs(name: str, tmp_path: Path) -> None:
    """Their weights are made by ConstantOfShape; folded, they are constants in the file."""
    source = Path(onnx.__file__).parent / f"backend/test/data/light/light_{name}.onnx"
    model = onnx.load(source)
    packed = tmp_path / f"{name}.ekp"

    report = compress(source, packed, bits=6)

    expected, found = answers(packed, model)
    assert report.file_bytes < source.stat().st_size
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


def test_all_parts_of_the_graph_survive(tiny_model: ModelProto, tmp_path: Path) -> None:
    tiny_model.doc_string = "a note"
    helper.set_model_props(tiny_model, {"author": "someone"})

    compress(tiny_model.SerializeToString(), tmp_path / "m.ekp")

    back = to_model_proto(read_packfile(tmp_path / "m.ekp"))
    assert back.doc_string == "a note"
    assert back.metadata_props == tiny_model.metadata_props
    assert [node.name for node in back.graph.node] == [node.name for node in tiny_model.graph.node]
    onnx.checker.check_model(back, full_check=True)


def test_weights_read_from_memory_equal_those_of_the_file(tiny_onnx_path: Path) -> None:
    by_path, by_bytes = load_graph(tiny_onnx_path), load_graph(tiny_onnx_path.read_bytes())

    assert by_path.source_sha256 == by_bytes.source_sha256
    for left, right in zip(by_path.weights, by_bytes.weights, strict=True):
        np.testing.assert_array_equal(left.values, right.values)


def test_the_manifest_says_all_that_repeats_the_run(
    tiny_onnx_path: Path, tiny_data: Path, tmp_path: Path
) -> None:
    report = compress(
        tiny_onnx_path,
        tmp_path / "m.ekp",
        sparsity=0.2,
        coder="rans",
        calibration=tiny_data,
        goal=Goal(min_agreement=0.2),
        evaluation=tiny_data,
        keep={"gemm": 8},
        channels=0.9,
        low_rank=0.99,
        run_as="int8",
        int8_floats=(),
        force=True,
    )

    manifest = read_packfile(tmp_path / "m.ekp").manifest
    assert manifest["recipe"] == report.recipe
    assert manifest["recipe"] == {
        "bits": 8,
        "method": "uniform",
        "sparsity": 0.2,
        "scope": "global",
        "keep": {"gemm.weight": 8},
        "coder": "rans",
        "calibration": f"{tiny_data.stem} all",
        "seed": 0,
        "min_agreement": 0.2,
        "evaluation": f"{tiny_data.stem} all",
        "channels": 0.9,
        "low_rank": 0.99,
        "run_as": "int8",
    }
    assert os.fspath(tmp_path) not in json.dumps(manifest)


def test_a_size_holds_with_all_that_the_manifest_notes_later(
    tiny_onnx_path: Path, tiny_data: Path
) -> None:
    for target in range(2990, 3010, 4):
        report = compress(
            tiny_onnx_path,
            None,
            dry_run=True,
            sparsity=0.1,
            calibration=tiny_data,
            goal=Goal(target_bytes=target),
            evaluation=tiny_data,
            force=True,
        )

        assert 0.9 * target < report.file_bytes <= target


@pytest.mark.parametrize("floats", [None, ()])
def test_both_run_forms_are_measured_against_the_original(
    floats: tuple[str, ...] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_form, "race", lambda runners, **_: [1.0] * len(runners))

    report = compress(
        branchy().SerializeToString(),
        None,
        dry_run=True,
        calibration=inputs(40),
        channels=0.7,
        run_as="int8",
        int8_floats=floats,
        force=True,
    )

    assert report.changes["channels"]["removed"]
    assert report.run_form is not None
    noted = report.metrics["original"]
    assert noted["inputs"] == report.run_form.inputs
    assert report.run_form.float_divergence == pytest.approx(noted["divergence"], abs=1e-5)
