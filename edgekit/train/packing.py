"""From a trained graph to a compressed model: what was trained is what is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from edgekit import __version__
from edgekit.compress.carry_out import store
from edgekit.graph import Graph
from edgekit.tensors import CodedTensor, CompressedModel, CompressedTensor, dequantize


def trained_model(
    graph: Graph,
    coded: Mapping[str, CodedTensor],
    numbers: Mapping[str, NDArray[np.float32]],
    facts: Mapping[str, Any],
) -> CompressedModel:
    """A graph's skeleton with trained numbers, ready to be packed.

    coded: tensors as codes, by name. numbers: all trained tensors as the network saw them, the
    values of codes included; what has no codes is stored, in float16 where that changes nothing
    that matters. facts: for the manifest.

    Raises AssertionError where codes don't give the numbers that were trained: a bug.
    """
    tensors: list[CompressedTensor] = []
    for weight in graph.weights:
        if weight.name in coded:
            tensor = replace(coded[weight.name], dtype=weight.dtype)
            restored = dequantize(replace(tensor, dtype="float32"))
            if not np.array_equal(restored, numbers[weight.name]):
                raise AssertionError(f"the codes of {weight.name} aren't what was trained")
            tensors.append(tensor)
        elif weight.name in numbers:
            values = numbers[weight.name].astype(weight.values.dtype)
            tensors.append(store(replace(weight, values=values)))
        else:
            tensors.append(store(weight))
    manifest = {
        "name": graph.name,
        "source_sha256": graph.source_sha256,
        "source_bytes": graph.source_bytes,
        "preprocessing": None,
        **facts,
        "versions": {
            "edgekit": __version__,
            "numpy": np.__version__,
            "onnx": onnx.__version__,
            "torch": str(torch.__version__),
        },
    }
    return CompressedModel(tuple(tensors), graph.skeleton, manifest)
