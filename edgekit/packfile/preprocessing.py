"""What a packed file's manifest says of how pictures become inputs; needs no onnx."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgekit.errors import CorruptError, DataError
from edgekit.preprocess import Preprocess, from_dict


def recorded_preprocess(manifest: Mapping[str, Any]) -> Preprocess | None:
    """The manifest's settings, or None where it says nothing. Raises CorruptError."""
    recorded = manifest.get("preprocessing")
    try:
        return None if recorded is None else from_dict(recorded)
    except DataError as error:
        raise CorruptError(f"the manifest's preprocessing: {error}") from error
