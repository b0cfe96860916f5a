"""Plans: what is written is read again, and every slip in a file is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.compress.goal import Goal
from edgekit.compress.settings import Settings, read_settings, write_settings
from edgekit.errors import OutputError, PlanError
from tests.support import Cli

FULL = Settings(
    bits=6,
    method="uniform",
    sparsity=0.25,
    coder="rans",
    calibration='a "quoted" é.npz',
    preprocess="imagenet",
    goal=Goal(max_divergence=0.03),
    keep={"conv1": 8, 'f"c': "float"},
    source_sha256="ab" * 32,
)


@pytest.mark.parametrize("settings", [Settings(), FULL])
def test_settings_are_read_as_they_were_written(settings: Settings, tmp_path: Path) -> None:
    write_settings(settings, tmp_path / "plan.toml")

    assert read_settings(tmp_path / "plan.toml") == settings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bist = 6", "no setting 'bist'; did you mean 'bits'"),
        ("bits = 'six'", "bits can't be 'six'"),
        ("bits = true", "bits can't be True"),
        ("[keep]\nstem = 'flat'", "keep stem: bits or 'float', not 'flat'"),
        ("[keep]\nstem = true", "keep stem: bits or 'float', not True"),
        ("bits = 9", "bits must be"),
        ("method = 'k-means'", "method must be uniform or codebook"),
        ("coder = 'zip'", "coder must be huffman or rans"),
        ("bits_per_weight = 3\nmax_divergence = 0.1", "give one of"),
        ("bits = ", "isn't TOML"),
    ],
)
def test_slips_are_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(text)

    with pytest.raises(PlanError, match=message) as caught:
        read_settings(tmp_path / "plan.toml")

    assert str(tmp_path / "plan.toml") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_plan_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="can't read the plan"):
        read_settings(tmp_path / "none.toml")


def test_a_plan_needs_a_place(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        write_settings(Settings(), tmp_path / "none" / "plan.toml")


def test_a_saved_plan_repeats_the_same_bytes(
    cli: Cli, tiny_onnx_path: Path, tmp_path: Path
) -> None:
    plan, first, second = (tmp_path / name for name in ("plan.toml", "1.ekp", "2.ekp"))
    flags = ["--calibration", "noise", "--bits-per-weight", "3", "--keep", "conv:8"]

    saved = cli("compress", tiny_onnx_path, "-o", first, *flags, "--save-plan", plan)
    repeated = cli("compress", tiny_onnx_path, "-o", second, "--plan", plan)

    assert (saved.exit_code, repeated.exit_code, repeated.stderr) == (0, 0, "")
    assert first.read_bytes() == second.read_bytes()


def test_a_flag_wins_over_the_plan(cli: Cli, tiny_onnx_path: Path, tmp_path: Path) -> None:
    plan, packed = tmp_path / "plan.toml", tmp_path / "m.ekp"
    write_settings(Settings(bits=4, sparsity=0.5), plan)

    outcome = cli(
        "compress", tiny_onnx_path, "-o", packed, "--plan", plan, "--bits", "6", "--save-plan", plan
    )

    assert outcome.exit_code == 0
    assert read_settings(plan).bits == 6
    assert read_settings(plan).sparsity == 0.5


def test_a_plan_of_another_model_is_told(cli: Cli, tiny_onnx_path: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    write_settings(Settings(source_sha256="00" * 32), plan)

    outcome = cli("compress", tiny_onnx_path, "-o", tmp_path / "m.ekp", "--plan", plan)

    assert outcome.exit_code == 0
    assert "was made for another model" in outcome.stderr


def test_a_plan_without_an_end_is_refused() -> None:
    with pytest.raises(PlanError, match="too many for settings"):
        read_settings("/dev/zero")
