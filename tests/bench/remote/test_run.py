"""Whole benchmarks through a made-up ssh; tests/remote/run.sh does the same through a real one."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import edgekit
from edgekit.bench.remote import run, session
from edgekit.bench.remote.run import bench_on, bench_on_all
from edgekit.bench.remote.worker import NUMPY_DECODES
from edgekit.bench.results import BenchReport
from edgekit.compress.pipeline import compress
from edgekit.errors import DataError, DeviceError, InputError, ModelFileError, UsageError
from tests.bench.remote.devices import FakeDevice, fake_device, program

ADDRESS = "ssh://pi@board:2222"


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    return fake_device(tmp_path / "device", monkeypatch)


def measure(paths: Path | Sequence[Path], **options: Any) -> BenchReport:
    """A short benchmark with this Python as the device's."""
    settings = {"python": sys.executable, "runs": 3, "warmup": 1, "cold": False, **options}
    return bench_on(ADDRESS, paths, **settings)


@contextlib.contextmanager
def interrupted(script: str, word: str, times: int) -> Iterator[str]:
    """Stderr of a Python script that gets a Ctrl-C after so many lines with a word."""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        seen = 0
        while seen < times and (line := child.stdout.readline()):
            seen += word in line
        child.send_signal(signal.SIGINT)
        try:
            _, trace = child.communicate(timeout=30)
        finally:
            child.kill()
    yield trace


def test_a_device_measures_and_keeps_nothing(
    device: FakeDevice, tiny_onnx_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tmp_path / "a b;$(touch x)'\".onnx"
    shutil.copy(tiny_onnx_path, odd)
    # Another digest: the sources are sent.
    monkeypatch.setattr(run, "source_digest", lambda _: "other")
    packed = tmp_path / "tiny.ekp"
    compress(tiny_onnx_path, packed, bits=6, method="uniform")
    said: list[str] = []
    device.startup("import sys; sys.modules['cffi'] = sys.modules['_cffi_backend'] = None")

    report = measure([odd, packed], threads=[1, 2], say=said.append)

    assert [(Path(case.path).name, case.threads) for case in report.cases] == [
        (odd.name, 1),
        (odd.name, 2),
        ("tiny.ekp", 1),
        ("tiny.ekp", 2),
    ]
    assert [case.path for case in report.cases[::2]] == [str(odd), str(packed)]
    assert [case.warm.count for case in report.cases] == [3, 3, 3, 3]
    assert NUMPY_DECODES in report.warnings
    assert said[0] == "pi@board:2222: connecting"
    assert str(odd) not in (device.log.read_text())
    assert any(f"measuring {odd}, {packed}" in line for line in said)
    assert device.leftovers == []
    assert not list(device.home.rglob("*"))


def test_data_here_are_used_there_and_named_as_here(
    device: FakeDevice, tiny_onnx_path: Path, tmp_path: Path
) -> None:
    inputs = tmp_path / "my inputs.npz"
    np.savez(inputs, input=np.zeros((2, 1, 12, 12), np.float32))

    report = measure(tiny_onnx_path, input_data=inputs)
    inputs.write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"my inputs\.npz"):
        measure(tiny_onnx_path, input_data=inputs)

    assert report.settings.input_data == str(inputs)
    assert device.leftovers == []


def test_pictures_become_inputs_there_as_the_packed_file_says(
    device: FakeDevice, tiny_onnx_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(2):
            pixels = np.full((12, 12), 60 * number, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{number}.png")
    packed = tmp_path / "tiny.ekp"
    compress(tiny_onnx_path, packed, calibration=tmp_path / "pictures", preprocess="symmetric")
    # Another digest: the sources are sent. A device has no onnx.
    monkeypatch.setattr(run, "source_digest", lambda _: "other")
    device.startup("import sys; sys.modules['onnx'] = None")

    report = measure(packed, evaluate=tmp_path / "pictures")

    accuracy = report.cases[0].accuracy
    assert accuracy is not None
    assert accuracy.count == 4
    assert device.leftovers == []


def test_equal_code_on_the_device_isnt_sent_again(
    device: FakeDevice, tiny_onnx_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.startup(f"import sys; sys.path.append({str(Path(edgekit.__file__).parents[1])!r})")
    said: list[str] = []

    measure(tiny_onnx_path, say=said.append)

    assert any(f"sending {tiny_onnx_path.stat().st_size:,} bytes" in line for line in said)
    assert device.leftovers == []


def test_ssh_is_told_to_ask_nothing_and_all_else_is_the_users(
    device: FakeDevice, tiny_onnx_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_SSH_SAYS", "Host key verification failed.")

    with pytest.raises(DeviceError, match="host key of pi@board:2222 isn't known"):
        measure(tiny_onnx_path, ssh_config=tmp_path / "config")

    words = json.loads(device.log.read_text())
    assert words[:5] == ["-F", str(tmp_path / "config"), "-T", "-a", "-x"]
    assert "BatchMode=yes" in words
    assert not [word for word in words if "StrictHostKeyChecking" in word]
    assert words[-7:-1] == ["-l", "pi", "-p", "2222", "--", "board"]


def test_a_device_without_python_is_named_with_its_system(
    device: FakeDevice, tiny_onnx_path: Path
) -> None:
    with pytest.raises(DeviceError, match=r"no program python9 on .*; it is a Linux"):
        measure(tiny_onnx_path, python="python9")


@pytest.mark.parametrize(
    "name", ["$(touch {0})", "x; touch {0}", "'; touch {0} '", "~/`touch {0}`"]
)
def test_the_name_of_the_python_is_no_command(
    device: FakeDevice, tiny_onnx_path: Path, tmp_path: Path, name: str
) -> None:
    mark = tmp_path / "pwned"

    with pytest.raises(DeviceError, match="no program"):
        measure(tiny_onnx_path, python=name.format(mark))

    assert not mark.exists()


@pytest.mark.parametrize(
    ("hello", "sentence"),
    [
        ('"version": [3, 9, 2], "machine": "aarch64", "bits": 64', "is Python 3.9.2"),
        ('"version": [3, 11, 2], "machine": "armv7l", "bits": 32', "32-bit Python"),
    ],
)
def test_a_python_of_the_wrong_kind_is_refused(
    device: FakeDevice, tiny_onnx_path: Path, hello: str, sentence: str
) -> None:
    python = program(
        device.home / "python", f'#!/bin/sh\necho \'EDGEKIT {{"event": "hello", {hello}}}\'\n'
    )

    with pytest.raises(DeviceError, match=sentence):
        measure(tiny_onnx_path, python=str(python))


def test_a_tilde_is_the_home_folder_of_the_device(device: FakeDevice, tiny_onnx_path: Path) -> None:
    program(device.home / "my env" / "python", "#!/bin/sh\necho Hello from home >&2; exit 3\n")

    with pytest.raises(DeviceError, match="Hello from home"):
        measure(tiny_onnx_path, python="~/my env/python")


def test_a_login_script_that_talks_does_no_harm(
    tmp_path: Path, tiny_onnx_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = fake_device(
        tmp_path / "device",
        monkeypatch,
        login="echo 'Welcome!'; echo 'EDGEKIT is great'; printf 'no line end'; ",
    )
    device.startup("import sys; sys.modules['onnxruntime'] = None")

    with pytest.raises(DeviceError, match="importing onnxruntime on pi@board:2222 fails"):
        measure(tiny_onnx_path)


def test_an_account_without_a_shell_says_so(
    tmp_path: Path, tiny_onnx_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_device(tmp_path / "device", monkeypatch, login="echo 'No login today.'; exit 1; ")

    with pytest.raises(DeviceError, match=r"doesn't start Python, code 1: No login today\."):
        measure(tiny_onnx_path)


def test_a_link_that_breaks_while_files_go_over_leaves_nothing(
    device: FakeDevice, tiny_onnx_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "source_digest", lambda _: "other")
    monkeypatch.setenv("FAKE_SSH_CUTS_AFTER", "50000")

    with pytest.raises(DeviceError, match="was lost while sending files: client_loop"):
        measure(tiny_onnx_path)

    assert device.leftovers == []


def test_a_device_that_cant_store_the_files_says_why(
    tmp_path: Path, tiny_onnx_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A limit of one block a file stands for a disk that is full.
    device = fake_device(tmp_path / "device", monkeypatch, login="ulimit -f 1; ")

    with pytest.raises(DeviceError, match="can't store the files: File too large"):
        measure(tiny_onnx_path)

    assert device.leftovers == []


def test_a_benchmark_that_is_killed_is_told_with_its_last_words(
    device: FakeDevice, tiny_onnx_path: Path
) -> None:
    device.startup(
        "import os, sys\n"
        "if 'edgekit.bench.remote.worker' in sys.orig_argv:\n"
        "    os.write(2, b'progress: \\x1b[2Jhi\\nout of tune\\n')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    said: list[str] = []

    with pytest.raises(DeviceError, match=r"killed by signal 9.*: out of tune$"):
        measure(tiny_onnx_path, say=said.append)

    assert said[-1] == "pi@board:2222:  [2Jhi"
    assert device.leftovers == []


@pytest.mark.parametrize("has_order", [False, True])
def test_a_worker_touches_no_folder_that_an_agent_did_not_make(
    tmp_path: Path, has_order: bool
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    if has_order:
        (tmp_path / "order.json").write_text("{}")

    done = subprocess.run(
        [sys.executable, "-m", "edgekit.bench.remote.worker"],
        check=False,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )

    assert done.returncode == 2
    assert b"started by edgekit.bench.remote.agent" in done.stderr
    assert (tmp_path / "mine.txt").exists()


def test_a_killed_agent_takes_the_benchmark_with_it(
    device: FakeDevice, tiny_onnx_path: Path
) -> None:
    pids = device.home / "pids"
    # A child of the worker, as a cold start is, which makes the folder anew whenever it's gone.
    again = 'for i in $(seq 500); do mkdir -p "$TMPDIR/again"; sleep 0.01; done'
    device.startup(
        "import os, subprocess, sys\n"
        "if 'edgekit.bench.remote.worker' in sys.orig_argv:\n"
        f"    subprocess.Popen(['sh', '-c', {again!r}])\n"
        f"    open({str(pids)!r}, 'w').write(f'{{os.getppid()}} {{os.getpid()}}')\n"
    )

    def kill(line: str) -> None:
        if "measuring" in line:
            os.kill(int(pids.read_text().split()[0]), signal.SIGKILL)

    with pytest.raises(DeviceError, match="stopped while measuring"):
        measure(tiny_onnx_path, runs=10**9, say=kill)

    worker = Path("/proc") / pids.read_text().split()[1]
    deadline = time.monotonic() + 10
    while (worker.exists() or device.leftovers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not worker.exists()
    assert device.leftovers == []


def test_errors_of_the_benchmark_come_back_as_what_they_are(
    device: FakeDevice, tiny_onnx_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"on pi@board:2222: tiny\.onnx: .*takes the shape"):
        measure(tiny_onnx_path, input_shape=[1, 2, 12, 12])

    assert device.leftovers == []


def test_bad_files_are_told_before_anything_is_started(device: FakeDevice, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")

    with pytest.raises(InputError, match=r"none\.onnx: No such file"):
        measure(tmp_path / "none.onnx")
    with pytest.raises(ModelFileError, match="isn't an ONNX model"):
        measure(tmp_path / "text.onnx")
    with pytest.raises(UsageError, match="no model"):
        measure([])
    assert not device.log.exists()


def test_a_report_that_makes_no_sense_is_the_devices_fault(
    device: FakeDevice, tiny_onnx_path: Path
) -> None:
    answers = ['{"event": "received"}', '{"event": "report", "report": {"kind": "other"}}']
    facts = {
        "event": "facts",
        "packages": {"numpy": "2.1", "onnxruntime": "1.22"},
        "fault": None,
        "free_bytes": 1 << 40,
        "temporary": "/t",
        "cffi": False,
        "installed": None,
    }
    hello = {"event": "hello", "version": [3, 11, 2], "machine": "any", "bits": 64}
    lines = "\n".join(
        f"EDGEKIT {line}" for line in [json.dumps(hello), json.dumps(facts), *answers]
    )
    python = program(device.home / "python", f"#!/bin/sh\ncat <<'END'\n{lines}\nEND\ncat >&2\n")

    with pytest.raises(DeviceError, match="the report of pi@board:2222 isn't a latency report"):
        measure(tiny_onnx_path, python=str(python))


def test_a_device_that_stays_silent_is_given_up(
    device: FakeDevice, tiny_onnx_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = program(device.home / "python", "#!/bin/sh\ncat >/dev/null\n")
    monkeypatch.setattr(session, "_HELLO_TIMEOUT_S", 0.2)
    monkeypatch.setattr(session, "_QUIET_S", 0.1)

    with pytest.raises(DeviceError, match="no answer from pi@board:2222"):
        measure(tiny_onnx_path, python=str(python))


def test_no_ssh_here_is_a_line(tiny_onnx_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")

    with pytest.raises(DeviceError, match="install the OpenSSH client"):
        measure(tiny_onnx_path)


def test_ctrl_c_ends_the_benchmark_on_the_device_too(
    device: FakeDevice, tiny_onnx_path: Path
) -> None:
    script = f"""
import sys
from edgekit.bench.remote.run import bench_on
bench_on({ADDRESS!r}, {str(tiny_onnx_path)!r}, python=sys.executable, runs=10**9, cold=False,
         say=lambda line: print(line, flush=True))
"""
    with interrupted(script, "measuring", 1) as trace:
        assert trace.strip().endswith("KeyboardInterrupt")

    assert device.leftovers == []


def test_one_device_that_fails_doesnt_stop_the_others(
    tmp_path: Path, tiny_onnx_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = fake_device(tmp_path / "device", monkeypatch)
    ssh = tmp_path / "device" / "bin" / "ssh"
    ssh.write_text(
        ssh.read_text().replace(
            "import json, os, subprocess, sys",
            "import json, os, subprocess, sys\n"
            "if 'broken' in sys.argv: os.environ['FAKE_SSH_SAYS'] = 'Connection refused'",
        )
    )

    good, bad = bench_on_all(
        ["ssh://pi@good", "ssh://pi@broken"],
        tiny_onnx_path,
        python=sys.executable,
        runs=3,
        cold=False,
    )

    assert good.report is not None
    assert good.error is None
    assert bad.report is None
    assert str(bad.error) == ("pi@broken refuses the connection: is its ssh server running?")
    assert device.leftovers == []


def test_ctrl_c_ends_the_benchmarks_on_all_devices(
    device: FakeDevice, tiny_onnx_path: Path
) -> None:
    script = f"""
import sys
from edgekit.bench.remote.run import bench_on_all
bench_on_all(["one", "two"], {str(tiny_onnx_path)!r}, python=sys.executable, runs=10**9,
             cold=False, say=lambda line: print(line, flush=True))
"""
    with interrupted(script, "measuring", 2) as trace:
        assert trace.strip().endswith("KeyboardInterrupt")

    assert device.leftovers == []


def test_a_device_is_measured_once_at_a_time(tiny_onnx_path: Path) -> None:
    with pytest.raises(UsageError, match="given twice"):
        bench_on_all(["ssh://pi@board", "pi@board"], tiny_onnx_path)
