"""Layers that stay finer than the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekit.compress.goal import Goal
from edgekit.compress.keep import Keep, kept_layers, parse_keep
from edgekit.compress.pipeline import compress
from edgekit.errors import PlanError
from edgekit.packfile import open_packfile, read_packfile
from edgekit.tensors import CodedTensor, StoredTensor

NAMES = ["conv1.weight", "conv2.weight", "fc.weight"]


def test_entries_are_read() -> None:
    assert parse_keep("conv1:8, fc:float,a:b:4") == {"conv1": 8, "fc": "float", "a:b": 4}


@pytest.mark.parametrize("text", ["", "conv1", "conv1:", ":8", "conv1:half", "conv1:8,,fc:4"])
def test_entries_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(PlanError, match="write NAME:BITS or NAME:float"):
        parse_keep(text)


def test_names_and_patterns_find_their_layers_and_the_later_wins() -> None:
    found = kept_layers({"conv*": 8, "conv2.weight": 6, "fc": "float"}, NAMES)

    assert found == {"conv1.weight": 8, "conv2.weight": 6, "fc.weight": "float"}


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ({"conv3": 8}, "no coded layer is called 'conv3'; did you mean 'conv"),
        ({"fc": 9}, "bits must be"),
        ({"fc": "half"}, "keep bits or 'float'"),
    ],
)
def test_what_cannot_be_kept_is_refused(keep: dict[str, Keep], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        kept_layers(keep, NAMES)


@pytest.mark.parametrize("calibration", [None, "noise"])
def test_kept_layers_have_their_bits_and_are_not_pruned(
    tiny_onnx_path: Path, tmp_path: Path, calibration: str | None
) -> None:
    report = compress(
        tiny_onnx_path,
        tmp_path / "m.ekp",
        bits=3,
        sparsity=0.5,
        calibration=calibration,
        keep={"conv": 8, "gemm": "float"},
    )

    model = {tensor.name: tensor for tensor in read_packfile(tmp_path / "m.ekp").tensors}
    kept, other = model["conv.weight"], model["pointwise.weight"]
    assert isinstance(kept, CodedTensor)
    assert isinstance(other, CodedTensor)
    assert isinstance(model["gemm.weight"], StoredTensor)
    assert np.abs(kept.codes.astype(int)).max() > 100
    assert np.mean(kept.codes == 0) < 0.1
    assert np.abs(other.codes.astype(int)).max() <= 3
    assert np.mean(other.codes == 0) > 0.4
    assert report.recipe["keep"] == {"conv.weight": 8, "gemm.weight": "float"}
    assert open_packfile(tmp_path / "m.ekp").manifest["recipe"]["keep"] == report.recipe["keep"]


def test_a_bound_spends_its_bits_on_the_other_layers(tiny_onnx_path: Path, tmp_path: Path) -> None:
    compress(
        tiny_onnx_path,
        tmp_path / "m.ekp",
        calibration="noise",
        goal=Goal(bits_per_weight=3.0),
        keep={"conv": 8},
    )

    model = {tensor.name: tensor for tensor in read_packfile(tmp_path / "m.ekp").tensors}
    kept, other = model["conv.weight"], model["pointwise.weight"]
    assert isinstance(kept, CodedTensor)
    assert isinstance(other, CodedTensor)
    assert np.abs(kept.codes.astype(int)).max() == 127
    assert np.abs(other.codes.astype(int)).max() < 20
