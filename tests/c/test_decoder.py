"""The C decoder under sanitizers: every vector, damaged files, and the fuzzer's kept corpus."""

from __future__ import annotations

import json
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgekit.packfile import open_packfile
from edgekit.packfile.layout import Mode
from edgekit.tensors import CodedTensor
from tests.fuzz import seeds
from tests.golden.building import File, coded, scale_fields

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "golden"
CORPUS = HERE.parent / "fuzz" / "corpus"
INCLUDE = HERE.parents[1] / "edgekit" / "embed"
STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
SANITIZED = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
UNSAFE = ["-DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION"]
"""Leaves out the CRC-32C checks, so that damage reaches what stands behind them."""

WORK_BYTES = (4096, 5120, 45056, 87040, 607296)
"""From the least to EKD_WORK_FAST: each unlocks a faster way of decoding."""

WORK = tuple(f"{size}{offset}" for size in WORK_BYTES for offset in ("", "+4"))
"""Each aligned for uint64_t, and for uint32_t alone."""

BESIDE_THE_DECODER = ("packed_", "names_", "manifest_", "sha256")
"""Rules about parts of a file that the C decoder doesn't read."""


def _build(folder: Path, name: str, *sources: str, flags: list[str]) -> Path:
    program = folder / name
    done = subprocess.run(
        ["gcc", *flags, f"-I{INCLUDE}", *(HERE / source for source in sources), "-o", program],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return program


def _run(program: Path, *words: str | Path) -> str:
    done = subprocess.run([program, *words], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("harness")
    return _build(folder, "harness", "harness.c", flags=[*STRICT, *SANITIZED])


def _results(output: str) -> dict[str, tuple[str, list[list[str]]]]:
    """Result and CRCs of each tensor by file name; a file's line stands behind its tensors'."""
    found: dict[str, tuple[str, list[list[str]]]] = {}
    tensors: list[list[str]] = []
    for line in output.splitlines():
        if line.startswith("  "):
            tensors.append(line.split())
            continue
        result, _, path = line.rpartition(" ")
        found[Path(path).stem] = (result, tensors)
        tensors = []
    return found


def test_the_work_memory_of_these_tests_is_the_headers(harness: Path) -> None:
    assert [*map(int, _run(harness).split())] == [WORK_BYTES[0], WORK_BYTES[-1]]


@pytest.mark.parametrize("work", WORK)
def test_every_accepted_vector_gives_its_crcs(harness: Path, work: str) -> None:
    files = sorted((GOLDEN / "accept").glob("*.ekp"))

    found = _results(_run(harness, work, *files))

    assert len(found) == len(files)
    for file in files:
        expected = json.loads(file.with_suffix(".json").read_text())
        result, tensors = found[file.stem]
        assert result == "ok", file.stem
        assert len(tensors) == len(expected["tensors"]), file.stem
        for (codes, restored), tensor in zip(tensors, expected["tensors"], strict=True):
            if tensor["codes_crc32c"] is not None:
                assert int(codes, 16) == tensor["codes_crc32c"], file.stem
            assert int(restored, 16) == tensor["restored_crc32c"], file.stem


@pytest.mark.parametrize("work", WORK)
def test_every_rejected_vector_names_its_rule(harness: Path, work: str) -> None:
    files = sorted((GOLDEN / "reject").glob("*.ekp"))
    expected = json.loads((GOLDEN / "reject" / "expected.json").read_text())

    found = _results(_run(harness, work, *files))

    for file in files:
        error = expected[file.stem]["error"].removesuffix("Error").lower()
        if file.stem.startswith(BESIDE_THE_DECODER):
            error = "ok"
        assert found[file.stem][0] == error, file.stem


def test_less_than_the_least_work_memory_is_refused(harness: Path) -> None:
    output = _run(harness, "4095", GOLDEN / "accept" / "gap.ekp")

    assert output.startswith("small buffer ")


def test_room_for_exactly_a_chunks_sequences_is_enough(harness: Path) -> None:
    """The memory ends with them, so that a byte more would be outside of it."""
    vectors = [GOLDEN / "accept" / f"{name}.ekp" for name in ("gap", "mask", "mask_odd_elements")]

    for vector in vectors:
        (record,) = open_packfile(vector).records
        (chunk,) = record.chunks
        positions = chunk.gap_count if record.mode is Mode.GAP else -(-record.elements // 8)
        exact = 1024 + 2 * (8192 + 32768) + chunk.value_count + positions
        outputs = [_run(harness, str(exact + more), vector) for more in (-1, 0, 1)]

        assert outputs == [_run(harness, "4096", vector)] * 3
        assert outputs[0].endswith(f"ok {vector}\n")


def test_damaged_files_never_leave_their_buffers(tmp_path: Path) -> None:
    harness = _build(tmp_path, "unsafe", "harness.c", flags=[*STRICT, *SANITIZED, *UNSAFE])
    rng = np.random.default_rng(3)
    files = []
    for source in sorted((GOLDEN / "accept").glob("*.ekp")):
        data = source.read_bytes()
        tensors, _, payload, payload_bytes = struct.unpack_from("<QQ8xQQ", data, 40)
        for number in range(8):
            damaged = bytearray(data[: int(rng.integers(0, len(data)))] if number == 0 else data)
            # Anywhere, then in the records and the payload, which may be empty.
            ends = (0, len(data)) if number < 4 else (tensors, payload + payload_bytes + 1)
            for _ in range(number if number < 4 else number - 3):
                damaged[int(rng.integers(*ends))] ^= 1 << int(rng.integers(0, 8))
            files.append(tmp_path / f"{source.stem}_{number}.ekp")
            files[-1].write_bytes(damaged)

    for work in WORK:
        found = _results(_run(harness, work, *files))

        results = [result for result, _ in found.values()]
        assert len(found) == len(files)
        # No CRC stops the damage on its way to the decoder.
        assert set(results) == {"ok", "truncated", "corrupt", "limit", "version"}
        assert results.count("ok") > len(files) // 8


@pytest.mark.parametrize("target", ["file", "chunk"])
def test_the_kept_corpus_runs_clean_without_an_engine(target: str, tmp_path: Path) -> None:
    program = _build(
        tmp_path,
        "replay",
        f"fuzz_{target}.c",
        "replay.c",
        flags=["-std=c99", *SANITIZED, *UNSAFE],
    )
    corpus = sorted((CORPUS / target).iterdir())
    seeds.main([str(tmp_path / "seeds")])
    corpus += sorted((tmp_path / "seeds" / target).iterdir())

    _run(program, *corpus)

    assert len(corpus) > 50


@pytest.fixture(scope="module")
def scales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scales")
    counted = ["-finstrument-functions"]
    return _build(folder, "scales", "scales.c", flags=[*STRICT, *SANITIZED, *counted])


def _write_scaled(path: Path, shape: tuple[int, ...], axis: int, *, common: float | None) -> Path:
    """Codes of 0 whose channels have the scales 2, 3, 4 and so on."""
    scale = np.arange(2, shape[axis] + 2, dtype=np.float32)
    grid = CodedTensor("w", "float32", np.zeros(shape, np.int8), scale, axis)
    tensor = coded(grid, Mode.GAP, scales=scale_fields(scale, axis, common=common))
    path.write_bytes(File((tensor,)).to_bytes())
    return path


@pytest.mark.parametrize("common", [None, 1.0, 7.0])
def test_a_channel_that_isnt_there_has_the_scale_1(
    scales: Path, tmp_path: Path, common: float | None
) -> None:
    file = _write_scaled(tmp_path / "scaled.ekp", (3, 40), 1, common=common)

    there, behind, _ = _run(scales, file).splitlines()

    assert [*map(float, there.split())] == [*range(2, 42)]
    assert [*map(float, behind.split())] == [1, 1]


@pytest.mark.parametrize("common", [None, 1.0])
@pytest.mark.parametrize(("shape", "axis"), [((4096,), 0), ((3, 2048), 1), ((512, 512), 0)])
def test_all_chunks_in_order_take_a_few_calls_a_channel(
    scales: Path, tmp_path: Path, shape: tuple[int, ...], axis: int, common: float | None
) -> None:
    """A search from the first channel, for each chunk or channel, would take hundreds."""
    file = _write_scaled(tmp_path / "scaled.ekp", shape, axis, common=common)

    *_, calls = _run(scales, file).splitlines()

    elements = int(np.prod(shape))
    changes = elements // int(np.prod(shape[axis + 1 :])) + elements // 256
    assert int(calls) / changes < 60
