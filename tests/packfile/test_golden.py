"""Every golden vector, read by the Python reader, and made anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit import errors
from edgekit.codec import crc32c
from edgekit.packfile import open_packfile, read_packfile, read_weights
from edgekit.tensors import CodedTensor
from tests.golden.make_golden import FOLDER, vectors

ACCEPT = sorted(path.stem for path in (FOLDER / "accept").glob("*.ekp"))
REJECT: dict[str, dict[str, str]] = json.loads((FOLDER / "reject" / "expected.json").read_text())


def expected_tensors(name: str) -> list[dict[str, Any]]:
    content: dict[str, list[dict[str, Any]]] = json.loads(
        (FOLDER / "accept" / f"{name}.json").read_text()
    )
    return content["tensors"]


@pytest.mark.parametrize("name", ACCEPT)
def test_an_accepted_vector_restores_the_expected_bits(name: str) -> None:
    path = FOLDER / "accept" / f"{name}.ekp"

    weights = read_weights(path, decoder="numpy")

    expected = expected_tensors(name)
    assert list(weights) == [tensor["name"] for tensor in expected]
    for tensor in expected:
        restored = weights[tensor["name"]]
        assert list(restored.shape) == tensor["shape"]
        assert str(restored.dtype) == tensor["dtype"].replace("bfloat16", "uint16")
        little = np.ascontiguousarray(restored, restored.dtype.newbyteorder("<"))
        assert crc32c(little.tobytes()) == tensor["restored_crc32c"]


@pytest.mark.parametrize("name", ACCEPT)
def test_an_accepted_vector_gives_the_expected_codes(name: str) -> None:
    model = read_packfile(FOLDER / "accept" / f"{name}.ekp")

    for tensor, expected in zip(model.tensors, expected_tensors(name), strict=True):
        codes = crc32c(tensor.codes.tobytes()) if isinstance(tensor, CodedTensor) else None
        assert codes == expected["codes_crc32c"]


@pytest.mark.parametrize("name", REJECT)
def test_a_rejected_vector_is_refused_by_the_rule_that_it_breaks(name: str) -> None:
    path = FOLDER / "reject" / f"{name}.ekp"

    with pytest.raises(errors.FormatError) as caught:
        read_packfile(path)

    assert type(caught.value).__name__ == REJECT[name]["error"]
    assert "\n" not in str(caught.value)


def test_every_error_of_the_format_has_a_vector() -> None:
    classes = {cls.__name__ for cls in errors.FormatError.__subclasses__()}

    assert {vector["error"] for vector in REJECT.values()} == classes


def test_the_script_makes_the_same_files_again() -> None:
    made = vectors()

    kept = {
        str(path.relative_to(FOLDER)): path.read_bytes()
        for pattern in ("accept/*", "reject/*", "README.md")
        for path in FOLDER.glob(pattern)
    }
    assert {name: data for name, data in kept.items() if made.get(name) != data} == {}
    assert made.keys() == kept.keys()


def test_the_vectors_are_tiny() -> None:
    sizes = [path.stat().st_size for path in Path(FOLDER).rglob("*.ekp")]

    assert max(sizes) < 1500
    assert sum(sizes) / len(sizes) < 400


def test_all_modes_and_coders_are_among_the_vectors() -> None:
    seen = {
        (record.mode.name, record.coder.name)
        for name in ACCEPT
        for record in open_packfile(FOLDER / "accept" / f"{name}.ekp").records
    }

    assert seen == {
        ("RAW", "HUFFMAN"),
        ("CONSTANT", "HUFFMAN"),
        *(
            (mode, coder)
            for mode in ("DIRECT", "GAP", "MASK", "TRELLIS")
            for coder in ("HUFFMAN", "RANS")
        ),
    }
