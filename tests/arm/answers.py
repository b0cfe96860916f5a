"""What this machine decodes and answers: `answers FOLDER MACHINE`, run on both machines."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from pathlib import Path
from typing import Literal

import numpy as np

import edgekit
from edgekit.packfile import read_weights

GOLDEN = Path(__file__).parents[1] / "golden" / "accept"


def main(folder: Path, machine: str) -> None:
    """Write weights-MACHINE.json, digests by file and decoder, and outputs-MACHINE.npy."""
    if platform.machine() != machine:
        sys.exit(f"this is {platform.machine()}, not {machine}")
    files = [folder / "model.ekp", *sorted(GOLDEN.glob("*.ekp"))]
    digests = {
        path.name: {decoder: weights_digest(path, decoder) for decoder in ("numpy", "native")}
        for path in files
    }
    (folder / f"weights-{machine}.json").write_text(json.dumps(digests))
    session = edgekit.load(folder / "model.ekp", threads=1)
    name = session.get_inputs()[0].name
    (outputs,) = session.run(None, {name: np.load(folder / "inputs.npy")})
    np.save(folder / f"outputs-{machine}.npy", outputs)


def weights_digest(path: Path, decoder: Literal["numpy", "native"]) -> str:
    """SHA-256 over all restored weights, names and shapes included."""
    total = hashlib.sha256()
    for name, array in sorted(read_weights(path, decoder=decoder).items()):
        total.update(f"{name} {array.dtype.str} {array.shape}\n".encode() + array.tobytes())
    return total.hexdigest()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
