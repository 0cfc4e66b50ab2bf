"""Carry: what funding pays, how long that takes, held and left by hand; no choice knows a later stamp or price."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import START, hours

from delta_arb import carry, carry_walk
from delta_arb.backtest import run
from delta_arb.carry import CarryRule, break_even, expected_bps_day, moments, nets_bps, pairs
from delta_arb.errors import DataError, ParamsError
from delta_arb.inputs import Inputs, read_funding
from delta_arb.latency import Latency
from delta_arb.market import NS, FundingPayment, Instrument
from delta_arb.params import RuleParams, make_rule
from delta_arb.study import Market, demands

HOUR = 3600 * NS
DAY = 24 * HOUR
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SETTINGS = RuleParams(
    entry_bps=None,
    exit_bps=None,
    clip_usdt=100.0,
    max_hold_s=3e7,
    leg_deadline_s=5400.0,
    rearm_bps=0.0,
    price_bound_bps=500.0,
)


def stamps(rates_bps, *, every=8 * HOUR, start=START, mark=100.0) -> tuple[FundingPayment, ...]:
    return tuple(FundingPayment(start + k * every, rate / 1e4, mark, True) for k, rate in enumerate(rates_bps))


def market(payments, *, fee_bps=0.0) -> Market:
    spot, perp = (Instrument(venue, fee_bps / 1e4) for venue in ("a", "b"))
    return Market(spot, perp, Latency(0.1, 0.1), tuple(payments), SETTINGS)


# --- what funding pays -----------------------------------------------------------------------------------------------


def test_the_expectation_is_the_mean_of_the_stamps_known():
    payments = stamps([1.0, 2.0, 3.0, 4.0, 5.0])  # at 0, 8, 16, 24 and 32 h
    at = START + np.array([23, 24, 31, 32, 40]) * HOUR
    # a day back: 23 h reaches before the table; at 24 h 2 + 3 + 4, at its own time a rate is final; at 32 h 3 + 4 + 5
    assert expected_bps_day(payments, at, 86_400.0).tolist() == pytest.approx([np.nan, 9, 9, 12, 9], nan_ok=True)


def test_a_round_trip_of_20_bps_takes_20_days_at_a_third_of_a_basis_point_every_8_hours():
    found = break_even(stamps([1 / 3] * 100), 20.0)
    assert (found.funding_bps_day, found.days) == (pytest.approx(1.0), pytest.approx(20.0))
    against = break_even(stamps([-1.0] * 100), 20.0)
    assert against.days is None and "no hold, however long, pays" in str(against)
    with pytest.raises(DataError, match="1 funding stamps"):
        break_even(stamps([1.0]), 20.0)


# --- pairs by hand ---------------------------------------------------------------------------------------------------


def test_a_pair_is_held_while_funding_pays_and_left_when_it_no_longer_does():
    payments = stamps([1.0] * 90 + [-1.0] * 60)  # 3 bps a day for 30 days, then the same the other way
    tape = hours([100.0] * 24 * 50, [100.0] * 24 * 50, half_spread=1e-12)
    seen = moments(tape, market(payments, fee_bps=5.0))
    # 20 bps of fees against 3 bps a day: a horizon of 10 days enters at once (30 >= 20), and leaves when less than
    # nothing is expected
    (pair,) = pairs(seen, CarryRule(10 * 86_400.0, 20.0, 0.0))
    # the first week has no expectation: it begins once the table reaches a week back
    assert seen.ts_ns[pair.opened] == START + 7 * DAY
    # the last good stamp is 29 d 16 h; of the 21 stamps of a week 11 must be bad: 30 d + 10 * 8 h
    assert seen.ts_ns[pair.closed] == START + 30 * DAY + 80 * HOUR
    # stamps after day 7 up to the exit: k = 22 ... 89 pay, k = 90 ... 100 cost; less four fees of 5 bps
    result = carry.backtest(tape, seen, market(payments, fee_bps=5.0), [pair])
    assert carry_walk.net_bps(result.trades[0]) == pytest.approx(68 - 11 - 20, abs=1e-4)


def test_the_sum_for_choosing_is_the_exact_money():
    rng = np.random.default_rng(3)
    spot = 100 + rng.normal(0, 1, 24 * 40).cumsum() * 0.05
    tape = hours(spot, spot * (1 + rng.normal(0, 5e-4, spot.size)))
    here = market(stamps(rng.normal(0.5, 1, 125)), fee_bps=2.0)
    seen = moments(tape, here)
    held = pairs(seen, CarryRule(3 * 86_400.0, 8.0, -2.0))
    result = carry.backtest(tape, seen, here, held)
    assert len(held) > 5
    exact = [carry_walk.net_bps(t) for t in result.trades]
    assert nets_bps(seen, here, held, len(seen) - 1).tolist() == pytest.approx(exact, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([-5.0, 0.0, 5.0]))
def test_without_funding_the_pairs_are_those_of_the_machine(seed, exit_bps):
    rng = np.random.default_rng(seed)
    spot = 100 + rng.normal(0, 0.05, 200).cumsum()
    tape = hours(spot, spot * (1 + rng.normal(0, 1e-3, spot.size)))
    here = market(())
    held = pairs(moments(tape, here), CarryRule(0.0, 10.0, exit_bps, 3e7))
    rule = make_rule(
        RuleParams(**{**SETTINGS.model_dump(), "entry_bps": 10.0, "exit_bps": exit_bps}), here.spot, here.perp
    )
    machine = run(tape, rule, here.latency, plain=True)
    mine = carry.backtest(tape, moments(tape, here), here, held)
    closed = [t for t in machine.trades if t.reason == "target"]
    assert [(t.opened_ns, t.closed_ns) for t in mine.trades if t.reason == "target"] == [
        (t.opened_ns, t.closed_ns) for t in closed
    ]
    assert [t.net_usdt for t in mine.trades if t.reason == "target"] == pytest.approx([t.net_usdt for t in closed])


# --- the walk --------------------------------------------------------------------------------------------------------

WALK = {"look_back_s": 30 * 86_400.0, "step_s": 10 * 86_400.0}


def walked(tape, here):
    return carry_walk.walk(tape, here, rng=np.random.default_rng(7), **WALK)


def test_steady_funding_is_carried_and_its_parts_add_up():
    tape = hours([100.0] * 24 * 80, [100.0] * 24 * 80)
    found = walked(tape, market(stamps([1.0] * 241), fee_bps=2.0))
    assert found.pays and found.verdict.startswith("Carry pays: 1 pairs earned")
    parts = sum(found.part_bps_day(part) for part in ("funding", "basis", "fees"))
    assert parts == pytest.approx(found.daily.sum() / len(found.daily), rel=1e-6)
    assert found.part_bps_day("funding") == pytest.approx(3.0, rel=0.1)


def test_no_funding_is_not_carried_and_says_why():
    tape = hours([100.0] * 24 * 80, [100.0] * 24 * 80)
    found = walked(tape, market(stamps([0.01] * 241), fee_bps=5.0))
    assert not found.pays and not found.trades
    assert "Do not carry: nothing was held" in found.verdict and "no carry rule earned anything" in found.verdict
    assert "is paid after 800.0 days" in found.verdict  # 20 bps of fees and 4 of half-spreads at 0.03 bps a day
    with pytest.raises(ParamsError, match="carry lives on funding"):
        walked(tape, market(()))
    with pytest.raises(DataError, match="3 are needed"):
        walked(hours([100.0] * 24 * 50, [100.0] * 24 * 50), market(stamps([1.0] * 241)))


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 3))
def test_later_stamps_and_later_bars_change_no_choice_and_no_entry_before_them(seed, fold):
    rng = np.random.default_rng(seed)
    n = 24 * 80
    spot = 100 + rng.normal(0, 0.05, n).cumsum()
    perp = spot * (1 + rng.normal(0, 5e-4, n))
    rates = rng.normal(0.5, 1.0, 241)
    plain = walked(hours(spot, perp), market(stamps(rates), fee_bps=1.0))
    at_ns = plain.folds[fold].start_ns
    bar = (at_ns - START) // HOUR
    later = np.arange(241) * 8 * HOUR + START >= at_ns
    poisoned = walked(
        hours(*(np.where(np.arange(n) >= bar, leg * 1.3, leg) for leg in (spot, perp))),
        market(stamps(np.where(later, -50.0, rates)), fee_bps=1.0),
    )
    assert [f.chosen for f in poisoned.folds[: fold + 1]] == [f.chosen for f in plain.folds[: fold + 1]]
    assert [t.opened_ns for t in poisoned.trades if t.opened_ns < at_ns] == [
        t.opened_ns for t in plain.trades if t.opened_ns < at_ns
    ]


# --- the recorded year -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(not DATA.is_dir(), reason="the recorded funding is not here")
@pytest.mark.parametrize(("coin", "mean_bps"), [("BTC", 0.296), ("DOGE", 0.353), ("LTC", 0.364)])
def test_gates_year_of_funding_pays_about_a_basis_point_a_day(coin, mean_bps):
    """Means of a stamp from the README of the data; three stamps a day."""
    tape = hours([100.0, 100.0], [100.0, 100.0])
    payments = read_funding(DATA / f"gateio_futures_{coin}_USDT_funding_2025-02-25_2026-02-25.parquet", tape)
    found = break_even(payments, 20.0)
    assert found.funding_bps_day == pytest.approx(3 * mean_bps, abs=0.01)
    assert found.days == pytest.approx(20 / (3 * mean_bps), rel=0.01)


@pytest.mark.skipif(not DATA.is_dir(), reason="the recorded candles are not here")
def test_bitcoin_at_gate_was_worth_carrying_for_the_year():
    inputs = Inputs(
        spot=str(DATA / "binance_spot_BTC_USDT_candles_5m_2024-12-31_2026-02-19.parquet"),
        perp=str(DATA / "gateio_futures_BTC_USDT_candles_1h_2025-02-25_2026-02-25.parquet"),
        funding=str(DATA / "gateio_futures_BTC_USDT_funding_2025-02-25_2026-02-25.parquet"),
        pair="BTC_USDT", contract_size=1e-4, spot_half_spread_bps=0.1, perp_half_spread_bps=0.5, bar_s=3600.0,
    )  # fmt: skip
    tape = inputs.tape()
    here = Market(*inputs.instruments(), inputs.latency(), inputs.payments(tape), SETTINGS)
    found = carry_walk.walk(tape, here, rng=np.random.default_rng(7))
    assert found.pays and 0.5 < found.net_bps_day.value < 1.5
    assert found.trades[-1].reason in ("target", "end of data")


# --- the profile -----------------------------------------------------------------------------------------------------


def test_who_carries_is_asked_for_no_number_of_trades_a_day():
    assert demands("carry", min_trades_day=5.0).min_trades_day == 0.0
    assert demands("reversion", min_trades_day=5.0).min_trades_day == 5.0
    with pytest.raises(ParamsError, match="profile must be one of reversion, carry, was 'maker'"):
        demands("maker")


def test_a_run_says_how_long_a_hold_must_last_and_judges_it_when_asked():
    tape, here = hours([100.0] * 24 * 240, [100.0] * 24 * 240), market(stamps([1.0] * 721), fee_bps=2.0)
    told = carry_walk.asked(tape, here, "reversion")
    # four fees of 2 bps and four half-spreads of 1 bp at 3 bps a day: 4 days
    assert "a round trip of 12.0 bps is paid after 4.0 days" in repr(told) and told.walk is None
    judged = carry_walk.asked(tape, here, "carry")
    assert judged.reason.startswith("Carry pays: 1 pairs") and judged.reason.endswith(carry_walk.NOT_YET)
    short = carry_walk.asked(hours([100.0] * 48, [100.0] * 48), here, "carry")
    assert short.walk is None and "carry cannot be judged: 2 days hold 0 folds" in short.reason
