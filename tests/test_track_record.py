"""One track record: published examples to their digits, and how often the intervals are right."""

import math
from itertools import takewhile

import numpy as np
import pytest
from scipy.stats import binom, ttest_1samp

from delta_arb.errors import SeriesError
from delta_arb.stats import sharpe
from delta_arb.stats.sharpe import Interval, Sharpe


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def autoregressive(phi: float, n: int, seed: int) -> np.ndarray:
    """An AR(1) of mean zero, started in its first innovation (arch's numbers below are of these very columns)."""
    x = rng(seed).standard_normal(n)
    for i in range(1, n):
        x[i] += phi * x[i - 1]
    return x


# --- Bailey & Lopez de Prado 2012: a fund of 24 months, annual Sharpe 1.585, skewness -2.448, kurtosis 10.164 ----

FUND = 1.585 / math.sqrt(12)


@pytest.mark.parametrize(
    ("estimate", "expected"),
    [
        (Sharpe(FUND, 24), 0.982),  # were it normal
        (Sharpe(FUND, 24, -2.448, 10.164), 0.913),
        (Sharpe(FUND, 36, -2.448, 10.164), 0.953),  # the same for a third year
    ],
)
def test_probabilistic_sharpe_is_that_of_the_paper(estimate, expected):
    assert sharpe.probabilistic_sharpe(estimate) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize(("periods_a_year", "years"), [(252, 2.73), (52, 2.83), (12, 3.24)])
def test_the_minimum_track_record_of_the_paper_is_where_the_probability_is_95_percent(periods_a_year, years):
    """How long an annual Sharpe ratio of 2 must be seen, daily, weekly or monthly, to be above 1 with 95 %."""
    estimate = Sharpe(2 / math.sqrt(periods_a_year), years * periods_a_year)
    benchmark = 1 / math.sqrt(periods_a_year)
    assert sharpe.probabilistic_sharpe(estimate, benchmark) == pytest.approx(0.95, abs=5e-4)


def test_kurtosis_is_plain_and_not_the_excess_over_a_normal():
    """3 leaves the error of a normal, whose square is (1 + SR^2 / 2) / (n - 1)."""
    assert Sharpe(0.3, 101).error == pytest.approx(math.sqrt((1 + 0.3**2 / 2) / 100))
    assert sharpe.sharpe(rng().standard_normal(20_000)).kurtosis == pytest.approx(3.0, abs=0.1)


def test_sharpe_of_a_column_has_the_moments_of_the_column():
    """1, 1, 1, 1, -2 and the same again: mean 0.4, sd 1.2, third moment -2.592, fourth 6.4032 (by hand)."""
    found = sharpe.sharpe([1.0, 1.0, 1.0, 1.0, -2.0] * 2)
    assert found.value == pytest.approx(1 / 3)
    assert found.skewness == pytest.approx((4 * 0.6**3 - 2.4**3) / 5 / 1.2**3)
    assert found.kurtosis == pytest.approx((4 * 0.6**4 + 2.4**4) / 5 / 1.2**4)


def test_only_independent_periods_count_for_the_error_of_a_sharpe_ratio():
    """An AR(0.7) of n periods knows its mean as well as n (1 - 0.7) / (1 + 0.7) independent ones."""
    assert sharpe.sharpe(rng(1).standard_normal(5000)).n == pytest.approx(5000, rel=0.15)
    assert sharpe.sharpe(autoregressive(0.7, 5000, 2)).n == pytest.approx(5000 * 0.3 / 1.7, rel=0.25)


# --- rates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "points"), [(30, 16), (100, 9), (323, 5)])
def test_a_hit_rate_of_seven_tenths_is_known_no_better_than_this(n, points):
    found = sharpe.wilson(round(0.7 * n), n)
    assert 100 * (found.high - found.low) / 2 == pytest.approx(points, abs=0.5)


def test_wilson_agrees_with_its_inventor():
    """Newcombe 1998, Statistics in Medicine 17, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29 by the score method."""
    published = ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718))
    for hits, n, low, high in published:
        found = sharpe.wilson(hits, n)
        assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@pytest.mark.parametrize(("hits", "n"), [(0, 0), (3, 2), (-1, 5)])
def test_a_rate_of_no_trials_is_refused(hits, n):
    with pytest.raises(SeriesError, match="no rate"):
        sharpe.wilson(hits, n)


# --- blocks and means -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phi", "n", "blocks"), [(0.7, 400, 12.171671), (0.9, 1000, 42.283148), (-0.5, 300, 8.504104), (0.0, 200, 1.0)]
)
def test_block_length_is_that_of_arch(phi, n, blocks):
    """arch 8.0, optimal_block_length, stationary; it says 0.29 for the last one, a block has at least one period."""
    assert sharpe.block_length(autoregressive(phi, n, 5)) == pytest.approx(blocks, rel=1e-6)


def coverage(phi: float, n: int, runs: int = 250) -> float:
    found = [
        sharpe.mean_interval(autoregressive(phi, n + 50, seed)[50:], rng(seed), repetitions=400) for seed in range(runs)
    ]
    return sum(0.0 in interval for interval in found) / runs


@pytest.mark.parametrize("phi", [0.0, 0.7])
def test_a_mean_interval_of_dependent_periods_covers_the_truth(phi):
    """The iid bootstrap covers 59 % of the AR(0.7), 2.4 times too narrow; two standard errors of 250 runs: 3 points."""
    assert coverage(phi, 168) >= 0.92


def test_an_interval_of_dependent_periods_is_more_than_twice_as_wide_as_the_naive_one():
    x = autoregressive(0.7, 2000, 3)
    found = sharpe.mean_interval(x, rng())
    naive = 1.96 * x.std() / math.sqrt(len(x))
    assert (found.high - found.low) / 2 / naive == pytest.approx(math.sqrt(1.7 / 0.3), rel=0.2)


def test_an_interval_keeps_its_level_in_another_unit():
    assert Interval(1.0, 0.5, 2.0, 0.9).scaled(24.0) == Interval(24.0, 12.0, 48.0, 0.9)


def test_the_same_seed_gives_the_same_interval():
    x = autoregressive(0.5, 100, 1)
    assert sharpe.mean_interval(x, rng(4)) == sharpe.mean_interval(x, rng(4))


@pytest.mark.parametrize(
    ("nets", "message"),
    [
        ([1.0, 2.0, 3.0], "at least 10 periods"),
        ([[1.0] * 12], "one column"),
        ([0.0] * 20, "all 20 periods earned 0"),
        ([2.5] * 20, "never moves"),
        ([1.0, math.nan] * 10, "period 1 is not a number"),
    ],
)
@pytest.mark.parametrize("statistic", [sharpe.sharpe, sharpe.block_length, lambda x: sharpe.mean_interval(x, rng())])
def test_a_column_that_has_no_answer_is_refused(statistic, nets, message):
    with pytest.raises(SeriesError, match=message):
        statistic(nets)


def test_a_block_longer_than_the_record_is_refused():
    with pytest.raises(SeriesError, match="does not fit"):
        sharpe.mean_interval(autoregressive(0.0, 20, 1), rng(), block=21.0)


# --- probabilities that are scored ------------------------------------------------------------------------------------


def test_probability_of_gain_of_independent_periods():
    """The sum of 16 periods of mean 0.25 and sd 1 is above zero with probability Phi(0.25 * 4) = 0.841."""
    x = rng(2).standard_normal(2000)
    x += 0.25 - x.mean()
    found = sharpe.probability_of_gain(x, 16, rng(), block=1.0, repetitions=20_000)
    assert found == pytest.approx(0.841, abs=0.02)


def test_a_window_without_a_trade_is_no_gain():
    x = np.zeros(100)
    x[:3] = 1.0
    assert sharpe.probability_of_gain(x, 1, rng(), repetitions=20_000) == pytest.approx(4 / 102, abs=0.005)


def test_a_day_of_gains_is_no_certainty():
    """Six windows of 16 periods that all gained say 7 / 8 (Laplace's rule of succession)."""
    assert sharpe.probability_of_gain(rng().uniform(1, 2, 96), 16, rng()) == pytest.approx(7 / 8)


def test_windows_judged_outside_count_as_much_as_those_of_the_record():
    """Six windows that gained, and four judged ones of which one did: (6 + 1 + 1) / (6 + 4 + 2)."""
    gains, judged = rng().uniform(1, 2, 96), [True, False, False, False]
    assert sharpe.probability_of_gain(gains, 16, rng(), earned=judged) == pytest.approx(8 / 12)


def test_windows_judged_long_ago_tell_of_another_market():
    """Six windows that gained and the last 24 judged, none of which did, whatever a hundred before them earned: (6 + 1) / 32."""
    gains, judged = rng().uniform(1, 2, 96), [True] * 100 + [False] * 24
    assert sharpe.probability_of_gain(gains, 16, rng(), earned=judged) == pytest.approx(7 / 32)


def test_brier_score_by_hand():
    found = sharpe.brier([0.8, 0.6, 0.1, 0.9], [True, False, False, True])
    assert found.score == pytest.approx((0.04 + 0.36 + 0.01 + 0.01) / 4)
    assert found.base == pytest.approx(0.25)
    assert found.better


def test_gains_that_keep_their_distance_are_not_dealt_out_one_by_one():
    """One gain in every ten periods: any ten in a row hold one, ten drawn one by one do so with 1 - 0.9^10 = 0.65."""
    x = np.zeros(100)
    x[::10] = 1.0
    assert sharpe.probability_of_gain(x, 10, rng(), block=1.0) == pytest.approx((6.5 + 1) / 12, abs=0.04)
    assert sharpe.probability_of_gain(x, 10, rng()) > 0.8


@pytest.mark.parametrize("horizon", [0, 101])
def test_a_horizon_beyond_the_record_is_refused(horizon):
    with pytest.raises(SeriesError, match="says nothing about"):
        sharpe.probability_of_gain(rng().standard_normal(100), horizon, rng())


@pytest.mark.parametrize(("said", "seen"), [([], []), ([0.5], [True, False]), ([1.1], [True]), ([math.nan], [True])])
def test_a_score_without_matching_probabilities_is_refused(said, seen):
    with pytest.raises(SeriesError, match="one probability"):
        sharpe.brier(said, seen)


# --- rare large losses ------------------------------------------------------------------------------------------------


def test_a_null_of_small_wins_and_rare_large_losses_passes_in_at_most_a_fortieth():
    """208 trades, wins of 1 in 15 of 16, losses of 15: a mean of 0. A record is told by its losses, k with Binomial(208, 1/16)."""
    for loss in (15.0, 0.0):  # known before, or as large as those seen
        records = ([-15.0] * k + [1.0] * (208 - k) for k in range(30))
        chances = (sharpe.chance_without_edge(nets, loss, rng(), repetitions=4000) for nets in records)
        passes = sum(1 for _ in takewhile(lambda chance: chance <= 0.025, chances))
        assert passes > 0 and binom.cdf(passes - 1, 208, 1 / 16) <= 0.025


def test_how_many_pairs_without_a_loss_it_takes_against_a_loss_that_may_come():
    """n wins of 1 beside a loss of L that did not come: (L / (L + 1))^n, whatever the test."""
    for n, loss, chance in ((15, 3.0, 0.01336), (15, 5.0, 0.06491), (30, 5.0, 0.00421)):
        found = sharpe.chance_without_edge(np.ones(n), loss, rng())
        assert chance - 1e-5 <= found <= chance + 0.003
    assert sharpe.chance_without_edge(np.ones(15), 0.0, rng()) == 0.0  # nothing to lose
    assert sharpe.chance_without_edge([-1.0, 0.5], 1.0, rng()) == 1.0
    with pytest.raises(SeriesError, match="no trade"):
        sharpe.chance_without_edge([], 1.0, rng())


def test_losses_seen_that_just_make_up_for_the_wins_are_judged_beside_the_larger_one_that_may_come():
    """Of +7 and -2.1, nearest to equal weights with a mean of zero are 3/13 and 10/13, with nothing left for the loss of 6 (its
    tilt is 1/6: 7 / (13/6) = 2.1 / (3.9/6)). Two draws reach the mean of 2.45 unless both lose: 1 - (10/13)^2."""
    found = sharpe.chance_without_edge([7.0, 3.9 - 6.0], 6.0, rng())
    assert found == pytest.approx(1 - (10 / 13) ** 2, abs=0.01)


def test_a_record_of_wins_and_losses_alike_is_judged_nearly_as_by_students_t():
    """100 trades of sd 1: means of 0.17 and 0.27 are t of 1.7 and 2.7, one-sided p of 0.046 and 0.004."""
    nets = rng(5).standard_normal(100)
    nets = (nets - nets.mean()) / nets.std(ddof=1)
    for mean, p in ((0.17, 0.046), (0.27, 0.004)):
        assert sharpe.chance_without_edge(nets + mean, 1.0, rng()) == pytest.approx(p, rel=0.35)


# --- trades that remember each other ----------------------------------------------------------------------------------


def test_the_chance_with_memory_by_hand():
    """3, 1, 3, 1: r = -3/4, less its bias -3/4 + (1 - 9/4) / 4 = -17/16, and 5/4 more is 3/16: 4 (13/16) / (19/16) trades.
    Their t is x times the root of 3, whose tail with three degrees of freedom is in closed form."""
    x = math.sqrt(4 * 13 / 19)
    tail = 0.5 - (x / (1 + x * x) + math.atan(x)) / math.pi
    assert sharpe.chance_with_memory([3.0, 1.0, 3.0, 1.0]) == pytest.approx(tail)
    assert sharpe.chance_with_memory([2.0] * 6) == 0.0 and sharpe.chance_with_memory([2.0]) == 1.0


@pytest.mark.parametrize("n", [6, 12, 40])
def test_a_null_that_remembers_half_of_the_trade_before_passes_in_at_most_a_fortieth(n):
    """Student's t with all trades as independent passes 11 to 13 % of them. Two standard errors of 1000 runs: 1 point."""
    records = [autoregressive(0.5, n + 30, seed)[30:] for seed in range(1000)]
    assert np.mean([sharpe.chance_with_memory(nets) <= 0.025 for nets in records]) <= 0.025 + 0.01
    assert np.mean([ttest_1samp(nets, 0.0, alternative="greater").pvalue <= 0.025 for nets in records]) > 0.09


def test_asked_at_a_tenth_of_the_level_a_null_that_remembers_passes_in_a_tenth_as_many():
    """Ten markets: 0.25 %. Student's t alone passes twice as many. Two standard errors of 4000 runs: 0.16 points."""
    for n in (9, 20):
        records = [autoregressive(0.5, n + 30, seed)[30:] for seed in range(4000)]
        assert np.mean([sharpe.chance_with_memory(nets) <= 0.0025 for nets in records]) <= 0.0025 + 0.0016


def test_wins_that_are_alike_are_no_losses_that_come_together():
    """Nine pairs of a modest edge, whose wins follow the thresholds of their folds: r is 0.5, and the least is 4 sd above 0.
    They pass at the level of ten markets, 0.25 %, for which nine pairs are asked; by Student's t alone at 0.1 %."""
    chance = sharpe.chance_with_memory([0.47, 0.52, 0.46, 0.47, 0.57, 0.59, 0.64, 0.63, 0.53])
    assert chance < 0.0025
    assert 0.025 * (chance / 0.025) ** (1 / 0.6) < 0.001  # Student's, of which a small chance is the power of 0.6
