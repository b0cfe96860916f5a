"""Models in onnxruntime: sessions from packed files, and comparing what two models answer."""

from __future__ import annotations

from edgekit.runtime.forms import load

__all__ = ["load"]
