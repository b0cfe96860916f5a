"""A recipe of training stages: what is done, in which order, for how long.

The fields of the classes are the keys of recipe files (recipe_file.py), with their meanings and
defaults.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar, get_args

from edgekit.compress.cluster import Start
from edgekit.compress.prune import check_sparsity
from edgekit.compress.quantize import MAX_BITS, MIN_BITS, check_bits
from edgekit.compress.surgery import check_surgery
from edgekit.errors import RecipeError
from edgekit.packfile.writer import CoderName
from edgekit.train.methods.masks import Schedule

_MOST_EPOCHS = 10_000
_HIGHEST_RATE = 10

_LEAST_BATCH, _MOST_BATCH = 2, 1 << 20
_MOST_WEIGHT = 1e6
_MOST_POINTS = 100
_MORE_BITS = 1.5
_MOST_ATTEMPTS = 8
SHOWN = 60
"""Characters of a wrong value in an error."""
_HALF_BITS = 16
_BY_PATTERN = ("sparsity", "rank", "schedule")
"""Settings of a prune stage that a pattern decides."""
CODING = ("share", "grid")
"""Kinds of stages that end with codes."""


@dataclass(frozen=True, slots=True)
class Train:
    """Train the source from random weights first; for a source of modules, on Fashion-MNIST."""

    kind: ClassVar[str] = "train"
    epochs: float = 12.0
    learning_rate: float = 0.05

    def __post_init__(self) -> None:
        _check_rhythm(self.epochs, self.learning_rate)
        if self.epochs != int(self.epochs):
            raise RecipeError("epochs of a train stage are whole")


@dataclass(frozen=True, slots=True)
class Retrain:
    """Train all weights on; those that are zero, in the source too, stay zero.

    learning_rate: how far a step of Adam moves a weight, as a share of its tensor's deviation.
    """

    kind: ClassVar[str] = "retrain"
    epochs: float = 1.0
    learning_rate: float = 0.01

    def __post_init__(self) -> None:
        _check_rhythm(self.epochs, self.learning_rate)


@dataclass(frozen=True, slots=True)
class Prune:
    """Set weights to zero and retrain the others.

    sparsity: share of all weights that become zero. pattern: "" for any, or such as "2:4", two of
    every four neighbours along the input channels stay. Then there is no sparsity, rank and
    schedule to choose, and a layer whose inputs don't come in such groups stays dense.
    rank: by "magnitude", or "importance", which weighs a tensor's magnitudes by its gradients.
    schedule: "one-shot", "iterative" or "cubic". pruning_share: of the epochs, after which the
    masks are final.
    """

    kind: ClassVar[str] = "prune"
    sparsity: float = 0.67
    pattern: str = ""
    rank: str = "magnitude"
    schedule: Schedule = "cubic"
    pruning_share: float = 0.5
    epochs: float = 2.0
    learning_rate: float = 0.01

    def __post_init__(self) -> None:
        _check_rhythm(self.epochs, self.learning_rate)
        check_sparsity(self.sparsity)
        _check_choice("rank", self.rank, ("magnitude", "importance"))
        _check_choice("schedule", self.schedule, get_args(Schedule))
        _check_share("pruning_share", self.pruning_share)
        if self.pattern:
            parse_pattern(self.pattern)
            usual = {field.name: field.default for field in fields(self)}
            check_beside_pattern(key for key in usual if getattr(self, key) != usual[key])


@dataclass(frozen=True, slots=True)
class Channels:
    """Remove channels from the graph, dead and least important ones first, and retrain.

    keep: share of the channels that stays, as `edgekit compress --channels`.
    """

    kind: ClassVar[str] = "channels"
    keep: float = 0.7
    epochs: float = 2.0
    learning_rate: float = 0.01

    def __post_init__(self) -> None:
        _check_rhythm(self.epochs, self.learning_rate)
        check_surgery(self.keep, None)


@dataclass(frozen=True, slots=True)
class LowRank:
    """Split matrices into two of lower rank where that saves weights, and retrain.

    A matrix of a pruned source loses its zeros where its halves have fewer weights than it had that
    weren't zero.

    energy: share of each matrix's energy that stays, as `edgekit compress --low-rank`.
    """

    kind: ClassVar[str] = "low-rank"
    energy: float = 0.9
    epochs: float = 2.0
    learning_rate: float = 0.01

    def __post_init__(self) -> None:
        _check_rhythm(self.epochs, self.learning_rate)
        check_surgery(1.0, self.energy)


@dataclass(frozen=True, slots=True)
class Share:
    """Share at most 2^bits values a tensor by k-means, and tune the values.

    start: of the k-means.
    """

    kind: ClassVar[str] = "share"
    bits: int = 6
    start: Start = "linear"
    epochs: float = 1.0
    learning_rate: float = 0.01

    def __post_init__(self) -> None:
        _check_rhythm(self.epochs, self.learning_rate)
        check_bits(self.bits)
        _check_choice("start", self.start, get_args(Start))


@dataclass(frozen=True, slots=True)
class Grid:
    """Put weights on uniform grids whose steps learn, where they code short.

    bits: of a code at most. bits_per_weight: entropy that all codes together come down to; left
    out, codes cost what they cost. start_bits: the entropy that training starts at, where a
    bound is given. max_drop: points of the validation metric, as shares times 100, that may be
    lost since the float model; where more are, the stage begins anew with half as many bits
    again, and in the last of at most 8 attempts with start_bits, whose codes are kept whatever
    they lost. Without labels it isn't looked at. steps: one a "tensor" or one a "channel".
    bias_bits: 16 for float16 numbers, or at most 8 for codes. activations: learn with the
    rounding of an int8 session.
    """

    kind: ClassVar[str] = "grid"
    bits: int = 8
    bits_per_weight: float | None = None
    start_bits: float = 3.0
    max_drop: float | None = None
    steps: str = "tensor"
    bias_bits: int = 16
    activations: bool = False
    epochs: float = 2.0
    learning_rate: float = 0.02

    def __post_init__(self) -> None:
        _check_rhythm(self.epochs, self.learning_rate)
        check_bits(self.bits)
        _check_choice("steps", self.steps, ("tensor", "channel"))
        if self.bias_bits != _HALF_BITS and not MIN_BITS <= self.bias_bits <= MAX_BITS:
            raise RecipeError(
                f"bias_bits must be {_HALF_BITS} or {MIN_BITS} to {MAX_BITS}, "
                f"got {str(self.bias_bits)[:SHOWN]}"
            )
        _check_entropy("start_bits", self.start_bits)
        bound = self.bits_per_weight
        if self.max_drop is not None:
            self._check_drop(self.max_drop)
        if bound is None:
            return
        _check_entropy("bits_per_weight", bound)
        if bound > self.bits:
            raise RecipeError(
                f"bits_per_weight can't be {bound:g} where codes have {self.bits} bits at most"
            )
        if bound > self.start_bits:
            raise RecipeError(
                f"codes come down from start_bits to bits_per_weight, so {self.start_bits:g} can't "
                f"be below {bound:g}"
            )

    def attempts(self) -> tuple[Grid, ...]:
        """This stage, and where a drop is bounded those that are tried in its place, in turn."""
        if self.max_drop is None or self.bits_per_weight is None:
            return (self,)
        most = min(self.start_bits, self.bits)
        rising = [self.bits_per_weight * _MORE_BITS**turn for turn in range(_MOST_ATTEMPTS - 1)]
        # As people write them: 1.17 and not 1.1700000000000002.
        bounds = [float(f"{bound:.6g}") for bound in rising if bound < most]
        return tuple(replace(self, bits_per_weight=bound) for bound in (*bounds, most))

    def _check_drop(self, points: float) -> None:
        if not 0 <= points <= _MOST_POINTS:
            raise RecipeError(
                f"max_drop must be 0 to {_MOST_POINTS} points, got {str(points)[:SHOWN]}"
            )
        if self.bits_per_weight is None or not self.epochs:
            raise RecipeError(
                "max_drop says when training came down to too few bits; give bits_per_weight and "
                "epochs with it"
            )


Stage = Train | Retrain | Prune | Channels | LowRank | Share | Grid
KINDS: dict[str, type[Stage]] = {
    stage.kind: stage for stage in (Train, Retrain, Prune, Channels, LowRank, Share, Grid)
}


@dataclass(frozen=True, slots=True)
class Distillation:
    """What the student learns from a teacher.

    share: of the loss that is the teacher's; the rest is the labels'. temperature: of the
    answers. features, flow: weights of the distances of features and of FSP matrices.
    """

    share: float = 0.7
    temperature: float = 2.0
    features: float = 0.0
    flow: float = 0.0

    def __post_init__(self) -> None:
        _check_share("share", self.share)
        if not 0 < self.temperature <= _MOST_WEIGHT:
            raise RecipeError(
                f"temperature must be above 0 and at most {_MOST_WEIGHT:g}, "
                f"got {str(self.temperature)[:SHOWN]}"
            )
        if not (0 <= self.features <= _MOST_WEIGHT and 0 <= self.flow <= _MOST_WEIGHT):
            raise RecipeError("features and flow must be at least 0 and finite")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Stages in order, and what holds for all of them.

    name: of the file. precision: "float32", or "bfloat16" for the layers' products, which
    processors with such instructions train up to twice as fast. coder: of the packed file.
    """

    name: str
    stages: tuple[Stage, ...]
    description: str = ""
    distillation: Distillation | None = None
    batch_size: int = 64
    precision: str = "float32"
    coder: CoderName = "rans"

    def __post_init__(self) -> None:
        if not _LEAST_BATCH <= self.batch_size <= _MOST_BATCH:
            raise RecipeError(
                f"batch_size must be {_LEAST_BATCH} to {_MOST_BATCH}, "
                f"got {str(self.batch_size)[:SHOWN]}"
            )
        _check_choice("precision", self.precision, ("float32", "bfloat16"))
        _check_choice("coder", self.coder, get_args(CoderName))
        kinds = [stage.kind for stage in self.stages]
        if "train" in kinds[1:]:
            raise RecipeError("a train stage can only come first")
        if kinds[-1:] == ["train"]:
            raise RecipeError("a recipe needs a stage after its training")
        if any(kind in CODING for kind in kinds[:-1]):
            raise RecipeError("share and grid fix the codes, so nothing can come behind them")
        if not kinds or kinds[-1] not in CODING:
            raise RecipeError("the last stage has to make codes: share or grid")
        if Prune.kind in kinds and LowRank.kind in kinds[kinds.index(Prune.kind) :]:
            raise RecipeError(
                "low-rank makes new matrices, without the zeros of a prune stage before it; put "
                "low-rank first"
            )
        taught = self.distillation
        if taught is not None and (taught.features or taught.flow) and Channels.kind in kinds:
            raise RecipeError(
                "features and flow compare layers of the same width, and a channels stage narrows "
                "them; set both to 0"
            )

    @property
    def heeds_labels(self) -> bool:
        """Whether labels have a part in the loss."""
        return self.distillation is None or self.distillation.share < 1

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        plain = asdict(self)
        plain["stages"] = [{"kind": stage.kind, **asdict(stage)} for stage in self.stages]
        for stage in plain["stages"]:
            # Runs and files from before there was such a bound say nothing of it.
            if stage.get("max_drop", 0) is None:
                del stage["max_drop"]
        return plain


def with_bits_per_weight(recipe: Recipe, bits: float) -> Recipe:
    """A recipe whose grid comes down to just this entropy, from at least that.

    Raises RecipeError for what is no entropy, and without a grid.
    """
    _check_entropy("bits_per_weight", bits)
    last = recipe.stages[-1]
    if not isinstance(last, Grid):
        raise RecipeError(f"{recipe.name} has no grid stage that could come down to {bits:g} bits")
    start = max(last.start_bits, bits)
    changed = replace(last, bits_per_weight=bits, start_bits=start, max_drop=None)
    return replace(recipe, stages=(*recipe.stages[:-1], changed))


def settled(recipe: Recipe, attempt: int) -> Recipe:
    """The recipe that makes at once what the grid of another one made at this attempt."""
    last = recipe.stages[-1]
    if not isinstance(last, Grid) or last.max_drop is None:
        return recipe
    made = replace(last.attempts()[attempt - 1], max_drop=None)
    return replace(recipe, stages=(*recipe.stages[:-1], made))


def _check_rhythm(epochs: float, learning_rate: float) -> None:
    if not 0 <= epochs <= _MOST_EPOCHS:
        raise RecipeError(f"epochs must be in 0..{_MOST_EPOCHS}, got {str(epochs)[:SHOWN]}")
    if not 0 < learning_rate < _HIGHEST_RATE:
        raise RecipeError(
            f"learning_rate must be above 0 and below {_HIGHEST_RATE}, "
            f"got {str(learning_rate)[:SHOWN]}"
        )


def _check_entropy(key: str, bits: float) -> None:
    if not 0 < bits <= MAX_BITS:
        raise RecipeError(f"{key} must be above 0 and at most {MAX_BITS}, got {str(bits)[:SHOWN]}")


def _check_share(key: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise RecipeError(f"{key} must be in 0..1, got {str(value)[:SHOWN]}")


def check_beside_pattern(given: Iterable[str]) -> None:
    """Raise RecipeError where settings are given that a pattern leaves nothing to."""
    idle = [key for key in given if key in _BY_PATTERN]
    if idle:
        raise RecipeError(f"a pattern says which weights stay; leave out {' and '.join(idle)}")


def parse_pattern(text: str) -> tuple[int, int]:
    """`2:4` as (2, 4). Raises RecipeError."""
    keep, colon, group = text.partition(":")
    short = len(text) < len("00:000")
    if (
        short
        and colon
        and text.isascii()
        and keep.isdecimal()
        and group.isdecimal()
        and 0 < int(keep) < int(group) <= 64
    ):
        return int(keep), int(group)
    raise RecipeError(f"can't read {text[:SHOWN]!r} as a pattern; write such as 2:4")


def _check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise RecipeError(f"{key} must be {' or '.join(choices)}, got {repr(value)[:SHOWN]}")
