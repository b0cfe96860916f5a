"""The decoder's SHA-256 against the library's, for every length of a last block."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

import edgekit.embed

HERE = Path(__file__).parent
STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
SANITIZED = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("sha256") / "sha256"
    header = Path(edgekit.embed.__path__[0])
    source = HERE / "sha256.c"
    subprocess.run(["gcc", *STRICT, *SANITIZED, f"-I{header}", source, "-o", output], check=True)
    return output


def _answers(program: Path, files: list[Path]) -> list[str]:
    done = subprocess.run([program, *files], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def test_every_length_of_a_last_block_is_summed_as_the_library_does(
    program: Path, tmp_path: Path
) -> None:
    files, spoiled = [], []
    for length in range(200):
        content = bytes(i * 7 % 256 for i in range(length))
        digest = hashlib.sha256(content).digest()
        files.append(tmp_path / f"{length}.good")
        files[-1].write_bytes(content + digest)
        spoiled.append(tmp_path / f"{length}.bad")
        spoiled[-1].write_bytes(content + digest[:-1] + bytes([digest[-1] ^ 1]))

    assert _answers(program, files) == ["ok"] * 200
    assert _answers(program, spoiled) == ["checksum"] * 200


def test_a_file_without_room_for_a_sum_is_truncated(program: Path, tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(bytes(31))

    assert _answers(program, [tmp_path / "short"]) == ["truncated"]
