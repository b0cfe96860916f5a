"""What the zoo states about a network, as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Paper:
    """Where a network is described.

    section: the section and table that give the layers; None where they come from the author's
    release.
    """

    title: str
    section: str | None
    year: int


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A network of the zoo and the numbers that it must recount to.

    factory: builds the network; keyword arguments are the variants it allows.
    input_shape: (C, H, W) of one input, float32.
    parameters: trainable parameters of the default form; running statistics don't count.
    multiply_adds: of convolutions and linear layers for one input, without biases.
    paper_parameters, paper_multiply_adds: the figures as the paper prints them, or None where it
        prints none for this form.
    checkpoint: the weights that ship with the zoo, a file name in `checkpoints/`, or None.
    adapt: renames a state dict that others publish to this network's parameters, and returns
        any other state dict as it is; None where there is none to rename.
    """

    name: str
    family: str
    factory: Callable[..., nn.Module]
    input_shape: tuple[int, int, int]
    classes: int
    paper: Paper
    parameters: int
    multiply_adds: int
    description: str
    paper_parameters: str | None = None
    paper_multiply_adds: str | None = None
    checkpoint: str | None = None
    adapt: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] | None = None

    @property
    def checkpoint_path(self) -> Path | None:
        """The shipped weights on disk, or None where none ship with this copy of the zoo."""
        if self.checkpoint is None:
            return None
        path = Path(__file__).parent / "checkpoints" / self.checkpoint
        return path if path.is_file() else None
