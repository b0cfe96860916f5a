"""The C app: it builds without a warning, and each tensor it decodes is Python's."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgekit.codec.crc import crc32c
from edgekit.compress.pipeline import compress
from edgekit.embed import embed
from edgekit.errors import FormatError, OutputError, UsageError
from edgekit.packfile import read_weights, write_packfile
from edgekit.tensors import CompressedModel, StoredTensor

STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror"]


@pytest.fixture
def packed(tiny_onnx_path: Path, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.ekp"
    compress(tiny_onnx_path, path, bits=6, sparsity=0.4)
    return path


def _run(*command: str | Path, folder: Path) -> str:
    done = subprocess.run(
        command, check=False, cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


def _expected(packed: Path) -> list[tuple[str, int, str]]:
    return [
        (f"{crc32c(np.ascontiguousarray(array).tobytes()):08x}", array.size, name)
        for name, array in read_weights(packed).items()
    ]


def _printed(output: str) -> list[tuple[str, int, str]]:
    rows = [line.split(maxsplit=2) for line in output.splitlines()]
    return [(crc, int(count), name) for crc, count, name in rows]


def test_the_app_decodes_what_python_decodes(packed: Path, tmp_path: Path) -> None:
    report = embed(packed, tmp_path / "app")

    _run("make", "-s", folder=tmp_path / "app")
    output = _run("./main", folder=tmp_path / "app")

    assert _printed(output) == _expected(packed)
    assert [name for name, _ in report.files] == [
        "edgekit_decode.h",
        "model.ekp",
        "model.h",
        "model.c",
        "main.c",
        "Makefile",
    ]
    assert report.packed_bytes == packed.stat().st_size


@pytest.mark.parametrize(
    "compiler", [["gcc", *STRICT], ["g++", "-std=c++17", "-x", "c++", *STRICT[1:]]]
)
def test_the_sources_compile_without_a_warning(
    packed: Path, tmp_path: Path, compiler: list[str]
) -> None:
    app = tmp_path / "app"
    embed(packed, app, prefix="net")

    for source in ("main.c", "net.c"):
        _run(*compiler, "-c", source, "-o", "out.o", folder=app)


def test_the_array_for_other_compilers_holds_the_same_bytes(packed: Path, tmp_path: Path) -> None:
    app = tmp_path / "app"
    embed(packed, app)

    _run("gcc", *STRICT, "-DMODEL_ARRAY", "main.c", "model.c", "-o", "main", folder=app)

    assert _printed(_run("./main", folder=app)) == _expected(packed)


def test_names_that_are_no_c_names_get_constants_of_their_own(tmp_path: Path) -> None:
    ones = np.ones(4, np.float32)
    names = ["a/b", "a.b", 'quo"te\\??/', "été", "*/"]
    tensors = tuple(StoredTensor(name, "float32", ones * index) for index, name in enumerate(names))
    write_packfile(CompressedModel(tensors, b"", {"name": "*/"}), tmp_path / "m.ekp")

    report = embed(tmp_path / "m.ekp", tmp_path / "app")
    _run("make", "-s", folder=tmp_path / "app")
    output = _run("./main", folder=tmp_path / "app")

    assert len({tensor.constant for tensor in report.tensors}) == len(names)
    assert _printed(output) == _expected(tmp_path / "m.ekp")


def test_a_damaged_file_makes_no_folder(packed: Path, tmp_path: Path) -> None:
    data = bytearray(packed.read_bytes())
    data[len(data) // 2] ^= 1
    packed.write_bytes(data)

    with pytest.raises(FormatError):
        embed(packed, tmp_path / "app")

    assert not (tmp_path / "app").exists()


def test_a_prefix_must_be_a_c_name(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="isn't a C name"):
        embed(packed, tmp_path / "app", prefix="2 nets")


def test_an_unknown_target_is_refused(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no target 'cobol'; known: c"):
        embed(packed, tmp_path / "app", target="cobol")


def test_a_folder_in_a_missing_folder_is_refused(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="can't make the folder"):
        embed(packed, tmp_path / "missing" / "app")
