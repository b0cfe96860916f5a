"""docs/models.md says what the zoo counts to."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def models_page() -> ModuleType:
    spec = importlib.util.spec_from_file_location("models_page", ROOT / "tools" / "models_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_that_of_the_networks(models_page: ModuleType) -> None:
    assert (ROOT / "docs" / "models.md").read_text(encoding="utf-8") == models_page.page()


def test_a_stale_page_is_noticed(
    models_page: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(models_page, "PAGE", tmp_path / "models.md")

    before = models_page.main(["--check"])
    message = capsys.readouterr().err
    models_page.main([])
    after = models_page.main(["--check"])

    assert (before, after) == (1, 0)
    assert message == "docs/models.md differs from the zoo; run: make docs\n"
