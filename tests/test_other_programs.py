"""What is said of one of many results, beside arch and statsmodels on the same series; each difference with its source."""

import math

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.special import ndtri, stdtrit

from delta_arb.stats.multiple_testing import level_of_each, superior
from delta_arb.stats.sharpe import _long_run_variance, _without_edge, block_length, mean_interval, wilson

pytestmark = pytest.mark.slow
DRAWS = 4000
NOISE = 4 * math.sqrt(0.25 / DRAWS)  # four standard errors of a share of so many draws


def ar(first: float, n: int, seed: int) -> np.ndarray:
    return lfilter([1.0], [1.0, -first], np.random.default_rng(seed).normal(0.05, 1.0, n))


def spa(nets: np.ndarray, block: float):
    """Of arch: losses are what was not earned, the benchmark earns nothing."""
    from arch.bootstrap import SPA

    found = SPA(np.zeros(len(nets)), -nets, block_size=int(block), reps=DRAWS, bootstrap="stationary", seed=3)
    found.compute()
    return found.pvalues


def trials(seed: int) -> np.ndarray:
    """Eight columns of one variance, one with a gain, one without hope."""
    nets = np.random.default_rng(seed).normal(0.0, 1.0, (400, 8)) + np.array([0.12, *[0.0] * 6, -0.4])
    return nets / nets.std(axis=0)


@pytest.mark.parametrize("seed", range(4))
def test_superior_is_archs_where_all_trials_have_one_variance(seed):
    nets = trials(seed)
    ours, theirs = superior(nets, np.random.default_rng(1), block=4.0, repetitions=DRAWS), spa(nets, 4.0)
    assert ours.p == pytest.approx(theirs["consistent"], abs=NOISE)
    assert ours.low == pytest.approx(theirs["lower"], abs=NOISE)
    assert ours.high == pytest.approx(theirs["upper"], abs=NOISE)


def test_superior_divides_each_trial_by_its_error_and_arch_does_not():
    """Hansen 2005 (J. Bus. Econ. Stat. 23(4)), eq. 4: sqrt(n) mean / error. arch 8.0 compares raw means whatever
    `studentize` says, so a trial without an edge in larger units hides the one that has it."""
    nets = trials(0)
    louder = nets * np.array([1.0] * 7 + [50.0]) + np.array([0.0] * 7 + [20.0])  # the last one: no mean, a spread of 50
    louder[:, 7] -= louder[:, 7].mean()
    quiet = louder / np.array([1.0] * 7 + [50.0])
    of = {"block": 4.0, "repetitions": DRAWS}
    ours, same = (superior(n, np.random.default_rng(1), **of) for n in (louder, quiet))
    assert ours.p == same.p < 0.1
    assert spa(quiet, 4.0)["consistent"] == pytest.approx(ours.p, abs=NOISE)
    assert spa(louder, 4.0)["consistent"] > 0.4


@pytest.mark.parametrize(("first", "n"), [(0.0, 200), (0.5, 400), (0.7, 400), (0.9, 2000), (-0.4, 300)])
def test_block_lengths_are_archs(first, n):
    """Patton, Politis & White 2009. arch divides autocovariances by the sums of the shortened columns, ours by the whole
    one's, as the authors do; that decides only on the border of significance, and arch's may be below one period."""
    from arch.bootstrap import optimal_block_length

    for seed in range(10):
        nets = ar(first, n, seed)
        theirs = float(optimal_block_length(nets)["stationary"].iloc[0])
        assert block_length(nets) == pytest.approx(max(theirs, 1.0), rel=1e-9) or on_the_border(nets)


def on_the_border(nets: np.ndarray) -> bool:
    """Whether an autocorrelation is significant by one of the two divisors and not by the other."""
    n, off = len(nets), nets - nets.mean()
    critical = 2 * math.sqrt(math.log10(n) / n)
    of_lag = [
        (products / (off @ off), products / math.sqrt((off[k + 1 :] @ off[k + 1 :]) * (off[: -k - 1] @ off[: -k - 1])))
        for k in range(1, math.ceil(math.sqrt(n)) + 5)
        if (products := abs(off[k:] @ off[:-k]))
    ]
    return any((whole < critical) != (shortened < critical) for whole, shortened in of_lag)


@pytest.mark.parametrize(("first", "n"), [(0.0, 100), (0.7, 100), (0.7, 400)])
def test_the_interval_of_a_mean_is_archs_times_what_a_short_record_cannot_show(first, n):
    """By the same draws arch's percentile interval of AR(0.7) covers 76 to 88 % where 95 are said: the factor is the
    long-run error over the bootstrap's (Kuensch 1989: blocks fall short), and Student's quantile for n / block blocks."""
    from arch.bootstrap import StationaryBootstrap

    nets = ar(first, n, 5)
    block = block_length(nets)
    ours = mean_interval(nets, np.random.default_rng(1), repetitions=DRAWS)
    theirs = StationaryBootstrap(block, nets, seed=3)
    low, high = theirs.conf_int(np.mean, reps=DRAWS, method="percentile")[:, 0]
    error = float(np.std(theirs.apply(np.mean, reps=DRAWS)))
    free = n / block - 1
    factor = max(1.0, math.sqrt(_long_run_variance(nets) / n) / error)
    factor *= stdtrit(free, 0.975) / ndtri(0.975) * math.sqrt((free + 1) / free)
    assert (ours.high - ours.low) / (high - low) == pytest.approx(factor, rel=0.06)
    assert ours.value == pytest.approx(nets.mean())


def test_the_long_run_variance_is_statsmodels_with_as_many_lags_and_no_less():
    """An AR(1) of 0.7 has 1 / 0.3^2 = 11.1. Bartlett's weights (Newey & West 1987) fall short by what they take off each
    lag; flat-top weights (Politis & Romano 1995) do not, and the AR(1) with its bias removed is a floor."""
    from statsmodels.stats.sandwich_covariance import S_hac_simple

    nets = ar(0.7, 20_000, 1)
    off = (nets - nets.mean())[:, None]
    theirs = {lags: float(S_hac_simple(off, nlags=lags)[0, 0]) / len(nets) for lags in (10, 200)}
    assert theirs[10] < theirs[200] < 1.15 * _long_run_variance(nets)
    assert _long_run_variance(nets) == pytest.approx(1 / 0.3**2, rel=0.1) and theirs[10] < 0.85 / 0.3**2


@pytest.mark.parametrize(("hits", "n"), [(0, 9), (9, 9), (15, 16), (226, 323)])
def test_rates_are_statsmodels(hits, n):
    """Wilson's interval, to the last digits."""
    from statsmodels.stats.proportion import proportion_confint

    ours = wilson(hits, n)
    assert (ours.low, ours.high) == pytest.approx(proportion_confint(hits, n, method="wilson"), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_record_without_an_edge_is_statsmodels_empirical_likelihood(seed):
    """Of records that earned, where the losses seen make up for the wins: nothing is added to them."""
    from statsmodels.emplike.descriptive import DescStat

    nets = np.random.default_rng(seed).standard_normal(30) + 0.2
    assert nets.mean() > 0
    theirs = DescStat(nets).test_mean(0, return_weights=True)[2].ravel()
    assert _without_edge(nets, -nets.min()) == pytest.approx([*theirs, 0.0], abs=1e-6)


def test_what_many_looks_cost_is_bonferronis():
    from statsmodels.stats.multitest import multipletests

    corrected = multipletests([0.5] * 20, alpha=0.05, method="bonferroni")[3]
    assert level_of_each(0.95, 20.0) == pytest.approx(1 - corrected)
