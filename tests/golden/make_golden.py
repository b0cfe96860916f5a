"""Writes the golden vectors anew: `python -m tests.golden.make_golden` in the project's folder.

A change of a file in accept/ or reject/ is a change of the format.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from edgekit.codec import crc32c
from edgekit.tensors import CodedTensor, CompressedTensor, dequantize
from tests.golden.accepted import accepted
from tests.golden.rejected import rejected

FOLDER = Path(__file__).parent


def vectors() -> dict[str, bytes]:
    """All files of this folder by their path in it."""
    files: dict[str, bytes] = {}
    accept_notes, reject_notes = [], []
    for name, note, file in accepted():
        assert f"accept/{name}.ekp" not in files, name
        files[f"accept/{name}.ekp"] = file.to_bytes()
        expected = {"tensors": [expectation(tensor.truth) for tensor in file.tensors]}
        files[f"accept/{name}.json"] = _json(expected)
        accept_notes.append(f"| {name} | {note} |")
    errors = {}
    for name, error, rule, data in rejected():
        assert name not in errors, name
        files[f"reject/{name}.ekp"] = data
        errors[name] = {"error": error, "rule": rule}
        reject_notes.append(f"| {name} | {error} | {rule} |")
    files["reject/expected.json"] = _json(errors)
    files["README.md"] = _README.format(
        accept="\n".join(accept_notes), reject="\n".join(reject_notes)
    ).encode()
    return files


def expectation(tensor: CompressedTensor) -> dict[str, object]:
    """What a decoder must make of a tensor; CRC-32C of its bytes in little-endian order."""
    restored = dequantize(tensor)
    codes = tensor.codes if isinstance(tensor, CodedTensor) else None
    return {
        "name": tensor.name,
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
        "codes_crc32c": None if codes is None else crc32c(codes.tobytes()),
        "restored_crc32c": crc32c(
            np.ascontiguousarray(restored, restored.dtype.newbyteorder("<")).tobytes()
        ),
    }


def _json(content: object) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


_README = """# Golden vectors

Tiny packed files for any decoder of `docs/format.md`. `python -m tests.golden.make_golden` in the
project's folder writes them anew, byte for byte; a test compares. A change here is a change of the
format.

## accept

Each `.ekp` must be read. The `.json` beside it says what comes out, one entry a tensor: name,
shape, type, the CRC-32C of its codes (one byte each, null for plain numbers) and of its restored
elements in little-endian order.

| File | Shows |
|---|---|
{accept}

## reject

Each `.ekp` breaks one rule and must be refused; all check sums that aren't the rule itself are
right. `expected.json` has the same table. A decoder that doesn't unpack names, skeleton and
manifest accepts the files `packed_*`, `names_*` and `manifest_*`, and one that leaves out the
SHA-256 accepts `sha256`.

| File | Error | Rule |
|---|---|---|
{reject}
"""


def main() -> None:
    """Write the files, and remove those of vectors that are gone."""
    files = vectors()
    for folder in ("accept", "reject"):
        for path in (FOLDER / folder).iterdir():
            if f"{folder}/{path.name}" not in files:
                path.unlink()
    for name, data in files.items():
        (FOLDER / name).write_bytes(data)
    sys.stdout.write(f"{len(files)} files, {sum(map(len, files.values()))} bytes\n")


if __name__ == "__main__":
    main()
