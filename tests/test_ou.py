"""The filter against a likelihood written differently: the whole covariance matrix at once."""

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from delta_arb.errors import SeriesError
from delta_arb.numba_cache import compiled
from delta_arb.stats import ou

S = 1_000_000_000  # ns
THETA, MEAN, SD, NOISE = math.log(2) / 20.0, 3.0, 0.5, 0.3


def irregular(n, seed, noise_sd):
    """An Ornstein-Uhlenbeck series of half-life 20 s at random times, white noise on top."""
    rng = np.random.default_rng(seed)
    ts_ns = np.cumsum(np.round(rng.exponential(4.0, n) * S).astype(int))
    phi = np.exp(-THETA * np.diff(ts_ns, prepend=ts_ns[0] - 10**6 * S) / S)
    level, levels = 0.0, []
    for p, shock in zip(phi, rng.normal(size=n)):
        level = p * level + SD * math.sqrt(1 - p * p) * shock
        levels.append(level)
    return MEAN + np.array(levels) + noise_sd * rng.normal(size=n), ts_ns


def covariance(t, theta, sd, noise_sd):
    return sd**2 * np.exp(-theta * np.abs(t[:, None] - t)) + noise_sd**2 * np.eye(t.size)


def dense_maximum(y, t, noisy):
    """Ordinary maximum likelihood by the multivariate normal density and a search that knows nothing of ours."""

    def loss(p):
        theta, sd, noise_sd = np.exp(p[1:4]) if noisy else (*np.exp(p[1:3]), 0.0)
        return -multivariate_normal.logpdf(y, np.full(t.size, p[0]), covariance(t, theta, sd, noise_sd))

    start = [y.mean(), math.log(THETA), math.log(y.std())] + ([math.log(0.3 * y.std())] if noisy else [])
    found = minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9, "maxiter": 4000})
    return [found.x[0], *np.exp(found.x[1:])]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_clean_irregular_series_gives_the_parameters_of_the_dense_likelihood(seed):
    y, ts_ns = irregular(100, seed, 0.0)
    mean, theta, sd = dense_maximum(y, ts_ns / S, noisy=False)
    p = ou.fit(y, ts_ns, noisy=False, restricted=False)
    assert (p.theta, p.sd, p.mean) == pytest.approx((theta, sd, mean), rel=2e-3)


def test_a_noisy_irregular_series_gives_the_parameters_of_the_dense_likelihood():
    y, ts_ns = irregular(120, 4, NOISE)
    mean, theta, sd, noise_sd = dense_maximum(y, ts_ns / S, noisy=True)
    p = ou.fit(y, ts_ns, restricted=False)
    assert (p.theta, p.sd, p.noise_sd, p.mean) == pytest.approx((theta, sd, noise_sd, mean), rel=2e-3)


def test_the_restricted_likelihood_is_the_dense_one_with_the_mean_integrated_out():
    y, ts_ns = irregular(80, 5, NOISE)
    likelihood = ou.Likelihood(*ou.usable(y, ts_ns))
    differences = []
    for theta, ratio in ((0.01, 0.1), (0.05, 1.0), (0.3, 0.01)):
        unit = likelihood.scale**2  # any scale: it is concentrated out
        sigma = covariance(ts_ns / S, theta, math.sqrt(unit / (2 * theta * likelihood.step_s)), math.sqrt(unit * ratio))
        inverse = np.linalg.inv(sigma)
        ones = np.ones(y.size)
        weight = ones @ inverse @ ones
        mean = ones @ inverse @ y / weight
        left = (y - mean) @ inverse @ (y - mean) / (y.size - 1)
        log_det = np.linalg.slogdet(sigma)[1]
        dense = -0.5 * (log_det + math.log(weight) + (y.size - 1) * (math.log(left) + 1))
        differences.append(likelihood(theta, ratio) - dense)
    assert differences == pytest.approx([differences[0]] * 3, abs=1e-8)


@pytest.mark.parametrize("even", [True, False])
def test_the_compiled_filter_is_the_plain_one(even):
    y, ts_ns = irregular(300, 6, NOISE)
    ts_ns = np.arange(300) * S if even else ts_ns
    likelihood = ou.Likelihood(y, ts_ns)
    likelihood._transition(THETA)
    arguments = (
        likelihood.values, likelihood.kind, likelihood._phi, likelihood._drive, 7.0, 2.0, np.empty(300), np.empty(300),
    )  # fmt: skip
    plain = ou._filter(*arguments)
    innovations = arguments[-2].copy()
    assert compiled(ou._filter)(*arguments) == pytest.approx(plain, rel=1e-12)
    assert arguments[-2] == pytest.approx(innovations, rel=1e-9, abs=1e-12)


def test_the_steady_gain_of_even_steps_changes_nothing():
    y, _ = irregular(3000, 7, NOISE)
    even = ou.Likelihood(y, np.arange(3000) * S)
    shaken = ou.Likelihood(y, np.arange(3000) * S)
    shaken.steps, shaken.kind = np.tile(shaken.steps, 2), np.arange(3000) % 2  # two names for one step: no shortcut
    assert even(THETA, 2.0) == pytest.approx(shaken(THETA, 2.0), rel=1e-12)


def test_a_row_left_out_is_a_longer_step():
    y, ts_ns = irregular(200, 8, NOISE)
    valid = np.random.default_rng(8).random(200) < 0.7
    holes = np.where(valid, y, np.nan)
    assert ou.fit(holes, ts_ns, valid) == ou.fit(y[valid], ts_ns[valid])


def test_unit_and_origin_of_values_and_time_carry_through():
    y, ts_ns = irregular(300, 9, NOISE)
    p, q = ou.fit(y, ts_ns), ou.fit(1e-4 * y + 50.0, 3 * ts_ns + 1_700_000_000 * S)
    assert (q.theta * 3, (q.mean - 50) * 1e4, q.sd * 1e4, q.noise_sd * 1e4) == pytest.approx(
        (p.theta, p.mean, p.sd, p.noise_sd), rel=1e-3
    )


def test_the_difference_variance_is_that_of_the_process():
    p = ou.Process(THETA, MEAN, SD, NOISE, 0.0, 100, 100.0)
    assert p.difference_variance(20.0) == pytest.approx(2 * NOISE**2 + SD**2)  # one half-life: half of 2 sd^2
    lag = np.array([1.0, 50.0])
    autocovariance = SD**2 * np.exp(-THETA * lag)  # and at lag 0 the variances of process and noise
    assert p.difference_variance(lag) == pytest.approx(2 * (SD**2 + NOISE**2 - autocovariance))


def test_the_filtered_level_is_the_conditional_mean_and_sees_nothing_later():
    y, ts_ns = irregular(60, 10, NOISE)
    p = ou.Process(THETA, MEAN, SD, NOISE, 0.0, 60, 0.0)
    f = ou.filtered(y, ts_ns, p)
    t, k = ts_ns / S, 40
    known = covariance(t[: k + 1], THETA, SD, NOISE)
    with_now = SD**2 * np.exp(-THETA * (t[k] - t[: k + 1]))
    assert f.level[k] == pytest.approx(MEAN + with_now @ np.linalg.solve(known, y[: k + 1] - MEAN), rel=1e-9)
    changed = y.copy()
    changed[k + 1 :] += 5.0
    assert ou.filtered(changed, ts_ns, p).level[: k + 1].tolist() == f.level[: k + 1].tolist()


def test_surprises_are_standard_normal_when_the_model_holds():
    y, ts_ns = irregular(2000, 11, NOISE)
    z = ou.filtered(y, ts_ns, ou.fit(y, ts_ns)).surprise
    assert z.std() == pytest.approx(1.0, abs=0.05)
    assert abs(np.corrcoef(z[1:], z[:-1])[0, 1]) < 0.06


def test_thirty_rows_hold_no_half_life():
    y, ts_ns = irregular(30, 12, 0.0)
    with pytest.raises(SeriesError, match="at least 50 rows for a half-life, had 30"):
        ou.fit(y, ts_ns)


def test_importing_does_not_load_numba():
    import subprocess
    import sys

    code = (
        "import sys, delta_arb.stats.reversion; sys.exit(bool({'numba', 'pandas', 'statsmodels'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("seed", [7, 15, 20, 48, 173, 177, 198, 293])
def test_near_white_noise_no_knot_of_the_net_is_above_the_maximum(seed):
    """Noise over a slow random walk: the likelihood has several tops, and a net of every second knot led to a lower one.
    A knot is a value of the likelihood itself."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(200, 800))
    y = rng.normal(size=n) + 0.0075 * np.cumsum(rng.normal(size=n))
    likelihood = ou.Likelihood(*ou.usable(y, np.arange(n) * 60 * S))
    _, _, highest = likelihood.maximum(noisy=True)
    knots = itertools.product(
        np.arange(np.log(0.05 / likelihood.span_s), np.log(likelihood.fastest), 1.4), np.arange(-8.0, 20.0, 3.0)
    )
    assert highest >= max(likelihood(np.exp(log_theta), np.exp(log_ratio)) for log_theta, log_ratio in knots) - 1e-6
