from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from edgekit.bench import doctor as examination
from edgekit.bench import installed
from edgekit.bench.advice import Check, Verdict, power_checks, speed_checks
from edgekit.bench.doctor import Interpreter, doctor, package_checks, system_checks
from edgekit.bench.host import Cpu, read_host
from edgekit.bench.installed import NEEDED, Package, import_fault, is_older
from edgekit.bench.state import read_state
from edgekit.codec import native
from tests.bench import trees
from tests.bench.remote.devices import program
from tests.bench.reports import BOARD, NOBODY, QUIET, UNKNOWN

ROOT = Path(__file__).parents[2]
BOARD_PYTHON = Interpreter((3, 11, 2), "aarch64", 64)


@pytest.fixture(autouse=True)
def no_vcgencmd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only a test's own programs are found."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def by_name(checks: Iterable[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


@pytest.mark.parametrize(
    ("board", "int8", "verdict"),
    [
        (trees.pi3, "no dotprod", Verdict.NOTE),
        (trees.pi4, "no dotprod", Verdict.NOTE),
        (trees.pi5, "to be fast: dotprod", Verdict.OK),
        (trees.jetson, "to be fast: dotprod", Verdict.OK),
        (trees.virtual_machine, "fast: VNNI", Verdict.OK),
    ],
)
def test_each_board_is_told_what_int8_gains(
    board: Callable[[Path], Path], int8: str, verdict: Verdict, tmp_path: Path
) -> None:
    checks = by_name(speed_checks(read_host(board(tmp_path))))

    assert int8 in checks["int8"].found
    assert checks["int8"].verdict is verdict


@pytest.mark.parametrize(
    ("flags", "found", "advice"),
    [
        (("avx2", "avx_vnni"), "fast: VNNI", "U8S8"),
        (("avx512f", "amx_int8"), "fast: VNNI", "per channel"),
        (("avx2", "fma"), "some gain", "saturate"),
        (("avx2", "avx512f"), "less than with VNNI", "7 bits"),
        (("asimd", "asimddp", "i8mm"), "fast: i8mm", ""),
        (("sse4_1",), "slow", "float"),
        ((), "slow", "float"),
    ],
)
def test_int8_is_judged_by_the_most_capable_feature(
    flags: tuple[str, ...], found: str, advice: str
) -> None:
    host = replace(BOARD, cpu=Cpu("any", "any", 4, 4, flags))

    check = by_name(speed_checks(host))["int8"]

    assert found in check.found
    assert advice in check.advice


def test_an_unknown_processor_gets_no_advice() -> None:
    checks = by_name(speed_checks(NOBODY))

    assert checks["features"].verdict is Verdict.UNKNOWN
    assert "int8" not in checks
    assert checks["processor"].found == "aarch64, ? of ? cores usable"


@pytest.mark.parametrize(
    ("machine", "bits"), [("armv7l", 32), ("armv6l", 32), ("i686", 32), ("aarch64", 32)]
)
def test_a_32_bit_system_is_refused_with_the_way_out(machine: str, bits: int) -> None:
    checks = by_name(system_checks(BOARD, Interpreter((3, 11, 2), machine, bits)))

    assert checks["python"].verdict is Verdict.BROKEN
    assert "no wheel for 32-bit systems" in checks["python"].advice
    assert "Raspberry Pi OS 64-bit" in checks["python"].advice


def test_an_old_python_is_refused() -> None:
    check = by_name(system_checks(BOARD, Interpreter((3, 9, 2), "aarch64", 64)))["python"]

    assert (check.verdict, check.found) == (Verdict.BROKEN, "3.9.2, 64 bits, aarch64")
    assert check.advice == "edgekit needs Python 3.11 or later"


def test_a_64_bit_board_is_in_order() -> None:
    checks = list(system_checks(BOARD, BOARD_PYTHON))

    assert {check.verdict for check in checks} == {Verdict.OK}
    assert by_name(checks)["container"].found == "none found"


def test_a_package_that_is_missing_old_or_broken_comes_with_a_command() -> None:
    checks = by_name(
        package_checks(
            (
                Package("numpy", "2.1.0", None),
                Package("onnx", None, "not installed"),
                Package("onnxruntime", "1.32.0", "its import crashes with SIGSEGV"),
            )
        )
    )

    assert checks["numpy"] == Check("numpy", Verdict.OK, "2.1.0")
    assert checks["onnx"].found == "not installed"
    assert checks["onnx"].advice == "python3 -m pip install --upgrade onnx"
    assert checks["onnxruntime"].found == "1.32.0, its import crashes with SIGSEGV"
    assert checks["onnxruntime"].verdict is Verdict.BROKEN


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("", None),
        ("import nothing_of_the_kind", "No module named 'nothing_of_the_kind'"),
        ("import os; os.kill(os.getpid(), 11)", "crashes with SIGSEGV"),
        ("import sys; sys.exit(7)", "code 7"),
    ],
)
def test_an_import_is_tried_where_a_crash_does_no_harm(
    code: str, fault: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "subject.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    found = import_fault("subject")

    assert (found is None) if fault is None else (found is not None and fault in found)


def test_an_import_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "subject.py").write_text("import time; time.sleep(30)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(installed, "_IMPORT_TIMEOUT_S", 1)

    assert import_fault("subject") == "its import takes more than 1 s"


@pytest.mark.parametrize(
    ("version", "older"),
    [("1.9", True), ("1.18", False), ("1.18.0rc1", False), ("1.22.0", False), ("odd", True)],
)
def test_versions_compare_by_number(version: str, older: bool) -> None:
    assert is_older(version, "1.18") is older


def test_a_version_that_is_too_old_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NEEDED, "numpy", "999.0")

    (found,) = (package for package in installed.needed_packages() if package.name == "numpy")

    assert found.fault == "older than 999.0"


def test_packages_and_extras_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]

    # Without cffi numpy decodes.
    needed = {tuple(requirement.split(">=")) for requirement in project["dependencies"]}
    needed = {(name, least) for name, least in needed if name != "cffi"}
    extras = {
        name: tuple(re.split("[>=]", requirement)[0] for requirement in optional[name])
        for name in sorted(optional.keys() - {"all", "dev", "peers"})
        if optional[name]
    }

    assert set(NEEDED.items()) == needed
    assert extras == dict(sorted(installed.EXTRAS.items()))


def test_a_missing_decoder_says_why_and_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "available", False)
    monkeypatch.setattr(native, "reason", "no module")
    monkeypatch.setattr(examination, "needed_packages", tuple)

    check = by_name(doctor().checks)["decoder"]

    assert (check.verdict, check.found) == (Verdict.NOTE, "numpy: no module")
    assert "C compiler" in check.advice


def test_the_doctor_needs_none_of_the_packages_that_it_looks_for() -> None:
    script = """
import sys
for name in ("numpy", "onnx", "onnxruntime", "rich", "typer"):
    sys.modules[name] = None
from edgekit.bench.doctor import doctor
print([check.found for check in doctor().checks if check.name == "decoder"])
"""

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout == "['not available']\n"


def test_a_missing_extra_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(installed.EXTRAS, "images", ("pillow", "nothing-of-the-kind"))
    monkeypatch.setattr(examination, "needed_packages", tuple)

    check = by_name(doctor().checks)["extra images"]

    assert check.found == "without nothing-of-the-kind"
    assert check.advice == "pip install 'edgekit[images]'"


def test_ssh_is_looked_for_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "needed_packages", tuple)

    without = by_name(doctor(tmp_path).checks)["ssh"]
    program(tmp_path / "bin" / "ssh", "#!/bin/sh\n")
    with_it = by_name(doctor(tmp_path).checks)["ssh"]

    assert (without.verdict, with_it.verdict) == (Verdict.NOTE, Verdict.OK)
    assert "openssh-client" in without.advice


def test_a_board_in_trouble_is_warned_of(tmp_path: Path) -> None:
    root = trees.pi3(tmp_path, throttled="50005")
    trees.plant(
        root,
        {
            "sys/class/thermal/thermal_zone0/temp": "83000\n",
            "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1\n",
            "proc/pressure/memory": "some avg10=12.00 avg60=0.00 avg300=0.00 total=9\n",
            "proc/loadavg": "3.10 0.03 0.01 1/155 1234\n",
        },
    )

    checks = by_name(power_checks(read_host(root), read_state(root)))

    warned = {name for name, check in checks.items() if check.verdict is Verdict.WARNING}
    assert warned == {"temperature", "throttling", "supply", "memory", "load"}
    assert checks["governor"].verdict is Verdict.NOTE
    assert "scaling_governor" in checks["governor"].advice
    assert checks["governor"].found == "ondemand, up to 1400 MHz"
    assert checks["temperature"].found == "83 °C (cpu-thermal)"
    assert checks["memory"].found == "3.3 of 4.0 GB free, tasks waited for it 12% of the time"


def test_what_happened_before_is_a_note(tmp_path: Path) -> None:
    root = trees.pi4(tmp_path, throttled="80000")
    trees.plant(root, {"sys/class/thermal/thermal_zone0/temp": "71000\n"})

    checks = by_name(power_checks(read_host(root), read_state(root)))

    assert checks["throttling"].verdict is Verdict.NOTE
    assert checks["throttling"].found == "not now; since boot: soft temperature limit"
    assert checks["temperature"].verdict is Verdict.NOTE


def test_a_quiet_board_and_a_silent_one() -> None:
    quiet = power_checks(BOARD, replace(QUIET, zones=()))
    silent = power_checks(NOBODY, UNKNOWN)

    assert {check.name for check in quiet if check.verdict is not Verdict.OK} == {"temperature"}
    assert {(check.verdict, check.found) for check in silent} == {
        (Verdict.UNKNOWN, "not available")
    }


@pytest.mark.parametrize("board", [trees.garbage, lambda path: path])
def test_garbage_is_survived_and_the_report_is_plain_data(
    board: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examination, "needed_packages", lambda: (Package("onnx", None, "gone"),))

    report = doctor(board(tmp_path))

    facts = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert (facts["kind"], facts["usable"]) == ("edgekit.doctor", False)
    assert [check.name for check in report.broken] == ["onnx"]
    assert facts["checks"][0].keys() == {"name", "verdict", "found", "advice"}
