"""An ONNX file as a graph without numbers, and its numbers by name with their roles."""

from __future__ import annotations

from edgekit.graph.load import Graph, Kept, Weight, load_graph
from edgekit.graph.roles import Role

__all__ = ["Graph", "Kept", "Role", "Weight", "load_graph"]
