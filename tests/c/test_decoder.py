"""The C decoder under sanitizers: every vector, damaged files, and the fuzzer's kept corpus."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.fuzz import seeds

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "golden"
CORPUS = HERE.parent / "fuzz" / "corpus"
INCLUDE = HERE.parents[1] / "edgekit" / "embed"
STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
SANITIZED = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
WORK_BYTES = (4096, 5120, 45056, 87040, 607296)
"""From the least to EKD_WORK_FAST: each unlocks a faster way of decoding."""

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


@pytest.mark.parametrize("work_bytes", WORK_BYTES)
def test_every_accepted_vector_gives_its_crcs(harness: Path, work_bytes: int) -> None:
    files = sorted((GOLDEN / "accept").glob("*.ekp"))

    found = _results(_run(harness, str(work_bytes), *files))

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


def test_every_rejected_vector_names_its_rule(harness: Path) -> None:
    files = sorted((GOLDEN / "reject").glob("*.ekp"))
    expected = json.loads((GOLDEN / "reject" / "expected.json").read_text())

    found = _results(_run(harness, "4096", *files))

    for file in files:
        error = expected[file.stem]["error"].removesuffix("Error").lower()
        if file.stem.startswith(BESIDE_THE_DECODER):
            error = "ok"
        assert found[file.stem][0] == error, file.stem


def test_less_than_the_least_work_memory_is_refused(harness: Path) -> None:
    output = _run(harness, "4095", GOLDEN / "accept" / "gap.ekp")

    assert output.startswith("small buffer ")


def test_damaged_files_never_leave_their_buffers(harness: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    files = []
    for source in sorted((GOLDEN / "accept").glob("*.ekp")):
        data = source.read_bytes()
        for number in range(4):
            damaged = bytearray(data[: int(rng.integers(0, len(data)))] if number == 0 else data)
            for _ in range(number):
                damaged[int(rng.integers(0, len(damaged)))] ^= 1 << int(rng.integers(0, 8))
            files.append(tmp_path / f"{source.stem}_{number}.ekp")
            files[-1].write_bytes(damaged)

    for work_bytes in ("4096", "574528"):
        found = _results(_run(harness, work_bytes, *files))

        assert len(found) == len(files)


@pytest.mark.parametrize("target", ["file", "chunk"])
def test_the_kept_corpus_runs_clean_without_an_engine(target: str, tmp_path: Path) -> None:
    program = _build(
        tmp_path,
        "replay",
        f"fuzz_{target}.c",
        "replay.c",
        flags=["-std=c99", *SANITIZED, "-DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION"],
    )
    corpus = sorted((CORPUS / target).iterdir())
    seeds.main([str(tmp_path / "seeds")])
    corpus += sorted((tmp_path / "seeds" / target).iterdir())

    _run(program, *corpus)

    assert len(corpus) > 50
