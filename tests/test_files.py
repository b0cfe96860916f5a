"""Atomic writing: the old file or the new one, and never a temporary file left over."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import pytest

from edgekit.errors import OutputError, UsageError
from edgekit.files import atomic_path, check_apart, write_atomic


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_new_file_holds_the_bytes_and_nothing_else_is_left(tmp_path: Path) -> None:
    write_atomic(tmp_path / "model.ekp", b"new")

    assert (tmp_path / "model.ekp").read_bytes() == b"new"
    assert names(tmp_path) == ["model.ekp"]


def test_an_old_file_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "model.ekp"
    target.write_bytes(b"a longer old file")

    write_atomic(target, b"new")

    assert target.read_bytes() == b"new"


def test_a_relative_path_lands_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    write_atomic("model.ekp", b"new")

    assert names(tmp_path) == ["model.ekp"]


def test_the_file_gets_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    previous = os.umask(0o027)
    try:
        write_atomic(tmp_path / "model.ekp", b"new")
    finally:
        os.umask(previous)

    assert stat.S_IMODE((tmp_path / "model.ekp").stat().st_mode) == 0o640


def test_a_missing_folder_is_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"the folder .*missing doesn't exist; create it first"):
        write_atomic(tmp_path / "missing" / "model.ekp", b"new")

    assert names(tmp_path) == []


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(OutputError, match=r"can't write .*model\.ekp"):
        write_atomic(tmp_path / "file" / "model.ekp", b"new")


def test_a_folder_in_the_place_of_the_file_stays(tmp_path: Path) -> None:
    (tmp_path / "model.ekp").mkdir()

    with pytest.raises(OutputError, match="Is a directory"):
        write_atomic(tmp_path / "model.ekp", b"new")

    assert names(tmp_path) == ["model.ekp"]


def test_a_read_only_folder_is_named_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may write into any folder, whatever its mode, so the system's refusal is simulated.
    def refuse(**_: object) -> NoReturn:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(tempfile, "mkstemp", refuse)

    with pytest.raises(OutputError, match=r"can't write .*model\.ekp: Permission denied"):
        write_atomic(tmp_path / "model.ekp", b"new")


def test_a_full_disk_leaves_the_old_file_and_no_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "model.ekp"
    target.write_bytes(b"old")

    def write_half(path: Path, data: bytes) -> NoReturn:
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", write_half)

    with pytest.raises(OutputError, match=r"can't write .*model\.ekp: No space left on device"):
        write_atomic(target, b"new bytes")

    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["model.ekp"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_really_full_device_gives_the_systems_reason(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="No space left on device"),
        atomic_path(tmp_path / "model.ekp"),
    ):
        Path("/dev/full").write_bytes(b"new")

    assert names(tmp_path) == []


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, ValueError])
def test_an_interruption_in_mid_write_leaves_the_old_file(
    tmp_path: Path, interruption: type[BaseException]
) -> None:
    target = tmp_path / "model.ekp"
    target.write_bytes(b"old")

    def write_half() -> NoReturn:
        with atomic_path(target) as temporary:
            temporary.write_bytes(b"half of the n")
            raise interruption

    with pytest.raises(interruption):
        write_half()

    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["model.ekp"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_mid_write_leaves_the_old_file(tmp_path: Path, number: signal.Signals) -> None:
    target = tmp_path / "model.ekp"
    target.write_bytes(b"old")
    # The program's own entry point, with a verb that waits while its file is half written.
    script = f"""
import sys, time
from edgekit.cli import main
from edgekit.files import atomic_path

def inspect() -> None:
    with atomic_path({str(target)!r}) as temporary:
        temporary.write_bytes(b"half of the n")
        print("writing", flush=True)
        time.sleep(60)

main.load_command = lambda verb: inspect
sys.argv = ["edgekit", "inspect"]
main.run()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(number)
        _, stderr = process.communicate(timeout=30)

    assert process.returncode == 128 + number
    assert b"Traceback" not in stderr
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["model.ekp"]


def test_a_device_is_refused_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    with pytest.raises(OutputError, match="isn't a regular file"):
        write_atomic(pipe, b"data")

    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


@pytest.mark.parametrize("output", ["model.onnx", "./model.onnx", "link.onnx"])
def test_a_result_never_takes_the_place_of_its_source(
    output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model.onnx").write_bytes(b"source")
    Path("link.onnx").symlink_to("model.onnx")

    with pytest.raises(UsageError, match="would take the place of"):
        check_apart([output], [tmp_path / "model.onnx"])
    with pytest.raises(UsageError, match="would take the place of"):
        check_apart([output], [f"{tmp_path / 'model.onnx'}:factory"])


def test_two_results_never_share_a_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two results"):
        check_apart([tmp_path / "new", None, tmp_path / "folder" / ".." / "new"])


def test_other_files_names_and_bytes_stand_in_no_result_s_way(tmp_path: Path) -> None:
    (tmp_path / "old.ekp").write_bytes(b"old")

    check_apart(
        [tmp_path / "old.ekp", tmp_path / "noise", None],
        [tmp_path / "model.onnx", tmp_path, str(tmp_path / "noise"), b"model", None, "a\0b"],
    )
