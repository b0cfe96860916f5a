"""Benchmarks through a real ssh and sshd; run by tests/remote/run.sh."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.bench.remote import run, session
from edgekit.bench.remote.payload import sources_to_send
from edgekit.bench.remote.run import bench_on, bench_on_all
from edgekit.bench.remote.worker import NUMPY_DECODES
from edgekit.bench.results import BenchReport
from edgekit.compress.pipeline import compress
from edgekit.errors import DeviceError, UsageError
from tests.bench.remote.devices import program
from tests.remote.servers import (
    Relay,
    Server,
    free_port,
    make_key,
    namespace,
    namespaces_work,
    serve,
    write_config,
)

PYTHON = os.environ.get("BOARD_PYTHON", sys.executable)

FOREVER = 10**9
"""Runs that nobody waits for."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serve(tmp_path) as running:
        yield running
        assert running.leftovers == []


def measure(server: Server, path: Path, **options: Any) -> BenchReport:
    settings = {
        "python": PYTHON,
        "ssh_config": server.config,
        "runs": 3,
        "warmup": 1,
        "cold": False,
        **options,
    }
    return bench_on(settings.pop("url", server.url), path, **settings)


def wait_until_clean(server: Server, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while server.leftovers and time.monotonic() < deadline:
        time.sleep(0.1)


def test_a_device_measures_files_of_any_name(
    server: Server, tiny_onnx_path: Path, tmp_path: Path
) -> None:
    odd = tmp_path / "-rf a\nb;$(touch pwned)'\".onnx"
    shutil.copy(tiny_onnx_path, odd)
    packed = tmp_path / "`reboot`.ekp"
    compress(tiny_onnx_path, packed, bits=6, method="uniform")
    home = set(Path.home().iterdir())

    report = measure(server, [odd, packed], runs=30, cold=True)  # type: ignore[arg-type]

    assert [case.path for case in report.cases] == [str(odd), str(packed)]
    assert all(case.warm.count == 30 and len(case.cold) == 3 for case in report.cases)
    assert report.cases[1].file_bytes == packed.stat().st_size
    assert set(Path.home().iterdir()) == home
    # Without cffi there is no compiled decoder, and the report says so.
    has_cffi = subprocess.run([PYTHON, "-c", "import cffi"], check=False, capture_output=True)
    assert (NUMPY_DECODES in report.warnings) == (has_cffi.returncode != 0)


def test_a_device_with_a_compiler_compiles_the_decoder(
    server: Server, tiny_onnx_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As from another kind of machine: sources go over, and no compiled module.
    monkeypatch.setattr(run, "source_digest", lambda _: "other")
    monkeypatch.setattr(run, "sources_to_send", lambda _, **__: sources_to_send(None))
    packed = tmp_path / "tiny.ekp"
    compress(tiny_onnx_path, packed, bits=6, method="uniform")
    said: list[str] = []

    report = measure(server, packed, python=sys.executable, say=said.append)

    assert any("compiling the decoder" in line for line in said)
    assert NUMPY_DECODES not in report.warnings


def test_the_state_is_that_of_the_device(server: Server, tiny_onnx_path: Path) -> None:
    program(server.programs / "vcgencmd", "#!/bin/sh\necho throttled=0x50005\n")

    report = measure(server, tiny_onnx_path)

    assert report.before.throttle is not None
    assert report.before.throttle.now == ("under-voltage", "throttled")
    assert any("the board limited itself" in warning for warning in report.warnings)


def test_data_go_along(server: Server, tiny_onnx_path: Path, tmp_path: Path) -> None:
    data = tmp_path / "la belled.npz"
    inputs = np.random.default_rng(3).normal(size=(40, 1, 12, 12)).astype(np.float32)
    np.savez(data, inputs=inputs, labels=np.zeros(40, np.int64))

    report = measure(server, tiny_onnx_path, evaluate=data)

    assert report.settings.evaluate == str(data)
    assert report.cases[0].accuracy is not None
    assert report.cases[0].accuracy.count == 40


def test_an_unknown_host_key_is_refused(server: Server, tiny_onnx_path: Path) -> None:
    write_config(server, known="nothing")

    with pytest.raises(DeviceError, match=r"host key of .* isn't known: connect once with ssh"):
        measure(server, tiny_onnx_path)


def test_a_changed_host_key_is_refused(server: Server, tiny_onnx_path: Path) -> None:
    other = make_key(server.folder / "other").with_suffix(".pub").read_text()
    (server.folder / "known").write_text(f"[{server.address}]:{server.port} {other}")

    with pytest.raises(DeviceError, match="isn't the known one"):
        measure(server, tiny_onnx_path)


def test_a_key_that_the_device_doesnt_know_is_refused(server: Server, tiny_onnx_path: Path) -> None:
    make_key(server.folder / "stranger")
    write_config(server, key="stranger")

    with pytest.raises(DeviceError, match=r"refuses the login: .*Permission denied \(publickey\)"):
        measure(server, tiny_onnx_path)


def test_a_closed_port_and_an_unknown_name(server: Server, tiny_onnx_path: Path) -> None:
    with pytest.raises(DeviceError, match="refuses the connection: is its ssh server running"):
        measure(server, tiny_onnx_path, url=f"ssh://127.0.0.1:{free_port()}")
    with pytest.raises(DeviceError, match=r"no host called board\.invalid"):
        measure(server, tiny_onnx_path, url="ssh://board.invalid")


def test_a_device_without_that_python(server: Server, tiny_onnx_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"no program python9 on .*it is a Linux"):
        measure(server, tiny_onnx_path, python="python9")


def test_an_alias_behind_a_jump_host(server: Server, tiny_onnx_path: Path) -> None:
    place = f"  HostName {server.address}\n  Port {server.port}\n"
    write_config(server, f"Host gate\n{place}Host behind\n{place}  ProxyCommand ssh -F "
                 f"{server.config} -W %h:%p gate\n")  # fmt: skip

    report = measure(server, tiny_onnx_path, url="ssh://behind")

    assert report.cases[0].warm.count == 3


def test_a_connection_that_the_user_shares_is_used_and_kept(
    server: Server, tiny_onnx_path: Path
) -> None:
    control = server.folder / "control"
    write_config(
        server,
        f"Host *\n  ControlMaster auto\n  ControlPath {control}\n  ControlPersist 20\n",
    )

    for _ in range(2):
        assert measure(server, tiny_onnx_path).cases[0].warm.count == 3

    assert control.exists()
    leave = ["ssh", "-F", str(server.config), "-O", "exit", "-p", str(server.port), server.address]
    subprocess.run(leave, check=True, capture_output=True)


def test_two_devices_at_once(server: Server, tiny_onnx_path: Path) -> None:
    place = f"  HostName {server.address}\n  Port {server.port}\n"
    write_config(server, f"Host one\n{place}Host two\n{place}")

    outcomes = bench_on_all(
        ["ssh://one", "ssh://nowhere.invalid", "ssh://two"],
        tiny_onnx_path,
        python=PYTHON,
        ssh_config=server.config,
        runs=3,
        cold=False,
    )

    assert [outcome.report is None for outcome in outcomes] == [False, True, False]
    assert "no host called" in str(outcomes[1].error)


def test_the_error_of_the_benchmark_comes_back(server: Server, tiny_onnx_path: Path) -> None:
    with pytest.raises(UsageError, match="takes the shape"):
        measure(server, tiny_onnx_path, input_shape=[3, 3])


def test_a_disk_without_room_is_told(server: Server, tiny_onnx_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(server.temporary)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting isn't allowed here")
    try:
        with pytest.raises(DeviceError, match=r"bytes free in .* are needed: make room"):
            measure(server, tiny_onnx_path)
        assert server.leftovers == []
    finally:
        subprocess.run(["umount", server.temporary], check=True)


def test_a_link_that_breaks_off_in_mid_transfer(
    server: Server, tiny_onnx_path: Path, tmp_path: Path
) -> None:
    relay = Relay(server.port, after=40_000, silent=False)
    (server.folder / "known").write_text(
        f"[127.0.0.1]:{relay.port} {(server.folder / 'host.pub').read_text()}"
    )

    with pytest.raises(DeviceError, match="was lost while sending files"):
        measure(server, tiny_onnx_path, url=f"ssh://127.0.0.1:{relay.port}")

    wait_until_clean(server, 10)
    assert server.leftovers == []


def test_a_link_that_falls_silent_in_mid_transfer(server: Server, tiny_onnx_path: Path) -> None:
    relay = Relay(server.port, after=100_000, silent=True)
    (server.folder / "known").write_text(
        f"[127.0.0.1]:{relay.port} {(server.folder / 'host.pub').read_text()}"
    )
    began = time.monotonic()

    with pytest.raises(DeviceError, match=r"was lost while .*: Timeout, server .* not responding"):
        measure(server, tiny_onnx_path, url=f"ssh://127.0.0.1:{relay.port}")

    assert time.monotonic() - began < 40
    relay.close()
    wait_until_clean(server, 10)
    assert server.leftovers == []


def test_ctrl_c_leaves_nothing_on_the_device(server: Server, tiny_onnx_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "edgekit.cli.main", "bench", str(tiny_onnx_path), "--no-cold"),
        *("--runs", str(FOREVER), "--device", server.url, "--device-python", PYTHON),
        *("--ssh-config", str(server.config)),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as here:
        assert here.stderr is not None
        said = [next(here.stderr, "")]
        while said[-1] and "measuring" not in said[-1]:
            said.append(next(here.stderr, ""))
        during = server.leftovers

        here.send_signal(signal.SIGINT)

        assert here.wait(30) == 130, said
        assert len(during) == 1
        assert server.leftovers == []


@pytest.mark.skipif(not namespaces_work(), reason="network namespaces can't be made here")
def test_a_device_whose_cable_is_pulled_cleans_up_by_itself(
    tmp_path: Path, tiny_onnx_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = session._agent_source().replace(b"_SILENCE_S = 60", b"_SILENCE_S = 15")
    monkeypatch.setattr(session, "_agent_source", lambda: source)
    within = ("ip", "netns", "exec", "edgekit-net")
    with (
        namespace("edgekit-net") as (address, cable),
        serve(tmp_path, address, within) as server,
    ):

        def pull(line: str) -> None:
            if "measuring" in line:
                subprocess.run(["ip", "link", "set", cable, "down"], check=True)

        began = time.monotonic()
        with pytest.raises(DeviceError, match="was lost while measuring"):
            measure(server, tiny_onnx_path, runs=FOREVER, say=pull)

        assert time.monotonic() - began < 40
        wait_until_clean(server, 30)
        assert server.leftovers == []
