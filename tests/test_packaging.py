"""The wheel: complete, one for all Pythons, and buildable without a compiler."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.slow


def tracked(*folders: str) -> set[str]:
    listing = subprocess.run(
        ["git", "ls-files", "-z", *folders], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(filter(None, listing.stdout.split("\0")))


def build_wheel(folder: Path, **environment: str) -> Path:
    """Build from a copy of the tracked files, so that nothing left in the checkout gets in."""
    source = folder / "source"
    for name in tracked("edgekit", "models", "pyproject.toml", "setup.py", "README.md", "LICENSE"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
            *("--no-build-isolation", "--wheel-dir", folder, source),
        ],
        env=os.environ | environment,
        capture_output=True,
        check=True,
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_every_tracked_file_of_both_packages(wheel: Path) -> None:
    expected = {name.removeprefix("models/") for name in tracked("edgekit", "models")}

    missing = expected - set(zipfile.ZipFile(wheel).namelist())

    assert missing == set()


def test_one_wheel_serves_every_python_from_3_11_on(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    assert "-cp311-abi3-" in wheel.name
    assert "edgekit/codec/_native.abi3.so" in names


def test_without_a_compiler_the_install_goes_through(tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path, CC="/nonexistent/cc")

    names = zipfile.ZipFile(wheel).namelist()

    assert "edgekit/codec/__init__.py" in names
    assert [name for name in names if name.endswith(".so")] == []
