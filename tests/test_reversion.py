"""Grid, autocorrelation and unit-root tests: hand arithmetic, known processes, and the mistakes not to repeat."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from delta_arb.errors import SeriesError
from delta_arb.stats import reversion

S = 1_000_000_000  # ns


def ar1(n, phi, seed, sd=1.0):
    """Stationary AR(1) of standard deviation `sd`."""
    from scipy.signal import lfilter

    rng = np.random.default_rng(seed)
    shocks = rng.normal(size=n) * sd * np.sqrt(1 - phi**2)
    shocks[0] = rng.normal() * sd
    return lfilter([1.0], [1.0, -phi], shocks)


# --- Grid ------------------------------------------------------------------------------------------------------------


def test_the_grid_holds_the_last_value_known_at_each_point():
    g = reversion.grid([1.0, 2.0, 3.0, 4.0], np.array([0, 15, 20, 41]) * S, step_s=10)
    assert g.values.tolist() == [1.0, 1.0, 3.0, 3.0, 3.0]  # a row at the point itself is known; 41 s is never reached
    assert g.ts_ns.tolist() == [0, 10 * S, 20 * S, 30 * S, 40 * S]


def test_a_gap_and_a_masked_row_are_not_filled():
    values, ts_ns = [1.0, np.nan, 3.0, 4.0], np.array([0, 10, 20, 60]) * S
    g = reversion.grid(values, ts_ns, step_s=10, valid=[True, False, True, True], max_gap_s=20)
    np.testing.assert_equal(g.values, [1.0, np.nan, 3.0, 3.0, 3.0, np.nan, 4.0])
    assert g.known_share == pytest.approx(5 / 7)
    assert g.longest_run().tolist() == [3.0, 3.0, 3.0]


@given(st.integers(1, 60), st.integers(0, 2**31))
def test_no_look_ahead_later_rows_leave_the_grid_before_them_alone(cut, seed):
    rng = np.random.default_rng(seed)
    ts_ns = np.cumsum(rng.integers(1, 5 * S, 80))
    values = rng.normal(size=80)
    other = values.copy()
    other[cut:] = 99.0
    before = reversion.grid(values, ts_ns, 2.0).ts_ns < ts_ns[cut]
    one, two = reversion.grid(values, ts_ns, 2.0).values, reversion.grid(other, ts_ns, 2.0).values
    np.testing.assert_array_equal(one[before], two[before])


# --- Autocorrelation -------------------------------------------------------------------------------------------------


def test_autocorrelation_divides_by_n_mistake_14():
    x = np.tile([1.0, -1.0], 20)
    acf = reversion.autocorrelation(x, [0, 1, 2, 39])
    assert acf.values == pytest.approx([1.0, -39 / 40, 38 / 40, -1 / 40])


def test_autocorrelation_agrees_with_statsmodels():
    from statsmodels.tsa.stattools import acf

    x = ar1(500, 0.8, seed=1)
    expected, interval = acf(x, nlags=20, alpha=0.05, result_object=False)
    ours = reversion.autocorrelation(x, range(21))
    assert ours.values == pytest.approx(expected, abs=1e-12)
    assert ours.band[1:] == pytest.approx((interval[1:, 1] - interval[1:, 0]) / 2, rel=1e-4)  # 1.96 for 1.959964


def test_levels_of_a_reverting_spread_have_positive_autocorrelation_mistake_14():
    x = ar1(20_000, 0.99, seed=2)
    levels, differences = reversion.autocorrelation(x, 1), reversion.autocorrelation(np.diff(x), 1)
    assert levels.values[0] == pytest.approx(0.99, abs=0.01)
    assert abs(differences.values[0]) < 0.02
    noisy = x + np.random.default_rng(3).normal(size=x.size)
    assert reversion.autocorrelation(np.diff(noisy), 1).values[0] == pytest.approx(-0.5, abs=0.02)


def test_a_series_too_short_for_a_lag_is_an_error_and_not_zeros_mistake_14():
    with pytest.raises(SeriesError, match="0 to 39 for a series of 40"):
        reversion.autocorrelation(ar1(40, 0.5, seed=1), [40])


def test_gaps_leave_the_autocorrelation_in_place():
    x = ar1(20_000, 0.95, seed=4)
    holes = x.copy()
    holes[np.random.default_rng(5).random(x.size) < 0.3] = np.nan
    whole, broken = reversion.autocorrelation(x, 20), reversion.autocorrelation(holes, 20)
    assert broken.values == pytest.approx(whole.values, abs=0.02)


# --- ADF and KPSS ----------------------------------------------------------------------------------------------------


def seconds(n, step_s=1):
    return np.arange(n) * step_s * S


def test_adf_and_kpss_read_together():
    minutes = seconds(1440, 60)
    reverting = reversion.stationarity(ar1(1440, 0.9, seed=6), minutes)
    assert reverting.verdict.startswith("reverts: ")
    wandering = reversion.stationarity(np.random.default_rng(7).normal(size=1440).cumsum(), minutes)
    assert wandering.verdict.startswith("wanders")
    shifted = reversion.stationarity(ar1(1440, 0.5, seed=8) + 3.0 * (np.arange(1440) > 720), minutes)
    assert shifted.verdict.startswith("reverts, but not to one level")


def test_an_underflowed_p_is_the_strongest_rejection_mistake_12():
    test = reversion.adf(np.random.default_rng(9).normal(size=5000))
    assert test.p == 0.0 and test.rejects()


def test_adf_runs_on_a_minute_grid_with_stated_lags_mistake_11():
    x = ar1(86_400, 0.999, seed=10)
    s = reversion.stationarity(x, seconds(86_400))
    assert (s.adf.n, s.step_s, s.span_s) == (1440, 60.0, 1439 * 60.0)
    assert s.adf.lags <= 12
    assert list(s.to_frame().index) == ["ADF", "KPSS"]


def test_kpss_says_where_its_table_ends():
    assert reversion.kpss(np.random.default_rng(7).normal(size=1440).cumsum()).bound == "<="
    assert reversion.kpss(ar1(1440, 0.5, seed=6)).bound in ("=", ">=")


# --- No answer is an error -------------------------------------------------------------------------------------------

UNUSABLE = {
    "short": (np.arange(29) % 3.0, "at least 30 known samples, had 29"),
    "constant": (np.full(100, 5.0), "constant at 5"),
    "infinite": (np.append(np.arange(99.0), np.inf), "infinite"),
    "straight": (np.arange(100.0), "straight line"),
    "gap": (np.append(ar1(99, 0.5, seed=1), np.nan), "1 of 100 samples are NaN"),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_no_answer_is_an_error_and_never_a_default_mistake_6(case):
    x, says = UNUSABLE[case]
    with pytest.raises(SeriesError, match=says):
        reversion.adf(x)
    if case in ("short", "constant", "infinite"):
        for ask in (reversion.kpss, lambda y: reversion.autocorrelation(y, 5)):
            with pytest.raises(SeriesError, match=says):
                ask(x)


@pytest.mark.parametrize(
    ("values", "ts_ns", "says"),
    [
        (np.arange(40.0), np.full(40, S), "all 40 rows have the time stamp"),
        (np.arange(40.0), seconds(40)[::-1], "falls after row 0"),
        (np.append(np.arange(39.0), np.nan), seconds(40), "not finite, the first in row 39"),
        (np.arange(40.0), seconds(41), "one length"),
    ],
)
def test_unusable_columns_are_refused(values, ts_ns, says):
    with pytest.raises(SeriesError, match=says):
        reversion.grid(values, ts_ns, 1.0)


def test_a_frozen_leg_is_named():
    rng = np.random.default_rng(11)
    spot = 100 + rng.normal(size=1000).cumsum() * 0.01
    perp = spot + rng.normal(size=1000) * 0.01
    reversion.require_moving_legs(seconds(1000), 60, spot=spot, perp=perp)
    perp[400:700] = perp[400]
    with pytest.raises(SeriesError, match=f"perp stood still for 300 s from ts_ns={400 * S}"):
        reversion.require_moving_legs(seconds(1000), 60, spot=spot, perp=perp)


@pytest.mark.filterwarnings("ignore::UserWarning")  # statsmodels says where its table ends
def test_fixed_lags_and_a_stated_bandwidth_are_those_of_statsmodels():
    from statsmodels.tsa.stattools import adfuller
    from statsmodels.tsa.stattools import kpss as kpss_of

    x = np.random.default_rng(4).normal(size=400).cumsum() * 0.1 + np.random.default_rng(5).normal(size=400)
    mine, theirs = reversion.adf(x, 6, fixed=True), adfuller(x, maxlag=6, autolag=None, result_object=True)
    assert (mine.lags, mine.statistic) == (6, pytest.approx(theirs.statistic))
    for bandwidth in (0, 25, None):
        stated = reversion.kpss(x, bandwidth)
        of = kpss_of(x, regression="c", nlags="auto" if bandwidth is None else bandwidth, result_object=True)
        assert (stated.lags, stated.p) == (of.lags, pytest.approx(of.pvalue, rel=1e-9))
        assert stated.statistic == pytest.approx(of.statistic, rel=1e-12)
    with pytest.raises(SeriesError, match="bandwidth from 0 to 399"):
        reversion.kpss(x, 400)


@pytest.mark.parametrize("noise", [0.0, 3.0])
@pytest.mark.parametrize("n", [40, 960])
def test_the_lags_of_the_adf_are_those_that_statsmodels_chooses_by_bic(n, noise):
    from statsmodels.tsa.stattools import adfuller

    x = ar1(n, 0.95, seed=n) + noise * np.random.default_rng(n).normal(size=n) + 100.0
    mine, theirs = reversion.adf(x, 12), adfuller(x, maxlag=min(12, n // 2 - 2), autolag="BIC", result_object=True)
    assert (mine.lags, mine.p) == (theirs.lags, pytest.approx(theirs.pvalue, rel=1e-9))
    assert mine.statistic == pytest.approx(theirs.statistic, rel=1e-9)


def test_the_p_of_the_adf_is_that_of_statsmodels_from_end_to_end_of_its_table():
    from statsmodels.tsa.adfvalues import mackinnonp

    for statistic in [*np.linspace(-20, 4, 241).tolist(), -18.83, -1.61, 2.74]:
        assert reversion._mackinnon_p(statistic) == pytest.approx(mackinnonp(statistic, "c", 1), rel=1e-12)


@pytest.mark.parametrize("turn", [(1.0, 2.0), (1.0, 2.0, 4.0)])
def test_a_series_that_its_own_past_says_exactly_has_no_adf(turn):
    with pytest.raises(SeriesError, match="no error to test by"):
        reversion.adf(np.tile(turn, 50))
