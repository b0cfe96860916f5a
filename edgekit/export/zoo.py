"""The zoo's networks with what is stated about them beside what is counted."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

import edgekit_models
from edgekit.errors import ExportError, UsageError
from edgekit.export.source import find_network
from edgekit.export.text import brief
from edgekit_models.counting import uncounted
from edgekit_models.footprint import measure_footprint


@dataclass(frozen=True, slots=True)
class ModelCard:
    """A network of the zoo, or one's own.

    parameters, multiply_adds: counted on the network itself, trainable parameters and
    convolutions and linear layers for one input. stated_*: the zoo's own integers. paper_*: as
    the paper prints them, or None. Of a network of one's own nothing is stated: family, paper,
    checkpoint and what is stated are None, classes is None where it doesn't answer in one row.
    peak_bytes, receptive_field: of the activations for one input,
    as edgekit_models.footprint measures them. checkpoint: of the shipped weights, a file name, or
    None.
    """

    name: str
    family: str | None
    description: str
    input_shape: tuple[int, ...]
    classes: int | None
    parameters: int
    stated_parameters: int | None
    paper_parameters: str | None
    multiply_adds: int
    stated_multiply_adds: int | None
    paper_multiply_adds: str | None
    uncounted: tuple[str, ...]
    peak_bytes: int
    receptive_field: int | None
    paper: str | None
    checkpoint: str | None

    def to_dict(self) -> dict[str, Any]:
        """The card as JSON-compatible values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ZooEntry:
    """A network of the zoo in one line; parameters and multiply_adds as the zoo states them."""

    name: str
    family: str
    description: str
    input_shape: tuple[int, ...]
    classes: int
    parameters: int
    multiply_adds: int
    checkpoint: str | None


@dataclass(frozen=True, slots=True)
class ZooReport:
    """All networks, sorted by name."""

    models: tuple[ZooEntry, ...]

    def to_dict(self) -> dict[str, Any]:
        """The list as JSON-compatible values."""
        return asdict(self)


def card(source: str, input_shape: tuple[int, ...] | None = None) -> ModelCard:
    """One network's card, counted on the meta device without memory for its weights.

    source: a zoo name, `package.module:factory` or `file.py:factory`. input_shape: of one input,
    without the batch axis; a factory needs it, the zoo knows its own.

    Raises UnknownModelError, UsageError without a shape, and ExportError where the network can't
    take it.
    """
    network = find_network(source)
    shape = input_shape or network.input_shape
    if shape is None:
        raise UsageError(
            f"{source} doesn't tell its input shape; add for example --input 1,3,224,224"
        )
    spec = network.spec
    # A factory of one's own may fill its weights with numpy or files: not on the meta device.
    with torch.device("cpu" if spec is None else "meta"):
        module = network.build().eval()
    try:
        with torch.no_grad():
            answer = module(torch.zeros(1, *shape, device="cpu" if spec is None else "meta"))
    except Exception as error:
        raise ExportError(
            f"{source} fails on an input of shape {(1, *shape)}: {brief(error)}"
        ) from error
    footprint = measure_footprint(module, shape)
    # What is stated holds for the network's own input.
    own = None if spec is None or shape != spec.input_shape else spec
    paper = None
    if spec is not None:
        section = f", section {spec.paper.section}" if spec.paper.section else ""
        paper = f"{spec.paper.title}, {spec.paper.year}{section}"
    shipped = None if spec is None else spec.checkpoint_path
    is_row = isinstance(answer, torch.Tensor) and answer.ndim == 2
    return ModelCard(
        name=source,
        family=None if spec is None else spec.family,
        description=_first_line(module) if spec is None else spec.description,
        input_shape=shape,
        classes=answer.shape[1] if is_row else None,
        parameters=edgekit_models.count_parameters(module),
        stated_parameters=None if own is None else own.parameters,
        paper_parameters=None if own is None else own.paper_parameters,
        multiply_adds=edgekit_models.count_multiply_adds(module, shape),
        stated_multiply_adds=None if own is None else own.multiply_adds,
        paper_multiply_adds=None if own is None else own.paper_multiply_adds,
        uncounted=uncounted(module),
        peak_bytes=footprint.peak_bytes,
        receptive_field=footprint.receptive_field,
        paper=paper,
        checkpoint=None if shipped is None else shipped.name,
    )


def _first_line(module: nn.Module) -> str:
    """Of the class's own docstring; its name where it has none."""
    text = type(module).__dict__.get("__doc__") or type(module).__name__
    return str(text).strip().partition("\n")[0]


def zoo() -> ZooReport:
    """All networks. Counting them takes seconds, so what is stated is shown; tests recount it."""
    return ZooReport(tuple(map(_entry, edgekit_models.names())))


def _entry(name: str) -> ZooEntry:
    spec = edgekit_models.spec(name)
    shipped = spec.checkpoint_path
    return ZooEntry(
        name=name,
        family=spec.family,
        description=spec.description,
        input_shape=spec.input_shape,
        classes=spec.classes,
        parameters=spec.parameters,
        multiply_adds=spec.multiply_adds,
        checkpoint=None if shipped is None else shipped.name,
    )
