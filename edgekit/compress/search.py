"""Grids that meet a bound on size or answers, searched among those that a calibration makes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgekit.compress.calibrated import Calibration
from edgekit.compress.rounding import Calibrated
from edgekit.errors import DataError, PlanError

_SIZE_ROUNDS = 6
_DIVERGENCE_ROUNDS = 6
_QUALITY_ROUNDS = 7
_LEAST_BITS, _MOST_BITS = 0.5, 6.5
"""Of entropy a weight. A code of 8 bits has about 6.5."""


def within_size(
    calibration: Calibration, target_bytes: int, packed_bytes: Callable[[Calibrated], int]
) -> Calibrated:
    """The finest grids whose finished file has at most `target_bytes`.

    packed_bytes: the size of the finished file. Raises PlanError where no grid is coarse enough.
    """
    target = 8.0 * target_bytes
    best: Calibrated | None = None
    damping: float | None = None
    for _ in range(_SIZE_ROUNDS):
        try:
            factor = calibration.factor_for(max(target, 1.0))
        except PlanError as error:
            raise PlanError(
                f"no file of {target_bytes:,} bytes can be made of this model: graph, names "
                "and biases leave no room for its weights"
            ) from error
        found = calibration.at_factor(factor, damping)
        # The damping that suits one size suits those near it.
        damping = found.damping
        size = packed_bytes(found)
        if size <= target_bytes:
            best = found
            if size >= 0.995 * target_bytes:
                break
        # A little below, so that what the coder wastes doesn't pass the target again.
        target += 8 * (0.998 * target_bytes - size)
    if best is None:
        raise PlanError(f"no grid makes a file of {target_bytes:,} bytes; the last had {size:,}")
    return best


def within_divergence(calibration: Calibration, most: float) -> Calibrated:
    """The coarsest grids whose outputs part by at most `most` nats on held-back inputs.

    Raises DataError where no grid tried is fine enough.
    """
    try:
        factor = calibration.factor_for(4.0 * calibration.weight_count)
    except PlanError:
        # Codebooks of small layers alone may take more: begin where n g^2 / 24 is the bound.
        factor = float(np.sqrt(24 * most / calibration.weight_count))
    best: Calibrated | None = None
    for _ in range(_DIVERGENCE_ROUNDS):
        found = calibration.at_factor(factor)
        if found.divergence <= most:
            best = found
        if 0.93 * most <= found.divergence <= most:
            break
        # The divergence grows with the square of the step.
        factor *= float(np.clip(np.sqrt(0.97 * most / max(found.divergence, 1e-9)), 0.3, 3))
    if best is None:
        raise DataError(
            f"no grid keeps the divergence at {most:g} nats on {found.held_back} inputs; "
            f"the last one tried reached {found.divergence:.3g}"
        )
    return best


def within_quality(calibration: Calibration, meets: Callable[[Calibrated], bool]) -> Calibrated:
    """The coarsest grids that meet a wish, by bisection of the bits a weight.

    Raises DataError where even the finest grid tried, of about 8 bits, doesn't.
    """
    fine, coarse = _MOST_BITS, _LEAST_BITS
    best = calibration.at_entropy(fine)
    if not meets(best):
        raise DataError(
            f"no grid meets the bound: with {fine:g} bits a weight the model is still too far "
            f"off ({best.divergence:.3g} nats on {best.held_back} held-back inputs)"
        )
    for _ in range(_QUALITY_ROUNDS):
        bits = (fine + coarse) / 2
        try:
            found = calibration.at_entropy(bits)
        except PlanError:
            coarse = bits
            continue
        if meets(found):
            best, fine = found, bits
        else:
            coarse = bits
    return best
