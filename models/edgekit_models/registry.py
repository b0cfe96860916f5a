"""The names of the zoo, and how to build what they stand for."""

from __future__ import annotations

import difflib
from pathlib import Path

from torch import nn

from edgekit_models import (
    alexnet,
    clcnet,
    googlenet,
    mobilenet,
    mobilenetv2,
    resnet,
    resnet_small,
    shufflenet,
    squeezenet,
    vgg,
    xception,
)
from edgekit_models.spec import ModelSpec

_FAMILIES = (
    alexnet,
    clcnet,
    googlenet,
    mobilenet,
    mobilenetv2,
    resnet,
    resnet_small,
    shufflenet,
    squeezenet,
    vgg,
    xception,
)
_SPECS: dict[str, ModelSpec] = {entry.name: entry for family in _FAMILIES for entry in family.SPECS}


class UnknownNetworkError(LookupError):
    """No network of that name; the message offers the nearest names."""


def names() -> tuple[str, ...]:
    """All names, sorted."""
    return tuple(sorted(_SPECS))


def spec(name: str) -> ModelSpec:
    """What the zoo states about a network. Raises UnknownNetworkError."""
    if name not in _SPECS:
        nearest = difflib.get_close_matches(name, names(), n=3, cutoff=0.5)
        known = "known: " + ", ".join(names())
        offer = "did you mean " + " or ".join(nearest) if nearest else known
        raise UnknownNetworkError(f"no network named {name!r} in the zoo; {offer}")
    return _SPECS[name]


def build(name: str, **variant: object) -> nn.Module:
    """A network with fresh He-initialised weights from torch's global generator.

    variant: keyword arguments of the network's factory, such as `width=0.5` or `classes=120`.
    Raises UnknownNetworkError, and TypeError for a variant that the factory doesn't know.
    """
    return spec(name).factory(**variant)


def recipe_paths() -> dict[str, Path]:
    """The training recipes that lie beside the networks, by name."""
    folder = Path(__file__).parent / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}
