"""The pages say what the program does."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
)


def code_blocks(page: Path, heading: str) -> list[tuple[str, str]]:
    """Language and text of the fenced blocks in one section of a page."""
    section = page.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2]
    section = section.partition("\n## ")[0]
    return re.findall(r"^```(\w+)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


@pytest.fixture
def cli_reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "cli_reference", ROOT / "tools" / "cli_reference.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_command_reference_is_that_of_the_commands(cli_reference: ModuleType) -> None:
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == cli_reference.reference()


def test_a_stale_command_reference_is_noticed(
    cli_reference: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cli_reference, "PAGE", tmp_path / "cli.md")

    before = cli_reference.main(["--check"])
    message = capsys.readouterr().err
    cli_reference.main([])
    after = cli_reference.main(["--check"])

    assert (before, after) == (1, 0)
    assert message == "docs/cli.md differs from the commands; run: make docs\n"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text(encoding="utf-8"))

    missing = [target for target in targets if not (page.parent / target).exists()]

    assert missing == []


def test_every_module_has_its_line_in_the_architecture() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    packages = [path.parent.name for path in (ROOT / "edgekit").glob("*/__init__.py")]

    missing = [name for name in packages if f"`{name}" not in text]

    assert missing == []


@pytest.mark.slow
def test_the_tour_of_the_readme_runs_as_it_stands(tmp_path: Path) -> None:
    blocks = [
        block
        for heading in ("Command line", "Python", "In an app")
        for block in code_blocks(ROOT / "README.md", heading)
    ]
    # The programs of this environment come first, as in an activated one.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    for language, text in blocks:
        command = (
            [sys.executable, "-c", text]
            if language == "python"
            else ["bash", "-euc", re.sub(r"^\$ ", "", text, flags=re.MULTILINE)]
        )
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )

        assert done.returncode == 0, f"{text}\n{done.stderr}"

    assert [language for language, _ in blocks] == ["console", "python", "console"]
