"""Choosing among many: published examples to their digits, and constructed cases."""

import math

import numpy as np
import pytest
from scipy.special import ndtri

from delta_arb.errors import SeriesError
from delta_arb.stats import multiple_testing
from delta_arb.stats.sharpe import Sharpe, probabilistic_sharpe


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# --- Bailey & Lopez de Prado 2014: 5 years of 250 days, annual Sharpe 2.5, variance of the trials 1/2 a year ----

VARIANCE = 0.5 / 250


def above_the_best_of(estimate: Sharpe, trials: int) -> float:
    return probabilistic_sharpe(estimate, multiple_testing.expected_best_sharpe(trials, VARIANCE))


def test_deflated_sharpe_is_that_of_the_paper():
    fat, normal = Sharpe(2.5 / math.sqrt(250), 1250, -3.0, 10.0), Sharpe(2.5 / math.sqrt(250), 1250)
    assert multiple_testing.expected_best_sharpe(100, VARIANCE) == pytest.approx(0.1132, abs=5e-5)
    assert above_the_best_of(fat, 100) == pytest.approx(0.9004, abs=5e-5)
    assert above_the_best_of(fat, 46) == pytest.approx(0.9505, abs=5e-5)
    assert above_the_best_of(normal, 88) == pytest.approx(0.9505, abs=5e-5)


def test_a_single_trial_has_nothing_to_deflate():
    estimate = Sharpe(0.1, 200)
    assert above_the_best_of(estimate, 1) == probabilistic_sharpe(estimate)


# --- clusters and deflation -------------------------------------------------------------------------------------------


def copies(groups: int, each: int, noise: float = 0.2, periods: int = 160, seed: int = 0) -> np.ndarray:
    source = rng(seed)
    common = np.repeat(source.standard_normal((periods, groups)), each, axis=1)
    return common + noise * source.standard_normal(common.shape)


def test_near_copies_are_one_trial_and_strangers_are_many():
    found = multiple_testing.clusters(copies(groups=10, each=10))
    assert found.number == 10
    assert all(len(set(found.labels[k : k + 10])) == 1 for k in range(0, 100, 10))
    assert multiple_testing.clusters(rng().standard_normal((160, 50))).number == 50


def test_a_trial_that_never_traded_is_none():
    trials = np.column_stack([rng().standard_normal(100), np.zeros(100)])
    assert multiple_testing.clusters(trials).labels == (0, -1)
    assert multiple_testing.deflated(trials, 0).trials == 1
    with pytest.raises(SeriesError, match="never moved"):
        multiple_testing.clusters(np.zeros((100, 3)))


def test_the_best_of_many_without_skill_is_seldom_called_skilled():
    """The best of 50 passes at 0.95 in more than half of all worlds when taken alone, and hardly ever when deflated."""
    alone = deflated = 0
    for seed in range(100):
        trials = rng(seed).standard_normal((200, 50))
        best = int(np.argmax(trials.mean(axis=0) / trials.std(axis=0)))
        alone += multiple_testing.probabilistic_sharpe(multiple_testing.sharpe(trials[:, best])) > 0.95
        deflated += multiple_testing.deflated(trials, best).probability > 0.95
    assert alone > 50
    assert deflated <= 5


def test_what_was_examined_upstream_is_paid_for():
    trials = copies(groups=3, each=4)
    one, of_ten = (multiple_testing.deflated(trials, 0, upstream=n) for n in (1, 10))
    assert (one.trials, of_ten.trials, of_ten.clusters) == (3, 30, 3)
    assert of_ten.hurdle > one.hurdle
    assert of_ten.probability < one.probability


# --- CSCV -------------------------------------------------------------------------------------------------------------


def test_cscv_of_pure_noise_is_near_one_half():
    found = [multiple_testing.overfitting(rng(seed).standard_normal((160, 40)), 10).probability for seed in range(40)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.06)


def test_cscv_of_one_truly_good_column_is_zero():
    trials = rng(1).standard_normal((160, 40))
    trials[:, 7] += 2.0
    found = multiple_testing.overfitting(trials)
    assert (found.probability, found.loss, found.halvings) == (0.0, 0.0, 12_870)


def test_cscv_of_compensating_columns_is_one():
    """Every column earns nothing in all, so what is best on one half is worst on the other."""
    trials = rng(1).standard_normal((160, 40))
    trials -= trials.mean(axis=0)
    found = multiple_testing.overfitting(trials)
    assert (found.probability, found.loss) == (1.0, 1.0)
    assert found.slope == pytest.approx(-1.0)


def test_cscv_by_hand():
    """Two trials, four blocks of (1, 1, 4, 1) and (3, 3, 3, -8) per period: each of the six halvings on paper.

    On blocks {1,2}, {1,3}, {2,3} the second is best, with 6, and earns 3 - 8 = -5 on the others, where the first earns
    5, 2 and 2. On {1,4}, {2,4}, {3,4} the first is best, with 2, 2 and 5, and earns 5, 5 and 2 on the others, where the
    second earns 6. The choice is always below the other one, and loses on half of the halvings.
    """
    a, b = np.repeat([1.0, 1.0, 4.0, 1.0], 4), np.repeat([3.0, 3.0, 3.0, -8.0], 4)
    found = multiple_testing.overfitting(np.column_stack([a, b]), 4)
    assert (found.probability, found.loss, found.halvings, found.trials) == (1.0, 0.5, 6, 2)
    inside, outside = np.array([6.0, 6.0, 6.0, 2.0, 2.0, 5.0]), np.array([-5.0, -5.0, -5.0, 5.0, 5.0, 2.0])
    assert found.slope == pytest.approx(np.polyfit(inside, outside, 1)[0])


def test_the_smoother_is_how_the_choice_is_made():
    trials = rng(3).standard_normal((160, 5)) + np.array([9.0, 0.0, 0.0, 0.0, 0.0])
    assert multiple_testing.overfitting(trials).probability == 0.0
    assert multiple_testing.overfitting(trials, smoother=np.eye(5)) == multiple_testing.overfitting(trials)
    worst_on_its_half = -np.eye(5)
    assert multiple_testing.overfitting(trials, smoother=worst_on_its_half).probability > 0.5


@pytest.mark.parametrize(
    ("trials", "blocks", "message"),
    [
        (rng().standard_normal((160, 5)), 7, "cannot be cut into 7 blocks"),
        (rng().standard_normal((20, 5)), 16, "cannot be cut into 16 blocks"),
        (rng().standard_normal((160, 1)), 16, "one trial cannot be overfitted"),
        (np.ones((160, 5)) * rng().standard_normal((160, 1)), 16, "all trials are the same"),
    ],
)
def test_cscv_refuses_what_was_not_a_choice(trials, blocks, message):
    with pytest.raises(SeriesError, match=message):
        multiple_testing.overfitting(trials, blocks)


# --- superior predictive ability --------------------------------------------------------------------------------------


def drifting(shift: float) -> np.ndarray:
    """300 periods of 20 trials, five of them hopeless and one better by `shift`; drawn one after the other."""
    source = rng(3)
    for known in (0.0, 0.15, 0.25):
        trials = source.standard_normal((300, 20))
        trials[:, 4] += known
        trials[:, 15:] -= 1.0
        if known == shift:
            return trials
    raise ValueError(shift)


@pytest.mark.parametrize(
    ("shift", "low", "p", "high"),
    [(0.0, 0.847, 0.880, 0.951), (0.15, 0.335, 0.505, 0.624), (0.25, 0.0036, 0.0044, 0.0066)],
)
def test_superior_agrees_with_arch(shift, low, p, high):
    """arch 8.0, SPA, blocks of 5, 20,000 draws, on columns divided by their errors (which it leaves undone)."""
    found = multiple_testing.superior(drifting(shift), rng(), block=5.0, repetitions=5000)
    assert [found.low, found.p, found.high] == pytest.approx([low, p, high], abs=0.016)
    assert found.low <= found.p <= found.high


def test_the_best_of_many_without_skill_is_not_superior():
    found = [
        multiple_testing.superior(rng(seed).standard_normal((150, 30)), rng(seed), repetitions=300).p
        for seed in range(60)
    ]
    assert np.mean(np.array(found) < 0.05) <= 0.12
    assert np.mean(found) == pytest.approx(0.5, abs=0.12)


def test_doing_nothing_beats_what_only_loses():
    found = multiple_testing.superior(rng().standard_normal((100, 4)) - 3.0, rng(), repetitions=300)
    assert (found.p, found.statistic) == (1.0, 0.0)


def test_superior_finds_the_one_that_is():
    trials = rng(5).standard_normal((300, 30))
    trials[:, 11] += 0.4
    found = multiple_testing.superior(trials, rng(), repetitions=500)
    assert found.best == 11
    assert found.p < 0.01


# --- many looks -------------------------------------------------------------------------------------------------------


def test_the_pairs_of_a_universe_share_the_level():
    assert multiple_testing.level_of_each(0.95) == pytest.approx(0.95)
    assert multiple_testing.level_of_each(0.95, looks=20) == pytest.approx(0.9975)
    with pytest.raises(SeriesError, match="no levels of looks"):
        multiple_testing.level_of_each(0.95, looks=0.5)


def test_a_null_looked_at_hourly_for_a_day_passes_in_at_most_a_fortieth_of_the_days():
    """Means of the last 60 h of noise, asked at each of 25 hours: one level for all looks keeps 2.5 % for the day."""
    level = multiple_testing.level_of_each(0.95, windows=24 / 60)
    noise = np.random.default_rng(5).normal(size=(20_000, 84))
    sums = np.cumsum(np.pad(noise, ((0, 0), (1, 0))), axis=1)
    means = (sums[:, 60:] - sums[:, :-60]) / np.sqrt(60)
    passed = [(means.max(axis=1) > ndtri(0.5 + at / 2)).mean() for at in (level, 0.95)]
    assert passed[0] <= 0.025 < passed[1] and level < multiple_testing.level_of_each(0.95, looks=24)
