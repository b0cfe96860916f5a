"""What calibration aims at, and the inputs it measures on."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.arrays import array_for, as_type, read_inputs
from edgekit.compress.noise import natural_noise
from edgekit.compress.samples import Data, Samples, elements
from edgekit.data import FASHION_MNIST, load_labelled
from edgekit.errors import DataError, PlanError
from edgekit.graph import Graph
from edgekit.graph.inputs import input_shapes, input_types, sample_inputs
from edgekit.images import is_picture_folder
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
"""Squares of larger inputs can't be summed in float32."""
SEED = 0
"""Of every random choice of a run."""

_LABELS = "labels"
"""The name of what may lie beside the inputs; no input is looked for under it."""

Arrays = NDArray[Any] | Mapping[str, NDArray[Any]]
"""Inputs of a model with one, or of each by its name."""
CalibrationSource = str | os.PathLike[str] | Arrays | Iterable[Arrays]


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
    """Inputs and where they come from, for the manifest and the report.

    inputs: (N, ...) in the type that the model takes, or samples of a model with several inputs.
    """

    inputs: Data
    origin: str
    is_noise: bool = False

    @property
    def array(self) -> NDArray[Any]:
        """The inputs of a model with one. Raises DataError for several."""
        if isinstance(self.inputs, Samples):
            raise DataError(f"the model has {len(self.inputs.arrays)} inputs, not one")
        return self.inputs


def is_plain(spec: CalibrationSource | None) -> bool:
    """Whether no calibration at all is asked for."""
    return isinstance(spec, str) and spec == PLAIN


def calibration_inputs(
    graph: Graph,
    spec: CalibrationSource,
    preprocess: Preprocess | None = None,
) -> CalibrationInputs:
    """Inputs by name, path or value; at most 1,024 small or 128 large ones, evenly spread.

    spec: "noise", `fashion-mnist` (its training images), a folder of pictures or of .npy files, an
    .npz file with an array for each input and perhaps `labels`, an .npy file, an array (N, ...),
    arrays by input name, or batches of either to iterate over, of which the first are taken.
    preprocess: how pictures become inputs. Raises DataError.
    """
    if isinstance(spec, str) and spec == NOISE:
        return noise_inputs(graph, SEED)
    if isinstance(spec, str | os.PathLike):
        given, origin = _read(spec, preprocess)
    else:
        origin = "given inputs"
        given = _by_name(spec) if isinstance(spec, np.ndarray | Mapping) else _gathered(spec)
    return CalibrationInputs(_spread(_fitting(graph, given)), origin)


def noise_inputs(graph: Graph, seed: int) -> CalibrationInputs:
    """1/f noise for a model's input: 64 pictures, or fewer large ones.

    More where a fifth of them wouldn't fill a batch of a fixed size. Raises DataError where the
    input leaves sizes open or isn't of floating-point numbers, and where there are several.
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


def _read(
    spec: str | os.PathLike[str], preprocess: Preprocess | None
) -> tuple[dict[str, NDArray[Any]], str]:
    """Arrays of a file or folder by name, and what to call them."""
    path = Path(spec)
    is_folder = os.fspath(spec) != "" and path.is_dir()
    if path.suffix in {".npz", ".npy"} or (
        is_folder and any(path.glob("*.npy")) and not is_picture_folder(path)
    ):
        return read_inputs(path), f"{path.stem} all"
    is_fashion = os.fspath(spec) == FASHION_MNIST or is_folder
    images = load_labelled(
        spec,
        split="train" if is_fashion else "test",
        preprocess=preprocess,
        most=None if preprocess is None else _most(math.prod(preprocess.shape)),
    )
    return _by_name(images.inputs), images.title


def _fitting(graph: Graph, given: Mapping[str, NDArray[Any]]) -> Data:
    """For each input of a model its array, checked and in the type that it takes."""
    model = graph.empty_model()
    types, shapes = input_types(model), input_shapes(model)
    inputs = {name: array for name, array in given.items() if name != _LABELS}
    arrays = {}
    for name, dtype in types.items():
        array = array_for(inputs, name, alone=len(types) == 1, model="the model")
        _check_shape(array.shape, shapes[name], name)
        arrays[name] = as_type(array, dtype, f"input {name}")
        # NaN is neither smaller nor larger than anything.
        if dtype.kind == "f" and not float(np.abs(arrays[name]).max(initial=0)) <= _LARGEST:
            raise DataError(
                f"the data of input {name} hold NaN, infinity or numbers beyond {_LARGEST:g}; "
                "give them as the model takes them"
            )
    rows = {name: arrays[name] for name in sample_inputs(model)[0]}
    counts = {name: len(array) if array.ndim else 0 for name, array in rows.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{count} of {name}" for name, count in counts.items())
        raise DataError(f"the inputs must be alike in number, the data hold {told}")
    if not all(counts.values()):
        raise DataError("the calibration data hold no inputs")
    if len(types) == 1:
        return next(iter(arrays.values()))
    return Samples(rows, {name: arrays[name] for name in arrays if name not in rows})


def _check_shape(found: tuple[int, ...], sizes: tuple[int, ...], name: str) -> None:
    """sizes: of the input, 0 where one is open, and none at all where they aren't told."""
    # How many samples there are is free.
    fits = len(found) == len(sizes) and all(
        size in {0, other} for size, other in zip(sizes[1:], found[1:], strict=True)
    )
    if sizes and not fits:
        takes = ",".join(str(size or "?") for size in sizes)
        raise DataError(f"input {name} takes the shape {takes}, the data have {found}")


def _spread(data: Data) -> Data:
    most = _most(elements(data))
    spread = data[:: max(1, len(data) // most)][:most]
    return np.ascontiguousarray(spread) if isinstance(spread, np.ndarray) else spread


def _gathered(batches: Iterable[Arrays]) -> dict[str, NDArray[Any]]:
    """The first inputs of the batches, as many as are used."""
    taken: list[Samples] = []
    count = 0
    if not isinstance(batches, Iterable):
        raise DataError(f"calibration takes arrays, a path or batches, not {batches!r}")
    for batch in batches:
        arrays = _by_name(batch)
        shapes = {name: array.shape[1:] for name, array in arrays.items()}
        if not all(array.ndim for array in arrays.values()) or (
            taken and shapes != {name: array.shape[1:] for name, array in taken[0].rows.items()}
        ):
            got = ", ".join(str(array.shape) for array in arrays.values())
            raise DataError(f"calibration batches must be alike in shape, got {got}")
        taken.append(Samples(arrays))
        count += len(taken[0])
        if count >= _most(elements(taken[0])):
            break
    if not count:
        raise DataError("the calibration data hold no inputs")
    most = _most(elements(taken[0]))
    return {
        name: np.concatenate([samples.rows[name] for samples in taken])[:most]
        for name in taken[0].rows
    }


def _by_name(given: object) -> dict[str, NDArray[Any]]:
    """Arrays by input name; that of a model with one input may go without."""
    named = given if isinstance(given, Mapping) else {"inputs": given}
    try:
        found = {str(name): np.asarray(array) for name, array in named.items()}
    except (TypeError, ValueError) as error:
        # What numpy can't make one array of.
        raise _no_arrays(given) from error
    if not found or any(array.dtype.kind not in "biuf" for array in found.values()):
        raise _no_arrays(given)
    return found


def _no_arrays(given: object) -> DataError:
    return DataError(
        f"calibration takes arrays of numbers, inputs without labels, got {type(given).__name__}"
    )


def _most(size: int) -> int:
    """How many inputs of so many numbers are used."""
    return min(_MOST_INPUTS, max(2, _MOST_ELEMENTS // max(1, size)))


def _input_sizes(graph: Graph) -> tuple[int, ...]:
    """The sizes of a model's one input of floats, its batch before them; 0 for one that is open."""
    model = graph.empty_model()
    types = input_types(model)
    if len(types) != 1 or any(dtype.kind != "f" for dtype in types.values()):
        taken = ", ".join(f"{name} ({dtype})" for name, dtype in types.items())
        raise DataError(
            f"the model takes {taken}, and noise stands in for one input of floats only; "
            "give calibration data with --calibration data.npz"
        )
    name, sizes = next(iter(input_shapes(model).items()))
    if len(sizes) < 2 or min(sizes[1:]) < 1:
        raise DataError(
            f"input {name} leaves sizes open, so no noise of its shape can be made; "
            "give calibration data with --calibration data.npz"
        )
    return sizes
