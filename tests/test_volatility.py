"""Clustering: found where it is, and bounce is not mistaken for it."""

import numpy as np
import pytest
from scipy.signal import lfilter

from delta_arb.errors import SeriesError
from delta_arb.stats import ou, reversion

S = 1_000_000_000  # ns


def garch(n, seed):
    """Shocks of a GARCH(1,1) with 0.1 and 0.85."""
    rng = np.random.default_rng(seed)
    z, out, var = rng.normal(size=n), np.empty(n), 1.0
    for i in range(n):
        out[i] = np.sqrt(var) * z[i]
        var = 0.05 + 0.1 * out[i] ** 2 + 0.85 * var
    return out


def share_of_alarms(make, runs=60):
    return np.mean([reversion.clustering(make(seed)).present() for seed in range(runs)])


def test_bounce_is_not_clustering_mistake_15():
    def bounce(seed):
        rng = np.random.default_rng(seed)
        return 0.1 * rng.normal(size=2000).cumsum() + rng.normal(size=2000)

    assert share_of_alarms(bounce) <= 0.12


def test_independent_shocks_are_not_clustering():
    assert share_of_alarms(lambda seed: np.random.default_rng(seed).normal(size=2000)) <= 0.10


def test_garch_is_clustering():
    assert share_of_alarms(lambda seed: lfilter([1.0], [1.0, -0.9], garch(2000, seed)), runs=30) >= 0.95


def test_both_statistics_are_those_of_statsmodels():
    from statsmodels.stats.diagnostic import acorr_ljungbox, acorr_lm

    e = garch(1000, 3)
    c = reversion.clustering_of(e, lags=5)
    lm = acorr_lm(e**2, nlags=5, result_object=False)
    assert (c.arch_lm, c.arch_p) == pytest.approx(lm[:2])
    box = acorr_ljungbox(e**2, lags=[5])
    assert (c.ljung_box, c.ljung_box_p) == pytest.approx((box["lb_stat"].iloc[0], box["lb_pvalue"].iloc[0]))


def test_the_surprises_of_the_filter_are_asked_the_same_way():
    rng = np.random.default_rng(1)
    ts_ns = np.arange(4000) * S
    calm = lfilter([1.0], [1.0, -0.95], rng.normal(size=4000)) + rng.normal(size=4000)
    wild = lfilter([1.0], [1.0, -0.95], garch(4000, 2))
    for y, present in ((calm, False), (wild, True)):
        c = reversion.clustering_of(ou.filtered(y, ts_ns, ou.fit(y, ts_ns)).surprise)
        assert c.present() is present
        assert (c.ljung_box_p < 0.05) is present


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (np.ones(2000), "constant"),
        (np.random.default_rng(1).normal(size=200), "need 300 rows"),
        (np.append(np.arange(999.0), np.nan), "NaN"),
    ],
)
def test_what_cannot_be_answered_is_an_error(x, says):
    with pytest.raises(SeriesError, match=says):
        reversion.clustering(x)


# --- change of variance -----------------------------------------------------------------------------------------------


def test_a_variance_that_doubles_is_found_where_it_does():
    rng = np.random.default_rng(1)
    found = reversion.variance_change(np.concatenate([rng.normal(size=600), 2.0 * rng.normal(size=400)]))
    assert found.present(0.001) and abs(found.at - 600) < 30
    assert (found.before, found.after) == (pytest.approx(1.0, abs=0.1), pytest.approx(2.0, abs=0.15))


def test_one_variance_is_rejected_as_often_as_the_level_says_fat_tails_and_clustering_too():
    rng = np.random.default_rng(2)
    plain = np.mean([reversion.variance_change(rng.normal(size=1000)).present() for _ in range(300)])
    fat = np.mean([reversion.variance_change(rng.standard_t(5, size=1000)).present() for _ in range(300)])
    assert plain <= 0.08 and fat <= 0.08  # 5 % and two standard errors


def test_the_statistic_by_hand():
    """Squares 1 and 9 fifteen times each in turn, then 9 and 25: means 5 and 17, C_k - k/n C_n = -6 * 30 at the half."""
    x = np.array([1.0, 3.0] * 15 + [3.0, 5.0] * 15)
    found = reversion.variance_change(x)
    assert found.at in (30, 31) and found.before == pytest.approx(np.sqrt(np.mean(x[: found.at] ** 2)))
    with pytest.raises(SeriesError, match="one size"):
        reversion.variance_change(np.tile([1.0, -1.0], 30))
