"""Trained weights as safetensors bytes that are the same in every run."""

from __future__ import annotations

import json
import struct

import safetensors.torch
from torch import Tensor


def to_safetensors(weights: dict[str, Tensor], facts: dict[str, str]) -> bytes:
    """A safetensors file with `facts` as its metadata, in sorted order.

    The library writes the metadata in an order that changes from process to process.
    """
    blob = safetensors.torch.save(weights, metadata=facts)
    (length,) = struct.unpack_from("<Q", blob)
    header = json.loads(blob[8 : 8 + length])
    header["__metadata__"] = dict(sorted(facts.items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    # The tensors that follow stay aligned to 8 bytes.
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + blob[8 + length :]
