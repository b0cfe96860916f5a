"""The layer that broke is found, and keeping it finer is what is advised."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from edgekit.compress.pipeline import compress
from edgekit.compress.plan import Method
from edgekit.errors import UsageError
from edgekit.runtime.verify import VerifyReport, verify
from tests.compress import test_any_onnx as models
from tests.onnx_files import make_model
from tests.support import Cli


@pytest.fixture
def broken(tiny_onnx_path: Path, tmp_path: Path) -> Path:
    """Eight bits but for one layer, which has two and which no later layer makes up for."""
    path = tmp_path / "broken.ekp"
    compress(tiny_onnx_path, path, keep={"depthwise": 2}, calibration="none")
    return path


def _verify(packed: Path, against: Path, tiny_data: Path) -> VerifyReport:
    return verify(packed, against=against, data=tiny_data, layers=True, threads=1)


def test_the_layer_that_broke_wins_back_most(
    broken: Path, tiny_onnx_path: Path, tiny_data: Path
) -> None:
    blame = _verify(broken, tiny_onnx_path, tiny_data).blame

    assert blame is not None
    assert [layer.name for layer in blame.layers] == [
        "conv.weight",
        "depthwise.weight",
        "pointwise.weight",
        "gemm.weight",
    ]
    won = {layer.name: layer.divergence or 0.0 for layer in blame.layers}
    assert won["depthwise.weight"] > 0.9 * blame.divergence > 0
    assert max(won.values()) == won["depthwise.weight"]
    assert blame.keep == "depthwise:8"
    assert min(layer.weight_snr for layer in blame.layers) == blame.layers[1].weight_snr
    assert blame.layers[1].accuracy is not None


def test_what_is_advised_mends_the_model(
    broken: Path, tiny_onnx_path: Path, tiny_data: Path, tmp_path: Path
) -> None:
    before = _verify(broken, tiny_onnx_path, tiny_data).blame
    compress(tiny_onnx_path, tmp_path / "mended.ekp", keep={"depthwise": 8})

    after = _verify(tmp_path / "mended.ekp", tiny_onnx_path, tiny_data).blame

    assert before is not None
    assert after is not None
    assert after.divergence < before.divergence / 10


def test_a_model_that_differs_nowhere_has_no_layer_to_blame(broken: Path, tiny_data: Path) -> None:
    blame = _verify(broken, broken, tiny_data).blame

    assert blame is not None
    assert blame.divergence == 0
    assert blame.keep == ""
    assert all(math.isinf(layer.weight_snr) for layer in blame.layers)


def test_random_inputs_serve_where_there_are_no_data(broken: Path, tiny_onnx_path: Path) -> None:
    blame = verify(broken, against=tiny_onnx_path, layers=True).blame

    assert blame is not None
    assert blame.keep == "depthwise:8"
    assert blame.layers[1].accuracy is None


def test_finding_the_layer_needs_the_original(broken: Path) -> None:
    with pytest.raises(UsageError, match="--against"):
        verify(broken, layers=True)


def test_the_table_ends_with_the_flag_to_use(
    cli: Cli, broken: Path, tiny_onnx_path: Path, tiny_data: Path
) -> None:
    outcome = cli("verify", broken, "--against", tiny_onnx_path, "--data", tiny_data, "--layers")

    assert outcome.exit_code == 0
    assert outcome.stdout.rstrip().endswith("--keep 'depthwise:8'")


def test_layers_that_lost_channels_are_left_out(
    tiny_onnx_path: Path, tiny_data: Path, tmp_path: Path
) -> None:
    thin = tmp_path / "thin.ekp"
    compress(tiny_onnx_path, thin, channels=0.6, force=True)

    blame = _verify(thin, tiny_onnx_path, tiny_data).blame

    assert blame is not None
    # Its outputs are the network's own, but not what it reads.
    assert "gemm.weight" not in [layer.name for layer in blame.layers]


def half(rng: np.random.Generator) -> ModelProto:
    """A weight in bfloat16, which a product takes as float32."""
    weights = rng.normal(0, 0.3, (16, 8)).astype(np.float32)
    model = make_model(
        [
            helper.make_node("Cast", ["w"], ["wide"], to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["x", "wide"], ["y"]),
        ],
        {"x": ["N", 16]},
        {"y": ["N", 8]},
    )
    patterns = (weights.view(np.uint32) >> 16).astype(np.uint16)
    stored = helper.make_tensor("w", TensorProto.BFLOAT16, (16, 8), patterns.tobytes(), raw=True)
    model.graph.initializer.append(stored)
    return model


@pytest.mark.parametrize(
    ("build", "names"),
    [
        (models.transposed, ["w", "d"]),
        (models.recurrent, ["w", "r", "v"]),
        (models.embedding, ["table"]),
        (models.shared, ["w"]),
        (models.in_constant_node, ["w"]),
        (models.in_subgraphs, ["v_hoisted", "w_hoisted"]),
        (half, ["w"]),
    ],
)
def test_every_weight_with_codes_is_restored(
    build: Callable[[np.random.Generator], ModelProto],
    names: list[str],
    rng: np.random.Generator,
    tmp_path: Path,
) -> None:
    onnx.save(build(rng), tmp_path / "m.onnx")
    compress(tmp_path / "m.onnx", tmp_path / "m.ekp", bits=3, calibration="none")

    blame = verify(tmp_path / "m.ekp", against=tmp_path / "m.onnx", layers=True).blame

    assert blame is not None
    assert [layer.name for layer in blame.layers] == names
    # Together they are all that was changed.
    assert sum(layer.divergence or 0.0 for layer in blame.layers) > 0.5 * blame.divergence > 0
    assert all(math.isfinite(layer.weight_snr) for layer in blame.layers)
    # What a branch puts out isn't seen.
    assert all(math.isnan(x.output_snr) == ("_hoisted" in x.name) for x in blame.layers)
    assert blame.keep
    assert all(entry.endswith(":8") for entry in blame.keep.split(","))


@pytest.mark.parametrize("method", ["uniform", "codebook"])
def test_a_layer_that_has_8_bits_already_is_advised_as_float(
    method: Method, cli: Cli, tiny_onnx_path: Path, tiny_data: Path, tmp_path: Path
) -> None:
    packed, mended = tmp_path / "p.ekp", tmp_path / "m.ekp"
    compress(tiny_onnx_path, packed, bits=8, method=method, calibration="none")
    before = _verify(packed, tiny_onnx_path, tiny_data).blame
    assert before is not None

    done = cli(
        *("compress", tiny_onnx_path, "-o", mended, "--method", method),
        *("--calibration", "none", "--keep", before.keep),
    )

    assert done.exit_code == 0
    assert before.keep
    assert all(entry.endswith(":float") for entry in before.keep.split(","))
    after = _verify(mended, tiny_onnx_path, tiny_data).blame
    assert after is not None
    assert after.divergence < 0.8 * before.divergence


def test_a_layer_kept_float_is_never_advised(tiny_onnx_path: Path, tmp_path: Path) -> None:
    compress(tiny_onnx_path, tmp_path / "m.ekp", calibration="none", keep={"*": "float"})

    blame = verify(tmp_path / "m.ekp", against=tiny_onnx_path, layers=True).blame

    assert blame is not None
    assert blame.keep == ""


def test_a_file_of_which_nothing_can_be_restored_says_so(
    cli: Cli, rng: np.random.Generator, tmp_path: Path
) -> None:
    for name in ("one", "other"):
        nodes = [helper.make_node("MatMul", ["x", name], ["y"])]
        weights = {name: rng.normal(size=(16, 8)).astype(np.float32)}
        model = make_model(nodes, {"x": ["N", 16]}, {"y": ["N", 8]}, weights)
        onnx.save(model, tmp_path / f"{name}.onnx")
    compress(tmp_path / "one.onnx", tmp_path / "m.ekp")

    done = cli("verify", tmp_path / "m.ekp", "--against", tmp_path / "other.onnx", "--layers")

    assert done.exit_code == 0
    assert "no layer could be restored" in done.stdout
    assert "restored alone" not in done.stdout


def test_a_model_with_several_inputs_is_fed_random_ones(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    scaled = make_model(
        [
            helper.make_node("MatMul", ["a", "w"], ["c"]),
            helper.make_node("Add", ["c", "b"], ["d"]),
            helper.make_node("Mul", ["d", "scale"], ["e"]),
            helper.make_node("MatMul", ["e", "v"], ["y"]),
        ],
        {"a": ["N", 16], "b": ["N", 8], "scale": []},
        {"y": ["N", 8]},
        {
            "w": rng.normal(size=(16, 8)).astype(np.float32),
            "v": rng.normal(size=(8, 8)).astype(np.float32),
        },
    )
    onnx.save(scaled, tmp_path / "m.onnx")
    compress(tmp_path / "m.onnx", tmp_path / "m.ekp", bits=8, keep={"w": 2}, calibration="none")

    blame = verify(tmp_path / "m.ekp", against=tmp_path / "m.onnx", layers=True).blame

    assert blame is not None
    assert blame.inputs == 8
    coarse, fine = blame.layers
    assert (coarse.name, fine.name) == ("w", "v")
    assert (coarse.divergence or 0.0) > 0.9 * blame.divergence > 0
    assert blame.keep == "w:8"
