"""Compares the C++ app with Python: `judge.py make FOLDER`, then one of the checks.

make FOLDER: packs the shipped Fashion-MNIST network, and writes pictures and inputs.
vectors COMMAND...: every golden vector through the harness.
outputs FILE MODEL INPUTS: outputs that were written to FILE.
labels FOLDER COMMAND...: the best class that the app prints for each picture.
hostile FOLDER COMMAND...: a graph that names a file in the working directory.
opened LOG INPUT: the files that an app has opened, by a log of strace.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

import edgekit
from edgekit.api import compress, embed, export
from edgekit.data import CLASSES, normalise, read_fashion_mnist
from edgekit.packfile import write_packfile
from edgekit.tensors import CompressedModel

GOLDEN = Path(__file__).parents[1] / "golden"
PICTURES = 64
SHOWN = 4
"""Pictures that the app is started for, one by one."""
TOLERANCE = 1e-5
"""Of the largest output: the same library on the same weights, on other processors too."""


def make(folder: Path) -> None:
    """The app's folder, `inputs.f32`, and pictures `0.pgm` and on."""
    export("mobilenetv2_fashion", folder / "model.onnx")
    compress(folder / "model.onnx", folder / "model.ekp", bits=6)
    embed(
        folder / "model.ekp",
        folder / "app",
        target="cpp",
        preprocess="fashion-mnist",
        labels="fashion-mnist",
    )
    images = read_fashion_mnist("test").images[:PICTURES]
    normalise(images).tofile(folder / "inputs.f32")
    for number, pixels in enumerate(images[:SHOWN]):
        (folder / f"{number}.pgm").write_bytes(b"P5 28 28 255\n" + pixels.tobytes())


def vectors(command: list[str]) -> str:
    """Every golden vector through the harness, in one run."""
    files = sorted(GOLDEN.glob("accept/*.ekp")) + sorted(GOLDEN.glob("reject/*.ekp"))
    done = subprocess.run([*command, "2", *files], check=True, capture_output=True, text=True)
    rejected = json.loads((GOLDEN / "reject" / "expected.json").read_text())
    expected = []
    for file in files:
        if file.parent.name == "accept":
            tensors = json.loads(file.with_suffix(".json").read_text())["tensors"]
            expected += [f"  {tensor['restored_crc32c']:08x}" for tensor in tensors]
            expected.append(f"ok {file}")
        else:
            expected.append(f"{rejected[file.stem]['error']} {file}")
    found = done.stdout.splitlines()
    wrong = [pair for pair in zip(found, expected, strict=True) if pair[0] != pair[1]]
    if wrong:
        sys.exit(f"found {wrong[0][0]!r} instead of {wrong[0][1]!r}")
    return f"{len(files)} vectors"


def outputs(path: Path, model: Path, inputs: Path) -> str:
    """Outputs beside those of edgekit.load."""
    found = np.fromfile(path, np.float32).reshape(PICTURES, -1)
    expected = _expected(model, inputs)
    difference = float(np.abs(found - expected).max() / np.abs(expected).max())
    if difference > TOLERANCE:
        sys.exit(f"outputs differ by {difference:.1e} of the largest, allowed {TOLERANCE:.0e}")
    if np.any(found.argmax(1) != expected.argmax(1)):
        sys.exit("a best class differs")
    return f"{PICTURES} pictures: outputs within {difference:.1e}, best class the same"


def labels(folder: Path, command: list[str]) -> str:
    """The best class that the app prints, beside Python's. {} stands for the picture's name."""
    expected = _expected(folder / "model.ekp", folder / "inputs.f32")[:SHOWN].argmax(1)
    for number, best in enumerate(expected):
        words = [word.replace("{}", f"{number}.pgm") for word in command]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        first = done.stdout.splitlines()[0].split(maxsplit=2)[2]
        if first != CLASSES[best]:
            sys.exit(f"picture {number} is {first}, and in Python {CLASSES[best]}")
    return f"{SHOWN} pictures: the app prints the same class"


def hostile(folder: Path, command: list[str]) -> str:
    """A packed file whose graph takes a weight from a file beside it is refused."""
    np.ones((4, 4), np.float32).tofile(folder / "secret.bin")
    np.ones(4, np.float32).tofile(folder / "four.f32")
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 4])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="secret.bin")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "hostile",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])],
        [tensor],
    )
    skeleton = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    write_packfile(CompressedModel((), skeleton.SerializeToString(), {}), folder / "hostile.ekp")
    done = subprocess.run(
        [*command, "hostile.ekp", "four.f32", "4", "1"],
        check=False,
        cwd=folder,
        capture_output=True,
    )
    if done.returncode != 4 or b"ModelFileError" not in done.stderr:
        sys.exit(f"a hostile graph isn't refused: {done.returncode}")
    return "a graph that names a file is refused"


def opened(log: Path, picture: str) -> str:
    """What the app has opened beside its libraries, the system's facts, and the picture."""
    paths = re.findall(
        r'open(?:at)?\((?:AT_FDCWD, )?"([^"]*)".*= \d+$', log.read_text(), re.MULTILINE
    )
    libraries = [path for path in paths if re.search(r"\.so(\.|$)", path)]
    others = [
        path
        for path in paths
        if path not in libraries
        and path not in {picture, "/etc/ld.so.cache"}
        and not path.startswith(("/proc/", "/sys/"))
    ]
    if not libraries or picture not in paths:
        sys.exit("the log of strace isn't complete")
    if others:
        sys.exit(f"the app has opened {', '.join(others)}")
    return f"{len(libraries)} libraries and the picture opened, no other file"


def _expected(model: Path, inputs: Path) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    batch = np.fromfile(inputs, np.float32).reshape(PICTURES, 1, 28, 28)
    session = edgekit.load(model, threads=1)
    expected: np.ndarray[tuple[int, int], np.dtype[np.float32]] = session.run(
        None, {session.get_inputs()[0].name: batch}
    )[0]
    return expected


def judge(check: str, rest: list[str]) -> str:
    """Run one check; its line, or SystemExit with what is wrong."""
    if check == "make":
        make(Path(rest[0]))
        return "made"
    if check == "vectors":
        return vectors(rest)
    if check == "outputs":
        return outputs(Path(rest[0]), Path(rest[1]), Path(rest[2]))
    if check == "labels":
        return labels(Path(rest[0]), rest[1:])
    if check == "hostile":
        return hostile(Path(rest[0]), rest[1:])
    if check == "opened":
        return opened(Path(rest[0]), rest[1])
    sys.exit(f"no check {check}")


if __name__ == "__main__":
    sys.stdout.write(f"{judge(sys.argv[1], sys.argv[2:])}\n")
