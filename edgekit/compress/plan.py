"""What is to be done to each layer, as data that can be printed and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from edgekit.compress.keep import Keep, kept_layers
from edgekit.compress.prune import check_sparsity, global_counts, layer_counts
from edgekit.compress.quantize import check_bits
from edgekit.errors import PlanError
from edgekit.graph import Role, Weight

Method = Literal["uniform", "codebook"]
Scope = Literal["global", "layer"]

MIN_CODED = 64
"""A weight tensor with fewer elements is stored: its code table would outweigh its codes."""


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """One weight tensor's share of a plan.

    method: "uniform", a grid with one step a channel, or "codebook", shared values.
    bits: a code's width. pruned: how many of its weights become zero.
    axis: the dimension that carries a step of its own, or None for one step.
    """

    name: str
    shape: tuple[int, ...]
    method: Method
    bits: int
    pruned: int
    axis: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done: the recipe as the user gave it, and each layer's share.

    Tensors that aren't listed are stored. keep: bits of their own, or "float", by name.
    """

    bits: int
    method: Method
    sparsity: float
    scope: Scope
    layers: tuple[LayerPlan, ...]
    keep: Mapping[str, Keep] = field(default_factory=dict)

    def recipe(self) -> dict[str, Any]:
        """What the user asked for, as the manifest keeps it."""
        return {
            "bits": self.bits,
            "method": self.method,
            "sparsity": self.sparsity,
            "scope": self.scope,
            **({"keep": dict(self.keep)} if self.keep else {}),
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def make_plan(
    weights: Sequence[Weight],
    *,
    bits: int = 8,
    method: Method = "uniform",
    sparsity: float = 0.0,
    scope: Scope = "global",
    keep: Mapping[str, Keep] | None = None,
) -> Plan:
    """Plan the same bits and method for every weight tensor that is worth coding.

    keep: other bits, or "float", for layers by name; they aren't pruned.

    sparsity: the share of these weights that become zero, smallest magnitudes first; over the
    whole model with scope "global", in each layer with scope "layer".

    Raises PlanError for bits outside 2 to 8, sparsity outside [0, 1), an unknown method or scope,
    and a layer to keep that there isn't.
    """
    check_recipe(bits=bits, method=method, sparsity=sparsity, scope=scope)
    coded = [weight for weight in weights if is_coded(weight)]
    kept = kept_layers(keep or {}, (weight.name for weight in coded))
    pruned: dict[str, int] = {}
    if sparsity:
        counts = global_counts if scope == "global" else layer_counts
        thinned = [weight for weight in coded if weight.name not in kept]
        found = counts([weight.float32() for weight in thinned], sparsity)
        pruned = {weight.name: count for weight, count in zip(thinned, found, strict=True)}
    layers = []
    for weight in coded:
        width = kept.get(weight.name, bits)
        if width != "float":
            count = pruned.get(weight.name, 0)
            layers.append(LayerPlan(weight.name, weight.shape, method, width, count, weight.axis))
    return Plan(bits, method, sparsity, scope, tuple(layers), kept)


def check_recipe(*, bits: int, method: str, sparsity: float, scope: str) -> None:
    """Raise PlanError for a recipe that no model can be given."""
    check_bits(bits)
    check_sparsity(sparsity)
    for value, name, allowed in (
        (method, "method", get_args(Method)),
        (scope, "scope", get_args(Scope)),
    ):
        if value not in allowed:
            raise PlanError(f"{name} must be {' or '.join(allowed)}, got {value!r}")


def is_coded(weight: Weight) -> bool:
    """Whether a tensor is coded; others are stored as they are or in float16."""
    return weight.role is Role.WEIGHT and weight.values.size >= MIN_CODED and not weight.is_constant
