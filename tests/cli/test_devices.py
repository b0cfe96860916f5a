"""`edgekit bench --device`, through a made-up ssh."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.bench.remote.devices import FakeDevice, fake_device
from tests.support import Cli

SHORT = ("--device-python", sys.executable, "--runs", "3", "--warmup", "1", "--no-cold")


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    return fake_device(tmp_path / "device", monkeypatch)


def test_a_device_is_measured_and_its_progress_goes_to_stderr(
    cli: Cli, device: FakeDevice, tiny_onnx_path: Path, tmp_path: Path
) -> None:
    saved = tmp_path / "report.json"

    outcome = cli("bench", tiny_onnx_path, "--device", "ssh://pi@board", *SHORT, "-o", saved)

    assert outcome.exit_code == 0
    assert "tiny.onnx" in outcome.stdout
    assert "pi@board" not in outcome.stdout
    assert outcome.stderr.splitlines()[0] == "pi@board: connecting"
    assert json.loads(saved.read_text())["cases"][0]["path"] == str(tiny_onnx_path)
    assert device.leftovers == []


def test_several_devices_are_told_apart_and_one_that_fails_is_code_5(
    cli: Cli, device: FakeDevice, tiny_onnx_path: Path, tmp_path: Path
) -> None:
    ssh = tmp_path / "device" / "bin" / "ssh"
    broken = "if 'broken' in sys.argv: os.environ['FAKE_SSH_SAYS'] = 'Connection refused'"
    ssh.write_text(ssh.read_text().replace("sys\n", f"sys\n{broken}\n", 1))
    page = tmp_path / "report.md"

    outcome = cli(
        "bench", tiny_onnx_path, "--device", "good", "--device", "broken", *SHORT, "-o", page
    )

    assert outcome.exit_code == 5
    assert outcome.stdout.splitlines()[0].strip() == "good"
    last = outcome.stderr.splitlines()[-2:]
    assert last == [
        "edgekit: error: broken refuses the connection: is its ssh server running?",
        "edgekit: error: 1 of 2 devices failed",
    ]
    assert "tiny.onnx" in page.read_text()


def test_a_device_that_cant_be_reached_is_one_line_and_code_5(
    cli: Cli, device: FakeDevice, tiny_onnx_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_SSH_SAYS", "Host key verification failed.")

    outcome = cli("bench", tiny_onnx_path, "--device", "ssh://pi@board")

    assert outcome.exit_code == 5
    _, error = outcome.stderr.splitlines()
    assert error == (
        "edgekit: error: the host key of pi@board isn't known: connect once with ssh, compare the "
        "key and accept it"
    )
    assert outcome.stdout == ""


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--device-python", "python3"], "go with --device"),
        (["--ssh-config", "config"], "go with --device"),
        (["--device", "http://board"], "a device is ssh://user@host"),
        (["--device", "a", "--device", "a"], "given twice"),
        (["--device", "a", "--device", "b", "--format", "json"], "JSON holds the report of one"),
        (["--device", "a", "--device", "b", "-o", "x.json"], "JSON holds the report of one"),
    ],
)
def test_flags_that_make_no_sense_are_refused_before_anything_is_started(
    cli: Cli, device: FakeDevice, tiny_onnx_path: Path, flags: list[str], words: str
) -> None:
    outcome = cli("bench", tiny_onnx_path, *flags)

    assert outcome.exit_code == 2
    assert words in outcome.stderr
    assert len(outcome.stderr.splitlines()) == 1
    assert not device.log.exists()
