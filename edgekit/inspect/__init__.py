"""What is inside a model: layers, numbers, and where each byte of the file goes."""

from __future__ import annotations

from edgekit.inspect.ledger import InspectReport, inspect

__all__ = ["InspectReport", "inspect"]
