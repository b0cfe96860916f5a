"""What compression costs a trained MobileNetV2: finished bytes against the change of its answers.

100 crops of half of 40 photographs calibrate, 500 crops of the other half judge: divergence of the
softmax in nats, and top-1 agreement, both against the float model. 20 labelled photographs are
named as well, which moves in steps of 5 points. Photographs and torchvision's weights come from
the package index by exact version. Peer of the same run: onnxruntime's static quantizer, U8S8 for
each channel, on the same calibration crops.

Speed is float32's time over this form's: medians of turns on one thread, one input, in this run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from PIL import Image
from rich.console import Console
from rich.table import Table

import edgekit
from edgekit import api
from edgekit.compress.goal import Goal
from edgekit.packfile import open_packfile
from edgekit.packfile.activations import RunForm
from edgekit.race import race
from edgekit.runtime.parity import agreement, softmax_divergence

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.imagenet_mobilenetv2 import run as example

PICTURES_PACKAGE = "scikit-image==0.26.0"
PICTURES = (
    "astronaut.png", "brick.png", "camera.png", "chelsea.png", "clock_motion.png", "coffee.png",
    "coins.png", "color.png", "grass.png", "gravel.png", "horse.png", "hubble_deep_field.jpg",
    "ihc.png", "moon.png", "motorcycle_left.png", "motorcycle_right.png", "page.png",
    "retina.jpg", "rocket.jpg", "text.png",
)  # fmt: skip
CALIBRATION, JUDGEMENT = 100, 500
SMALLEST_CROP = 0.3
"""Of a photograph's shorter side."""

_RACE_S = 60.0

Array = NDArray[np.float32]
Form = tuple[str, Path, RunForm | None]
"""What a row is called, its file, and the run form of a packed one."""


def main() -> None:
    """Fetch, compress in several ways, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, help="folder for what is fetched")
    parser.add_argument("--only", default="", help="of the packed forms, those with this in them")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        cache = arguments.cache or folder
        cache.mkdir(parents=True, exist_ok=True)
        model = folder / "mobilenetv2.onnx"
        api.export("mobilenetv2", model, weights=example.fetch_weights(cache))
        photographs = _photographs(cache)
        calibration = crops(photographs[0::2], CALIBRATION, np.random.default_rng(0))
        judgement = crops(photographs[1::2], JUDGEMENT, np.random.default_rng(1))
        labelled = example.fetch_photos(cache)
        expected = _scores(model, judgement)
        table = Table(title="MobileNetV2, ImageNet", title_justify="left", box=None, pad_edge=False)
        table.add_column("form")
        for heading in ("bytes", "ratio", "KL, nats", "same top-1", "of 20", "speed"):
            table.add_column(heading, justify="right")
        forms = list(_forms(model, calibration, folder, arguments.only))
        for (form, path, run_as), speed in zip(forms, _speeds(forms, judgement), strict=True):
            found = _scores(path, judgement, run_as)
            right = int(np.sum(_scores(path, labelled[0], run_as).argmax(axis=1) == labelled[1]))
            table.add_row(
                form,
                f"{path.stat().st_size:,}",
                f"{model.stat().st_size / path.stat().st_size:.2f}",
                f"{softmax_divergence(expected, found):.4f}",
                f"{agreement(expected, found):.1%}",
                str(right),
                f"{speed:.2f}",
            )
        Console(highlight=False, width=100).print(table)


def _forms(model: Path, calibration: Array, folder: Path, only: str) -> Iterator[Form]:
    yield "float32", model, None
    packed: list[tuple[str, Callable[[Path], object]]] = [
        ("8 bits, no data", lambda path: api.compress(model, path, bits=8)),
        (
            "8 bits, noise",
            lambda path: api.compress(model, path, bits=8, calibration="noise"),
        ),
        ("6 bits, no data", lambda path: api.compress(model, path, bits=6)),
        (
            "6 bits, 100 crops",
            lambda path: api.compress(model, path, bits=6, calibration=calibration),
        ),
        (
            "1.84 MB, 100 crops",
            lambda path: api.compress(
                model,
                path,
                calibration=calibration,
                goal=Goal(target_bytes=1_840_000),
                run_as="int8",
            ),
        ),
        (
            "1.55 MB, 100 crops, rANS",
            lambda path: api.compress(
                model,
                path,
                calibration=calibration,
                goal=Goal(target_bytes=1_550_000),
                coder="rans",
            ),
        ),
        (
            "1.94 MB, noise",
            lambda path: api.compress(model, path, goal=Goal(target_bytes=1_940_000)),
        ),
    ]
    for number, (form, compress) in enumerate(packed):
        if only not in form:
            continue
        path = folder / f"{number}.ekp"
        compress(path)
        yield f"edgekit, {form}", path, "float"
        if "activations" in open_packfile(path).manifest:
            yield f"edgekit, {form}, as int8", path, "int8"
    yield "onnxruntime int8, U8S8, 100 crops", _onnxruntime_int8(model, calibration, folder), None


def _speeds(forms: Sequence[Form], inputs: Array) -> list[float]:
    """Float32's time over that of each form."""
    runners = []
    for _, path, run_as in forms:
        session = edgekit.load(path, threads=1, run_as=run_as)
        feed = {session.get_inputs()[0].name: inputs[:1]}
        runners.append(partial(session.run, None, feed))
    times = race(runners, budget_s=_RACE_S)
    return [times[0] / seconds for seconds in times]


class _Crops(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no annotations
    """Hands the crops to onnxruntime's calibrator one by one."""

    def __init__(self, name: str, inputs: Array) -> None:
        self._feeds = ({name: inputs[index : index + 1]} for index in range(len(inputs)))

    def get_next(self) -> dict[str, Array] | None:
        """The next feed, or None behind the last."""
        return next(self._feeds, None)


def _onnxruntime_int8(model: Path, calibration: Array, folder: Path) -> Path:
    path = folder / "int8.onnx"
    name = edgekit.load(model).get_inputs()[0].name
    quantize_static(
        model,
        path,
        _Crops(name, calibration),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return path


def _photographs(cache: Path) -> list[Image.Image]:
    """The 20 labelled photographs, then 20 of scikit-image's pictures."""
    found = []
    with zipfile.ZipFile(example.fetch(example.PHOTOS_PACKAGE, cache)) as wheel:
        names = sorted(n for n in wheel.namelist() if n.startswith(example.PHOTOS_PREFIX))
        found += [_picture(wheel, name) for name in names]
    with zipfile.ZipFile(example.fetch(PICTURES_PACKAGE, cache)) as wheel:
        found += [_picture(wheel, f"skimage/data/{name}") for name in PICTURES]
    return found


def _picture(wheel: zipfile.ZipFile, name: str) -> Image.Image:
    with wheel.open(name) as file, Image.open(file) as picture:
        return picture.convert("RGB")


def crops(pictures: Sequence[Image.Image], count: int, rng: np.random.Generator) -> Array:
    """Random square crops, half of them mirrored, as network inputs (count, 3, 224, 224)."""
    inputs = np.empty((count, 3, 224, 224), np.float32)
    for index in range(count):
        picture = pictures[index % len(pictures)]
        side = rng.uniform(SMALLEST_CROP, 1) * min(picture.size)
        left, top = (rng.uniform(0, size - side) for size in picture.size)
        box = (int(left), int(top), int(left + side), int(top + side))
        crop = picture.crop(box).resize((224, 224), Image.Resampling.BILINEAR)
        if rng.random() < 0.5:
            crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = np.asarray(crop, np.float32) / 255
        inputs[index] = ((pixels - example.MEAN) / example.DEVIATION).transpose(2, 0, 1)
    return inputs


def _scores(path: Path, inputs: Array, run_as: RunForm | None = None) -> Array:
    session = edgekit.load(path, threads=2, run_as=run_as)
    name = session.get_inputs()[0].name
    batches = np.array_split(inputs, max(1, len(inputs) // 20))
    return np.concatenate([session.run(None, {name: batch})[0] for batch in batches])


if __name__ == "__main__":
    main()
