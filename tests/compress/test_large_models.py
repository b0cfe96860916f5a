"""A model of more than 2 GiB, which no protobuf holds, in little memory and hardly any disk."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from edgekit.packfile import open_packfile

pytestmark = pytest.mark.slow

SIDE, LAYERS, CLASSES = 4096, 36, 64
LAYER_BYTES = 4 * SIDE**2
NEEDED_BYTES = 9 * 2**30

PROGRAM = """
import json, sys
from pathlib import Path
from edgekit.compress.pipeline import compress
report = compress(sys.argv[1], sys.argv[2], bits=6)
status = Path("/proc/self/status").read_text().split("VmHWM:")[1]
print(json.dumps({"peak": 1024 * int(status.split()[0]), "source": report.source_bytes}))
"""


def available_bytes() -> int:
    """Memory that programs may still take; 0 where the system doesn't say."""
    path = Path("/proc/meminfo")
    lines = path.read_text().splitlines() if path.exists() else []
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return 1024 * int(found[0]) if found else 0


def external(name: str, shape: tuple[int, ...], offset: int) -> TensorProto:
    tensor = TensorProto(
        name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL
    )
    place = {"location": "weights.bin", "offset": offset, "length": 4 * int(np.prod(shape))}
    for key, value in place.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def write_large_model(folder: Path) -> Path:
    """36 products with zeros, which the file system doesn't store, then one with random numbers."""
    head = np.random.default_rng(0).normal(0, 1, (SIDE, CLASSES)).astype(np.float32)
    weights = [external(f"w{i}", (SIDE, SIDE), i * LAYER_BYTES) for i in range(LAYERS)]
    weights.append(external("head", head.shape, LAYERS * LAYER_BYTES))
    products = [f"p{i}" for i in range(LAYERS)]
    graph = helper.make_graph(
        [
            *(helper.make_node("MatMul", ["x", f"w{i}"], [f"p{i}"]) for i in range(LAYERS)),
            helper.make_node("Sum", ["x", *products], ["sum"]),
            helper.make_node("MatMul", ["sum", "head"], ["y"]),
        ],
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", CLASSES])],
        weights,
    )
    model: ModelProto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    )
    path = folder / "large.onnx"
    path.write_bytes(model.SerializeToString())
    with path.with_name("weights.bin").open("wb") as file:
        file.truncate(LAYERS * LAYER_BYTES)
        file.seek(LAYERS * LAYER_BYTES)
        file.write(head.tobytes())
    return path


@pytest.mark.skipif(available_bytes() < NEEDED_BYTES, reason="needs 9 GiB of free memory")
def test_a_model_over_2_gib_takes_at_most_3_times_its_weights(tmp_path: Path) -> None:
    source, packed = write_large_model(tmp_path), tmp_path / "large.ekp"

    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(source), str(packed)],
        check=True,
        capture_output=True,
        text=True,
    )

    said = json.loads(run.stdout)
    assert said["source"] > 2**31
    assert said["peak"] < 3 * said["source"]
    records = open_packfile(packed).records
    assert sum(record.constant == bytes(4) for record in records) == LAYERS
    assert packed.stat().st_size < 2**18
