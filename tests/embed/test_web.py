"""The web app's folder, without its packages; `make web` runs the page itself."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from edgekit.compress.pipeline import compress
from edgekit.embed import embed
from edgekit.errors import UsageError
from edgekit.packfile import read_packfile, read_weights, write_packfile
from edgekit.tensors import CompressedModel

ROOT = Path(__file__).parents[2]

READER = """
import { readFile, readdir } from "node:fs/promises";
import { openPacked } from "%s/edgekit.js";
const folder = process.argv[2];
for (const name of (await readdir(folder)).sort()) {
  if (!name.endsWith(".ekp")) continue;
  try {
    const packed = await openPacked(await readFile(`${folder}/${name}`));
    const weights = packed.restore();
    console.log(name, weights.reduce((sum, { data }) => sum + data.byteLength, 0));
  } catch (error) {
    console.log(name, error.name);
  }
}
"""

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="Node isn't installed")


@pytest.fixture
def packed(tiny_onnx_path: Path, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.ekp"
    compress(tiny_onnx_path, path, bits=6)
    return path


@pytest.fixture
def page(packed: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "page"
    embed(packed, folder, target="web", prefix="net", preprocess="symmetric")
    return folder


class _Links(HTMLParser):
    """Ids of a page, and what it links to."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.ids.append(value)
            if name in {"src", "href"} and value:
                self.links.append(value)


def _read(page: Path, folder: Path) -> dict[str, str]:
    script = page / "read.mjs"
    script.write_text(READER % page.as_posix())
    done = subprocess.run(
        ["node", script, folder], check=True, capture_output=True, text=True, timeout=120
    )
    return dict(line.split(" ") for line in done.stdout.splitlines())


def test_the_folder_holds_the_model_and_how_to_use_it(page: Path, packed: Path) -> None:
    settings = json.loads((page / "model.json").read_text(encoding="utf-8"))

    assert (page / "net.ekp").read_bytes() == packed.read_bytes()
    assert settings["packed"] == "net.ekp"
    assert settings["packedBytes"] == packed.stat().st_size
    assert settings["floatBytes"] == (packed.parent / "tiny.onnx").stat().st_size
    assert settings["labels"] == []
    assert settings["preprocess"] == {
        "width": 12,
        "height": 12,
        "resize": 12,
        "channels": "gray",
        "mean": [0.5],
        "std": [0.5],
        "layout": "nchw",
    }


def test_all_that_the_page_names_is_there(page: Path) -> None:
    links = _Links()
    links.feed((page / "index.html").read_text(encoding="utf-8"))
    scripts = {path.name: path.read_text(encoding="utf-8") for path in page.glob("*.js")}
    imported = {
        name
        for text in scripts.values()
        for name in re.findall(r'(?:from|URL\() ?"\.?/?([\w.]+)"', text)
    }
    readme = (page / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w.]+\.\w+)`", readme))

    assert len(links.ids) == len(set(links.ids))
    assert set(re.findall(r'element\("([\w-]+)"\)', scripts["app.js"])) <= set(links.ids)
    vendored = {name for name in imported if name in (page / "vendor.mjs").read_text()}
    assert vendored == {"ort.wasm.min.mjs"}
    for name in {*links.links, *imported, *named} - vendored:
        assert (page / name).is_file(), name
    assert {"edgekit.js", "worker.js", "edgekit_decode.wasm", "sample.svg"} <= imported
    # Every file of the folder has its line.
    assert {path.name for path in page.iterdir()} - named <= {
        "README.md",
        "icon.svg",
        "package.json",
        "serve.mjs",
        "vendor.mjs",
    }


def test_the_loader_costs_a_page_little(page: Path) -> None:
    loader = ("edgekit.js", "errors.js", "sections.js", "skeleton.js", "edgekit_decode.wasm")

    assert sum((page / name).stat().st_size for name in loader) <= 48 << 10


def test_no_file_names_another_host(page: Path) -> None:
    for path in page.iterdir():
        if path.suffix in {".ekp", ".wasm"}:
            continue
        text = path.read_text(encoding="utf-8")
        addresses = re.findall(r"https?://[\w.$-]+", text)

        assert set(addresses) <= {
            "http://localhost",
            "http://www.w3.org",  # the name of SVG's vocabulary, which nobody fetches
        }, path.name


def test_names_are_text_and_never_markup(packed: Path, tmp_path: Path) -> None:
    model = read_packfile(packed)
    name = 'Cats & "dogs" </title><script>alert(1)</script>'
    strange = CompressedModel(model.tensors, model.skeleton, {**model.manifest, "name": name})
    write_packfile(strange, tmp_path / "strange.ekp")

    embed(tmp_path / "strange.ekp", tmp_path / "page", target="web")

    html = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    assert "<script>alert" not in html
    assert "Cats &amp; &quot;dogs&quot; &lt;/title&gt;" in html
    settings = json.loads((tmp_path / "page" / "model.json").read_text(encoding="utf-8"))
    assert settings["name"] == name


def test_a_model_without_pictures_is_refused(packed: Path, tmp_path: Path) -> None:
    model = read_packfile(packed)
    write_packfile(CompressedModel(model.tensors, b"", {}), tmp_path / "weights.ekp")

    with pytest.raises(UsageError, match="--preprocess"):
        embed(tmp_path / "weights.ekp", tmp_path / "page", target="web")
    assert not (tmp_path / "page").exists()


@needs_node
@pytest.mark.parametrize("kind", ["accept", "reject"])
def test_the_loader_reads_the_golden_vectors(page: Path, kind: str) -> None:
    folder = ROOT / "tests" / "golden" / kind

    found = _read(page, folder)

    if kind == "reject":
        expected = json.loads((folder / "expected.json").read_text())
        assert found == {f"{name}.ekp": entry["error"] for name, entry in expected.items()}
    else:
        assert len(found) == len(list(folder.glob("*.ekp")))
        assert all(size.isdecimal() for size in found.values())


@needs_node
def test_the_loader_restores_as_many_bytes_as_python(page: Path, packed: Path) -> None:
    restored_bytes = sum(weight.nbytes for weight in read_weights(packed).values())

    found = _read(page, page)

    assert found == {"net.ekp": str(restored_bytes)}


@needs_node
def test_a_missing_runtime_is_told_with_the_way_out(page: Path) -> None:
    done = subprocess.run(
        ["node", page / "vendor.mjs"], check=False, capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "npm install" in done.stderr


@pytest.mark.skipif(
    importlib.util.find_spec("ziglang") is None, reason="the compiler isn't installed"
)
def test_the_decoder_is_built_from_the_sources_beside_it() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "build_wasm.py", "--check"],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
