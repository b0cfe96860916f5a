"""Folders of `edgekit embed` for the targets' lane, and the judge of what they print.

make FOLDER: the int8 codes of the shipped MobileNetV2; make-restored FOLDER: all its tensors in
the model's types. judge FOLDER, judge-restored FOLDER: compares what the program printed, on
stdin, with Python's decoder.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from edgekit.api import compress, embed, export
from edgekit.codec.crc import crc32c
from edgekit.embed import OutputType
from edgekit.packfile import read_packfile, read_weights
from edgekit.tensors import CodedTensor

NETWORK = "mobilenetv2_fashion"


def make(folder: Path, *, is_restored: bool) -> None:
    """The app's folder."""
    with tempfile.TemporaryDirectory() as scratch:
        plain, packed = Path(scratch, "m.onnx"), Path(scratch, "m.ekp")
        export(NETWORK, plain)
        compress(plain, packed, bits=6)
        if is_restored:
            embed(packed, folder)
        else:
            embed(packed, folder, tensors="*.weight", output_type=OutputType.INT8)


def judge(folder: Path, printed: str, *, is_restored: bool) -> str:
    """What agrees, for people. Ends the program at the first difference."""
    packed = folder / "model.ekp"
    if is_restored:
        decoded = {name: array.tobytes() for name, array in read_weights(packed).items()}
    else:
        tensors = read_packfile(packed).tensors
        decoded = {t.name: t.codes.tobytes() for t in tensors if isinstance(t, CodedTensor)}
    expected = {name: f"{crc32c(data):08x}" for name, data in decoded.items()}
    found = {words[-1]: words[0] for words in map(str.split, printed.strip().splitlines())}
    if found != expected:
        wrong = sorted(name for name in expected if found.get(name) != expected[name])
        sys.exit(f"decodes otherwise than expected: {', '.join(wrong) or printed}")
    size = sum(map(len, decoded.values()))
    return f"{len(found)} tensors, {size:,} bytes from {packed.stat().st_size:,} in flash"


if __name__ == "__main__":
    task, place = sys.argv[1], Path(sys.argv[2])
    if task.startswith("make"):
        make(place, is_restored=task == "make-restored")
    else:
        print(judge(place, sys.stdin.read(), is_restored=task == "judge-restored"))  # noqa: T201  the lane's line
