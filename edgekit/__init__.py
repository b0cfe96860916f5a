"""From a trained light CNN to a few hundred kilobytes inside an app.

`edgekit.load` opens a packed model as an onnxruntime session. Every other verb of the command
line is a function of `edgekit.api`. Importing this package imports neither onnx, onnxruntime nor
torch: they come in when a verb needs them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgekit.runtime.forms import load

__all__ = ["__version__", "load"]

__version__ = "0.1.0"

# onnxruntime reports its use to its makers unless it is told otherwise before its import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> object:
    """Import `load` when it is first asked for, so that `import edgekit` stays light."""
    if name == "load":
        from edgekit import api

        return api.load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
