from __future__ import annotations

import json

import pytest

from edgekit.bench import doctor as examination
from edgekit.bench.installed import Package
from tests.support import Cli


def test_this_machine_is_ready(cli: Cli) -> None:
    outcome = cli("doctor")

    assert outcome.exit_code == 0
    assert "ready" in outcome.stdout.splitlines()[-1]
    for word in ("python", "onnxruntime", "decoder", "extra torch", "governor", "throttling"):
        assert word in outcome.stdout


def test_json_holds_the_checks_and_the_facts(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "needed_packages", tuple)

    report = json.loads(cli("doctor", "--format", "json").stdout)

    assert report["usable"] is True
    assert report["host"]["versions"]["edgekit"]
    assert {"checks", "state", "schema"} < report.keys()


def test_something_broken_is_code_1_with_the_table(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Package("onnxruntime", "1.32.0", "its import crashes with SIGILL")
    monkeypatch.setattr(examination, "needed_packages", lambda: (broken,))

    outcome = cli("doctor")

    assert outcome.exit_code == 1
    assert "crashes with SIGILL" in outcome.stdout
    assert outcome.stdout.splitlines()[-1] == "can't run models here: onnxruntime"
    assert outcome.stderr == ""
