"""Grids that meet a bound on bits, size or answers, among those that a calibration makes.

Bits are searched in bits: what the nearest codes of a grid would take differs from what is found,
a file's size or the entropy after error feedback, by nearly the same number near by. Divergence is
searched in the factor of the steps, of whose square it is nearly a multiple.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from edgekit.compress.allocate import COARSEST, FINE, FINEST
from edgekit.compress.calibrated import Calibration
from edgekit.compress.measure import bits_per_code
from edgekit.compress.quality import Wish
from edgekit.compress.rounding import Calibrated
from edgekit.errors import CheckFailedError, PlanError

_BITS_ROUNDS = 12
_MOST_BITS_ROUNDS = 14
"""As long as no grid has met a bound on bits."""
_AIM, _NEAR = 0.9985, 0.995
"""Shares of a bound on bits: what is aimed at, lest a trial passes the bound, and what will do."""
_DIVERGENCE_ROUNDS = 6
_QUALITY_ROUNDS = 7
_LEAST_BITS, _MOST_BITS = 0.5, 6.5
"""Of entropy a weight. A code of 8 bits has about 6.5."""
_CLOSE = 1.01
"""Two factors that are as near to each other make nearly the same codes."""

_Tried = tuple[float, float]
"""A factor, and the divergence that it makes."""


def check_room(target_bytes: int, least_bytes: int) -> None:
    """Raise CheckFailedError for a file that is to be smaller than without any weights.

    least_bytes: of the finished file if every coded weight were 0.
    """
    if target_bytes < least_bytes:
        raise CheckFailedError(
            f"no file of {target_bytes:,} bytes can be made of this model: with every coded weight "
            f"0, graph, names and biases still take {least_bytes:,}"
        )


def within_size(
    calibration: Calibration, target_bytes: int, packed_bytes: Callable[[Calibrated], int]
) -> Calibrated:
    """The finest grids whose finished file has at most `target_bytes`.

    packed_bytes: the size of the finished file. Raises CheckFailedError where no grid is coarse
    enough.
    """
    best, fewest = _within_bits(
        calibration, 8.0 * target_bytes, lambda found: 8.0 * packed_bytes(found)
    )
    if best is None:
        raise CheckFailedError(
            f"no grid makes a file of {target_bytes:,} bytes: the coarsest takes "
            f"{round(fewest / 8):,}"
        )
    excess = packed_bytes(best) - target_bytes
    # The manifest tells answers, which weren't known before and may have more digits than most.
    return within_size(calibration, target_bytes - excess, packed_bytes) if excess > 0 else best


def within_entropy(calibration: Calibration, bits_per_weight: float) -> Calibrated:
    """The finest grids whose codes, fed errors included, take at most so many bits of entropy.

    All bits that there are go where they hurt least; to 0.5 % where there are codes enough. Raises
    CheckFailedError where even the coarsest grid takes more, its code tables counted.
    """
    weights = calibration.weight_count
    least = calibration.bits_at(COARSEST) / weights
    best = None
    if least <= bits_per_weight:
        best, fewest = _within_bits(calibration, bits_per_weight * weights, _codes_bits)
        least = fewest / weights
    if best is None:
        raise CheckFailedError(
            f"{bits_per_weight:g} bits a weight can't be reached: the coarsest grid takes "
            f"{least:.3g}"
        )
    return best


def within_divergence(calibration: Calibration, most: float) -> Calibrated:
    """The coarsest grids whose outputs part by at most `most` nats on held-back inputs.

    Codes that were made without these inputs keep the bound, and those of the file keep it too,
    which may have been made with them. Raises CheckFailedError where no grid is fine enough.
    """
    try:
        factor = calibration.factor_for(4.0 * calibration.weight_count)
    except PlanError:
        # Codebooks of small layers alone may take more: begin where n g^2 / 24 is the bound.
        factor = math.sqrt(24 * most / calibration.weight_count)
    best: Calibrated | None = None
    fine: _Tried | None = None
    coarse: _Tried | None = None
    for turn in range(_DIVERGENCE_ROUNDS + 1):
        if turn == _DIVERGENCE_ROUNDS:
            if best is not None:
                break
            factor = FINEST
        found = calibration.with_file_judged(calibration.at_factor(factor))
        reached = found.largest_divergence
        if reached <= most:
            best, fine = found, (factor, reached)
        elif factor == FINEST:
            raise _missed(
                calibration,
                f"a divergence of at most {most:g} nats",
                f"the finest reach {reached:.3g} on {found.held_back} held-back inputs",
            )
        else:
            coarse = factor, reached
        if 0.93 * most <= reached <= most:
            break
        factor = _next_factor(0.97 * most, fine, coarse)
        if fine is None and _is_finest(calibration, factor):
            factor = FINEST
        elif fine is not None and coarse is not None and coarse[0] < _CLOSE * fine[0]:
            break
    if best is None:
        raise AssertionError("the last turn is that of the finest grid")
    return best


def within_quality(calibration: Calibration, wish: Wish) -> Calibrated:
    """The coarsest grids that meet a wish, by bisection of the bits a weight.

    Raises CheckFailedError where even the finest grid doesn't.
    """

    def judged(found: Calibrated) -> Calibrated:
        return calibration.with_file_judged(calibration.judged(found))

    def tried(factor: float) -> Calibrated:
        found = calibration.codes_at(factor)
        return judged(found) if wish.by_held_back else found

    best = tried(FINEST)
    if not wish.meets(best):
        raise _missed(calibration, wish.bound, wish.reached(best))
    fine, coarse = _MOST_BITS, _LEAST_BITS
    fine = min(fine, calibration.bits_at(FINEST) / calibration.weight_count)
    for _ in range(_QUALITY_ROUNDS):
        bits = (fine + coarse) / 2
        try:
            factor = calibration.factor_for(bits * calibration.weight_count)
        except PlanError:
            coarse = bits
            continue
        found = tried(factor)
        if wish.meets(found):
            best, fine = found, bits
        else:
            coarse = bits
    return judged(best)


def _within_bits(
    calibration: Calibration, most: float, taken: Callable[[Calibrated], float]
) -> tuple[Calibrated | None, float]:
    """The finest grids found that take at most `most` bits, or None; and the fewest bits seen."""
    finest, coarsest = calibration.bits_at(FINE), calibration.bits_at(COARSEST)
    best: Calibrated | None = None
    spent, fewest = 0.0, math.inf
    damping: float | None = None
    # What the nearest codes take: too few, and too many.
    lower, upper = -math.inf, math.inf
    wanted = min(max(most, coarsest), finest)
    if coarsest < wanted < finest:
        # Layers rounded alone take about as much, and are rounded faster.
        wanted += _AIM * most - taken(calibration.sketch_at(calibration.factor_for(wanted)))
    for turn in range(_MOST_BITS_ROUNDS):
        if best is not None and turn >= _BITS_ROUNDS:
            break
        wanted = min(max(wanted, coarsest), finest)
        factor = COARSEST if wanted <= coarsest else calibration.factor_for(wanted)
        found = calibration.codes_at(factor, damping)
        # The damping that suits one size suits those near it.
        damping = found.damping
        bits = taken(found)
        fewest = min(fewest, bits)
        if bits <= most:
            if best is None or bits > spent:
                best, spent = found, bits
            if bits >= _NEAR * most or wanted >= finest:
                break
            lower = wanted
        else:
            if wanted <= coarsest:
                break
            upper = wanted
        wanted += _AIM * most - bits
        if not lower < wanted < upper:
            wanted = (lower + upper) / 2
    return (None if best is None else calibration.judged(best)), fewest


def _codes_bits(found: Calibrated) -> float:
    coded = found.coded.values()
    return sum(bits_per_code(tensor.symbols) * tensor.symbols.size for tensor in coded)


def _next_factor(wanted: float, fine: _Tried | None, coarse: _Tried | None) -> float:
    """Where the divergence may be `wanted`.

    fine, coarse: what was tried nearest to it on either side; at least one.
    """
    if fine is not None and coarse is not None and fine[0] != FINEST:
        least = max(fine[1], 1e-3 * wanted)
        share = math.log(wanted / least) / math.log(coarse[1] / least)
        # Not too near to either end: the divergence isn't quite smooth.
        return fine[0] * math.pow(coarse[0] / fine[0], min(max(share, 0.15), 0.85))
    tried = coarse or fine
    if tried is None:
        raise ValueError("nothing was tried")
    # The divergence grows with the square of the step.
    return tried[0] * min(max(math.sqrt(wanted / max(tried[1], 1e-9)), 0.3), 3)


def _is_finest(calibration: Calibration, factor: float) -> bool:
    """Whether hardly a code could be larger."""
    return calibration.bits_at(factor) >= 0.999 * calibration.bits_at(FINEST)


def _missed(calibration: Calibration, bound: str, reached: str) -> CheckFailedError:
    return CheckFailedError(
        f"no codes of at most {calibration.most_bits} bits keep {bound}: {reached}"
    )
