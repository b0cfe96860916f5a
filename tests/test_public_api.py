"""The public names: sorted lists that are true, and light imports."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import edgekit
from edgekit import api
from edgekit.cli.main import VERBS
from edgekit.errors import MissingDependencyError

ROOT = Path(__file__).parent.parent
HEAVY = ("onnx", "onnxruntime", "torch")
PACKAGES = [
    "edgekit",
    *(
        module.name
        for module in pkgutil.walk_packages(edgekit.__path__, "edgekit.")
        if module.ispkg
    ),
]


@pytest.mark.parametrize("package", [*PACKAGES, "edgekit.api", "edgekit_models"])
def test_a_list_of_public_names_is_sorted_and_true(package: str) -> None:
    module = importlib.import_module(package)

    names = getattr(module, "__all__", [])

    assert names == sorted(names)
    for name in names:
        assert getattr(module, name) is not None


def test_every_verb_of_the_command_line_is_a_function_of_the_api() -> None:
    verbs = {verb.replace(" ", "_") for verb in VERBS} - {"models"}

    assert verbs < set(api.__all__)


def test_the_listing_of_the_api_names_the_verbs() -> None:
    assert set(api.__all__) <= set(dir(api))


def test_load_is_also_at_the_top() -> None:
    assert edgekit.load is api.load


@pytest.mark.parametrize("module", [edgekit, api])
def test_an_unknown_name_is_an_attribute_error(module: object) -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        module.nothing  # type: ignore[attr-defined]  # noqa: B018  the missing name is the test


def test_the_version_is_that_of_the_metadata() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert edgekit.__version__ == project["version"]


@pytest.mark.parametrize("name", ["edgekit", "edgekit.api", "edgekit.cli.main"])
def test_importing_the_front_brings_in_nothing_heavy(name: str) -> None:
    script = f"import {name}, sys; print([m for m in {HEAVY} if m in sys.modules])"

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"


def test_a_verb_without_its_extra_names_the_extra() -> None:
    # None in sys.modules makes an import fail as if the package were not installed.
    script = """
import sys
sys.modules["torch"] = None
from edgekit import api
from edgekit.errors import MissingDependencyError
try:
    api.export("squeezenet", "model.onnx")
except MissingDependencyError as error:
    print(error)
"""

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout == (
        "torch is not installed; install it with: pip install 'edgekit[torch]'\n"
    )


def test_the_extras_that_errors_name_exist_and_bring_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    for package, extra in api._EXTRAS.items():
        required = project["optional-dependencies"][extra]

        assert any(requirement.startswith(package) for requirement in required)


def test_a_module_that_no_extra_brings_is_not_explained_away() -> None:
    assert api.missing_dependency(ModuleNotFoundError("x", name="edgekit.nothing")) is None
    assert isinstance(
        api.missing_dependency(ModuleNotFoundError("x", name="torch.nn")), MissingDependencyError
    )
