"""Labelled images for training, calibration and evaluation, as numpy arrays.

Fashion-MNIST (Xiao et al. 2017, Expat licence) is looked for in this order: the folder that the
caller names, the folder in EDGEKIT_FASHION_MNIST, the folder of the Debian package
`dataset-fashion-mnist`, the user's cache, and last the first 1,000 test images that ship with
edgekit. `Labelled.source` says which one was used.
"""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgekit.arrays import read_file
from edgekit.errors import DataError
from edgekit.images import is_picture_folder, read_pictures
from edgekit.preprocess import Preprocess

Split = Literal["train", "test"]

FASHION_MNIST = "fashion-mnist"
MEAN, DEVIATION = 0.2860, 0.3530
"""Of the training pixels in 0..1; part of the contract with every model trained on them."""

CLASSES = (
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
)

_PREFIX: dict[Split, str] = {"train": "train", "test": "t10k"}
_KINDS = ("images-idx3", "labels-idx1")
_IMAGES_MAGIC, _LABELS_MAGIC = 0x0803, 0x0801
_MAX_ELEMENTS = 1 << 28  # a quarter of a gibibyte of pixels; the data set itself has 47 million
_DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Inputs of one network with the classes they belong to.

    inputs: (N, C, H, W) float32, normalised as the network expects them.
    labels: (N,) int64, or None where the data carry none.
    name: of the data set. split: which part of it, such as `test` or `test[:1000]`.
    source: where it was read from, for people.
    """

    inputs: NDArray[np.float32]
    labels: NDArray[np.int64] | None
    name: str
    split: str
    source: str

    @property
    def title(self) -> str:
        """The data set and its part, for reports and manifests."""
        return f"{self.name} {self.split}"


@dataclass(frozen=True, slots=True, eq=False)
class RawImages:
    """Fashion-MNIST as stored: images (N, 28, 28) uint8, labels (N,) uint8 in 0..9."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    split: str
    source: str


def load_labelled(
    spec: str | os.PathLike[str] = FASHION_MNIST,
    *,
    split: Split = "test",
    preprocess: Preprocess | None = None,
    most: int | None = None,
) -> Labelled:
    """Evaluation data by name or path.

    spec: `fashion-mnist`, a folder with its four idx .gz files, a folder of pictures (labels from
    its subfolders or its labels.csv), an .npz file with `inputs` (N, ...) float32 and, if known,
    `labels` (N,) integers, or an .npy file of inputs alone. split: a part of Fashion-MNIST; all
    else is one part. preprocess: how pictures become inputs. most: of a folder's pictures, to be
    read.

    Raises DataError with one line about what is wrong, where, and what to do.
    """
    if spec == FASHION_MNIST:
        return _labelled(read_fashion_mnist(split))
    path = Path(spec)
    # An empty name would be the current folder.
    is_folder = os.fspath(spec) != "" and path.is_dir()
    if is_folder and is_picture_folder(path):
        if preprocess is None:
            raise DataError(
                f"{path} holds pictures; say how they become inputs with --preprocess, such as "
                "imagenet, unit or a .toml file"
            )
        inputs, labels = read_pictures(path, preprocess, most=most)
        return Labelled(inputs, labels, path.name, "all", os.fspath(path))
    if is_folder:
        check_fashion_folder(path)
        return _labelled(read_fashion_mnist(split, folder=path))
    if path.suffix in {".npz", ".npy"}:
        return _labelled_arrays(path)
    raise DataError(
        f"can't use {os.fspath(spec)!r} as data; give {FASHION_MNIST!r}, a folder that holds "
        "its idx .gz files or pictures, an .npz file with 'inputs' and 'labels', or an .npy file"
    )


def read_fashion_mnist(split: Split, *, folder: str | os.PathLike[str] | None = None) -> RawImages:
    """One split of Fashion-MNIST as stored.

    folder: where the idx .gz files lie; by default the places in this module's docstring. Only
    the test split can fall back to the 1,000 packaged images, and `split` then says so.
    Raises DataError.
    """
    found = _find_folder() if folder is None else Path(folder)
    if found is not None:
        prefix = _PREFIX[split]
        images = read_idx_images(found / f"{prefix}-images-idx3-ubyte.gz")
        labels = read_idx_labels(found / f"{prefix}-labels-idx1-ubyte.gz")
        if len(images) != len(labels):
            raise DataError(
                f"{found}: {len(images)} {split} images but {len(labels)} labels; "
                "the files don't belong together, fetch the data set again"
            )
        if images.shape[1:] != (28, 28) or (labels >= len(CLASSES)).any():
            raise DataError(f"{found}: not 28x28 images of 10 classes, so not Fashion-MNIST")
        return RawImages(images, labels, split, os.fspath(found))
    if split == "train":
        raise DataError(
            "the training images of Fashion-MNIST aren't on this machine; install the Debian "
            "package dataset-fashion-mnist, or name the folder with the four .gz files"
        )
    return _read_packaged()


def check_fashion_folder(folder: Path) -> None:
    """Raise DataError for a folder without pictures and without one of Fashion-MNIST's files."""
    names = [f"{prefix}-{kind}-ubyte.gz" for prefix in _PREFIX.values() for kind in _KINDS]
    if not any((folder / name).is_file() for name in names):
        raise DataError(
            f"no pictures lie in {folder} or one level below it, and none of the four .gz files "
            "of Fashion-MNIST"
        )


def normalise(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Grey images (N, H, W) uint8 to inputs (N, 1, H, W) float32: (x / 255 - MEAN) / DEVIATION."""
    scaled = images[:, None].astype(np.float32) / np.float32(255)
    normalised: NDArray[np.float32] = (scaled - np.float32(MEAN)) / np.float32(DEVIATION)
    return normalised


def read_idx_images(path: Path) -> NDArray[np.uint8]:
    """A gzip idx3 file: big-endian magic 0x803, count, rows, columns, then bytes.

    Returns (count, rows, columns) uint8. Raises DataError.
    """
    return _read_idx(path, _IMAGES_MAGIC, axes=3)


def read_idx_labels(path: Path) -> NDArray[np.uint8]:
    """A gzip idx1 file: big-endian magic 0x801, count, then bytes. Returns (count,) uint8."""
    return _read_idx(path, _LABELS_MAGIC, axes=1)


def _read_idx(path: Path, magic: int, *, axes: int) -> NDArray[np.uint8]:
    try:
        with gzip.open(path) as file:
            header = file.read(4 + 4 * axes)
            if len(header) < 4 + 4 * axes:
                raise DataError(f"{path}: ends inside its header; fetch it again")
            found, *shape = struct.unpack(f">{1 + axes}I", header)
            if found != magic:
                raise DataError(
                    f"{path}: magic number {found:#06x} instead of {magic:#06x}; "
                    f"not an idx{axes} file of bytes"
                )
            # Python's integers don't overflow, so the product can be trusted.
            size = int(np.prod(shape, dtype=object))
            if not 0 < size <= _MAX_ELEMENTS:
                raise DataError(f"{path}: claims {size} bytes, outside 1 to {_MAX_ELEMENTS}")
            # One byte more than claimed shows a file that is longer than it says.
            body = file.read(size + 1)
    except FileNotFoundError as error:
        raise DataError(
            f"{path} doesn't exist; name a folder that holds the four Fashion-MNIST .gz files"
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: damaged or cut gzip file ({error}); fetch it again") from error
    except OSError as error:
        raise DataError(f"can't read {path}: {error.strerror or error}") from error
    if len(body) != size:
        more = "more" if len(body) > size else f"only {len(body)}"
        raise DataError(f"{path}: its header claims {size} bytes and {more} follow; fetch it again")
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)


def _find_folder() -> Path | None:
    named = os.environ.get("EDGEKIT_FASHION_MNIST")
    if named:
        # A folder that was named on purpose is used or complained about, never passed over.
        return Path(named)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    for folder in (_DEBIAN_FOLDER, cache / "edgekit" / FASHION_MNIST):
        if (folder / "t10k-images-idx3-ubyte.gz").is_file():
            return folder
    return None


def _read_packaged() -> RawImages:
    asset = resources.files("edgekit") / "assets" / "fashion_mnist_t10k_1000.npz"
    with resources.as_file(asset) as path, np.load(path, allow_pickle=False) as arrays:
        return RawImages(
            arrays["images"],
            arrays["labels"],
            "test[:1000]",
            "the first 1,000 test images that ship with edgekit",
        )


def _labelled(raw: RawImages) -> Labelled:
    return Labelled(
        normalise(raw.images), raw.labels.astype(np.int64), FASHION_MNIST, raw.split, raw.source
    )


def read_arrays(path: Path) -> tuple[NDArray[np.float32], NDArray[Any] | None]:
    """Inputs (N, ...) and labels (N, ...) of an .npz file, or the inputs of an .npy file alone.

    The labels are as stored: what they must be is for the caller to say. Raises DataError.
    """
    found = read_file(path)
    if isinstance(found, dict) and "inputs" not in found:
        present = ", ".join(sorted(found))
        raise DataError(f"{path}: holds {present} but no array named 'inputs'")
    inputs = found["inputs"] if isinstance(found, dict) else found
    labels = found.get("labels") if isinstance(found, dict) else None
    if inputs.ndim and len(inputs) == 0:
        raise DataError(f"{path}: 'inputs' holds no samples")
    if inputs.ndim < 2 or inputs.dtype.kind != "f":
        raise DataError(
            f"{path}: 'inputs' is {inputs.dtype} of shape {inputs.shape}; "
            "it must be floating point with the samples along the first axis"
        )
    # What float32 can't hold becomes infinite, and is refused as such.
    with np.errstate(over="ignore"):
        inputs = inputs.astype(np.float32, copy=False)
    if not np.isfinite(inputs).all():
        raise DataError(f"{path}: 'inputs' holds NaN or infinity")
    return inputs, labels


def _labelled_arrays(path: Path) -> Labelled:
    inputs, labels = read_arrays(path)
    if labels is not None and (labels.shape != (len(inputs),) or labels.dtype.kind not in "iu"):
        raise DataError(
            f"{path}: 'labels' is {labels.dtype} of shape {labels.shape}; "
            f"it must be {len(inputs)} integers"
        )
    return Labelled(
        inputs,
        None if labels is None else labels.astype(np.int64),
        path.stem,
        "all",
        os.fspath(path),
    )
