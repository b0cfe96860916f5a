"""The layer that broke is found, and keeping it finer is what is advised."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from edgekit.compress.pipeline import compress
from edgekit.errors import UsageError
from edgekit.runtime.verify import VerifyReport, verify
from tests.support import Cli


@pytest.fixture
def broken(tiny_onnx_path: Path, tmp_path: Path) -> Path:
    """Eight bits but for one layer, which has two."""
    path = tmp_path / "broken.ekp"
    compress(tiny_onnx_path, path, keep={"depthwise": 2})
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
