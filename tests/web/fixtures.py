"""Writes what the web tests compare with: python -m tests.web.fixtures FOLDER.

FOLDER/NETWORK/   a page for a compressed form of a network, as `edgekit embed --to web` makes it,
                  with inputs.bin and outputs.bin (float32) of onnxruntime in Python
FOLDER/mixed/     the same without a page, for weights of other types
FOLDER/pictures/  pictures as pixels and as files, with the inputs that Python makes of them
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from edgekit import api
from edgekit.data import FASHION_MNIST, read_fashion_mnist
from edgekit.images import read_picture
from edgekit.preprocess import Preprocess, make_preprocess

FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "mobilenetv2_6bit": ("mobilenetv2_fashion", {"bits": 6}),
    "mobilenetv2_rans": ("mobilenetv2_fashion", {"bits": 5, "coder": "rans", "sparsity": 0.3}),
    "squeezenet_sparse": ("squeezenet_fashion", {"bits": 6, "sparsity": 0.7}),
    "squeezenet_codebook": ("squeezenet_fashion", {"bits": 5, "method": "codebook"}),
}
"""Coders, modes and grids that differ, each on a trained network."""

BATCH = 6

_THIRDS = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
SETTINGS = {
    # Cut from the centre, in an order of axes and channels each.
    "imagenet": Preprocess(224, 224, 256, "rgb", layout="nchw", **_THIRDS),
    "wide": Preprocess(96, 64, 110, "bgr", layout="nhwc", **_THIRDS),
    "stretched": Preprocess(50, 30, None, "rgb", (0.5,) * 3, (0.5,) * 3, "nchw"),
    "gray": Preprocess(28, 28, 28, "gray", (0.286,), (0.353,), "nchw"),
}
SIZES = {"landscape": (640, 427), "portrait": (131, 300), "tiny": (17, 40), "same": (28, 28)}
"""Shrunk and enlarged, by whole and broken steps, and left as they are."""


def pixels(width: int, height: int) -> NDArray[np.uint8]:
    """(height, width, 3) uint8: smooth colours, edges and noise."""
    rng = np.random.default_rng(width * height)
    y, x = np.mgrid[:height, :width]
    smooth = np.stack([x / width, y / height, (x + y) / (width + height)], axis=2) * 255
    smooth[(x // 9 + y // 7) % 5 == 0] = (250, 20, 90)
    noisy = smooth + rng.normal(0, 12, smooth.shape)
    return np.asarray(np.clip(noisy, 0, 255), np.uint8)


def write_pictures(folder: Path) -> None:
    """Pixels as red, green, blue, alpha, and the inputs of each of SETTINGS."""
    cases = []
    for picture, (width, height) in SIZES.items():
        rgb = pixels(width, height)
        Image.fromarray(rgb).save(folder / f"{picture}.png")
        opaque = np.full((height, width, 1), 255, np.uint8)
        (folder / f"{picture}.rgba").write_bytes(np.concatenate([rgb, opaque], 2).tobytes())
        for name, settings in SETTINGS.items():
            expected = read_picture(folder / f"{picture}.png", settings)
            (folder / f"{picture}-{name}.bin").write_bytes(expected.tobytes())
            cases.append(
                {
                    "picture": picture,
                    "settings": name,
                    "width": width,
                    "height": height,
                    "preprocess": settings.to_dict(),
                    "shape": expected.shape,
                }
            )
    (folder / "cases.json").write_text(json.dumps(cases))


def write_network(folder: Path, form: str, onnx: Path) -> None:
    """A page, and what its model answers in Python."""
    packed = folder / f"{form}.ekp"
    # Forced: what is compared are decoders, and so many zeros cost this network its answers.
    api.compress(onnx, packed, preprocess=FASHION_MNIST, force=True, **FORMS[form][1])
    page = folder / form
    api.embed(packed, page, target="web", labels=FASHION_MNIST)
    settings = make_preprocess(FASHION_MNIST, (1, 1, 28, 28))
    session = api.load(packed)
    garments = read_fashion_mnist("test").images[:BATCH]
    inputs = []
    answers = []
    for index, garment in enumerate(garments):
        Image.fromarray(garment).save(page / f"garment{index}.png")
        inputs.append(read_picture(page / f"garment{index}.png", settings))
    # A picture that is shrunk on its way.
    Image.fromarray(garments[1]).resize((301, 411), Image.Resampling.BICUBIC).save(
        page / "large.png"
    )
    for name in (*(f"garment{index}.png" for index in range(BATCH)), "large.png"):
        scores = _run(session, read_picture(page / name, settings)[None])[0].astype(np.float64)
        shares = np.exp(scores - scores.max())
        answers.append({"picture": name, "shares": (shares / shares.sum()).tolist()})
    write_answers(page, session, np.stack(inputs), packed, answers)


def write_mixed(folder: Path) -> None:
    """Weights in int8, float16, float32 and a graph that turns each into the next."""
    rng = np.random.default_rng(5)
    weights = {
        "small": rng.integers(-127, 128, (64, 48)).astype(np.int8),
        "half": rng.normal(0, 1, (48, 32)).astype(np.float16),
        "single": rng.normal(0, 1, (32, 10)).astype(np.float32),
        "step": np.float32(0.01),
        "zero": np.int8(0),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["small", "step", "zero"], ["first"]),
        helper.make_node("MatMul", ["input", "first"], ["a"]),
        helper.make_node("Cast", ["a"], ["b"], to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["b", "half"], ["c"]),
        helper.make_node("Cast", ["c"], ["d"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["d", "single"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "mixed",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 64])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    folder.mkdir()
    packed = folder / "model.ekp"
    api.compress(model.SerializeToString(), packed, bits=8)
    batch = rng.normal(0, 1, (BATCH, 64)).astype(np.float32)
    write_answers(folder, api.load(packed), batch, packed, [])


def write_answers(
    folder: Path,
    session: Any,
    batch: NDArray[np.float32],
    packed: Path,
    answers: list[dict[str, Any]],
) -> None:
    """A batch, the model's outputs, and what else the tests compare."""
    (folder / "inputs.bin").write_bytes(batch.tobytes())
    (folder / "outputs.bin").write_bytes(_run(session, batch).tobytes())
    (folder / "expected.json").write_text(
        json.dumps({"shape": batch.shape, "digest": _digest(packed), "answers": answers})
    )


def _run(session: Any, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    outputs: NDArray[np.float32] = session.run(None, {session.get_inputs()[0].name: batch})[0]
    return outputs


def _digest(packed: Path) -> str:
    return packed.read_bytes()[-32:].hex()


def main() -> None:
    """Write everything into the folder that the command names."""
    folder = Path(sys.argv[1])
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    write_pictures(folder / "pictures")
    write_mixed(folder / "mixed")
    models = {network for network, _ in FORMS.values()}
    for network in sorted(models):
        api.export(network, folder / f"{network}.onnx")
    for form, (network, _) in FORMS.items():
        write_network(folder, form, folder / f"{network}.onnx")


if __name__ == "__main__":
    main()
