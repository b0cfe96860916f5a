"""What the int8 run form needs beside the codes: a scale and a zero point for each activation.

They lie in the manifest under "activations", for people and programs to read:

```
{"tensors": {"relu_1": [0.0235, 0], "add_3": [0.061, 121], ...}, "float": ["stem.weight"]}
```

A value x of a tensor becomes the 8-bit number round(x / scale) + zero point, kept within 0..255.
Layers listed under "float" keep float arithmetic, named by their weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from edgekit.errors import CorruptError, UsageError

RunForm = Literal["float", "int8"]
RunAs = Literal["float", "int8", "auto"]

LARGEST = 255
"""The largest 8-bit number of an activation; the smallest is 0."""

MAX_TENSORS = 100_000
"""Of a manifest: no light network has as many activations."""

_DIGITS = 5
"""Significant digits of a scale: its rounding is a thousandth of the smallest step's."""

_ACTIVATIONS, _RUN_AS = "activations", "run_as"
_SMALLEST_SCALE, _LARGEST_SCALE = 1e-30, 1e30


@dataclass(frozen=True, slots=True)
class Quantized:
    """An activation on its grid of 256 steps: scale, above 0, and the number that means 0.0."""

    scale: float
    zero_point: int

    def saturates(self, low: float, high: float) -> bool:
        """Whether to keep values within low..high changes nothing on this grid."""
        reached = high / self.scale + self.zero_point
        left = low / self.scale + self.zero_point
        # A value that is cut rounds to the end of the grid, where larger ones end up anyway.
        return bool(reached >= LARGEST - 0.5 and left <= 0.5)


@dataclass(frozen=True, slots=True)
class Activations:
    """Everything that turns a packed model's codes into its int8 run form.

    tensors: by the name of the value in the graph. floats: names of the weights whose layers keep
    float arithmetic.
    """

    tensors: Mapping[str, Quantized]
    floats: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The manifest's entry."""
        return {
            "tensors": {
                name: [grid.scale, grid.zero_point] for name, grid in sorted(self.tensors.items())
            },
            "float": sorted(self.floats),
        }


def activations_from_ranges(
    ranges: Mapping[str, tuple[float, float]], floats: Iterable[str] = ()
) -> Activations:
    """Grids that hold the smallest and largest value of each tensor, and zero exactly.

    Raises UsageError for a range that isn't finite or is upside down.
    """
    return Activations(
        {name: grid_of(*pair, name=name) for name, pair in ranges.items()}, tuple(floats)
    )


def grid_of(low: float, high: float, *, name: str = "an activation") -> Quantized:
    """The grid from low to high, widened to hold 0. Raises UsageError as above."""
    if not (math.isfinite(low) and math.isfinite(high)) or low > high:
        raise UsageError(f"the range of {name} must be finite, from low to high; got {low}..{high}")
    low, high = min(low, 0.0), max(high, 0.0)
    width = min(max((high - low) / LARGEST, _SMALLEST_SCALE), _LARGEST_SCALE)
    scale = float(f"{width:.{_DIGITS}g}") if high > low else 1.0
    return Quantized(scale, min(LARGEST, max(0, round(-low / scale))))


def read_activations(manifest: Mapping[str, Any]) -> Activations | None:
    """A manifest's entry, or None where there is none. Raises CorruptError for a broken one."""
    entry = manifest.get(_ACTIVATIONS)
    if entry is None:
        return None
    tensors = entry.get("tensors") if isinstance(entry, dict) else None
    floats = entry.get("float", []) if isinstance(entry, dict) else None
    if not isinstance(tensors, dict) or not isinstance(floats, list):
        raise CorruptError("the manifest's activations aren't tensors and a list of layers")
    if max(len(tensors), len(floats)) > MAX_TENSORS:
        raise CorruptError(f"the manifest has more than {MAX_TENSORS} activations")
    if not all(isinstance(name, str) for name in floats):
        raise CorruptError("the manifest's activations name a layer that isn't text")
    return Activations({name: _grid(name, pair) for name, pair in tensors.items()}, tuple(floats))


def recorded_form(manifest: Mapping[str, Any]) -> RunForm:
    """The form that a file says it runs in. Raises CorruptError for one that there isn't."""
    form = manifest.get(_RUN_AS, "float")
    if form not in get_args(RunForm):
        raise CorruptError(f"the manifest says to run as {form!r:.40}, not float or int8")
    if form == "int8" and manifest.get(_ACTIVATIONS) is None:
        raise CorruptError("the manifest says to run as int8, but has no activations")
    return "int8" if form == "int8" else "float"


def check_run_as(run_as: str | None) -> None:
    """Raise UsageError unless it is a run form, auto or None."""
    if run_as is not None and run_as not in get_args(RunAs):
        raise UsageError(f"run_as must be {', '.join(get_args(RunAs))}, got {run_as!r}")


def record(manifest: dict[str, Any], activations: Activations, form: RunForm) -> None:
    """Put an entry into a manifest, and the form to run in."""
    manifest[_ACTIVATIONS] = activations.to_dict()
    manifest[_RUN_AS] = form


def without_activations(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest for a file whose graph has them inside."""
    return {key: value for key, value in manifest.items() if key not in {_ACTIVATIONS, _RUN_AS}}


def _grid(name: str, pair: object) -> Quantized:
    if not isinstance(pair, list) or len(pair) != 2:
        raise CorruptError(f"the manifest's activation {name!r:.60} isn't a scale and a zero point")
    scale, zero_point = pair
    numeric = isinstance(scale, int | float) and not isinstance(scale, bool)
    if not numeric or not _SMALLEST_SCALE <= scale <= _LARGEST_SCALE:
        raise CorruptError(f"the manifest's activation {name!r:.60} has the scale {scale!r:.40}")
    if not isinstance(zero_point, int) or not 0 <= zero_point <= LARGEST:
        raise CorruptError(
            f"the manifest's activation {name!r:.60} has the zero point {zero_point!r:.40}, "
            f"not 0 to {LARGEST}"
        )
    return Quantized(float(scale), int(zero_point))
