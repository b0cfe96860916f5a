"""Summaries of measured times: quantiles, an interval of the median, the ratio of two samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

QUANTILE_METHOD = "linear between order statistics (type 7 of Hyndman and Fan, 1996)"
"""How every percentile here is taken."""

RESAMPLES = 2000
"""Bootstrap samples of an interval: its ends then vary by well under the interval's width."""

_MOST_CELLS = 1 << 20
"""Numbers that are drawn at a time, to bound the memory."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval.

    level: the share of repetitions in which it would hold the true value, at least. It may be
    larger than what was asked for, because order statistics come in steps; None where the sample
    is too small for the level, and low and high are then its smallest and largest value.
    """

    low: float
    high: float
    level: float | None

    @property
    def width(self) -> float:
        """From end to end."""
        return self.high - self.low


@dataclass(frozen=True, slots=True)
class Summary:
    """Times of repeated runs, in seconds.

    std_s: sample standard deviation, 0 for a single run. median: 95 % interval of p50_s.
    """

    count: int
    min_s: float
    p50_s: float
    p90_s: float
    p95_s: float
    p99_s: float
    max_s: float
    mean_s: float
    std_s: float
    median: Interval

    @property
    def precision(self) -> float:
        """Half of the median's interval, as a share of the median."""
        return self.median.width / 2 / self.p50_s if self.p50_s > 0 else math.inf

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "count": self.count,
            "min_s": self.min_s,
            "p50_s": self.p50_s,
            "p90_s": self.p90_s,
            "p95_s": self.p95_s,
            "p99_s": self.p99_s,
            "max_s": self.max_s,
            "mean_s": self.mean_s,
            "std_s": self.std_s,
            "median_low_s": self.median.low,
            "median_high_s": self.median.high,
            "median_level": self.median.level,
        }


@dataclass(frozen=True, slots=True)
class Ratio:
    """A percentile of one sample over that of another, with its bootstrap interval."""

    value: float
    low: float
    high: float
    level: float


def summarize(times_s: ArrayLike) -> Summary:
    """The summary of at least one time. Raises ValueError for none and for values not finite."""
    times = np.sort(_sample(times_s))
    p50, p90, p95, p99 = percentiles(times, (50, 90, 95, 99))
    return Summary(
        count=times.size,
        min_s=float(times[0]),
        p50_s=p50,
        p90_s=p90,
        p95_s=p95,
        p99_s=p99,
        max_s=float(times[-1]),
        mean_s=float(times.mean()),
        std_s=float(times.std(ddof=1)) if times.size > 1 else 0.0,
        median=median_interval(times),
    )


def percentiles(values: ArrayLike, percents: Sequence[float]) -> tuple[float, ...]:
    """Percentiles by QUANTILE_METHOD; percents lie in 0..100."""
    return tuple(float(x) for x in np.percentile(_sample(values), percents, method="linear"))


def median_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Interval of the median that supposes nothing of the distribution.

    Between the r-th smallest and r-th largest of n values lies the true median with probability
    1 - 2 P(X < r), X binomial (n, 1/2); r is the largest that reaches `level`. Six values are
    needed for 95 %. (David and Nagaraja, Order Statistics, 2003, section 7.1.)
    """
    ordered = np.sort(_sample(values))
    n = ordered.size
    rank, below = 0, 0.0
    # Terms as exp of logarithms: 2**n passes the range of a float at 1,024 runs.
    for r in range(1, n // 2 + 1):
        grown = below + math.exp(_log_choose(n, r - 1) - n * math.log(2))
        if 1 - 2 * grown < level:
            break
        rank, below = r, grown
    if rank == 0:
        return Interval(float(ordered[0]), float(ordered[-1]), None)
    return Interval(float(ordered[rank - 1]), float(ordered[n - rank]), 1 - 2 * below)


def quantile_ratio(
    new: ArrayLike,
    old: ArrayLike,
    rng: np.random.Generator,
    *,
    percent: float = 50.0,
    level: float = 0.99,
    resamples: int = RESAMPLES,
    block: int = 1,
    paired: bool = False,
) -> Ratio:
    """A percentile of `new` over that of `old`, by default the medians, with a bootstrap interval.

    Both samples are drawn anew with replacement, in runs of `block` neighbours that wrap around
    the end: times that lie close together in time are alike, and drawing them one by one would
    make the interval too narrow. paired: both were measured in turns, so the same places are
    drawn from both, and what slowed both cancels out; they must be of one size.

    The ends are the percentiles, moved away from the ratio by what Student's t of the number of
    blocks is wider than the normal distribution, because few blocks know their own spread badly.
    (Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 8.2.3.)
    Raises ValueError where a percentile isn't above 0, for a block longer than half a sample, and
    for pairs of two sizes.
    """
    numerator, denominator = _sample(new), _sample(old)
    (above,), (below,) = percentiles(numerator, (percent,)), percentiles(denominator, (percent,))
    if above <= 0 or below <= 0:
        raise ValueError("a ratio needs values above 0")
    if paired and numerator.size != denominator.size:
        raise ValueError(f"pairs need one size, got {numerator.size} and {denominator.size}")
    shortest = min(numerator.size, denominator.size)
    if not 1 <= block <= max(1, shortest // 2):
        raise ValueError(f"a block of {block} is too long for {shortest} values")
    rows = max(1, _MOST_CELLS // max(numerator.size, denominator.size))
    drawn = np.concatenate(
        [
            _drawn_logs(
                numerator,
                denominator,
                rng,
                min(rows, resamples - start),
                percent=percent,
                block=block,
                paired=paired,
            )
            for start in range(0, resamples, rows)
        ]
    )
    value = above / below
    tail = 50 * (1 - level)
    low, high = percentiles(drawn, (tail, 100 - tail))
    wider = _small_sample_factor(shortest // block, level)
    middle = math.log(value)
    return Ratio(
        value,
        math.exp(middle + min(0.0, low - middle) * wider),
        math.exp(middle + max(0.0, high - middle) * wider),
        level,
    )


def _drawn_logs(
    new: NDArray[np.float64],
    old: NDArray[np.float64],
    rng: np.random.Generator,
    count: int,
    *,
    percent: float,
    block: int,
    paired: bool,
) -> NDArray[np.float64]:
    """Logarithms of `count` ratios of percentiles drawn anew."""
    places = _block_places(new.size, block, rng, count)
    others = places if paired else _block_places(old.size, block, rng, count)
    above, below = (
        np.percentile(drawn, percent, axis=1, method="linear")
        for drawn in (new[places], old[others])
    )
    logs: NDArray[np.float64] = np.log(above / below)
    return logs


def _block_places(size: int, block: int, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    """(count, size) places in a sample: blocks of neighbours, the last one cut."""
    starts = rng.integers(size, size=(count, -(-size // block), 1))
    places = (starts + np.arange(block)).reshape(count, -1)[:, :size]
    return places % size


def _small_sample_factor(blocks: int, level: float) -> float:
    """How much wider an interval from few independent parts must be.

    Student's t over the normal quantile, and the share of the variance that a sample of n misses
    by being measured around its own mean. (Abramowitz and Stegun, 26.7.5, for the quantile.)
    """
    freedom = max(1, blocks - 1)
    z = NormalDist().inv_cdf((1 + level) / 2)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    student = z + sum(term / float(freedom) ** power for power, term in enumerate(terms, 1))
    return float(student / z * math.sqrt((freedom + 1) / freedom))


def _sample(values: ArrayLike) -> NDArray[np.float64]:
    sample = np.asarray(values, dtype=np.float64).reshape(-1)
    if sample.size == 0:
        raise ValueError("no values to summarize")
    if not np.isfinite(sample).all():
        raise ValueError("values must be finite")
    return sample


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
