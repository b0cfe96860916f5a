"""The program around the verbs: help, exit codes, one-line errors."""

from __future__ import annotations

import importlib.util
import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from edgekit import __version__
from edgekit.cli import main as program
from edgekit.errors import (
    ChecksumError,
    DeviceError,
    EdgekitError,
    MissingDependencyError,
    OutputError,
    ParityError,
    PlanError,
)
from tests.support import Cli, Outcome


def edgekit(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgekit.cli.main", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


def test_help_lists_every_verb(cli: Cli) -> None:
    outcome = cli("--help")

    words = " ".join(outcome.stdout.split())
    assert outcome.exit_code == 0
    for verb, summary in program.VERBS.items():
        assert f" {verb} {summary}" in words


def test_help_imports_no_verb_and_nothing_heavy() -> None:
    script = """
import sys
from edgekit.cli.main import VERBS, main
main(["--help"])
verbs = {f"edgekit.cli.{verb.replace(' ', '_')}" for verb in VERBS}
heavy = {"numpy", "onnx", "onnxruntime", "rich", "torch"}
print(sorted((verbs | heavy) & set(sys.modules)))
"""

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("verb", program.VERBS)
def test_the_line_in_the_listing_is_the_first_line_of_the_command(verb: str) -> None:
    command = program.load_command(verb)

    first_line = (inspect.getdoc(command) or "").splitlines()[0]

    assert first_line == program.VERBS[verb]


@pytest.mark.parametrize("verb", program.VERBS)
def test_every_verb_has_a_file_and_explains_itself(verb: str, cli: Cli) -> None:
    assert importlib.util.find_spec(f"edgekit.cli.{verb.replace(' ', '_')}") is not None

    outcome = cli(*verb.split(), "--help")

    assert outcome.exit_code == 0
    assert f"edgekit {verb}" in outcome.stdout


@pytest.mark.parametrize("verb", program.VERBS)
def test_help_of_a_verb_needs_neither_torch_nor_onnxruntime(verb: str) -> None:
    script = f"""
import sys
for name in ("onnx", "onnxruntime", "torch"):
    sys.modules[name] = None
from edgekit.cli.main import main
sys.exit(main([*{verb!r}.split(), "--help"]))
"""

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_the_version_is_printed(cli: Cli) -> None:
    outcome = cli("--version")

    assert (outcome.exit_code, outcome.stdout) == (0, f"edgekit {__version__}\n")


def test_no_words_at_all_show_the_help_as_a_usage_error(cli: Cli) -> None:
    outcome = cli()

    assert outcome.exit_code == 2
    assert "Usage: edgekit" in outcome.stdout + outcome.stderr


@pytest.mark.parametrize("words", [("shrink",), ("--loud",), ("inspect", "--loud")])
def test_an_unknown_word_is_a_usage_error(cli: Cli, words: tuple[str, ...]) -> None:
    outcome = cli(*words)

    assert outcome.exit_code == 2
    assert outcome.stdout == ""
    assert words[-1] in outcome.stderr


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (EdgekitError("broken"), 1),
        (OutputError("broken"), 1),
        (MissingDependencyError("torch", "torch"), 1),
        (PlanError("broken"), 2),
        (ParityError("broken"), 3),
        (ChecksumError("broken", offset=16), 4),
        (DeviceError("broken"), 5),
    ],
)
def test_an_error_is_one_line_and_its_exit_code(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, error: EdgekitError, exit_code: int
) -> None:
    def inspect() -> NoReturn:
        raise error

    monkeypatch.setattr(program, "load_command", lambda _verb: inspect)

    outcome = cli("inspect")

    assert outcome == Outcome(exit_code, "", f"edgekit: error: {error}\n")


def test_an_error_that_quotes_several_lines_stays_on_one(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def inspect() -> NoReturn:
        raise EdgekitError("not a model:\n  field 3\n  of node 2")

    monkeypatch.setattr(program, "load_command", lambda _verb: inspect)

    assert cli("inspect").stderr == "edgekit: error: not a model: field 3 of node 2\n"


def test_an_interruption_ends_with_130_and_no_traceback(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def inspect() -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "load_command", lambda _verb: inspect)

    outcome = cli("inspect")

    assert outcome.exit_code == 130
    assert "Traceback" not in outcome.stderr


def test_an_interruption_while_a_verb_is_imported_ends_with_130(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(_verb: str) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "load_command", load)

    assert cli("inspect").exit_code == 130


def test_a_missing_package_names_its_extra(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def train() -> NoReturn:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(program, "load_command", lambda _verb: train)

    outcome = cli("train")

    assert outcome.exit_code == 1
    assert "pip install 'edgekit[torch]'" in outcome.stderr


def test_a_file_that_a_verb_forgot_to_guard_is_named(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def inspect() -> None:
        (tmp_path / "missing.onnx").read_bytes()

    monkeypatch.setattr(program, "load_command", lambda _verb: inspect)

    outcome = cli("inspect")

    assert outcome.exit_code == 4
    assert outcome.stderr.endswith("missing.onnx: No such file or directory\n")
    assert len(outcome.stderr.splitlines()) == 1


def test_a_bug_is_not_dressed_up_as_an_error(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def inspect() -> NoReturn:
        raise ZeroDivisionError

    monkeypatch.setattr(program, "load_command", lambda _verb: inspect)

    with pytest.raises(ZeroDivisionError):
        cli("inspect")


def test_a_reader_that_hangs_up_gets_no_traceback() -> None:
    script = f"{sys.executable} -m edgekit.cli.main --help | true; echo ${{PIPESTATUS[0]}}"

    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() in {"0", "1"}
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_a_usage_error_says_where_to_find_help() -> None:
    done = edgekit("shrink")

    assert done.returncode == 2
    assert done.stderr.splitlines()[:2] == [
        "Usage: edgekit [OPTIONS] COMMAND [ARGS]...",
        "Try 'edgekit -h' for help.",
    ]
