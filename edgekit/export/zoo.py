"""The zoo's networks with what is stated about them beside what is counted."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

import edgekit_models
from edgekit.errors import UsageError
from edgekit.export.parity import run_module
from edgekit.export.source import find_network
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
    peak_bytes: int
    receptive_field: int
    paper: str | None
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
    with torch.device("meta" if network.spec is not None else "cpu"):
        module = network.build().eval()
    if network.spec is None:
        return _own_card(source, module, shape)
    spec = network.spec
    shipped = spec.checkpoint_path
    footprint = measure_footprint(module, shape)
    return ModelCard(
        name=source,
        family=spec.family,
        description=spec.description,
        input_shape=shape,
        classes=spec.classes,
        parameters=edgekit_models.count_parameters(module),
        # What is stated holds for the network's own input.
        stated_parameters=spec.parameters,
        paper_parameters=spec.paper_parameters,
        multiply_adds=edgekit_models.count_multiply_adds(module, shape),
        stated_multiply_adds=spec.multiply_adds if shape == spec.input_shape else None,
        paper_multiply_adds=spec.paper_multiply_adds if shape == spec.input_shape else None,
        peak_bytes=footprint.peak_bytes,
        receptive_field=footprint.receptive_field,
        paper=f"{spec.paper.title}, {spec.paper.year}"
        + (f", section {spec.paper.section}" if spec.paper.section else ""),
        checkpoint=None if shipped is None else shipped.name,
    )


def _own_card(source: str, module: nn.Module, shape: tuple[int, ...]) -> ModelCard:
    # A factory may fill its weights with numpy or files, so it isn't sent to the meta device.
    answer = run_module(module, torch.zeros(1, *shape))[0]
    footprint = measure_footprint(module, shape)
    return ModelCard(
        name=source,
        family=None,
        description=_first_line(module),
        input_shape=shape,
        classes=answer.shape[1] if answer.ndim == 2 else None,
        parameters=edgekit_models.count_parameters(module),
        stated_parameters=None,
        paper_parameters=None,
        multiply_adds=edgekit_models.count_multiply_adds(module, shape),
        stated_multiply_adds=None,
        paper_multiply_adds=None,
        peak_bytes=footprint.peak_bytes,
        receptive_field=footprint.receptive_field,
        paper=None,
        checkpoint=None,
    )


def _first_line(module: nn.Module) -> str:
    """Of the class's own docstring; its name where it has none."""
    text = type(module).__dict__.get("__doc__") or type(module).__name__
    return str(text).strip().partition("\n")[0]


def zoo() -> ZooReport:
    """The cards of all networks."""
    return ZooReport(tuple(card(name) for name in edgekit_models.names()))
