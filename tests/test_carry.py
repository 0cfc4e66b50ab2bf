"""Carry: what funding pays, how long that takes, held and left by hand; no choice knows a later stamp or price."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import START, hours

from delta_arb import params
from delta_arb.backtest.replay import run
from delta_arb.errors import DataError, ParamsError
from delta_arb.latency import Latency
from delta_arb.live.journal import Journal
from delta_arb.live.parameters import ParameterFile
from delta_arb.market import NS, FundingPayment
from delta_arb.optimize import carry_walk_forward, export, search
from delta_arb.optimize.carry_search import break_even, expected_bps_day, spoken_rule
from delta_arb.optimize.champion import examined
from delta_arb.optimize.study import Constraints, Market, Thresholds, demands
from delta_arb.optimize.study import market as market_of
from delta_arb.optimize.verdict import judge
from delta_arb.params import Bounds, Rule
from delta_arb.quotes import funding_file
from delta_arb.quotes.inputs import Inputs
from delta_arb.report import choice_tables
from delta_arb.strategy.ledger import net_bps
from delta_arb.strategy.rule import make_rule
from delta_arb.venue_terms import VenueTerms
from delta_arb.wallets import Funds

HOUR = 3600 * NS
DAY = 24 * HOUR
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SETTINGS = Rule(
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
    spot, perp = (VenueTerms(venue=venue, taker_fee_bps=fee_bps) for venue in ("a", "b"))
    return Market(spot, perp, Latency(0.1, 0.1), tuple(payments), SETTINGS)


# --- what funding pays -----------------------------------------------------------------------------------------------


def test_the_expectation_is_the_machines_a_day():
    payments = stamps([1.0, 2.0, 3.0, 4.0])  # at 0, 8, 16 and 24 h
    at = START + np.array([8, 9, 16, 17, 25]) * HOUR
    # known after its stamp: nothing before there are two; then 2 in 8 h, 2 + 3 in 16 h, 2 + 3 + 4 in 24 h
    assert expected_bps_day(payments, at).tolist() == pytest.approx([0.0, 6.0, 6.0, 7.5, 9.0])
    assert expected_bps_day((), at).tolist() == [0.0] * 5


def test_a_round_trip_of_20_bps_takes_20_days_at_a_third_of_a_basis_point_every_8_hours():
    found = break_even(stamps([1 / 3] * 100), 20.0)
    assert (found.funding_bps_day, found.days) == (pytest.approx(1.0), pytest.approx(20.0))
    against = break_even(stamps([-1.0] * 100), 20.0)
    assert against.days is None and "no hold, however long, pays" in str(against)
    assert break_even(stamps([0.0, -1.0, 1.0, 1.0]), 20.0).negative_share == 0.25  # a rate of zero costs nothing
    with pytest.raises(DataError, match="1 funding stamps"):
        break_even(stamps([1.0]), 20.0)


# --- a pair by hand --------------------------------------------------------------------------------------------------


def test_a_pair_is_held_while_funding_pays_and_left_when_it_no_longer_does():
    here = market(stamps([1.0] * 90 + [-1.0] * 60), fee_bps=5.0)  # 3 bps a day for 30 days, then the same the other way
    tape = hours([100.0] * 24 * 50, [100.0] * 24 * 50, half_spread=1e-12)
    # 20 bps of fees against 3 bps a day: a horizon of 10 days enters at once (30 >= 20), and leaves when less than
    # nothing is expected
    of = Thresholds(20.0, 0.0, 3e7, None, 10 * 86_400.0)
    (trade,) = here.replay(tape, of).trades
    late_ns = NS // 10
    # two stamps make an expectation, known one bar after the second
    assert trade.opened_ns == START + 9 * HOUR + late_ns
    # the last good stamp is 29 d 16 h; of the last 9 stamps 5 must be bad, the fifth is that of 30 d + 4 * 8 h
    assert trade.closed_ns == START + 30 * DAY + 33 * HOUR + late_ns
    # stamps after 9 h up to the exit: k = 2 ... 89 pay, k = 90 ... 94 cost; less four fees of 5 bps
    assert net_bps([trade]) == pytest.approx(88 - 5 - 20, abs=1e-4)
    assert spoken_rule(of) == "horizon 10 days, entry 20.0 bps, exit 0.0 bps"


# --- the walk --------------------------------------------------------------------------------------------------------

WALK = {"look_back_s": 30 * 86_400.0, "step_s": 10 * 86_400.0}


def walked(tape, here):
    return carry_walk_forward.walk(tape, here, rng=np.random.default_rng(7), **WALK)


def test_steady_funding_is_carried_and_its_parts_add_up():
    tape = hours([100.0] * 24 * 80, [100.0] * 24 * 80)
    found = walked(tape, market(stamps([1.0] * 241), fee_bps=2.0))
    assert found.pays and found.verdict.startswith("Carry pays: 1 pair held on 50 days earned")
    parts = sum(found.part_bps_day(part) for part in ("funding", "basis", "fees"))
    assert parts == pytest.approx(found.daily.sum() / len(found.daily), rel=1e-6)
    assert found.part_bps_day("funding") == pytest.approx(3.0, rel=0.1)
    # thirty days at 3 bps, less four fees of 2 bps and four half-spreads of 1 bp, of a clip of 100 USDT
    assert found.now.nets.sum() == pytest.approx((30 * 3 - 12) / 100, rel=0.02)
    assert found.always_bps == pytest.approx(50 * 3 - 12, rel=0.02)  # from the first fold on


def test_what_a_wallet_cannot_pay_for_is_not_carried_and_says_so():
    """A clip of 100 USDT takes as much margin at leverage 1; with 50 on the perpetual's venue no entry is paid."""
    tape, here = hours([100.0] * 24 * 80, [100.0] * 24 * 80), market(stamps([1.0] * 241), fee_bps=2.0)
    assert walked(tape, replace(here, funds=Funds(110.0, 110.0))).pays
    poor = walked(tape, replace(here, funds=Funds(110.0, 50.0)))
    assert not poor.pays and not poor.trades and poor.now.thresholds is None
    assert "no carry rule earned anything" in poor.verdict
    assert "entries that a wallet could not pay for: 1)" in poor.verdict
    why = "deflated Sharpe ratio was not computed (there is no rule for the time to come)"
    assert poor.gates[-1].finding == why and why[1:] in poor.table().note


def test_a_short_that_a_rally_liquidates_ends_the_walk():
    """Sold at 99.99 on leverage 1 with a maintenance rate of 1 %: taken at 199.98 / 1.0102 = 197.96, on the way to 250.

    The coins are sold an hour later, higher: what is lost is further funding.
    """
    price = np.concatenate((np.full(24 * 55, 100.0), np.minimum(100.0 + np.arange(24 * 25), 250.0)))
    tape, here = hours(price, price), market(stamps([1.0] * 241), fee_bps=2.0)
    assert walked(tape, here).pays  # where no maintenance rate is known, nothing is liquidated
    found = walked(tape, replace(here, perp=here.perp.replace(maintenance_rate=0.01)))
    (taken,) = found.trades
    assert (taken.reason, taken.perp_out) == ("halted", pytest.approx(199.98 / 1.0102))
    assert found.result.halted and not found.pays and "the machine halted at" in found.verdict
    assert "halts" in [g.name for g in found.gates if not g.passed]
    assert all(not fold.trades for fold in found.folds if fold.start_ns > taken.closed_ns)


def test_books_that_show_less_than_the_smallest_order_are_the_reason_and_not_missing_funding():
    tape, here = hours([100.0] * 24 * 80, [100.0] * 24 * 80), market(stamps([1.0] * 241), fee_bps=2.0)
    shown = float(tape.spot_ask_qty[0])
    found = walked(tape, replace(here, spot=here.spot.replace(min_qty=2 * shown, qty_step=2 * shown)))
    assert not found.trades and "no funding" not in found.verdict
    assert f"the books never showed more than {shown * 100.01:.2f} USDT" in found.verdict


def test_no_funding_is_not_carried_and_says_why():
    tape = hours([100.0] * 24 * 80, [100.0] * 24 * 80)
    found = walked(tape, market(stamps([0.01] * 241), fee_bps=5.0))
    assert not found.pays and not found.trades and found.confidence is None
    assert "Do not carry: nothing was held" in found.verdict and "no carry rule earned anything" in found.verdict
    assert "is paid after 800.0 days" in found.verdict  # 20 bps of fees and 4 of half-spreads at 0.03 bps a day
    with pytest.raises(ParamsError, match="carry lives on funding"):
        walked(tape, market(()))
    with pytest.raises(DataError, match="3 are needed"):
        walked(hours([100.0] * 24 * 50, [100.0] * 24 * 50), market(stamps([1.0] * 241)))


def test_no_evidence_is_pooled_over_a_change_of_the_funding_rules():
    """3 bps a day for 50 days, 1.5 bps from then on; costs are four fees of 2 bps and four half-spreads of 1 bp."""
    tape = replace(hours([100.0] * 24 * 81, [100.0] * 24 * 81), bar_s=0.0)  # quotes
    here = market(stamps([1.0] * 151 + [0.5] * 93), fee_bps=2.0)
    pooled, found = (walked(tape, replace(here, funding_changes=at)) for at in ((), (START + 50 * DAY,)))
    assert [(f.start_ns - START) // DAY for f in pooled.folds] == [30, 40, 50, 60, 70]
    assert [(f.start_ns - START) // DAY for f in found.folds] == [50, 60, 70]
    assert pooled.even.funding_bps_day == pytest.approx((50 * 3 + 31 * 1.5) / 81, rel=0.01)
    assert found.even.funding_bps_day == pytest.approx(1.5) and found.even.days == pytest.approx(12 / 1.5)
    assert pooled.daily.sum() == pytest.approx(20 * 3 + 31 * 1.5 - 12, abs=1.5)
    assert found.daily.sum() == pytest.approx(31 * 1.5 - 12, abs=1.5)  # it pays for its own entry
    assert (pooled.held_days, found.held_days) == (51, 31)
    assert pooled.confidence and found.confidence  # the last look-back, 30 days, begins behind the change


def test_a_confidence_of_candles_or_whose_look_back_reaches_over_the_change_is_not_known():
    candles, here = hours([100.0] * 24 * 95, [100.0] * 24 * 95), market(stamps([1.0] * 286), fee_bps=2.0)
    tape, changed = replace(candles, bar_s=0.0), replace(here, funding_changes=(START + 50 * DAY,))
    of = {"rng": np.random.default_rng(7), "look_back_s": 50 * 86_400.0, "step_s": 10 * 86_400.0}
    assert carry_walk_forward.walk(tape, here, **of).confidence
    assert carry_walk_forward.walk(candles, here, **of).confidence is None
    assert carry_walk_forward.walk(tape, changed, **of).confidence is None  # 45 days since, 50 looked back on


def test_too_few_days_since_a_change_are_refused_with_its_date_and_the_way_out():
    tape, here = hours([100.0] * 24 * 80, [100.0] * 24 * 80), market(stamps([1.0] * 241), fee_bps=2.0)
    with pytest.raises(DataError) as refused:
        walked(tape, replace(here, funding_changes=(START + 60 * DAY,)))
    assert str(refused.value) == (  # the quotes begin on 2023-11-15
        "since the rules of funding changed on 2024-01-14 there are 2 folds of 10 days; 3 are needed, and no evidence is "
        "pooled over the change: wait, or say --funding-changes none if this contract's did not change"
    )


def test_a_change_before_the_quotes_is_not_why_they_are_too_short():
    tape, here = hours([100.0] * 24 * 21, [100.0] * 24 * 21), market(stamps([1.0] * 63), fee_bps=2.0)
    with pytest.raises(DataError, match=r"^21 days hold 0 folds of 10 days behind a look-back of "):
        walked(tape, replace(here, funding_changes=(START - 200 * DAY,)))


def test_reversion_is_fitted_judged_and_paid_by_the_rules_in_force():
    """Rates of 1 bp every 8 h until the second day, of -2 bps from then on."""
    tape = hours([100.0] * 96, [100.0] * 96)
    here = replace(market(stamps([1.0] * 6 + [-2.0] * 6)), funding_changes=(START + 2 * DAY,))
    assert here.in_force(tape).start_ns == START + 2 * DAY  # rather than two days earlier
    assert replace(here, payments=()).in_force(tape) is tape  # no funding, no rules of it
    assert here.in_force(tape.between(START, START + DAY)).start_ns == tape.start_ns  # what is not known yet
    # stamps of 48, 56, 64 and 72 h: three intervals, all of the new rules
    assert here.funding_bps_s(START + 73 * HOUR) == pytest.approx(-2 / (8 * 3600))
    # before the change: six stamps, five intervals at the old rate
    assert here.funding_bps_s(START + 47 * HOUR) == pytest.approx(1 / (8 * 3600))


@pytest.mark.parametrize("hours_left", [4, 24])
def test_too_few_events_since_a_change_end_in_do_not_trade(hours_left):
    tape, payments = hours([100.0] * 24 * 40, [100.0] * 24 * 40), stamps([1.0] * 121)
    last = tape.end_ns - hours_left * HOUR + NS
    whole, changed = (replace(market(payments), funding_changes=at) for at in ((), (last,)))
    limits = demands("reversion", look_back_h=960.0)
    assert search.choose(tape, whole, limits).sweep is not None  # the whole is enough
    choice = search.choose(tape, changed, limits)
    assert (choice.trade, choice.best) == (False, None)
    assert "UTC, and no evidence is pooled over the change: " in choice.reason
    assert "record longer: " in choice.reason and "then look back " in choice.reason
    verdict = judge(tape, choice)
    assert (verdict.trade, verdict.reason) == (False, choice.reason)
    with pytest.raises(DataError, match="record longer"):
        search.choose(tape.between(last, tape.end_ns + 1), whole, limits)


def test_a_look_back_that_is_too_short_behind_a_change_is_told_how_long_it_must_be():
    """Hours of four events each: a choice needs 100 to fit on and 50 to judge on, 37.5 h, and a fifth more."""
    tape, payments = hours([100.0] * 24 * 40, [100.0] * 24 * 40), stamps([1.0] * 121)
    changed, new = (replace(market(payments), funding_changes=(tape.end_ns - h * HOUR,)) for h in (240, 24))
    asked = Constraints(look_back_h=24.0)
    with pytest.raises(
        DataError, match=r"over the change: .* too few for a choice; look back 45 h \(-p look_back_h=45\); or say"
    ):
        search.choose(tape, changed, asked)
    assert "too few" not in search.choose(tape, changed, replace(asked, look_back_h=45.0)).reason
    with pytest.raises(
        DataError, match=r"record longer: \d+ events in 24.0 h are given, it takes about 4\d h of them; then look"
    ):
        search.choose(tape, new, asked)


def test_runs_that_follow_each_other_and_pairs_looked_at_are_paid_for_by_carry():
    """50 days walked, asked again over 50 days: one window more; 2.5 % for all looks at once, so 99 % and more for each."""
    tape, here = hours([100.0] * 24 * 80, [100.0] * 24 * 80), market(stamps([1.0, 1.5] * 121), fee_bps=2.0)
    once, again = (
        carry_walk_forward.walk(tape, here, rng=np.random.default_rng(7), constraints=Constraints(repeated_h=h), **WALK)
        for h in (0.0, 50 * 24.0)
    )
    assert once.net_bps_day.level == 0.95 and again.net_bps_day.low < once.net_bps_day.low
    # Slepian, Pickands: Phi(-z) + z phi(z) = 0.025 at z = 2.7955, and 1 - 2 Phi(-2.7955) = 0.9948
    assert again.net_bps_day.level == pytest.approx(0.9948, abs=1e-4)


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
    said = [[(f.thresholds, f.reason, f.fit_net_usdt_day) for f in w.folds[: fold + 1]] for w in (plain, poisoned)]
    assert said[0] == said[1]
    assert [t.opened_ns for t in poisoned.trades if t.opened_ns < at_ns] == [
        t.opened_ns for t in plain.trades if t.opened_ns < at_ns
    ]


def test_a_run_of_then_says_of_carry_what_it_said_whatever_came_after():
    """The schedule asks with quotes until now, and a file of funding that may reach further."""
    rates, legs = np.full(241, 1.0), np.full(24 * 80, 100.0)
    now = 24 * 70
    later = np.arange(241) * 8 >= now
    at_ns = START + now * HOUR
    said = [
        walked(hours(of, of).between(START, at_ns), market(stamps(np.where(later, rate, rates)), fee_bps=2.0))
        for of, rate in ((legs, 1.0), (np.where(np.arange(24 * 80) >= now, 140.0, legs), -50.0))
    ]
    one, other = ((w.pays, w.now.thresholds, w.verdict, repr(w.gates), w.confidence) for w in said)
    assert one == other and said[0].pays


# --- the recorded year -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(not DATA.is_dir(), reason="the recorded funding is not here")
@pytest.mark.parametrize(("coin", "mean_bps"), [("BTC", 0.296), ("DOGE", 0.353), ("LTC", 0.364)])
def test_gates_year_of_funding_pays_about_a_basis_point_a_day(coin, mean_bps):
    """Means of a stamp from the README of the data; three stamps a day."""
    tape = hours([100.0, 100.0], [100.0, 100.0])
    payments = funding_file.payments(DATA / f"gateio_futures_{coin}_USDT_funding_2025-02-25_2026-02-25.parquet", tape)
    found = break_even(payments, 20.0)
    assert found.funding_bps_day == pytest.approx(3 * mean_bps, abs=0.01)
    assert found.days == pytest.approx(20 / (3 * mean_bps), rel=0.01)


@pytest.mark.skipif(not DATA.is_dir(), reason="the recorded candles are not here")
def test_bitcoin_at_gate_earned_less_than_cash_for_the_year():
    """About a basis point a day of the position is half of that a day on twice the capital: below 2 % a year."""
    inputs = Inputs(
        spot=str(DATA / "binance_spot_BTC_USDT_candles_5m_2024-12-31_2026-02-19.parquet"),
        perp=str(DATA / "gateio_futures_BTC_USDT_candles_1h_2025-02-25_2026-02-25.parquet"),
        funding=str(DATA / "gateio_futures_BTC_USDT_funding_2025-02-25_2026-02-25.parquet"),
        pair="BTC_USDT", contract_size=1e-4, spot_half_spread_bps=0.1, perp_half_spread_bps=0.5, bar_s=3600.0,
    )  # fmt: skip
    tape = inputs.tape()
    here = Market(*inputs.terms(), inputs.latency(), inputs.payments(tape), SETTINGS)
    found = carry_walk_forward.walk(tape, here, rng=np.random.default_rng(7))
    assert 0.5 < found.net_bps_day.value < 1.5 and not found.pays
    (missed,) = (g for g in found.gates if g.refuses)
    assert missed.name == "net a year on all capital" and missed.value == pytest.approx(
        365 * found.net_bps_day.value / 100 / 2
    )
    assert missed.value < 2.0 and "is below 4 % a year" in found.verdict
    assert found.trades[-1].reason in ("target", "end of data")


# --- the profile -----------------------------------------------------------------------------------------------------


def test_who_carries_is_asked_for_no_number_of_trades_a_day():
    assert demands("carry", min_trades_day=5.0).min_trades_day == 0.0
    assert demands("reversion", min_trades_day=5.0).min_trades_day == 5.0
    with pytest.raises(ParamsError, match="profile must be one of reversion, carry, was 'maker'"):
        demands("maker")
    with pytest.raises(ParamsError, match="stress_loss_bps is held against the pairs of reversion"):
        demands("carry", stress_loss_bps=300.0)


def test_a_run_says_how_long_a_hold_must_last_and_judges_it_when_asked():
    tape, here = hours([100.0] * 24 * 240, [100.0] * 24 * 240), market(stamps([1.0] * 721), fee_bps=2.0)
    told = carry_walk_forward.asked(tape, here, "reversion")
    # four fees of 2 bps and four half-spreads of 1 bp at 3 bps a day: 4 days
    assert "a round trip of 12.0 bps is paid after 4.0 days" in repr(told) and told.walk is None
    judged = carry_walk_forward.asked(tape, here, "carry")
    assert judged.reason.startswith("Carry pays: 1 pair held on 120 days earned")  # one hold through good months
    assert judged.trade and "ot exported" not in judged.reason
    assert judged.reason.endswith(f"Now: {spoken_rule(judged.walk.now.thresholds)}.")
    more = carry_walk_forward.asked(tape, here, "carry", upstream=20.0)
    assert more.walk.net_bps_day.level == pytest.approx(0.9975)  # 5 % shared by twenty
    assert more.walk.net_bps_day.low < judged.walk.net_bps_day.low
    short = carry_walk_forward.asked(hours([100.0] * 48, [100.0] * 48), here, "carry")
    assert short.walk is None and "carry cannot be judged: 2 days hold 0 folds" in short.reason


# --- the file, and the runner ----------------------------------------------------------------------------------------

CYCLES = ([3.0] * 90 + [-3.0] * 30) * 10  # thirty days pay 9 bps a day, ten cost as much


def written(path, **columns):
    stamps_ns = pa.array(columns.pop("timestamp"), pa.timestamp("ns", "UTC"))
    pq.write_table(pa.table({"timestamp": stamps_ns, **columns}), path)
    return str(path)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """400 days of hourly candles without a basis, with funding in cycles: inputs, tape, market, answer, candidate."""
    folder = tmp_path_factory.mktemp("carry")
    bars = START + np.arange(9600) * HOUR
    price = 100 + 0.1 * np.sin(np.arange(9600) / 5.0)
    candle = dict.fromkeys(("open", "high", "low", "close"), price)
    volumes = {"spot": np.full(9600, 6e6), "perp": 7e6 + np.arange(9600) % 2}  # else it would be one file for both legs
    files = {leg: written(folder / f"{leg}.parquet", timestamp=bars, **candle, volume=v) for leg, v in volumes.items()}
    rates = np.array(CYCLES) / 1e4
    paid = written(folder / "funding.parquet", timestamp=START + np.arange(1200) * 8 * HOUR, funding_rate=rates)
    inputs = Inputs(
        **files, funding=paid, pair="X_USDT", contract_size=1.0, perp_step=0.001, spot_half_spread_bps=0.5,
        perp_half_spread_bps=0.5, spot_fee_bps=2.0, perp_fee_bps=2.0,
    )  # fmt: skip
    tape = inputs.tape()
    here = market_of(inputs, tape, Rule(entry_bps=None, exit_bps=None, clip_usdt=500.0, max_hold_s=21_600.0))
    answer = carry_walk_forward.asked(tape, here, "carry")
    verdict = judge(tape, search.choose(tape, here, demands("carry", look_back_h=9600.0)))
    candidate = export.candidate(
        verdict, inputs, tape, valid_for_s=3600.0, notebook="test", run_id="test", carried=answer
    )
    return inputs, tape, here, answer, candidate


def test_what_passes_its_gates_is_exported_as_a_rule_of_the_machine(exported):
    _, _, _, answer, candidate = exported
    rule = answer.walk.now.thresholds
    assert candidate.trade and candidate.profile == "carry" and len(answer.walk.trades) >= 5
    assert (candidate.rule.entry_bps, candidate.rule.exit_bps) == (rule.entry_bps, rule.exit_bps)
    assert (candidate.rule.funding_horizon_s, candidate.rule.max_hold_s) == (rule.funding_horizon_s, rule.max_hold_s)
    assert "funding counted on" in repr(choice_tables.shown(candidate))
    assert [g.name for g in candidate.gates] == [
        "independent days held", "net a day of a position, lower bound", "net a day without the best day",
        "net after one more exit at its worst", "net a year on all capital", "halts", "deflated Sharpe ratio",
    ]  # fmt: skip
    assert answer.walk.pays and candidate.data.judged_from is None
    evidence = candidate.evidence
    assert (evidence.walk_trades, evidence.trials) == (len(answer.walk.trades), len(answer.walk.folds) and 75)
    assert evidence.walk_brier == answer.walk.brier.score and evidence.confidence is None  # of candles
    assert evidence.horizon_s == 30 * 86_400.0
    assert 1 <= evidence.trials_effective < evidence.trials  # near-copies of each other
    both = (evidence.deflated_sharpe, evidence.deflated_sharpe_of_all)
    assert both[0] >= both[1] and f"{evidence.trials_effective} effective of" in answer.walk.gates[-1].finding
    # bps of a clip of 500 USDT
    assert evidence.walk_net_low_usdt_day == pytest.approx(answer.walk.net_bps_day.low * 0.05)


def test_the_exported_file_is_the_rule_that_notebook_03_replays(exported):
    _, tape, here, answer, candidate = exported
    machine = run(tape, make_rule(candidate.rule, here.spot, here.perp), here.latency, here.payments)
    assert len(machine.trades) >= 9
    assert repr(here.replay(tape, examined(candidate)).trades) == repr(machine.trades)
    assert examined(candidate) == answer.thresholds


def test_a_replay_of_the_exported_file_makes_the_backtests_trades(exported, tmp_path):
    inputs, tape, here, _, candidate = exported
    params.save(candidate, tmp_path / "params.json")
    options = {"funding": inputs.funding, "pair": "X_USDT", "contract-size": 1, "perp-step": 0.001, "spot-fee-bps": 2}
    options |= {"perp-fee-bps": 2, "spot-half-spread-bps": 0.5, "perp-half-spread-bps": 0.5, "speed": "max"}
    options |= {"params": tmp_path / "params.json", "reports": tmp_path, "as-of": candidate.created.isoformat()}
    told = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "delta_arb.live", "--replay", inputs.spot, inputs.perp, *told]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    path = tmp_path / inputs.name / "live" / "journal.sqlite"
    with closing(sqlite3.connect(path)) as db:
        ((run_id,),) = db.execute("SELECT run_id FROM runs").fetchall()
    with Journal(path, run_id) as journal:
        trades = journal.trades()
    machine = run(tape, make_rule(candidate.rule, here.spot, here.perp), here.latency, here.payments)
    assert repr(tuple(trades)) == repr(machine.trades)


def test_a_file_that_counts_on_funding_is_traded_on_venues_too(exported, tmp_path):
    inputs, _, _, _, candidate = exported
    params.save(candidate, tmp_path / "params.json")
    bounds = Bounds(max_hold_s=366 * 86_400.0, max_leg_deadline_s=86_400.0)
    now = lambda: candidate.created  # noqa: E731
    on_venues = ParameterFile(tmp_path / "params.json", inputs, bounds, now, inputs.terms())
    on_venues.poll()
    assert not on_venues.refused
    assert on_venues.rule().may_enter and on_venues.rule().funding_horizon_s == candidate.rule.funding_horizon_s > 0.0
    hours = Bounds(max_hold_s=3600.0, max_leg_deadline_s=86_400.0)
    held_back = ParameterFile(tmp_path / "params.json", inputs, hours, now, inputs.terms())
    held_back.poll()
    assert "max_hold_s" in held_back.refused


def test_a_walk_that_loses_exports_no_levels(exported):
    inputs, tape, here, _, _ = exported
    verdict = judge(tape, search.choose(tape, here, demands("carry", look_back_h=9600.0)))
    poor = carry_walk_forward.asked(tape, here.with_fees(100.0, 100.0), "carry")
    told = export.candidate(verdict, inputs, tape, valid_for_s=60.0, notebook="test", run_id="test", carried=poor)
    assert (told.trade, told.profile, told.rule.entry_bps) == (False, "carry", None)
    assert "Do not carry" in told.reason and not all(g.passed for g in told.gates)


def test_an_exit_that_is_marked_on_the_day_after_counts_in_the_mean():
    """Three days: a pair of the first is worth 30 bps at its last quotes, and leaves 0.1 s behind them for 20 bps: 10 in all."""
    daily, day_ns = np.array([30.0, -20.0, 0.0]), carry_walk_forward.DAY_NS
    pair = SimpleNamespace(opened_ns=day_ns // 2, closed_ns=day_ns - 1)
    held = carry_walk_forward._held(SimpleNamespace(trades=[pair]), 0, daily)
    assert held.tolist() == [True, True, False] and daily[held].mean() * held.mean() == pytest.approx(10.0 / 3.0)
