"""The Python app: its one-file loader reads what edgekit reads, without edgekit."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

import edgekit
from edgekit.codec.crc import crc32c
from edgekit.compress.pipeline import compress
from edgekit.embed import embed
from edgekit.embed.bundle import bundle
from edgekit.embed.python import loader
from edgekit.packfile import read_weights, write_packfile
from edgekit.preprocess import from_dict, prepare
from edgekit.tensors import CompressedModel

GOLDEN = Path(__file__).parents[1] / "golden"
ACCEPT = sorted(path.stem for path in (GOLDEN / "accept").glob("*.ekp"))
REJECT: dict[str, dict[str, str]] = json.loads((GOLDEN / "reject" / "expected.json").read_text())
NEEDED = ("numpy", "numpy.libs", "onnxruntime", "flatbuffers", "google", "packaging")
"""All that the app's environment holds: its requirements, and what those bring."""

RULES = """
line-length = 100
lint.select = ["D", "E", "F", "I", "PLE", "W"]
lint.ignore = ["D105", "D107", "D203", "D205", "D213", "D401"]
"""


def _imported(folder: Path, text: str) -> ModuleType:
    path = folder / "edgekit_loader.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("edgekit_loader", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The loader as a module where edgekit is installed."""
    return _imported(tmp_path_factory.mktemp("beside"), loader())


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The loader as a module that finds no edgekit."""
    text = loader()
    hidden = {
        name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "edgekit"
    }
    sys.modules["edgekit"] = None  # type: ignore[assignment]
    try:
        return _imported(tmp_path_factory.mktemp("alone"), text)
    finally:
        del sys.modules["edgekit"]
        sys.modules |= hidden


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python whose environment holds numpy and onnxruntime alone."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False, symlinks=True)
    (target,) = folder.glob("lib/python*/site-packages")
    for name in NEEDED:
        source = Path(np.__file__).parents[1] / name
        if source.exists():
            (target / name).symlink_to(source)
    return folder / "bin" / "python"


@pytest.fixture
def app(tiny_onnx_path: Path, tmp_path: Path) -> Path:
    packed = tmp_path / "tiny.ekp"
    compress(tiny_onnx_path, packed, bits=6, sparsity=0.4)
    embed(packed, tmp_path / "app", target="python", prefix="tiny")
    return tmp_path / "app"


def _run(python: Path, *words: str | Path, code: int = 0) -> str:
    done = subprocess.run(
        [python, "-I", *words], check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


@pytest.mark.parametrize("name", ACCEPT)
def test_an_accepted_vector_restores_the_expected_bits(alone: ModuleType, name: str) -> None:
    weights = alone.read_weights(GOLDEN / "accept" / f"{name}.ekp")

    expected = json.loads((GOLDEN / "accept" / f"{name}.json").read_text())["tensors"]
    assert not alone.native_available
    assert list(weights) == [tensor["name"] for tensor in expected]
    for tensor in expected:
        array = weights[tensor["name"]]
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        assert list(array.shape) == tensor["shape"]
        assert crc32c(little.tobytes()) == tensor["restored_crc32c"]


@pytest.mark.parametrize("name", REJECT)
def test_a_rejected_vector_is_refused_by_name(alone: ModuleType, name: str) -> None:
    with pytest.raises(alone.FormatError) as caught:
        alone.read_weights(GOLDEN / "reject" / f"{name}.ekp")

    assert not alone.native_available
    assert type(caught.value).__name__ == REJECT[name]["error"]


@pytest.mark.parametrize("name", REJECT)
def test_errors_are_the_loaders_own_where_edgekit_decodes(beside: ModuleType, name: str) -> None:
    with pytest.raises(beside.FormatError) as caught:
        beside.read_weights(GOLDEN / "reject" / f"{name}.ekp")

    assert beside.native_available
    assert type(caught.value).__name__ == REJECT[name]["error"]
    assert isinstance(caught.value, beside.FormatError)


def test_the_loader_is_a_file_without_unknown_or_unused_names(tmp_path: Path) -> None:
    path = tmp_path / "edgekit_loader.py"
    path.write_text(loader())

    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--config", RULES, path],
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout


def test_outputs_are_those_of_edgekit(app: Path, bare_python: Path, tmp_path: Path) -> None:
    inputs = np.random.default_rng(4).normal(size=(3, 1, 12, 12)).astype(np.float32)
    np.save(tmp_path / "inputs.npy", inputs)
    script = tmp_path / "run.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(app)!r})\n"
        "import numpy as np, edgekit_loader\n"
        "assert not edgekit_loader.native_available\n"
        f"data = open({str(app / 'tiny.ekp')!r}, 'rb').read()\n"
        f"inputs = np.load({str(tmp_path / 'inputs.npy')!r})\n"
        "session = edgekit_loader.load(data, threads=1)\n"
        "del data\n"
        f"np.save({str(tmp_path / 'outputs.npy')!r}, session.run(None, {{'input': inputs}})[0])\n"
    )

    _run(bare_python, script)

    expected = edgekit.load(app / "tiny.ekp", threads=1).run(None, {"input": inputs})[0]
    np.testing.assert_allclose(np.load(tmp_path / "outputs.npy"), expected, rtol=1e-6)


def test_the_example_prints_the_five_best(app: Path, bare_python: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (12, 12), np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    pixels.tofile(tmp_path / "pixels.raw")
    Image.fromarray(pixels).save(tmp_path / "pixels.png")
    settings = from_dict(
        {
            "width": 12,
            "height": 12,
            "resize": 12,
            "channels": "gray",
            "mean": [0],
            "std": [1],
            "layout": "nchw",
        }
    )
    np.save(tmp_path / "input.npy", prepare(pixels, settings))

    from_pixels = _run(bare_python, app / "classify.py", tmp_path / "pixels.npy")
    from_input = _run(bare_python, app / "classify.py", tmp_path / "input.npy")
    from_raw = _run(bare_python, app / "classify.py", tmp_path / "pixels.raw")
    from_picture = _run(Path(sys.executable), app / "classify.py", tmp_path / "pixels.png")

    session = edgekit.load(app / "tiny.ekp")
    scores = session.run(None, {"input": prepare(pixels, settings)[None]})[0][0]
    rows = [line.split(maxsplit=2) for line in from_pixels.splitlines()]
    assert from_pixels == from_input == from_raw == from_picture
    assert [row[2] for row in rows] == [f"class {best}" for best in np.argsort(-scores)[:5]]
    np.testing.assert_allclose([float(row[1]) for row in rows], np.sort(scores)[:-6:-1], atol=1e-4)


def test_the_example_knows_the_labels(tiny_onnx_path: Path, tmp_path: Path) -> None:
    packed = tmp_path / "tiny.ekp"
    compress(tiny_onnx_path, packed, bits=6)
    embed(packed, tmp_path / "app", target="python", labels="fashion-mnist")
    np.save(tmp_path / "x.npy", np.zeros((1, 12, 12), np.float32))

    printed = _run(Path(sys.executable), tmp_path / "app" / "classify.py", tmp_path / "x.npy")

    assert {line.split(maxsplit=2)[2] for line in printed.splitlines()} < {
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no file "),
        (b"\x93NUMPY", "can't read"),
        (np.zeros((5, 5), np.uint8), "expected 12x12 pixels"),
        (np.zeros((1, 5, 5), np.float32), "error: "),
        (np.zeros((3, 1, 12, 12), np.float32), "holds 3 inputs; give one"),
        (np.zeros((1, 12, 12), np.int64), "pixels are uint8"),
    ],
)
def test_an_input_that_does_not_fit_is_one_line(
    app: Path, bare_python: Path, tmp_path: Path, content: object, message: str
) -> None:
    path = tmp_path / "x.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)  # type: ignore[arg-type]

    said = _run(bare_python, app / "classify.py", path, code=4)

    assert message in said
    assert said.count("\n") == 1


def test_the_app_opens_no_file_in_the_users_home(
    app: Path, bare_python: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    np.save(tmp_path / "x.npy", np.zeros((1, 12, 12), np.float32))

    # onnxruntime's telemetry would keep its data base and device number there.
    subprocess.run(
        [bare_python, "-I", app / "classify.py", tmp_path / "x.npy"],
        check=True,
        capture_output=True,
        env={"HOME": str(home), "PATH": os.environ["PATH"]},
        timeout=120,
    )

    assert list(home.rglob("*")) == []


def test_the_loader_tells_and_checks_what_a_file_holds(app: Path, bare_python: Path) -> None:
    printed = _run(bare_python, app / "edgekit_loader.py", app / "tiny.ekp").splitlines()

    data = (app / "tiny.ekp").read_bytes()
    assert printed[0].split() == ["version", "1.0"]
    assert printed[1].split() == ["digest", data[-32:].hex()]
    assert [line.split()[-1] for line in printed[2:]] == list(read_weights(data))
    assert all(line.startswith("CRC-32C ok ") for line in printed[2:])


def test_the_loader_names_the_tensor_whose_bytes_are_damaged(bare_python: Path, app: Path) -> None:
    damaged = GOLDEN / "reject" / "chunk_check.ekp"

    said = _run(bare_python, app / "edgekit_loader.py", damaged, code=4)

    assert said.startswith("error: chunk 0 doesn't match its CRC-32C")


def test_a_picture_without_pillow_says_what_to_install(
    app: Path, bare_python: Path, tmp_path: Path
) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"a picture")

    said = _run(bare_python, app / "classify.py", tmp_path / "photo.jpg", code=1)

    assert said == "error: pictures need Pillow: pip install pillow\n"


def test_raw_pixels_of_another_size_are_refused(
    app: Path, bare_python: Path, tmp_path: Path
) -> None:
    (tmp_path / "x.raw").write_bytes(bytes(100))

    said = _run(bare_python, app / "classify.py", tmp_path / "x.raw", code=4)

    assert said == "error: expected 12x12 pixels, got (100,)\n"


def test_a_model_without_pictures_says_so(bare_python: Path, tmp_path: Path) -> None:
    write_packfile(CompressedModel((), b"", {"name": 'a "quoted" name'}), tmp_path / "m.ekp")
    embed(tmp_path / "m.ekp", tmp_path / "app", target="python")

    (tmp_path / "photo.jpg").write_bytes(b"a picture")

    said = _run(bare_python, tmp_path / "app" / "classify.py", tmp_path / "photo.jpg", code=4)

    assert said == "error: this model takes no pictures; give an .npy file with its float input\n"


def test_modules_that_give_one_name_two_meanings_are_refused() -> None:
    sources = {
        "edgekit.a": "def help():\n    return 1\n",
        "edgekit.b": "from edgekit.a import help as other\n\n\ndef help():\n    return 2\n",
    }

    with pytest.raises(ValueError, match="two modules define help"):
        bundle(sources, [("edgekit.a", "help"), ("edgekit.b", "help")], '"""Both."""')


def test_a_flattened_name_that_a_local_one_hides_is_refused() -> None:
    sources = {
        "edgekit.a": "SIZE = 4\n",
        "edgekit.b": "from edgekit import a\n\n\ndef use(SIZE):\n    return a.SIZE + SIZE\n",
    }

    with pytest.raises(ValueError, match="use hides SIZE"):
        bundle(sources, [("edgekit.b", "use")], '"""Both."""')
