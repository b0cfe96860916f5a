"""A network of the zoo as ONNX and as a packed file, and test images: `prepare FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from edgekit import api, data

NETWORK = "mobilenetv2_fashion"
IMAGES = 20


def main(folder: Path) -> None:
    """Write model.onnx, model.ekp and inputs.npy."""
    folder.mkdir()
    api.export(NETWORK, folder / "model.onnx")
    api.compress(folder / "model.onnx", folder / "model.ekp", bits=8)
    np.save(folder / "inputs.npy", data.load_labelled().inputs[:IMAGES])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
