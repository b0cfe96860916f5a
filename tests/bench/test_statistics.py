from __future__ import annotations

import math

import numpy as np
import pytest

from edgekit.bench.statistics import (
    _small_sample_factor,
    median_interval,
    percentiles,
    quantile_ratio,
    summarize,
)


def test_percentiles_lie_linearly_between_order_statistics() -> None:
    assert percentiles([30.0, 10.0, 20.0, 40.0], (0, 50, 90, 100)) == (10.0, 25.0, 37.0, 40.0)


def test_a_summary_has_every_statistic() -> None:
    summary = summarize(np.arange(1, 101))

    assert (summary.count, summary.min_s, summary.max_s) == (100, 1.0, 100.0)
    assert (summary.p50_s, summary.mean_s) == (50.5, 50.5)
    assert summary.p90_s == pytest.approx(90.1)
    assert summary.p95_s == pytest.approx(95.05)
    assert summary.p99_s == pytest.approx(99.01)
    assert summary.std_s == pytest.approx(math.sqrt(100 * 101 / 12))


def test_a_single_run_has_no_spread_and_no_level() -> None:
    summary = summarize([0.25])

    assert (summary.p50_s, summary.p99_s, summary.std_s) == (0.25, 0.25, 0.0)
    assert summary.median.level is None
    assert summary.to_dict()["median_level"] is None


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_nothing_and_non_finite_values_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="values"):
        summarize(values)


@pytest.mark.parametrize(
    # Ranks from printed tables of the sign test at 95 %.
    ("count", "rank"),
    [(6, 1), (9, 2), (10, 2), (20, 6), (25, 8), (100, 40)],
)
def test_the_interval_of_the_median_has_tabled_ranks(count: int, rank: int) -> None:
    interval = median_interval(np.arange(1, count + 1))

    assert (interval.low, interval.high) == (rank, count + 1 - rank)
    assert interval.level is not None
    assert interval.level >= 0.95


def test_its_level_is_the_binomial_sum() -> None:
    interval = median_interval(np.arange(10))

    assert interval.level == pytest.approx(1 - 2 * (1 + 10) / 2**10)


def test_five_values_can_not_give_95_percent() -> None:
    interval = median_interval([3.0, 1.0, 2.0, 5.0, 4.0])

    assert (interval.low, interval.high, interval.level) == (1.0, 5.0, None)


def test_thousands_of_runs_do_not_overflow() -> None:
    interval = median_interval(np.arange(5000))

    assert interval.level == pytest.approx(0.95, abs=0.003)


def test_the_interval_covers_the_true_median_as_often_as_it_says(rng: np.random.Generator) -> None:
    samples = rng.lognormal(0.0, 1.0, (1000, 31))

    covered = [i.low <= 1.0 <= i.high for i in map(median_interval, samples)]

    assert 0.94 < np.mean(covered) < 0.99


def test_the_bootstrap_finds_a_real_difference(rng: np.random.Generator) -> None:
    old, new = rng.normal(1.0, 0.02, 100), rng.normal(1.1, 0.02, 100)

    ratio = quantile_ratio(new, old, rng)

    assert 1.05 < ratio.low < ratio.value < ratio.high < 1.15


def test_the_bootstrap_seldom_finds_one_between_equals(rng: np.random.Generator) -> None:
    wrong = 0
    for _ in range(100):
        ratio = quantile_ratio(rng.gamma(4, size=80), rng.gamma(4, size=80), rng, resamples=400)
        wrong += not ratio.low <= 1 <= ratio.high

    assert wrong <= 5


def test_a_seed_repeats_the_interval() -> None:
    new, old = np.linspace(1, 2, 40), np.linspace(1, 3, 50)

    first = quantile_ratio(new, old, np.random.default_rng(1))

    assert first == quantile_ratio(new, old, np.random.default_rng(1))
    assert first != quantile_ratio(new, old, np.random.default_rng(2))


def test_another_percentile_has_its_own_ratio(rng: np.random.Generator) -> None:
    old = np.linspace(1, 2, 101)
    new = np.concatenate([old[:50], 2 * old[50:]])

    fast, slow = (quantile_ratio(new, old, rng, percent=percent) for percent in (10, 90))

    assert fast.value == pytest.approx(1.0)
    assert slow.value == pytest.approx(2.0)
    assert fast.high < 1.5 < slow.low


def test_a_median_of_zero_has_no_ratio(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="above 0"):
        quantile_ratio([1.0], [0.0], rng)


def test_blocks_widen_the_interval_of_times_that_stay_alike(rng: np.random.Generator) -> None:
    old, new = (np.exp(np.repeat(rng.normal(0, 0.05, 20), 10)) for _ in range(2))

    single = quantile_ratio(new, old, np.random.default_rng(1))
    blocks = quantile_ratio(new, old, np.random.default_rng(1), block=10)

    assert blocks.value == single.value
    assert math.log(blocks.high / blocks.low) > 1.5 * math.log(single.high / single.low)


def test_pairs_cancel_what_both_samples_share(rng: np.random.Generator) -> None:
    shared = np.exp(rng.normal(0, 0.2, 100))

    ratio = quantile_ratio(1.1 * shared, shared, rng, paired=True)

    assert ratio.low == pytest.approx(1.1)
    assert ratio.high == pytest.approx(1.1)


def test_few_blocks_widen_the_interval_as_student_s_t_does() -> None:
    # 2.5758 of the normal distribution and 3.2498 of t with 9 degrees of freedom, both tabled.
    assert _small_sample_factor(10, 0.99) == pytest.approx(
        3.2498 / 2.5758 * math.sqrt(10 / 9), 1e-3
    )


@pytest.mark.parametrize("block", [0, 6])
def test_a_block_must_fit_twice_into_the_sample(rng: np.random.Generator, block: int) -> None:
    with pytest.raises(ValueError, match=f"a block of {block} is too long for 10 values"):
        quantile_ratio(np.ones(10), np.ones(10), rng, block=block)


def test_pairs_of_two_sizes_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="one size, got 3 and 4"):
        quantile_ratio(np.ones(3), np.ones(4), rng, paired=True)
