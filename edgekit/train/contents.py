"""What training data held when a run began, cheap enough to look at again when it goes on."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from edgekit.errors import DataError
from edgekit.images import LABELS_FILE, SUFFIXES
from edgekit.train.datasets import TrainingData

READ_BYTES = 1 << 26
"""A folder of no more than this is read; of a larger one names and sizes count."""


def contents(data: TrainingData) -> dict[str, Any]:
    """How many samples each split has, and a digest of the folder they come from, if they do.

    Raises DataError for a folder that can't be read.
    """
    splits = {"training": data.training, "validation": data.validation, "test": data.test}
    folder = Path(data.source)
    return {
        "samples": {name: len(split) for name, split in splits.items() if split is not None},
        "folder": folder_digest(folder) if data.source and folder.is_dir() else None,
    }


def folder_digest(folder: Path) -> str:
    """Of the pictures, labels and archives in a folder and one level below it.

    Raises DataError.
    """
    digest = hashlib.sha256()
    try:
        files = sorted(
            (path.relative_to(folder).as_posix(), path, path.stat().st_size)
            for pattern in ("*", "*/*")
            for path in folder.glob(pattern)
            if path.is_file() and _counts(path)
        )
        are_read = sum(size for _, _, size in files) <= READ_BYTES
        for name, path, size in files:
            digest.update(f"{name}\0{size}\0".encode())
            if are_read:
                digest.update(path.read_bytes())
    except OSError as error:
        raise DataError(f"can't read {folder}: {error.strerror or error}") from error
    return digest.hexdigest()[:16]


def _counts(path: Path) -> bool:
    return path.suffix.lower() in {*SUFFIXES, ".gz"} or path.name == LABELS_FILE
