"""The zoo's networks with what is stated about them beside what is counted."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

import edgekit_models
from edgekit.errors import UnknownModelError
from edgekit_models.footprint import measure_footprint


@dataclass(frozen=True, slots=True)
class ModelCard:
    """A network of the zoo.

    parameters, multiply_adds: counted on the network itself, trainable parameters and
    convolutions and linear layers for one input. stated_*: the zoo's own integers. paper_*: as
    the paper prints them, or None. peak_bytes, receptive_field: of the activations for one input,
    as edgekit_models.footprint measures them. checkpoint: of the shipped weights, a file name, or
    None.
    """

    name: str
    family: str
    description: str
    input_shape: tuple[int, int, int]
    classes: int
    parameters: int
    stated_parameters: int
    paper_parameters: str | None
    multiply_adds: int
    stated_multiply_adds: int
    paper_multiply_adds: str | None
    peak_bytes: int
    receptive_field: int
    paper: str
    checkpoint: str | None

    def to_dict(self) -> dict[str, Any]:
        """The card as JSON-compatible values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ZooReport:
    """All networks, sorted by name."""

    models: tuple[ModelCard, ...]

    def to_dict(self) -> dict[str, Any]:
        """The list as JSON-compatible values."""
        return asdict(self)


def card(name: str) -> ModelCard:
    """One network's card, counted on the meta device without memory for its weights.

    Raises UnknownModelError.
    """
    try:
        spec = edgekit_models.spec(name)
    except edgekit_models.UnknownNetworkError as error:
        raise UnknownModelError(str(error)) from error
    with torch.device("meta"):
        module = edgekit_models.build(name)
    shipped = spec.checkpoint_path
    footprint = measure_footprint(module, spec.input_shape)
    return ModelCard(
        name=name,
        family=spec.family,
        description=spec.description,
        input_shape=spec.input_shape,
        classes=spec.classes,
        parameters=edgekit_models.count_parameters(module),
        stated_parameters=spec.parameters,
        paper_parameters=spec.paper_parameters,
        multiply_adds=edgekit_models.count_multiply_adds(module, spec.input_shape),
        stated_multiply_adds=spec.multiply_adds,
        paper_multiply_adds=spec.paper_multiply_adds,
        peak_bytes=footprint.peak_bytes,
        receptive_field=footprint.receptive_field,
        paper=f"{spec.paper.title}, {spec.paper.year}, section {spec.paper.section}",
        checkpoint=None if shipped is None else shipped.name,
    )


def zoo() -> ZooReport:
    """The cards of all networks."""
    return ZooReport(tuple(card(name) for name in edgekit_models.names()))
