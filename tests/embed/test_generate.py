"""The C app: it builds without a warning, and each tensor it decodes is Python's."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgekit.codec.crc import crc32c
from edgekit.compress.pipeline import compress
from edgekit.embed import OutputType, embed
from edgekit.errors import DataError, FormatError, OutputError, UsageError
from edgekit.packfile import read_packfile, read_weights, write_packfile
from edgekit.tensors import CodedTensor, CompressedModel, StoredTensor

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
        "CMakeLists.txt",
        "README.md",
    ]
    assert report.packed_bytes == packed.stat().st_size


@pytest.mark.parametrize("output_type", OutputType)
@pytest.mark.parametrize(
    "compiler", [["gcc", *STRICT], ["g++", "-std=c++17", "-x", "c++", *STRICT[1:]]]
)
def test_the_sources_compile_without_a_warning(
    packed: Path, tmp_path: Path, compiler: list[str], output_type: OutputType
) -> None:
    app = tmp_path / "app"
    embed(packed, app, prefix="net", tensors="*.weight", output_type=output_type)

    for source in ("main.c", "net.c"):
        _run(*compiler, "-c", source, "-o", "out.o", folder=app)


def test_chosen_tensors_come_out_as_codes(packed: Path, tmp_path: Path) -> None:
    model = read_packfile(packed)
    coded = [tensor for tensor in model.tensors if isinstance(tensor, CodedTensor)]
    expected = [
        (f"{crc32c(tensor.codes.tobytes()):08x}", tensor.codes.size, tensor.name)
        for tensor in coded
    ]

    report = embed(packed, tmp_path / "app", tensors="*.weight", output_type=OutputType.INT8)
    _run("make", "-s", folder=tmp_path / "app")
    output = _run("./main", folder=tmp_path / "app")

    assert _printed(output) == expected
    assert [tensor.name for tensor in report.tensors] == [tensor.name for tensor in coded]
    assert report.buffer_bytes == max(tensor.codes.size for tensor in coded)
    assert [tensor.scales for tensor in report.tensors] == [
        1 if tensor.scale is None else tensor.scale.size for tensor in coded
    ]


def test_every_tensor_comes_out_as_float32(packed: Path, tmp_path: Path) -> None:
    embed(packed, tmp_path / "app", output_type=OutputType.FLOAT32)

    _run("make", "-s", folder=tmp_path / "app")

    assert _printed(_run("./main", folder=tmp_path / "app")) == _expected(packed)


def test_tensors_come_out_as_they_are_stored(tmp_path: Path) -> None:
    half = np.arange(5, dtype=np.float16)
    tensors = (StoredTensor("half", "float16", half), StoredTensor("shape", "int64", np.arange(3)))
    write_packfile(CompressedModel(tensors, b"", {}), tmp_path / "m.ekp")

    embed(tmp_path / "m.ekp", tmp_path / "app", output_type=OutputType.RAW)
    _run("make", "-s", folder=tmp_path / "app")

    assert _printed(_run("./main", folder=tmp_path / "app")) == _expected(tmp_path / "m.ekp")


def test_tensors_that_an_output_type_cannot_hold_are_named(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"3 of 7 tensors can't be decoded to int8, such as"):
        embed(packed, tmp_path / "app", output_type=OutputType.INT8)


def test_a_pattern_that_matches_nothing_is_refused(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no tensor matches 'fc'"):
        embed(packed, tmp_path / "app", tensors="fc")


def test_a_buffer_that_is_too_small_is_told_what_is_needed(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the largest tensor needs 7,680"):
        embed(packed, tmp_path / "app", static_buffer=7_679)

    assert embed(packed, tmp_path / "app", static_buffer=9_000).buffer_bytes == 9_000
    assert "MODEL_BUFFER_BYTES 9000u" in (tmp_path / "app" / "model.h").read_text()


@pytest.mark.parametrize("target", ["cpp", "python", "web"])
def test_other_targets_decode_every_tensor(target: str, packed: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="go with --to c"):
        embed(packed, tmp_path / "app", target=target, tensors="*.weight")


def test_cmake_builds_the_same_program(packed: Path, tmp_path: Path) -> None:
    if shutil.which("cmake") is None:
        pytest.skip("needs cmake")
    embed(packed, tmp_path / "app")

    _run("cmake", "-B", "build", folder=tmp_path / "app")
    _run("cmake", "--build", "build", folder=tmp_path / "app")

    assert _printed(_run("build/main", folder=tmp_path / "app")) == _expected(packed)


def test_the_array_for_other_compilers_holds_the_same_bytes(packed: Path, tmp_path: Path) -> None:
    app = tmp_path / "app"
    embed(packed, app)

    _run("gcc", *STRICT, "-DMODEL_ARRAY", "main.c", "model.c", "-o", "main", folder=app)

    assert _printed(_run("./main", folder=app)) == _expected(packed)


def test_names_that_are_no_c_names_get_constants_of_their_own(tmp_path: Path) -> None:
    ones = np.ones(4, np.float32)
    names = ["a/b", "a.b", "format", "h", "tensor_count", 'quo"te\\??/', "été", "*/"]
    tensors = tuple(StoredTensor(name, "float32", ones * index) for index, name in enumerate(names))
    write_packfile(CompressedModel(tensors, b"", {"name": "*/"}), tmp_path / "m.ekp")

    report = embed(tmp_path / "m.ekp", tmp_path / "app")
    _run("make", "-s", folder=tmp_path / "app")
    output = _run("./main", folder=tmp_path / "app")

    assert len({tensor.constant for tensor in report.tensors}) == len(names)
    assert _printed(output) == _expected(tmp_path / "m.ekp")


@pytest.mark.parametrize("prefix", ["main", "classify", "ekd", "edgekit_decode"])
def test_a_prefix_that_apps_use_is_refused(packed: Path, tmp_path: Path, prefix: str) -> None:
    with pytest.raises(UsageError, match="choose another prefix"):
        embed(packed, tmp_path / "app", prefix=prefix)


def test_an_app_of_codes_can_ask_for_their_scales(packed: Path, tmp_path: Path) -> None:
    app = tmp_path / "app"
    embed(packed, app, tensors="conv.weight", output_type=OutputType.INT8)
    coded = next(t for t in read_packfile(packed).tensors if t.name == "conv.weight")
    assert isinstance(coded, CodedTensor)
    assert coded.scale is not None
    main = (app / "main.c").read_text()
    call = 'printf("%.9g\\n", (double)ekd_scale(&file, &tensor, 3));'
    (app / "main.c").write_text(main.replace("next++;", f"next++; {call}"))

    _run("make", "-s", folder=app)

    printed = _run("./main", folder=app).splitlines()[1]
    assert np.float32(printed) == coded.scale[3]


def test_a_file_of_another_sum_is_refused_by_the_app(packed: Path, tmp_path: Path) -> None:
    app = tmp_path / "app"
    embed(packed, app)
    data = bytearray((app / "model.ekp").read_bytes())
    data[-1] ^= 1
    (app / "model.ekp").write_bytes(data)
    _run("make", "-s", folder=app)

    done = subprocess.run([app / "main"], check=False, capture_output=True, text=True)

    assert done.returncode == 1
    assert done.stderr == "error: the packed model is damaged (ChecksumError): get it again\n"


@pytest.mark.parametrize(("count", "text"), [(2, "2 labels for 10 scores"), (11, "11 labels")])
def test_labels_that_are_too_few_or_many_are_refused(
    packed: Path, tmp_path: Path, count: int, text: str
) -> None:
    (tmp_path / "names.txt").write_text("\n".join(f"class {i}" for i in range(count)))

    with pytest.raises(DataError, match=text):
        embed(packed, tmp_path / "app", labels=tmp_path / "names.txt")


def test_a_buffer_that_no_linker_takes_is_refused(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="less than 2 GiB"):
        embed(packed, tmp_path / "app", static_buffer=10**13)


def test_a_folder_in_a_file_s_place_is_found_before_anything_is_written(
    packed: Path, tmp_path: Path
) -> None:
    (tmp_path / "app" / "main.c").mkdir(parents=True)

    with pytest.raises(OutputError, match="a folder is in its place"):
        embed(packed, tmp_path / "app")

    assert [path.name for path in (tmp_path / "app").iterdir()] == ["main.c"]


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


def test_a_packed_file_is_never_replaced_by_an_app_s_other_files(
    packed: Path, tmp_path: Path
) -> None:
    (tmp_path / "app").mkdir()
    source = packed.rename(tmp_path / "app" / "CMakeLists.txt")
    before = source.read_bytes()

    with pytest.raises(UsageError, match="would take the place of"):
        embed(source, tmp_path / "app")

    assert source.read_bytes() == before


def test_an_app_s_own_copy_makes_the_app_again(packed: Path, tmp_path: Path) -> None:
    embed(packed, tmp_path / "app", target="python")
    copy = tmp_path / "app" / "model.ekp"

    embed(copy, tmp_path / "app", target="python")

    assert copy.read_bytes() == packed.read_bytes()
