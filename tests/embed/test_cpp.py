"""The C++ app: its reader under sanitizers on every vector, its pictures, and what is written.

What needs onnxruntime's headers is built and run by tests/cpp/run.sh.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgekit.compress.pipeline import compress
from edgekit.embed import embed
from edgekit.images import read_picture
from edgekit.preprocess import Preprocess

TESTS = Path(__file__).parents[1]
GOLDEN = TESTS / "golden"
FLAGS = ["-std=c++17", "-pthread", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror"]
SANITIZED = ["-g1", "-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The app's folder around a golden vector."""
    folder = tmp_path_factory.mktemp("app")
    embed(GOLDEN / "accept" / "worked_example.ekp", folder, target="cpp", labels="fashion-mnist")
    return folder


def _build(app: Path, program: Path, *sources: str, flags: list[str]) -> Path:
    command: list[str | Path] = ["g++", *FLAGS, *flags, f"-I{app}", *sources, "-lz", "-o", program]
    done = subprocess.run(command, check=False, cwd=app, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return program


@pytest.fixture(scope="module")
def harness(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _build(
        packed,
        tmp_path_factory.mktemp("harness") / "harness",
        str(TESTS / "cpp" / "harness.cpp"),
        "edgekit_packed.cpp",
        "edgekit_text.cpp",
        flags=SANITIZED,
    )


@pytest.fixture(scope="module")
def picture(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _build(
        packed,
        tmp_path_factory.mktemp("picture") / "picture",
        str(TESTS / "cpp" / "picture.cpp"),
        "edgekit_picture.cpp",
        flags=SANITIZED,
    )


def _prepared(
    program: Path, path: Path, settings: Preprocess
) -> subprocess.CompletedProcess[bytes]:
    words: list[object] = [settings.width, settings.height, settings.resize or 0]
    words += [settings.channels, settings.mean[0], settings.std[0]]
    words.append("last" if settings.layout == "nhwc" else "first")
    return subprocess.run([program, path, *map(str, words)], check=False, capture_output=True)


def _results(harness: Path, threads: int, files: list[Path]) -> dict[str, tuple[str, list[int]]]:
    """Result and CRCs of each file by its name; a file's line stands behind its tensors'."""
    done = subprocess.run(
        [harness, str(threads), *files], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, tuple[str, list[int]]] = {}
    crcs: list[int] = []
    for line in done.stdout.splitlines():
        if line.startswith("  "):
            crcs.append(int(line, 16))
            continue
        result, _, path = line.partition(" ")
        found[Path(path).stem] = (result, crcs)
        crcs = []
    return found


@pytest.mark.parametrize("threads", [1, 3])
def test_every_accepted_vector_gives_its_crcs(harness: Path, threads: int) -> None:
    files = sorted((GOLDEN / "accept").glob("*.ekp"))

    found = _results(harness, threads, files)

    assert len(found) == len(files)
    for file in files:
        expected = json.loads(file.with_suffix(".json").read_text())["tensors"]
        assert found[file.stem] == ("ok", [tensor["restored_crc32c"] for tensor in expected])


def test_every_rejected_vector_names_its_error(harness: Path) -> None:
    files = sorted((GOLDEN / "reject").glob("*.ekp"))
    expected = json.loads((GOLDEN / "reject" / "expected.json").read_text())

    found = _results(harness, 1, files)

    assert {name: result for name, (result, _) in found.items()} == {
        name: vector["error"] for name, vector in expected.items()
    }


def test_damaged_files_never_leave_their_buffers(harness: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    files = []
    for source in sorted((GOLDEN / "accept").glob("*.ekp")):
        data = source.read_bytes()
        for number in range(4):
            damaged = bytearray(data[: int(rng.integers(0, len(data)))] if number == 0 else data)
            for _ in range(number):
                damaged[int(rng.integers(0, len(damaged)))] ^= 1 << int(rng.integers(0, 8))
            files.append(tmp_path / f"{source.stem}_{number}.ekp")
            files[-1].write_bytes(damaged)

    found = _results(harness, 2, files)

    assert len(found) == len(files)
    assert {result for result, _ in found.values()} <= {
        "TruncatedError",
        "ChecksumError",
        "VersionError",
        "CorruptError",
        "LimitError",
    }


@pytest.mark.parametrize("seed", range(4))
def test_large_tensors_are_shared_out_among_threads(
    harness: Path, tmp_path: Path, seed: int
) -> None:
    from edgekit.codec.crc import crc32c
    from edgekit.packfile import read_weights, write_packfile
    from edgekit.tensors import CodedTensor, CompressedModel

    rng = np.random.default_rng(seed)
    codes = np.round(rng.normal(0, 3, (700, 30, 30))).astype(np.int8)
    codes *= (rng.random(codes.shape) < (0.1, 0.4, 0.7, 1.0)[seed]).astype(np.int8)
    scale = rng.random(700).astype(np.float32)
    model = CompressedModel((CodedTensor("w", "float32", codes, scale),), b"", {})
    write_packfile(model, tmp_path / "large.ekp")

    found = _results(harness, 3, [tmp_path / "large.ekp"])

    expected = read_weights(tmp_path / "large.ekp", decoder="numpy")["w"]
    assert found["large"] == ("ok", [crc32c(np.ascontiguousarray(expected).tobytes())])


@pytest.mark.parametrize(
    ("size", "settings"),
    [
        ((28, 28), Preprocess(28, 28, 28, "gray", (0.286,), (0.353,))),
        ((97, 61), Preprocess(32, 24, None, "rgb", (0.5,) * 3, (0.25,) * 3)),
        ((61, 97), Preprocess(32, 32, 40, "bgr", (0.0,) * 3, (1.0,) * 3, "nhwc")),
        ((17, 20), Preprocess(48, 40, 51, "rgb", (0.0,) * 3, (1.0,) * 3)),
    ],
)
@pytest.mark.parametrize("kind", ["ppm", "pgm"])
def test_a_picture_becomes_the_input_that_python_makes(
    picture: Path, tmp_path: Path, size: tuple[int, int], settings: Preprocess, kind: str
) -> None:
    from PIL import Image

    shape = (size[1], size[0], 3) if kind == "ppm" else (size[1], size[0])
    pixels = np.random.default_rng(8).integers(0, 256, shape, np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"x.{kind}")

    done = _prepared(picture, tmp_path / f"x.{kind}", settings)

    found = np.frombuffer(done.stdout, np.float32).reshape(settings.shape)
    expected = read_picture(tmp_path / f"x.{kind}", settings)
    # A byte may be rounded the other way where Pillow counts in whole numbers.
    np.testing.assert_allclose(found, expected, atol=1.001 / 255 / settings.std[0])
    assert np.mean(np.abs(found - expected) > 1e-5) < 0.01


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"P6 2 2 255\n" + bytes(11), "ends before its last pixel"),
        (b"P6 16000 16000 255\n", "ends before its last pixel"),
        (b"P6 99999 2 255\n", "no usable PPM or PGM header"),
        (b"P6 2 2 65535\n" + bytes(24), "no usable PPM or PGM header"),
        (b"P6 2 2 100\n" + bytes(24), "hasn't 8 bits a channel"),
        (b"P3 2 2 255\n0 0 0", "no binary PPM"),
        (b"", "no binary PPM"),
    ],
)
def test_a_broken_picture_is_refused(
    picture: Path, tmp_path: Path, data: bytes, message: str
) -> None:
    (tmp_path / "x.ppm").write_bytes(data)

    done = _prepared(
        picture, tmp_path / "x.ppm", Preprocess(8, 8, 8, "rgb", (0.0,) * 3, (1.0,) * 3)
    )

    assert done.returncode == 4
    assert message in done.stderr.decode()


def test_a_comment_in_a_picture_is_passed_over(picture: Path, tmp_path: Path) -> None:
    (tmp_path / "x.pgm").write_bytes(b"P5\n# made\n1 1\n# by hand\n255\n\x80")

    done = _prepared(picture, tmp_path / "x.pgm", Preprocess(1, 1, 1, "gray", (0.0,), (1.0,)))

    assert np.frombuffer(done.stdout, np.float32) == pytest.approx([128 / 255])


def test_the_model_is_linked_in_whole(packed: Path, tmp_path: Path) -> None:
    source = tmp_path / "size.cpp"
    source.write_text(
        '#include <cstdio>\nextern "C" {\n#include "model.h"\n}\n'
        "int main() { std::fwrite(model_data, 1, model_bytes(), stdout); }\n"
    )
    subprocess.run(
        ["gcc", "-std=c99", "-c", "model.c", "-o", tmp_path / "model.o"], check=True, cwd=packed
    )
    program = tmp_path / "size"

    _build(packed, program, str(source), str(tmp_path / "model.o"), flags=[])

    done = subprocess.run([program], check=True, capture_output=True)
    assert done.stdout == (packed / "model.ekp").read_bytes()


def test_labels_and_settings_stand_in_the_example(tiny_onnx_path: Path, tmp_path: Path) -> None:
    compress(tiny_onnx_path, tmp_path / "tiny.ekp", bits=6)
    others = "\n".join(f"class {number}" for number in range(3, 10))
    (tmp_path / "labels.txt").write_text(f'a "quoted" name\nback\\slash\nété\n{others}\n')

    embed(
        tmp_path / "tiny.ekp",
        tmp_path / "app",
        target="cpp",
        prefix="net",
        preprocess="fashion-mnist",
        labels=tmp_path / "labels.txt",
    )

    text = (tmp_path / "app" / "classify.cpp").read_text()
    assert '"a \\"quoted\\" name",\n    "back\\\\slash",\n    "été",' in text
    assert "{\n    12, 12, 12, edgekit::Channels::gray, {0.286f}, {0.353f}, false}" in text
    assert "net_data, net_bytes()" in text


def test_a_folder_without_onnxruntime_is_named(packed: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        ["make", "-s", f"ONNXRUNTIME_ROOT={tmp_path}"],
        check=False,
        cwd=packed,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 2
    assert f"{tmp_path} has no include/onnxruntime_cxx_api.h" in done.stderr
