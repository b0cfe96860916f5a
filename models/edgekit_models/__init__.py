"""The zoo: light networks built from their own blocks, with the numbers that they recount to."""

from edgekit_models.counting import (
    count_layers,
    count_multiply_adds,
    count_parameters,
    count_shares,
    count_totals,
)
from edgekit_models.registry import UnknownNetworkError, build, names, recipe_paths, spec
from edgekit_models.spec import ModelSpec, Paper

__all__ = [
    "ModelSpec",
    "Paper",
    "UnknownNetworkError",
    "build",
    "count_layers",
    "count_multiply_adds",
    "count_parameters",
    "count_shares",
    "count_totals",
    "names",
    "recipe_paths",
    "spec",
]
