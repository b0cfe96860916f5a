"""How a picture becomes a network's input: presets, TOML files, and the arithmetic.

    picture --resize--> shorter side --centre crop--> height x width --scale--> (x/255 - mean)/std

Bytes of pixels come in, float32 goes out. The settings travel in the packed file's manifest, so
that every later stage and every app prepares pictures as calibration did.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataError
from edgekit.toml_files import read_toml, unknown_setting

Channels = Literal["rgb", "bgr", "gray"]
Layout = Literal["nchw", "nhwc"]

_LEAST, _MOST = 1e-6, 1e6
"""Beyond these the scaled pixels mean nothing in float32."""
_BRIGHTNESS = np.array([0.299, 0.587, 0.114], np.float32)
_MOST_PIXELS = 1 << 14
"""A side longer than this is a slip, not a network's input."""


@dataclass(frozen=True, slots=True)
class Preprocess:
    """From a picture to one input.

    width, height: of the input, in pixels. resize: what the picture's shorter side becomes
    before the centre is cut out; None stretches the picture to width x height instead.
    channels: their order; "gray" weighs red, green and blue as ITU-R BT.601 does.
    mean, std: one number a channel, in that order: an input is (pixel / 255 - mean) / std.
    layout: order of axes, with the batch first.

    Raises DataError for settings that contradict each other.
    """

    width: int
    height: int
    resize: int | None
    channels: Channels
    mean: tuple[float, ...]
    std: tuple[float, ...]
    layout: Layout = "nchw"

    def __post_init__(self) -> None:
        for name, choices in (("channels", get_args(Channels)), ("layout", get_args(Layout))):
            if getattr(self, name) not in choices:
                raise DataError(
                    f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}"
                )
        for name in ("width", "height", "resize"):
            side = getattr(self, name)
            if side is not None and not (_is_whole(side) and 1 <= side <= _MOST_PIXELS):
                raise DataError(f"{name} must be 1 to {_MOST_PIXELS} pixels, got {side!r}")
        if self.resize is not None and self.resize < max(self.width, self.height):
            raise DataError(
                f"a shorter side of {self.resize} pixels leaves no {self.width}x{self.height} "
                "centre; give a larger resize"
            )
        for name in ("mean", "std"):
            numbers = getattr(self, name)
            if len(numbers) != self.depth or not all(map(_is_finite, numbers)):
                raise DataError(
                    f"{name} must be {self.depth} numbers for {self.channels}, got {list(numbers)}"
                )
        if max(map(abs, self.mean)) > _MOST or not all(_LEAST <= s <= _MOST for s in self.std):
            raise DataError(
                f"mean and std must be within {_MOST:g} and std above {_LEAST:g}, got "
                f"{list(self.mean)} and {list(self.std)}"
            )

    @property
    def depth(self) -> int:
        """How many channels an input has."""
        return 1 if self.channels == "gray" else 3

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one input, without the batch."""
        if self.layout == "nchw":
            return (self.depth, self.height, self.width)
        return (self.height, self.width, self.depth)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON and for the packed file's manifest."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}


_THIRDS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

PRESETS: dict[str, tuple[float, tuple[float, ...], tuple[float, ...]]] = {
    # Share of the resized shorter side that is kept, then mean and std.
    "imagenet": (224 / 256, *_THIRDS),
    "unit": (1.0, (0.0,), (1.0,)),
    "symmetric": (1.0, (0.5,), (0.5,)),
    "bytes": (1.0, (0.0,), (1 / 255,)),
    "fashion-mnist": (1.0, (0.2860,), (0.3530,)),
}
"""imagenet: the mean and deviation of its training pictures and the 256 / 224 crop that
torchvision's networks are trained with. unit, symmetric, bytes: pixels to 0..1, -1..1, 0..255."""


def make_preprocess(spec: str | os.PathLike[str], shape: Sequence[int]) -> Preprocess:
    """Settings by preset name or from a TOML file, for a network's input.

    spec: a name of PRESETS, or a .toml file with any of Preprocess's fields and `preset`, the
    preset that gives the rest ("unit" by default). shape: of the input with its batch, 0 where a
    size is open: (N, C, H, W) or (N, H, W, C). Raises DataError.
    """
    text = os.fspath(spec)
    if not text.endswith(".toml"):
        return _preset(text, shape, {})
    table = read_toml(spec, DataError)
    preset = table.pop("preset", "unit")
    try:
        return _preset(str(preset), shape, table)
    except DataError as error:
        raise DataError(f"{text}: {error}") from error


def from_dict(table: object) -> Preprocess:
    """Settings that `to_dict` gave, such as a manifest's. Raises DataError."""
    known = {field.name for field in fields(Preprocess)}
    if not isinstance(table, Mapping) or set(table) != known:
        raise DataError(f"preprocessing needs the settings {', '.join(sorted(known))}")
    return Preprocess(**{key: _plain(key, value) for key, value in table.items()})


def default_preprocess(shape: Sequence[int]) -> Preprocess | None:
    """The unit preset where an input looks like a picture, else None."""
    try:
        return make_preprocess("unit", shape)
    except DataError:
        return None


def prepare(pixels: NDArray[np.uint8], settings: Preprocess) -> NDArray[np.float32]:
    """One input, without its batch axis, from pixels that have its width and height already.

    pixels: (height, width, 3) red, green, blue, or (height, width) grey, uint8.
    Raises DataError for another shape.
    """
    size = (settings.height, settings.width)
    if pixels.shape not in {size, (*size, 3)}:
        raise DataError(f"expected {settings.width}x{settings.height} pixels, got {pixels.shape}")
    planes: NDArray[np.float32] = pixels.astype(np.float32)
    if settings.channels == "gray":
        if planes.ndim == 3:
            planes = np.sum(planes * _BRIGHTNESS, axis=2)
        planes = planes[..., None]
    else:
        planes = np.repeat(planes[..., None], 3, axis=2) if planes.ndim == 2 else planes
        planes = planes[..., ::-1] if settings.channels == "bgr" else planes
    mean, std = np.array(settings.mean, np.float32), np.array(settings.std, np.float32)
    scaled = (planes / np.float32(255) - mean) / std
    ordered = scaled.transpose(2, 0, 1) if settings.layout == "nchw" else scaled
    return np.ascontiguousarray(ordered, np.float32)


def _preset(name: str, shape: Sequence[int], changes: Mapping[str, Any]) -> Preprocess:
    if name not in PRESETS:
        raise DataError(
            f"no preset {name!r}; known: {', '.join(PRESETS)}, or a .toml file with the settings"
        )
    allowed = {field.name for field in fields(Preprocess)}
    for key in changes:
        if key not in allowed:
            raise DataError(unknown_setting(key, allowed))
    layout, depth, height, width = _axes(shape, changes.get("layout"))
    given = {key: _plain(key, value) for key, value in changes.items()}
    height, width = given.get("height", height), given.get("width", width)
    if not (height and width):
        raise DataError("the input's height and width are open; give both in a .toml file")
    kept, mean, std = PRESETS[name]
    channels: Channels = given.get("channels", "gray" if depth == 1 else "rgb")
    count = 1 if channels == "gray" else 3
    if len(mean) not in {1, count} and not {"mean", "std"} <= set(given):
        raise DataError(f"the preset {name} is for colour, and this input has one channel")
    longer = max(height, width) if _is_whole(height) and _is_whole(width) else 0
    # A size in floating point may come out a hair above the whole number that is meant.
    settings: dict[str, Any] = {
        "width": width,
        "height": height,
        "resize": math.ceil(longer / kept - 1e-6) or None,
        "channels": channels,
        "mean": mean,
        "std": std,
        "layout": layout,
        **given,
    }
    # One number stands for every channel.
    for key in ("mean", "std"):
        settings[key] = settings[key] * count if len(settings[key]) == 1 else settings[key]
    found = Preprocess(**settings)
    expected = tuple(shape[1:])
    if any(want and want != have for want, have in zip(expected, found.shape, strict=True)):
        raise DataError(f"these settings make inputs of {found.shape}, the model takes {expected}")
    return found


def _axes(shape: Sequence[int], layout: object) -> tuple[Layout, int, int, int]:
    """Layout, channels, height and width of an input's shape; 0 where a size is open."""
    if len(shape) != 4:
        raise DataError(f"an input of shape {tuple(shape)} isn't a batch of pictures")
    _, first, second, third = shape
    is_last = layout == "nhwc" or (layout is None and first not in {1, 3} and third in {1, 3})
    depth, height, width = (third, first, second) if is_last else (first, second, third)
    if depth not in {0, 1, 3}:
        raise DataError(f"an input of shape {tuple(shape)} has {depth} channels, not 1 or 3")
    return ("nhwc" if is_last else "nchw"), depth, height, width


def _plain(key: str, value: Any) -> Any:
    """A setting as Preprocess holds it: lists become tuples, 0 means no resize."""
    if key in {"mean", "std"}:
        numbers = value if isinstance(value, list | tuple) else [value]
        if not all(map(_is_finite, numbers)):
            raise DataError(f"{key} must be numbers, got {value!r}")
        return tuple(float(number) for number in numbers)
    return None if key == "resize" and value == 0 else value


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)  # type: ignore[arg-type]  # a number by now
