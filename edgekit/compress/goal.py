"""What calibration aims at, and the inputs it measures on."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekit.compress.noise import natural_noise
from edgekit.data import FASHION_MNIST, load_labelled
from edgekit.errors import DataError, PlanError
from edgekit.graph import Graph
from edgekit.graph.inputs import input_shapes
from edgekit.preprocess import Preprocess

NOISE = "noise"
"""Calibration without data: 1/f noise of the model's input shape."""
PLAIN = "none"
"""No calibration: every weight goes to its nearest level."""

_ALL_NOISE_INPUTS = 64
"""Where there is nothing but noise; beside pictures there is less (edgekit.compress.calibrated)."""
_HELD_BACK = 5
"""One of so many inputs is held back to judge."""
_MOST_INPUTS = 1024
_MOST_ELEMENTS = 128 * 3 * 224 * 224
"""Inputs that are held at once: 128 colour pictures, or more smaller ones."""
_LARGEST = 1e12
SEED = 0
"""Of every random choice of a run."""

CalibrationSource = str | os.PathLike[str] | NDArray[np.float32] | Iterable[NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Goal:
    """At most one bound besides the bits of a code.

    bits_per_weight: entropy of the file's codes. target_bytes: of the finished file.
    max_divergence: of the outputs on held-back inputs, in nats. min_agreement: share of inputs with
    the same largest output, on the evaluation data or else the held-back inputs. max_drop: points
    of top-1 accuracy that may be lost on labelled evaluation data.
    """

    bits_per_weight: float | None = None
    target_bytes: int | None = None
    max_divergence: float | None = None
    min_agreement: float | None = None
    max_drop: float | None = None

    def __post_init__(self) -> None:
        given = {name: bound for name, bound in asdict(self).items() if bound is not None}
        if len(given) > 1:
            raise PlanError(
                "give one of bits per weight, a target size, a largest divergence, a least "
                "agreement and a largest drop"
            )
        for name, bound in given.items():
            # No drop at all is a wish that can be met.
            if not (math.isfinite(bound) and (bound > 0 or (name == "max_drop" and bound == 0))):
                raise PlanError(f"the bound must be a number above 0, got {bound:g}")
        if self.min_agreement is not None and self.min_agreement > 1:
            raise PlanError(f"an agreement is a share up to 1, got {self.min_agreement:g}")

    @property
    def is_set(self) -> bool:
        """Whether a bound is given."""
        return self != Goal()


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationInputs:
    """Inputs and where they come from, for the manifest and the report."""

    inputs: NDArray[np.float32]
    origin: str
    is_noise: bool = False


def is_plain(spec: CalibrationSource | None) -> bool:
    """Whether no calibration at all is asked for."""
    return isinstance(spec, str) and spec == PLAIN


def calibration_inputs(
    graph: Graph,
    spec: CalibrationSource,
    preprocess: Preprocess | None = None,
) -> CalibrationInputs:
    """Inputs by name, path or value; at most 1,024 small or 128 large ones, evenly spread.

    spec: "noise", `fashion-mnist` (its training images), a folder, .npz or .npy that
    edgekit.data.load_labelled takes, an array (N, ...), or batches (n, ...) to iterate over, of
    which the first are taken. preprocess: how pictures become inputs. Raises DataError.
    """
    found = _inputs(graph, spec, preprocess)
    _check_finite(found.inputs)
    return found


def _inputs(
    graph: Graph, spec: CalibrationSource, preprocess: Preprocess | None
) -> CalibrationInputs:
    if isinstance(spec, np.ndarray):
        if not spec.ndim:
            raise DataError("calibration inputs are an array (N, ...), got a single number")
        return CalibrationInputs(_spread(_numbers(spec)), "given inputs")
    if spec == NOISE:
        return noise_inputs(graph, SEED)
    if not isinstance(spec, str | os.PathLike):
        return CalibrationInputs(_gathered(spec), "given inputs")
    is_fashion = os.fspath(spec) == FASHION_MNIST or Path(spec).is_dir()
    found = load_labelled(
        spec,
        split="train" if is_fashion else "test",
        preprocess=preprocess,
        most=None if preprocess is None else _most(math.prod(preprocess.shape)),
    )
    return CalibrationInputs(_spread(found.inputs), found.title)


def noise_inputs(graph: Graph, seed: int) -> CalibrationInputs:
    """1/f noise for a model's input: 64 pictures, or fewer large ones.

    More where a fifth of them wouldn't fill a batch of a fixed size. Raises DataError where the
    input leaves sizes open.
    """
    batch, *shape = _input_sizes(graph)
    count = min(max(_ALL_NOISE_INPUTS, _HELD_BACK * batch), _most(math.prod(shape)))
    noise = natural_noise(count, tuple(shape), np.random.default_rng(seed))
    return CalibrationInputs(noise, f"1/f noise, seed {seed}", is_noise=True)


def parse_size(text: str) -> int:
    """Bytes from `1.5MB`, `200kB` or `65536`; kB and MB are 10^3 and 10^6. Raises PlanError."""
    units = {"mb": 10**6, "kb": 10**3, "b": 1, "": 1}
    number = text.strip().lower()
    unit = next(ending for ending in units if number.endswith(ending))
    try:
        size = float(number.removesuffix(unit)) * units[unit]
    except ValueError:
        size = 0.0
    if not 1 <= size < 2**63:
        raise PlanError(f"can't read {text!r} as a size; write 1.5MB, 200kB or a number of bytes")
    return int(size)


def _spread(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    most = _most(inputs[:1].size)
    step = max(1, len(inputs) // most)
    return np.ascontiguousarray(inputs[::step][:most])


def _gathered(batches: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The first inputs of the batches, as many as are used."""
    taken: list[NDArray[np.float32]] = []
    count = 0
    if not isinstance(batches, Iterable):
        raise DataError(f"calibration takes arrays, a path or batches, not {batches!r}")
    for batch in batches:
        array = _numbers(batch)
        if array.ndim < 2 or (taken and array.shape[1:] != taken[0].shape[1:]):
            raise DataError(f"calibration batches must be alike in shape, got {array.shape}")
        taken.append(array)
        count += len(array)
        if count >= _most(array[:1].size):
            break
    if not count:
        raise DataError("the calibration data hold no inputs")
    return np.concatenate(taken)[: _most(taken[0][:1].size)]


def _numbers(batch: object) -> NDArray[np.float32]:
    try:
        array = np.asarray(batch)
        if array.dtype.kind not in "biuf":
            raise TypeError(array.dtype)
        # What float32 can't hold becomes infinite, and is refused as such.
        with np.errstate(over="ignore"):
            return np.asarray(array, np.float32)
    except (TypeError, ValueError) as error:
        kind = type(batch).__name__
        if isinstance(batch, np.ndarray):
            kind = f"an array of {batch.dtype}"
        raise DataError(
            f"calibration batches must be arrays of inputs without labels, got {kind}"
        ) from error


def _check_finite(inputs: NDArray[np.float32]) -> None:
    """Raise DataError for NaN, infinity, and numbers whose squares float32 can't sum."""
    # NaN is neither smaller nor larger than anything.
    if inputs.size and not max(inputs.max(), -inputs.min()) <= _LARGEST:
        raise DataError(
            f"calibration inputs hold NaN, infinity or numbers beyond {_LARGEST:g}; give them as "
            "the model takes them"
        )


def _most(elements: int) -> int:
    """How many inputs of this size are used."""
    return min(_MOST_INPUTS, max(2, _MOST_ELEMENTS // max(1, elements)))


def _input_sizes(graph: Graph) -> tuple[int, ...]:
    """The sizes of a model's first input, its batch before them; 0 for one that is open."""
    name, sizes = next(iter(input_shapes(graph.empty_model()).items()))
    if len(sizes) < 2 or min(sizes[1:]) < 1:
        raise DataError(
            f"input {name} leaves sizes open, so no noise of its shape can be made; "
            "give calibration data with --calibration data.npz"
        )
    return sizes
