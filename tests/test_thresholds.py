"""Bertram's optimum against a published case, a free search, and a simulated trader."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import cumulative_trapezoid
from scipy.optimize import minimize
from scipy.signal import lfilter
from scipy.special import erfi

from delta_arb import thresholds
from delta_arb.errors import SeriesError

# cost / sd: level / sd, theta * mean cycle, profit / (theta sd); computed with arbitragelab 1.0
TABLE = {
    0.1: (0.5417, 2.8545, 0.34450),
    0.25: (0.7479, 4.1301, 0.30162),
    0.5: (0.9643, 5.7008, 0.25060),
    1.0: (1.2644, 8.5241, 0.17936),
    2.0: (1.7137, 15.537, 0.09187),
    3.0: (2.1091, 28.233, 0.04315),
}


@pytest.mark.parametrize("ratio", TABLE)
def test_levels_cycle_and_profit_are_those_of_the_table(ratio):
    level, cycle, profit = TABLE[ratio]
    sd, theta = 0.004, 0.02
    o = thresholds.optimal(theta, 0.0, sd, ratio * sd)
    assert o.level / sd == pytest.approx(level, rel=1e-4)
    assert o.cycle_s * theta == pytest.approx(cycle, rel=1e-4)
    assert o.profit_per_day / thresholds.DAY_S / (theta * sd) == pytest.approx(profit, rel=2e-4)  # as printed


def test_the_case_of_the_paper():
    # alpha = 180.9670 and eta = 0.1538 per year, cost 0.001 (Bertram 2010, as in arbitragelab's tests); in years.
    theta, sd, cost = 180.9670, 0.1538 / math.sqrt(2 * 180.9670), 0.001
    level = thresholds.optimal_level(cost, sd)
    cycle = thresholds.mean_cycle_s(theta, sd, level)
    assert level == pytest.approx(0.0047152, rel=1e-4)
    assert cycle == pytest.approx(0.017122, rel=1e-4)
    assert (2 * level - cost) / cycle == pytest.approx(0.492358, rel=1e-5)
    # 0.00015438 there, with 1.414 for the square root of two, which alone is worth some 0.03 %.
    assert thresholds.cycle_sd_s(theta, sd, level) ** 2 == pytest.approx(0.00015438, rel=5e-4)


@pytest.mark.parametrize("z", [0.3, 0.9, 2.0])
def test_the_spread_of_cycle_times_follows_from_the_moment_equations(z):
    x = np.linspace(-9.0, z, 200_001)
    speed, scale = np.exp(-(x**2) / 2), np.exp(x**2 / 2)

    def passage(weight):  # integral from x to z of scale times integral from -inf of speed times weight
        inner = cumulative_trapezoid(speed * weight, x, initial=0.0) * scale
        outer = cumulative_trapezoid(inner, x, initial=0.0)
        return outer[-1] - outer

    first = passage(np.ones_like(x))
    second = 2 * passage(first)
    start = np.searchsorted(x, -z)
    variance = 2 * (second[start] - first[start] ** 2)  # there and back
    assert thresholds.mean_cycle_s(1.0, 1.0, z) == pytest.approx(2 * first[start], rel=1e-4)
    assert thresholds.cycle_sd_s(1.0, 1.0, z) == pytest.approx(math.sqrt(variance), rel=1e-4)


@pytest.mark.parametrize("cost", [0.1, 0.7, 2.5])
def test_no_other_pair_of_levels_earns_more(cost):
    def loss(levels):
        enter, leave = levels
        if enter <= leave:
            return 0.0
        return -(enter - leave - cost) / (math.pi * (erfi(enter / math.sqrt(2)) - erfi(leave / math.sqrt(2))))

    options = {"xatol": 1e-9, "fatol": 1e-14}
    found = minimize(loss, [cost / 2 + 1, -cost / 2 - 0.2], method="Nelder-Mead", options=options)
    level = thresholds.optimal_level(cost, 1.0)
    assert found.x == pytest.approx([level, -level], rel=1e-4)


@given(st.floats(1e-4, 1e3), st.floats(1e-6, 1e3))
def test_the_level_pays_for_the_cost_at_any_scale(ratio, sd):
    cost = ratio * sd
    level = thresholds.optimal_level(cost, sd)
    assert 2 * level > cost
    assert thresholds.optimal_level(cost * 7, sd * 7) == pytest.approx(7 * level, rel=1e-9)


def test_ten_minutes_with_equal_sd_and_cost():
    o = thresholds.optimal(math.log(2) / 600, 0.0, 0.0010, 0.0010)
    assert o.enter == pytest.approx(0.00126, abs=5e-6)
    assert o.cycles_per_day == pytest.approx(11.7, abs=0.05)
    assert o.profit_per_day == pytest.approx(0.0179, abs=5e-5)


def test_both_directions_earn_twice_at_the_same_levels():
    one = thresholds.optimal(0.001, 0.0002, 0.001, 0.0008)
    two = thresholds.optimal(0.001, 0.0002, 0.001, 0.0008, both_directions=True)
    assert (two.enter, two.leave) == (one.enter, one.leave)
    assert two.profit_per_day == pytest.approx(2 * one.profit_per_day)


def test_all_costs_are_in_the_cost_and_the_width_moves_the_quoted_levels():
    assert thresholds.round_trip_cost(fees=0.0014, width=0.0004, funding=0.0001) == pytest.approx(0.0017)
    o = thresholds.optimal(0.001, 0.0002, 0.001, 0.0017)
    entry, exit_ = o.quote_levels(width=0.0004)
    assert (entry, exit_) == pytest.approx((o.enter - 0.0002, o.leave + 0.0002))
    assert entry - exit_ - 0.0014 + 0.0001 == pytest.approx(o.profit_per_cycle)


def test_a_sampled_trader_earns_what_the_formula_says():
    rng = np.random.default_rng(1)
    theta, sd, cost, step_s, n = math.log(2) / 60, 0.001, 0.0008, 1.0, 2_000_000
    o = thresholds.optimal(theta, 0.0, sd, cost, step_s=step_s)
    phi = math.exp(-theta * step_s)
    x = lfilter([1.0], [1.0, -phi], rng.normal(size=n) * sd * math.sqrt(1 - phi * phi))
    state = np.select([x >= o.enter, x <= o.leave], [1, -1], 0)
    at = np.flatnonzero(state)
    turns = at[np.concatenate(([True], state[at][1:] != state[at][:-1]))]
    turns = turns[int(state[turns[0]] == -1) :]  # begin with an entry
    pairs = turns.size // 2
    earned = x[turns[0 : 2 * pairs : 2]] - x[turns[1 : 2 * pairs : 2]] - cost
    assert earned.mean() == pytest.approx(o.profit_per_cycle, rel=0.01)
    assert np.diff(turns[::2]).mean() * step_s == pytest.approx(o.cycle_s, rel=0.02)  # 4,000 cycles: sd 0.9 %
    assert np.diff(turns[::2]).std() * step_s == pytest.approx(o.cycle_sd_s, rel=0.05)
    assert earned.sum() / (n * step_s) * thresholds.DAY_S == pytest.approx(o.profit_per_day, rel=0.03)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"cost": 0.006}, "not worth trading: at a cost of 0.006 with sd=0.001"),
        ({"cost": 1.0}, "not worth trading"),
        ({"cost": 0.0}, "name all costs"),
        ({"cost": -0.001}, "name all costs"),
        ({"sd": 0.0}, "measure the spread"),
        ({"sd": math.nan}, "measure the spread"),
        ({"theta": 0.0}, "the spread must revert"),
        ({"theta": -0.001}, "the spread must revert"),
        ({"step_s": 600.0}, "too coarse"),
    ],
)
def test_nothing_worth_trading_is_an_error_and_never_a_level(arguments, says):
    usual = {"theta": 0.001, "mean": 0.0, "sd": 0.001, "cost": 0.001}
    with pytest.raises(SeriesError, match=says):
        thresholds.optimal(**{**usual, **arguments})
