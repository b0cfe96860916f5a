from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from edgekit.bench.remote.agent import source_digest
from edgekit.bench.remote.payload import (
    PACKAGE,
    data_to_send,
    models_to_send,
    sources_to_send,
)
from edgekit.errors import InputError, ModelFileError

GOLDEN = Path(__file__).parents[2] / "golden" / "accept"


def with_external_data(model: onnx.ModelProto, folder: Path, location: str) -> Path:
    """The model with its weights in a file called `weights.bin`, asked for as `location`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    onnx.save_model(
        model, path, save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    changed = onnx.load(path, load_external_data=False)
    for tensor in changed.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(changed.SerializeToString())
    return path


def test_models_go_under_neutral_names(tiny_onnx_path: Path, tmp_path: Path) -> None:
    odd = tmp_path / "a b;$(touch x)'\".onnx"
    shutil.copy(tiny_onnx_path, odd)
    packed = next(iter(sorted(GOLDEN.glob("*.ekp"))))

    first, second = models_to_send([odd, packed])

    assert first.path == str(odd)
    assert [item.name for item in first.items] == ["model0/edgekit-model-0.onnx"]
    assert first.items[0].size == tiny_onnx_path.stat().st_size
    assert second.name == "model1/edgekit-model-1.ekp"


def test_external_data_go_along_under_the_name_that_the_model_asks_for(
    tiny_model: onnx.ModelProto, tmp_path: Path
) -> None:
    path = with_external_data(tiny_model, tmp_path / "m", "weights.bin")

    (model,) = models_to_send([path])

    assert [item.name for item in model.items] == [model.name, "model0/weights.bin"]
    assert model.items[1].path == path.parent / "weights.bin"


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "", "."])
def test_data_outside_the_models_folder_are_never_sent(
    location: str, tiny_model: onnx.ModelProto, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("private")
    path = with_external_data(tiny_model, tmp_path / "m", location)

    with pytest.raises(ModelFileError, match="isn't inside the model's folder"):
        models_to_send([path])


def test_a_link_that_leads_outside_is_not_followed(
    tiny_model: onnx.ModelProto, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("private")
    path = with_external_data(tiny_model, tmp_path / "m", "link.bin")
    (path.parent / "link.bin").symlink_to(tmp_path / "secret")

    with pytest.raises(ModelFileError, match="isn't inside the model's folder"):
        models_to_send([path])


def test_missing_files_are_named(tiny_model: onnx.ModelProto, tmp_path: Path) -> None:
    path = with_external_data(tiny_model, tmp_path / "m", "gone.bin")

    with pytest.raises(InputError, match=r"can't read .*gone\.bin: No such file"):
        models_to_send([path])
    with pytest.raises(InputError, match=r"can't read .*none\.onnx: No such file"):
        models_to_send([tmp_path / "none.onnx"])


def test_what_is_no_model_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "text.onnx"
    path.write_text("not a model")

    with pytest.raises(ModelFileError, match="isn't an ONNX model"):
        models_to_send([path])


def test_the_sources_hold_all_that_a_benchmark_imports() -> None:
    script = """
import json, sys
import edgekit.bench.remote.worker, edgekit.bench.child
files = {n: getattr(m, "__file__", None) for n, m in sys.modules.items()}
print(json.dumps([file for n, file in files.items() if n.split(".")[0] == "edgekit" and file]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    needed = {Path(name).relative_to(PACKAGE.parent).as_posix() for name in json.loads(done.stdout)}

    items = sources_to_send(platform.machine())

    assert needed <= {item.name.removeprefix("src/") for item in items}
    assert all(item.path.stat().st_size == item.size for item in items)
    assert sum(item.size for item in items) < 4 << 20


def test_the_compiled_decoder_goes_to_equal_machines_alone() -> None:
    other = {item.name for item in sources_to_send("riscv64")}

    assert not [name for name in other if name.endswith(".so")]
    headers = ("codec/kernels.h", "codec/trellis.h", "embed/edgekit_decode.h")
    assert {f"src/edgekit/{header}" for header in headers} <= other


def test_equal_code_has_an_equal_digest(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        (folder / "sub").mkdir(parents=True)
        (folder / "sub" / "one.py").write_text("x = 1\n")
        (folder / "two.py").write_text("y = 2\n")
    (second / "notes.txt").write_text("no code")

    equal = source_digest(first) == source_digest(second)
    (second / "two.py").rename(second / "three.py")

    assert equal
    assert source_digest(first) != source_digest(second)


def test_data_that_are_paths_go_along_and_names_stay(tmp_path: Path) -> None:
    pictures = tmp_path / "my pictures"
    (pictures / "cat; rm").mkdir(parents=True)
    (pictures / "cat; rm" / "1.png").write_bytes(b"1")
    inputs = tmp_path / "in $(x).npz"
    inputs.write_bytes(b"22")

    settings, items = data_to_send(
        {"runs": 3, "input_data": inputs, "evaluate": str(pictures), "preprocess": "imagenet"}
    )
    named, nothing = data_to_send({"evaluate": "fashion-mnist", "input_data": None})

    assert settings == {
        "runs": 3,
        "input_data": "data/input_data/given.npz",
        "evaluate": "data/evaluate",
        "preprocess": "imagenet",
    }
    assert {item.name: item.size for item in items} == {
        "data/input_data/given.npz": 2,
        "data/evaluate/cat; rm/1.png": 1,
    }
    assert (named, nothing) == ({"evaluate": "fashion-mnist", "input_data": None}, ())


def test_the_packages_own_images_go_along_where_they_are_needed() -> None:
    names = {item.name for item in sources_to_send(None, test_images=True)}

    assert any(name.startswith("src/edgekit/assets/fashion_mnist") for name in names)
    assert not any("assets" in item.name for item in sources_to_send(None))
