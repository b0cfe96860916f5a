"""An ONNX node as the builders of its torch function see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from edgekit.errors import UntrainableError

Operator = Callable[..., Tensor | tuple[Tensor, ...]]
"""Takes a node's inputs in order, None for one that is left out; gives its output or outputs."""

Builder = Callable[["Node"], Operator]
"""Reads a node's attributes once and returns what is called in each forward pass."""


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One node.

    op: its operator. name: its own, or its first output's. opset: of the model's default domain.
    attributes: by name, strings decoded. constants: for each input its numbers where they are
    fixed, None where the input is computed, trained or left out. outputs: how many are used.
    """

    op: str
    name: str
    opset: int
    attributes: Mapping[str, Any]
    constants: tuple[NDArray[Any] | None, ...]
    outputs: int

    def integer(self, name: str, default: int) -> int:
        """An integer attribute."""
        return int(self.attributes.get(name, default))

    def integers(self, name: str) -> list[int] | None:
        """A list attribute, or None where it isn't given."""
        found = self.attributes.get(name)
        return None if found is None else [int(value) for value in found]

    def number(self, name: str, default: float) -> float:
        """A floating-point attribute."""
        return float(self.attributes.get(name, default))

    def text(self, name: str, default: str) -> str:
        """A string attribute."""
        return str(self.attributes.get(name, default))

    def scalar(self, index: int) -> float | None:
        """The one number of a constant input, or None where there is no such constant."""
        found = self.constants[index] if index < len(self.constants) else None
        return float(found.reshape(-1)[0]) if found is not None and found.size == 1 else None

    def refuse(self, what: str) -> UntrainableError:
        """The error for a form of the operator that has no torch function here."""
        return UntrainableError(
            f"node {self.name}: {self.op} with {what} can't be trained; "
            "export the network without it, or compress it without training"
        )


def whole(values: Tensor | None) -> list[int] | None:
    """The integers of a small tensor such as a shape or axes, or None where it is left out."""
    return None if values is None else [int(value) for value in values.reshape(-1).tolist()]


def axes_of(node: Node) -> Callable[[Tensor | None], list[int] | None]:
    """Reads the axes of a node: its attribute in older operator sets, its input in newer ones."""
    fixed = node.integers("axes")
    return lambda given: fixed if given is None else whole(given)


def as_array(values: object) -> NDArray[Any]:
    """Numbers as an array whose memory torch may share."""
    return np.array(values, order="C")
