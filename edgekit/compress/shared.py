"""Which codebook a layer gets: of its weights as they are, or of channels scaled alike.

Channels of one layer may differ a hundredfold, most of all in depthwise layers, and a codebook of
plain weights spends its values on the largest. Divided by a gain each, one codebook serves all;
the gains take bytes, and codes spread more evenly take more bits. So both are made, and that one
is taken which adds less to the sum, over all layers, of

    the squared error of each filter relative to the filter, averaged, + price * bits

Networks with folded normalisation scale small channels up again behind the layer, so it is the
relative error that reaches the answers. One bit a weight more divides the squared error by four;
the price is what a bit buys so over the whole model, hence the same in all layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekit.compress.allocate import coded_bits
from edgekit.compress.cluster import cluster
from edgekit.compress.levels import SharedLevels

_RIDGE = 0.1
"""Of the mean importance, added to each: inputs that calibration hardly saw count a little."""
_ROUNDING = 2.0**-10
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Filters:
    """What clustering needs to know of a layer.

    weights: (outputs, inputs) float32, one row a filter. pruned: likewise, True where a weight is
    to become 0, or None. importance: (outputs, inputs) positive, what the squared error of each
    weight counts, or None where all count alike. has_channels: whether filters may have gains.
    """

    weights: NDArray[np.float32]
    pruned: NDArray[np.bool_] | None = None
    importance: NDArray[np.float32] | None = None
    has_channels: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """A layer with shared values.

    codes: (outputs, inputs) uint8. error: relative, as above. squared_error: of all weights.
    bits: of the codes' entropy, the codebook, its code table and the gains.
    """

    levels: SharedLevels
    codes: NDArray[np.uint8]
    error: float
    squared_error: float
    bits: float


def choose(forms: Mapping[str, Sequence[Shared]]) -> dict[str, Shared]:
    """For each layer that one of its forms with which the whole model errs least at its size."""
    weights = sum(made[0].codes.size for made in forms.values())
    least = sum(min(form.error for form in made) for made in forms.values())
    # Four times less error for a bit a weight: the slope at the present error.
    price = 2 * np.log(2) * least / max(weights, 1)
    return {
        name: min(made, key=lambda form: form.error + price * form.bits)
        for name, made in forms.items()
    }


def candidates(filters: Filters, bits: int) -> Sequence[Shared]:
    """The codebook of the plain weights, and that of scaled channels where it could be better.

    At most 2^bits values. Raises PlanError for bits outside 2 to 8.
    """
    one = np.ones((), np.float32)
    plain = _shared(filters, one, bits)
    if plain.error == 0 or not filters.has_channels or len(filters.weights) < 2:
        return (plain,)
    return plain, _shared(filters, channel_gains(filters.weights), bits)


def channel_gains(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """The largest magnitude of each filter, (outputs,): float16 numbers where these hold it."""
    # Layers may be large: the magnitudes would be another array of their size.
    largest = np.maximum(weights.max(axis=1, initial=0.0), -weights.min(axis=1, initial=0.0))
    with np.errstate(over="ignore", under="ignore"):
        half = largest.astype(np.float16).astype(np.float32)
    normal = np.finfo(np.float16).smallest_normal
    holds = np.all((half >= normal) & np.isfinite(half) | (largest == 0))
    gains = half if holds else largest
    return np.where(gains >= np.finfo(np.float32).tiny, gains, np.float32(1))


def input_importance(
    hessian: NDArray[np.float64] | None, outputs: int
) -> NDArray[np.float32] | None:
    """What a filter's weights count by the inputs they meet, (outputs, inputs); None without them.

    hessian: of a layer's inputs, or of each group's, as in LayerStatistics. Its diagonal is the
    second derivative of the output's squared error for a weight by itself; it is taken relative to
    its mean in the group, as errors are taken relative to the filter.
    """
    if hessian is None:
        return None
    diagonal = np.diagonal(hessian, axis1=-2, axis2=-1)
    mean = diagonal.mean(axis=-1, keepdims=True)
    # A group that saw only zeros counts its inputs alike.
    counts = np.asarray(diagonal / np.where(mean > 0, mean, 1) + _RIDGE, np.float32)
    if counts.ndim == 1:
        return np.ascontiguousarray(np.broadcast_to(counts, (outputs, counts.size)))
    return np.repeat(counts, outputs // len(counts), axis=0)


def _shared(filters: Filters, gains: NDArray[np.float32], bits: int) -> Shared:
    relative = filters.weights / gains[:, None] if gains.ndim else filters.weights
    has_zero = filters.pruned is not None
    found = cluster(relative, bits, filters.pruned, importance=filters.importance)
    levels = SharedLevels(found.values, gains, has_zero)
    codes = found.codes
    if gains.ndim and found.values.size - has_zero > 1:
        levels = SharedLevels(_reaching(relative, found.values, has_zero=has_zero), gains, has_zero)
        del relative
        for rows in _blocks(filters.weights):
            part = SharedLevels(levels.values, gains[rows], has_zero)
            codes[rows] = part.nearest(filters.weights[rows])
        if filters.pruned is not None:
            codes[filters.pruned] = 0
    halves = levels.values.size + (gains.size if gains.ndim else 0)
    error, squared = _errors(filters, levels, codes)
    return Shared(levels, codes, error, squared, coded_bits(codes) + 16 * halves)


def _reaching(
    relative: NDArray[np.float32], values: NDArray[np.float32], *, has_zero: bool
) -> NDArray[np.float32]:
    """A codebook of scaled channels that holds their largest weights, -1 and 1, exactly.

    So the same gains are found again in weights that were restored, and the weights don't change.
    """
    reached = values.copy()
    # Gains rounded to float16 put the largest a little beside 1.
    if relative.min() <= -1 + _ROUNDING:
        reached[int(has_zero)] = -1
    if relative.max() >= 1 - _ROUNDING:
        reached[-1] = 1
    return reached


def _errors(
    filters: Filters, levels: SharedLevels, codes: NDArray[np.uint8]
) -> tuple[float, float]:
    """Mean relative and whole squared error. What pruning takes away is no error of the values."""
    squared = relative = 0.0
    for rows in _blocks(codes):
        weights = filters.weights[rows]
        gains = levels.gains[rows] if levels.gains.ndim else levels.gains
        restored = SharedLevels(levels.values, gains, levels.has_zero).restored(codes[rows])
        noise = np.square(restored - weights)
        signal = np.square(weights)
        if filters.pruned is not None:
            noise[filters.pruned[rows]] = signal[filters.pruned[rows]] = 0
        squared += float(np.sum(noise, dtype=np.float64))
        if filters.importance is not None:
            noise *= filters.importance[rows]
            signal *= filters.importance[rows]
        lost = noise.sum(axis=1, dtype=np.float64)
        whole = signal.sum(axis=1, dtype=np.float64)
        seen = whole > 0
        relative += float(np.sum(lost[seen] / whole[seen]))
    return relative / max(len(codes), 1), squared


def _blocks(array: NDArray[np.float32] | NDArray[np.uint8]) -> list[slice]:
    """Rows, some million numbers at a time: whole layers would cost several times their memory."""
    step = max(1, _BLOCK // max(1, array.shape[1]))
    return [slice(start, start + step) for start in range(0, len(array), step)]
