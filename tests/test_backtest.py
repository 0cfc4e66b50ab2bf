"""The replay: fill rule and order of events by hand, compiled against plain, both against a second program.

`reference.py` is that second program, written from the design; it shares no formula with the package. The real
recordings are LUNC (polled, thin, the hours after a crash) and two of BTC (every update).
"""

import dataclasses
import math
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, event, example, given
from hypothesis import strategies as st
from reference import Replay, quotes_by_hand, quotes_of
from strategies import Case, cases, leg_rule, perp, rewritten, rule, seconds, spot

import delta_arb
from delta_arb import market, numba_cache
from delta_arb.backtest import event_loop, fast_forward, sweep_figures
from delta_arb.backtest.event_loop import Sent
from delta_arb.backtest.performance import distance
from delta_arb.backtest.replay import looks, run
from delta_arb.errors import DataError, ParamsError
from delta_arb.funding_stamps import expected
from delta_arb.latency import Latency
from delta_arb.market import PERP, REASONS, SPOT, FundingPayment, utc
from delta_arb.numba_cache import reached
from delta_arb.quotes.tape import TAPE_COLUMNS, LegFile, Tape, read
from delta_arb.strategy import decide
from delta_arb.strategy.ledger import PARTS, attribution
from delta_arb.strategy.signal import OFF, Filter
from delta_arb.strategy.state import ENTERING, EXITING, HEDGING, PHASES
from delta_arb.wallets import BOUNDLESS, Funds, Rebalancing

FIFTH = Latency(0.2, 0.2)
COINS = Funds(math.inf, math.inf, inventory=1000.0)
IN = (spot(0, 99.5, 100), perp(0, 101, 101.5))  # ten coins are bought at 100 and sold at 101
QUIET = (99.8, 100.3)  # the perpetual pays nothing and costs 80 bps to leave


def replay(*quotes, kinds=("updates", "updates"), latency=FIFTH, payments=(), funds=BOUNDLESS, **changes):
    tape = Tape.of(sorted(quotes, key=lambda q: q[:2]), spot_kind=kinds[0], perp_kind=kinds[1])
    return run(tape, rule(**changes), latency, payments, funds=funds, plain=True)


def fills(result, leg):
    """(second, quantity, price) of the fills of one leg."""
    return [(f.ts_ns / 1e9, f.qty, f.price) for f in result.fills if f.leg == leg]


def sent(result, phase=None):
    """(second, leg, quantity) of the orders of one phase."""
    return [(s.ts_ns / 1e9, s.leg, s.qty) for s in result.sent if phase is None or s.phase == phase]


# --- Latency ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [(0.0, 0.1), (0.1, 0.0), (-0.1, 0.1), (0.1, 60.1), (float("nan"), 0.1)])
def test_latency_is_never_zero_mistake_21(values):
    with pytest.raises(ParamsError, match="nothing fills at once"):
        Latency(*values)


def test_a_deadline_within_which_an_order_may_still_be_under_way_is_refused():
    tape = Tape.of(IN)
    with pytest.raises(ParamsError, match=r"leg_deadline_s=1.2 must exceed latency plus max_quote_age_s \(1.2\)"):
        run(tape, rule(leg_deadline_s=1.2, max_quote_age_s=1.0), FIFTH)
    run(tape, rule(leg_deadline_s=1.200000001, max_quote_age_s=1.0), FIFTH, plain=True)


# --- Both directions -------------------------------------------------------------------------------------------------


def test_a_reverse_pair_earns_what_it_sold_high_and_bought_low():
    """Ten coins sold at 99.5 and bought back at 100, the perpetual bought at 98.5 and sold at 100.2; fees of 10 bps."""
    legs = {leg: leg_rule(fee=0.001) for leg in ("spot", "perp")}
    rows = spot(0, 99.5, 100), perp(0, 98, 98.5), spot(5, 99.5, 100), perp(5, 100.2, 100.7), perp(9, 100.2, 100.7)
    result = replay(*rows, entry=0.05, reverse_entry=0.01, reverse_exit=0.0, clip_usdt=995, funds=COINS, **legs)
    (trade,) = result.trades
    assert (trade.side, trade.reason, trade.qty, trade.notional_usdt) == (-1, "target", 10.0, 995.0)
    assert (trade.spot_in, trade.spot_out, trade.perp_in, trade.perp_out) == (99.5, 100.0, 98.5, 100.2)
    fees = 10 * 0.001 * (99.5 + 100 + 98.5 + 100.2)
    assert trade.net_usdt == pytest.approx(10 * (99.5 - 100) + 10 * (100.2 - 98.5) - fees)


@given(cases)
def test_with_the_legs_roles_mirrored_the_reverse_pair_makes_the_direct_pairs_fills(case):
    """Let spot and perpetual change places. (b - a) / a >= x is the same as (b - a) / b >= x / (1 + x), so with levels
    changed like that the reverse pair of the mirrored tape trades exactly when the direct pair of the tape does."""
    assume(case.rule.exit > -1.0)
    eps = 1e-7  # off the levels that the quotes hit exactly, where the two quotients may round differently
    enter, leave = case.rule.entry + eps, case.rule.exit + eps
    plain = case.rule._replace(
        entry=enter,
        exit=leave,
        rearm=0.0,
        filter=OFF,
        clip_usdt=1e9,
        reverse_entry=float("inf"),
        reverse_exit=-float("inf"),
    )
    mirrored = plain._replace(
        entry=float("inf"), exit=-float("inf"), reverse_entry=enter / (1 + enter), reverse_exit=leave / (1 + leave),
        spot=plain.perp, perp=plain.spot,
    )  # fmt: skip
    tape = case.tape
    swapped = {f"{a}_{column}": getattr(tape, f"{b}_{column}") for a, b in (("spot", "perp"), ("perp", "spot"))
               for column in ("bid", "ask", "bid_qty", "ask_qty", "age_ns", "kind")}  # fmt: skip
    image = rewritten(tape, leg=(1 - tape.leg).astype(tape.leg.dtype), **swapped)
    one = run(tape, plain, case.latency, plain=True)
    of = case.latency
    two = run(
        image,
        mirrored,
        Latency(of.perp_s, of.spot_s, of.perp, of.spot),
        funds=Funds(math.inf, math.inf, 1e9),
        plain=True,
    )
    assert sorted((f.ts_ns, f.leg, f.qty, f.price) for f in one.fills) == sorted(
        (f.ts_ns, 1 - f.leg, f.qty, f.price) for f in two.fills
    )
    assert [t.reason for t in one.trades] == [t.reason for t in two.trades]
    assert [t.net_usdt for t in one.trades] == pytest.approx([t.net_usdt for t in two.trades], abs=1e-6)
    event(f"pairs {min(len(one.trades), 3)}")


# --- Fees in coins, ticks --------------------------------------------------------------------------------------------


def test_a_fee_taken_in_coins_is_bought_on_top_and_what_arrives_is_hedged():
    """At a fee of one per cent 10 / 0.99 coins are bought for ten to arrive; the fee is the value of those kept."""
    result = replay(*IN, perp(9, *QUIET), spot=leg_rule(fee=0.01, fee_in_base=True))
    assert sent(result, ENTERING) == [(0.0, SPOT, pytest.approx(10 / 0.99)), (0.0, PERP, -10.0)]
    bought = next(f for f in result.fills if f.leg == SPOT)
    assert bought.qty == pytest.approx(10.0) and bought.fee_usdt == pytest.approx((10 / 0.99 - 10) * 100)
    assert not sent(result, HEDGING)
    (trade,) = result.trades
    paid, got = 10 / 0.99 * 100, 10 * 99.5 * 0.99  # bought gross, sold with the fee in quote currency
    assert trade.net_usdt == pytest.approx(-paid + got + 10 * (101 - 100.3))


def test_on_a_grid_the_next_step_up_is_bought_and_within_what_is_shown():
    whole = leg_rule(fee=0.01, fee_in_base=True, step=1)
    assert sent(replay(*IN, spot=whole), ENTERING)[0][2] == 11.0  # of 10 / 0.99
    thin = spot(0, 99.5, 100, 100, 5.7), perp(0, 101, 101.5)
    assert sent(replay(*thin, spot=whole), ENTERING) == [(0.0, SPOT, 5.0), (0.0, PERP, pytest.approx(-4.95))]


def test_limits_are_on_the_tick_and_never_worse_than_the_bound():
    result = replay(*IN, price_bound=0.0213, spot=leg_rule(tick=0.5), perp=leg_rule(tick=0.5))
    assert [s.limit for s in result.sent] == [102.0, 99.0]  # 102.13 down, 98.8487 up
    assert [s.limit for s in replay(*IN, price_bound=0.0, spot=leg_rule(tick=0.1), perp=leg_rule(tick=0.1)).sent] == [
        100.0,
        101.0,
    ]


# --- Expected funding ------------------------------------------------------------------------------------------------


def paid(*rates):
    """Stamps every second from second 1 on."""
    return [FundingPayment(seconds(1 + k), rate, 100.0, True) for k, rate in enumerate(rates)]


def test_expected_funding_is_the_mean_of_settled_rates_over_the_horizon_and_known_after_its_stamp():
    """The rates of seconds 2 and 3 were earned in two seconds: (0.001 + 0.003) / 2 s, for ten seconds 0.02."""
    promised = expected(paid(0.5, 0.001, 0.003), 10.0)
    assert [promised.at(seconds(s)) for s in (0, 1, 2)] == [0.0, 0.0, 0.0]
    assert promised.at(seconds(2) + 1) == pytest.approx(0.01)
    assert promised.at(seconds(3)) == pytest.approx(0.01) and promised.at(seconds(3) + 1) == pytest.approx(0.02)
    with pytest.raises(ParamsError, match="no funding history"):
        expected((), 10.0)


def test_expected_funding_lowers_the_entry_and_makes_leaving_dearer():
    """An edge of 0.5 % and 1 % expected pass an entry of 1 %; without it they do not."""
    rows = [q for s in range(4, 9) for q in (spot(s, 99.5, 100), perp(s, 100.5, 101))]
    funding = paid(0.0, 0.001, 0.001, *[0.001] * 8)
    start = spot(0, 99.5, 100), perp(0, 99, 99.5)
    assert not sent(replay(*start, *rows, payments=funding))
    assert sent(replay(*start, *rows, payments=funding, funding_horizon_s=10), ENTERING)[0][0] == 4.0
    left = replay(*IN, spot(4, 99.5, 100), perp(4, 99, 99.5), spot(5, 99.5, 100), perp(5, 98, 98.5), payments=funding)
    kept = replay(
        *IN,
        spot(4, 99.5, 100),
        perp(4, 99, 99.5),
        spot(5, 99.5, 100),
        perp(5, 98, 98.5),
        payments=funding,
        funding_horizon_s=10,
    )
    assert sent(left, EXITING)[0][0] == 4.0 and sent(kept, EXITING)[0][0] == 5.0


@given(cases, st.lists(st.sampled_from((-0.01, 0.0, 0.002, 0.01)), min_size=30, max_size=30), st.integers(0, 29))
def test_changing_funding_after_a_decision_never_changes_it(case, rates, k):
    of = case.rule._replace(funding_horizon_s=1.0)
    stamps = [FundingPayment(seconds(k), rate, 100.0, True) for k, rate in enumerate(rates)]
    stamps += [FundingPayment(seconds(30 + k), 0.0, 100.0, True) for k in range(400)]
    honest = run(case.tape, of, case.latency, stamps, funds=case.funds)
    assert_same(honest, run(case.tape, of, case.latency, stamps, funds=case.funds, plain=True))
    poisoned = stamps[:k] + [p._replace(rate=0.05) for p in stamps[k:]]
    other = run(case.tape, of, case.latency, poisoned, funds=case.funds)
    until = stamps[k].ts_ns
    assert [s for s in honest.sent if s.ts_ns <= until] == [s for s in other.sent if s.ts_ns <= until]


# --- Dust ------------------------------------------------------------------------------------------------------------


def test_what_no_venue_takes_is_summed_over_the_pairs_until_it_could_be_sold():
    """Each time nine of ten coins meet a buyer and one is left, below the least order of three; after three pairs it is not."""
    rows = list(IN)
    for s in (10, 20, 30, 40):
        rows += [spot(s, 99.5, 100, 9, 100), perp(s, 99, 99.5)]  # out: nine are bid for
        rows += [spot(s + 5, 99.5, 100), perp(s + 5, 101, 101.5)]  # and in again
    result = replay(*rows, spot=leg_rule(min_qty=3), participation=1.0)
    closed = [t for t in result.trades if t.reason == "target"]
    assert [t.residual_usdt for t in closed] == pytest.approx([99.5] * len(closed)) and len(closed) >= 3
    of_spot, of_perp = result.dust
    assert (of_spot.leg, of_spot.qty, of_spot.usdt) == (
        "spot",
        pytest.approx(len(closed)),
        pytest.approx(99.5 * len(closed)),
    )
    assert of_spot.sellable_ns == closed[2].closed_ns
    assert of_perp == ("perp", 0.0, 0.0, None)


@given(cases)
def test_the_dust_is_the_residual_that_the_ledger_booked(case):
    result = run(case.tape, case.rule, case.latency, funds=case.funds)
    booked = sum(t.residual_usdt for t in result.trades)
    assert sum(leg.usdt for leg in result.dust) == pytest.approx(booked, abs=1e-4)


# --- Margin ----------------------------------------------------------------------------------------------------------

# Sold at 101 with leverage 5, a maintenance rate of 1 % and a fee of 10 bps: 101 * 1.2 / 1.011 = 119.88131.
MARGIN = {"spot": leg_rule(fee=0.001), "perp": leg_rule(fee=0.001, leverage=5, maintenance=0.01)}
TAKEN = 101 * 1.2 / 1.011


def test_a_short_whose_margin_is_gone_is_taken_at_the_liquidation_price_and_spot_is_sold():
    rows = [q for s in range(1, 22) for q in (spot(s, 99.5 + s, 100 + s), perp(s, 101 + s, 101.5 + s))]
    result = replay(*IN, *rows, **MARGIN, exit=-1.0)
    assert (result.halted, result.trades[0].reason) == (True, "halted")
    taken, sold = result.fills[2:]
    assert (taken.leg, taken.ts_ns, taken.qty, taken.price) == (
        PERP,
        seconds(19),
        10.0,
        pytest.approx(TAKEN),
    )  # mid 120.25
    assert taken.fee_usdt == pytest.approx(0.001 * 10 * TAKEN)
    assert sent(result, HEDGING) == [(19.0, SPOT, -10.0)]
    fees = 0.001 * 10 * (100 + 101 + TAKEN + sold.price)
    assert result.trades[0].net_usdt == pytest.approx(10 * (sold.price - 100) + 10 * (101 - TAKEN) - fees)
    assert distance(Tape.of((*IN, *rows)), result.trades[0], result.rule.perp) == 0.0


def test_the_distance_to_the_liquidation_price_is_the_least_one_of_the_hold():
    rows = (
        spot(1, 109.5, 110),
        perp(1, 111, 111.5),
        spot(2, 99.5, 100),
        perp(2, 99, 99.5),
        spot(9, 149, 150),
        perp(9, 150, 151),
    )
    result = replay(*IN, *rows, **MARGIN)
    assert result.trades[0].reason == "target"
    tape = Tape.of((*IN, *rows))
    assert distance(tape, result.trades[0], result.rule.perp) == pytest.approx(TAKEN / 111.25 - 1)
    assert math.isnan(distance(tape, result.trades[0], leg_rule()))  # the maintenance rate is not known


@given(cases)
def test_a_liquidated_machine_holds_nothing_of_that_pair_but_dust_and_enters_no_more(case):
    of = case.rule._replace(perp=case.rule.perp._replace(leverage=100.0, maintenance=0.0099), max_hold_ns=seconds(30))
    result = run(case.tape, of, case.latency, funds=case.funds, seen=looks(case.tape, of.filter))
    assert_same(result, run(case.tape, of, case.latency, funds=case.funds, plain=True))
    taken = [f for f in result.fills if f.leg == PERP and f.price == f.price and f.qty > 0 and result.halted]
    event(f"halted {result.halted}, fills {min(len(taken), 2)}")
    for t in result.trades:
        parts = t.spot_usdt + t.perp_usdt - t.fees_usdt + t.funding_usdt + t.residual_usdt
        assert t.net_usdt == pytest.approx(parts, abs=1e-9)
    assert len({t.pair for t in result.trades}) == len(result.trades)


# --- Two wallets -----------------------------------------------------------------------------------------------------


def test_a_reverse_pair_sells_no_more_coins_than_were_declared():
    rows = spot(0, 99.5, 100), perp(0, 98, 98.5), spot(0.5, 99.5, 100), perp(9, 98, 98.5)
    of = {"entry": 0.05, "reverse_entry": 0.01, "reverse_exit": 0.0, "clip_usdt": 995}
    assert not replay(*rows, **of).fills and len(replay(*rows, **of).refusals) == 1  # one opportunity, seen twice
    assert not replay(*rows, **of, funds=Funds(math.inf, math.inf, 9.99)).fills
    assert replay(*rows, **of, funds=Funds(math.inf, math.inf, 10.0)).fills


# Ten coins at 100, two per cent of room and 10 bps of fee: 1000 * 1.02 * 1.001. Ten short at 101 with leverage 5 and 10 bps.
NEEDED = 1000 * 1.02 * 1.001, 1010 * (1 / 5 + 0.001)


@pytest.mark.parametrize(("spare", "enters"), [((0.01, 0.01), True), ((-0.01, 0.01), False), ((0.01, -0.01), False)])
def test_an_entry_needs_the_spot_order_within_its_bound_and_the_margin_of_the_short(spare, enters):
    legs = {"spot": leg_rule(fee=0.001), "perp": leg_rule(fee=0.001, leverage=5)}
    funds = Funds(*(need + more for need, more in zip(NEEDED, spare)))
    result = replay(*IN, perp(9, *QUIET), funds=funds, price_bound=0.02, **legs)
    assert bool(result.fills) == enters and len(result.refusals) == (not enters)


def test_an_opportunity_that_cannot_be_paid_for_is_counted_once_until_it_is_over():
    pays, rows = (101, 101.5), []
    for s in range(1, 10):
        rows += [spot(s, 99.5, 100), perp(s, *(QUIET if s == 5 else pays))]
    result = replay(*IN, *rows, funds=Funds(10.0, 1000.0))
    assert [ns / 1e9 for ns in result.refusals] == [0, 6]
    assert (result.trades, result.days_blocked) == ((), 1)


def test_money_sent_to_the_empty_wallet_arrives_after_its_delay_and_less_its_fee():
    """Half of 2000 - 400 is sent at once, 790 of it is there after two seconds, and the pair is entered then."""
    rows = [quote for s in range(1, 6) for quote in (spot(s, 99.5, 100), perp(s, 101, 101.5))]
    funds = Funds(400.0, 2000.0, rebalancing=Rebalancing(50.0, 10.0, seconds(2)))
    result = replay(*IN, *rows, funds=funds)
    (transfer,) = result.transfers
    assert (transfer.sent_ns, transfer.usdt, transfer.to_leg) == (0, 800.0, SPOT)
    assert sent(result, ENTERING)[0][0] == 2.0
    assert result.transfer_fees_usdt == 10.0 and result.transfers_month == pytest.approx(30 * 86400 / 5)
    assert result.purse.spot_usdt + result.purse.perp_usdt == pytest.approx(2400 - 10 + result.net_usdt)


@pytest.mark.parametrize("values", [(-1.0, 1.0), (1.0, float("nan")), (1.0, 1.0, -1.0)])
def test_wallets_below_zero_are_refused(values):
    with pytest.raises(ParamsError, match="must be zero or positive"):
        Funds(*values)


def test_a_transfer_that_arrives_at_once_or_costs_all_it_moves_is_refused():
    for policy in (Rebalancing(10.0, 1.0, 0), Rebalancing(1.0, 1.0, seconds(1))):
        with pytest.raises(ParamsError, match="a transfer needs"):
            Funds(1.0, 1.0, rebalancing=policy)
    with pytest.raises(ParamsError, match="both of them finite"):
        Funds(1.0, math.inf, rebalancing=Rebalancing(10.0, 1.0, seconds(1)))


stamps = st.lists(st.tuples(st.integers(1, 20), st.sampled_from((-0.001, 0.0005, 0.01))), max_size=4)


@given(cases, stamps, st.sampled_from((0.0, 700.0, 2000.0)), st.sampled_from((1.0, 5.0, 100.0)))
def test_the_wallets_hold_what_they_were_given_and_what_fills_fees_funding_and_transfers_left(
    case, stamps, usdt, leverage
):
    margin = {"leverage": leverage, "maintenance": 0.0099 if leverage == 100.0 else 0.0}  # some are liquidated
    of = case.rule._replace(perp=case.rule.perp._replace(**margin), funding_horizon_s=1.0 if stamps else 0.0)
    funds = Funds(usdt, 4000.0 - usdt, case.inventory, Rebalancing(20.0, 1.0, seconds(0.7)))
    payments = [FundingPayment(seconds(s) + 1, rate, 100.0, True) for s, rate in dict(stamps).items()]
    payments.sort()
    try:
        result = run(case.tape, of, case.latency, payments, funds=funds)
        assert_same(result, run(case.tape, of, case.latency, payments, funds=funds, plain=True))
    except DataError:  # a hole between the stamps
        assume(False)
    spot_fills, perp_fills = ([f for f in result.fills if f.leg == leg] for leg in (SPOT, PERP))
    cash = [-sum(f.qty * f.price + f.fee_usdt for f in of_leg) for of_leg in (spot_fills, perp_fills)]
    for p in payments:
        if p.ts_ns <= result.end_ns:
            cash[1] -= p.rate * p.mark * sum(f.qty for f in perp_fills if f.ts_ns < p.ts_ns)
    for t in result.transfers:
        cash[1 - t.to_leg] -= t.usdt
        cash[t.to_leg] += t.usdt - t.fee_usdt if t.arrives_ns <= result.end_ns else 0.0
    parts = attribution(result.trades)
    assert sum(parts[name] for name in PARTS) == pytest.approx(parts["net"], abs=1e-6)
    for t in result.trades:
        assert t.net_usdt == pytest.approx(
            t.spot_usdt + t.perp_usdt - t.fees_usdt + t.funding_usdt + t.residual_usdt, abs=1e-9
        )
    purse = result.purse
    assert (purse.spot_usdt, purse.perp_usdt) == pytest.approx((usdt + cash[0], 4000.0 - usdt + cash[1]), abs=1e-6)
    assert purse.spot_coin == pytest.approx(case.inventory + sum(f.qty for f in spot_fills), abs=1e-9)
    event(
        f"transfers {min(len(result.transfers), 2)}, refusals {min(len(result.refusals), 2)}, pairs {min(len(result.trades), 2)}"
    )


# --- The book in force: updates --------------------------------------------------------------------------------------


def test_an_order_meets_the_last_update_at_or_before_its_arrival_mistake_21():
    result = replay(*IN, spot(0.1, 99.6, 100.1), spot(0.15, 99.7, 100.2), spot(0.25, 99.8, 100.3), perp(9, *QUIET))
    assert fills(result, SPOT)[0] == (0.2, 10.0, 100.2)
    assert fills(result, PERP)[0] == (0.2, -10.0, 101.0)  # the triggering quote is still in force there


def test_an_update_exactly_at_the_arrival_counts_and_a_later_one_does_not():
    result = replay(*IN, spot(0.2, 99.7, 100.2), spot(0.200000001, 99.8, 100.3), perp(9, *QUIET))
    assert fills(result, SPOT)[0] == (0.2, 10.0, 100.2)


def test_each_leg_has_its_own_latency():
    result = replay(*IN, spot(0.3, 99.7, 100.2), perp(0.3, 100.9, 101.4), perp(9, *QUIET), latency=Latency(0.2, 0.4))
    assert fills(result, SPOT)[0] == (0.2, 10.0, 100.0)
    assert fills(result, PERP)[0] == (0.4, -10.0, 100.9)


# --- The first book afterwards: snapshots ----------------------------------------------------------------------------

POLLED_SPOT = ("snapshots", "updates")


def test_an_order_meets_the_first_snapshot_at_or_after_its_arrival():
    rows = spot(0.1, 99.6, 100.1), spot(0.25, 99.8, 100.3), spot(0.3, 99, 99.5), perp(9, *QUIET)
    result = replay(*IN, *rows, kinds=POLLED_SPOT)
    assert fills(result, SPOT)[0] == (0.25, 10.0, 100.3)  # and is known when the snapshot is


def test_a_snapshot_exactly_at_the_arrival_counts():
    result = replay(*IN, spot(0.2, 99.7, 100.2), spot(0.3, 99, 99.5), perp(9, *QUIET), kinds=POLLED_SPOT)
    assert fills(result, SPOT)[0] == (0.2, 10.0, 100.2)


def test_only_snapshots_of_the_orders_own_leg_count():
    rows = perp(0.2, 101, 101.5), perp(0.22, 101, 101.5), spot(0.25, 99.8, 100.3), perp(9, *QUIET)
    result = replay(*IN, *rows, kinds=POLLED_SPOT)
    assert fills(result, SPOT)[0] == (0.25, 10.0, 100.3)


def test_a_snapshot_exactly_at_the_largest_age_counts_and_a_later_one_is_too_late():
    """Sent at 0, there at 0.2, the largest age is 1 s."""
    in_time = replay(*IN, spot(1.2, 99.7, 100.2), perp(9, *QUIET), kinds=POLLED_SPOT, leg_deadline_s=5)
    assert fills(in_time, SPOT)[0] == (1.2, 10.0, 100.2)
    too_late = replay(*IN, spot(1.200000001, 99.7, 100.2), perp(1.1, 101, 101.5), perp(9, *QUIET), kinds=POLLED_SPOT)
    assert not fills(too_late, SPOT)
    assert sent(too_late, HEDGING)[0] == (1.2, PERP, 10.0)  # it expires at 1.2, and the perpetual is bought back


# --- What is filled --------------------------------------------------------------------------------------------------


def test_at_most_what_is_shown_on_arrival_is_filled_and_the_rest_is_hedged():
    """Four of ten coins are bought, ten sold; six at 100.2 cost less than buying the perpetual back at 101.5."""
    result = replay(*IN, spot(0.1, 99.7, 100.2, 10, 4), spot(0.3, 99.7, 100.2), perp(0.3, 101, 101.5), perp(9, *QUIET))
    assert fills(result, SPOT)[:2] == [(0.2, 4.0, 100.2), (0.4, 6.0, 100.2)]
    assert sent(result, HEDGING) == [(0.2, SPOT, 6.0)]


def test_a_price_beyond_the_limit_fills_nothing():
    result = replay(*IN, spot(0.1, 101.5, 102.1), perp(0.1, 98.9, 99.4), perp(1, *QUIET), price_bound=0.02)
    assert (result.fills, result.trades, result.missed) == ((), (), 1)


def test_a_locked_book_fills_nothing():
    assert not replay(*IN, spot(0.1, 100, 100), perp(0.1, 101, 101)).fills


def test_a_pair_is_hedged_in_the_backtest_too():
    """The perpetual fell below the limit before the order came; spot is sold at its bid, one spread lost."""
    result = replay(*IN, perp(0.1, 98, 98.5), spot(0.3, 99.5, 100), perp(9, *QUIET))
    (trade,) = result.trades
    assert trade.reason == "unwound"
    assert trade.net_usdt == pytest.approx(10 * (99.5 - 100.0))


# --- The order of events ---------------------------------------------------------------------------------------------


def test_at_equal_times_reports_come_before_quotes():
    """The perpetual's quote of 98 at 0.2 refuses the order; the report is decided on the 101 known before it."""
    result = replay(*IN, perp(0.2, 98, 98.5), spot(0.2, 99.5, 100), perp(9, *QUIET), price_bound=0.02)
    first = next(s for s in result.sent if s.phase == HEDGING)
    assert (first.ts_ns, first.leg, first.qty) == (seconds(0.2), PERP, -10.0)
    assert first.limit == pytest.approx(101 * 0.98)


def test_at_equal_times_quotes_come_before_timers():
    quotes = [*IN, spot(59, 99.5, 100), perp(59, *QUIET), perp(60, 99, 99.5), spot(61, 99.5, 100)]
    result = replay(*quotes, max_hold_s=60)
    assert sent(result, EXITING) == [(60.0, SPOT, -10.0), (60.0, PERP, 10.0)]
    assert result.trades[0].reason == "target"


def test_without_a_quote_the_timer_rings():
    result = replay(*IN, spot(59.5, 99.5, 100), perp(59.5, *QUIET), perp(61, 99, 99.5), max_hold_s=60)
    assert sent(result, EXITING) == [(60.0, SPOT, -10.0), (60.0, PERP, 10.0)]
    assert result.trades[0].reason == "time-out"


def test_the_slices_of_a_timed_out_pair_are_sent_one_latency_apart():
    """Once they all went out, and were filled, at the instant of the time-out: ten coins of a book that showed two."""
    steps = [k / 5 for k in range(5, 200)]  # each slice meets a row of its own: a size shown once fills once
    thin = [q for s in steps for q in (spot(s, 99, 100, 2, 2), perp(s, 100, 101, 2, 2))]
    result = replay(spot(0, 99, 100), perp(0, 102, 103), *thin, max_hold_s=10, exit=-1, price_bound=0.5)
    slices = [s for s, leg, _ in sent(result, EXITING) if leg == SPOT]
    assert slices == pytest.approx([10.0, 10.2, 10.4, 10.6, 10.8])
    assert [s for s, *_ in fills(result, SPOT)[1:]] == pytest.approx([10.2, 10.4, 10.6, 10.8, 11.0])


def test_a_time_out_that_meets_withdrawn_books_comes_to_an_end():
    """Once it sent the same order at the same instant for ever."""
    gone = [q for s in range(1, 40) for q in (spot(s, 99, 100, 0, 0), perp(s, 100, 101, 0, 0))]
    result = replay(spot(0, 99, 100), perp(0, 102, 103), *gone, max_hold_s=10, exit=-1)
    assert result.open_at_end and not result.halted


# --- The end of the data ---------------------------------------------------------------------------------------------


def test_an_open_pair_is_closed_at_its_exit_side_at_the_end_and_flagged_mistake_21():
    fees = {"spot": leg_rule(fee=0.001), "perp": leg_rule(fee=0.0005)}
    result = replay(*IN, spot(5, 99.4, 99.9), perp(6, 100.2, 100.7), **fees)
    (trade,) = result.trades
    assert (trade.reason, trade.spot_out, trade.perp_out, result.open_at_end) == ("end of data", 99.4, 100.7, True)
    fee = 0.001 * 10 * (100 + 99.4) + 0.0005 * 10 * (101 + 100.7)
    assert trade.net_usdt == pytest.approx(10 * (99.4 - 100) + 10 * (101 - 100.7) - fee)
    assert trade.closed_ns == result.end_ns == seconds(6)


def test_an_entry_still_under_way_at_the_end_is_no_trade():
    result = replay(*IN, spot(0.1, 99.5, 100))
    assert (len(result.sent), result.fills, result.trades, result.open_at_end) == (2, (), (), False)


def test_a_tape_of_one_event_sends_and_fills_nothing():
    result = replay(*IN, kinds=("snapshots", "updates"))
    assert len(result.sent) == 2 and not result.fills
    assert run(Tape.of(IN), rule(), FIFTH).sent == result.sent


def test_a_halted_pair_is_held_to_the_end_and_closed_there():
    """Spot is bought, and then both venues show nothing for longer than twice the deadline of 2 s."""
    gone = [q for k in range(3, 80) for q in (spot(k / 10, 99, 100, 0, 0), perp(k / 10, 101, 102, 0, 0))]
    result = replay(*IN, perp(0.1, 101, 101.5, 0, 0), *gone, spot(9, 98, 99), perp(9, 101, 101.5), leg_deadline_s=2)
    assert result.halted and result.open_at_end
    assert [t.reason for t in result.trades] == ["halted"]
    assert result.trades[0].net_usdt == pytest.approx(10 * (98 - 100))


def test_a_funding_stamp_missing_inside_a_hold_ends_the_run():
    """Held from 0.2 to 100 s; stamps every 20 s, without the one at 60."""
    stamps = [FundingPayment(seconds(s), 1e-4, 100.0, True) for s in (-20, 0, 20, 40, 60, 80, 100, 120)]
    quotes = [*IN, spot(99.9, 99.5, 100), perp(100, *QUIET)]
    assert replay(*quotes, payments=stamps, max_hold_s=900).trades[0].funding_usdt == pytest.approx(0.5)  # five stamps
    with pytest.raises(DataError, match=r"missing between 1970-01-01 00:00:40.000 and 1970-01-01 00:01:20.000"):
        replay(*quotes, payments=[p for p in stamps if p.ts_ns != seconds(60)], max_hold_s=900)


@given(cases, st.floats(-0.02, 0.02))
def test_funding_moves_the_money_and_no_decision_lesson_10(case, rate):
    """Stamps every second, at any rate: the same orders at the same times, and every trade changed by its funding."""
    end_s = case.tape.end_ns // 10**9
    stamps = [FundingPayment(seconds(s), rate, 100.0, True) for s in range(-2, end_s + 3)]
    without, paid = (run(case.tape, case.rule, case.latency, payments) for payments in ((), stamps))
    assert (paid.sent, paid.fills, paid.closings) == (without.sent, without.fills, without.closings)
    gained = [one.net_usdt - other.net_usdt for one, other in zip(paid.trades, without.trades)]
    assert gained == pytest.approx([trade.funding_usdt for trade in paid.trades], abs=1e-9)


# --- Compiled, plain, and the second program -------------------------------------------------------------------------


def as_rows(result):
    orders = [(s.pair, s.ts_ns, s.leg, PHASES[s.phase], s.qty, s.limit) for s in result.sent]
    closings = [(c.pair, c.ts_ns, REASONS[c.reason], c.spot_mark, c.perp_mark) for c in result.closings]
    return orders, [tuple(f) for f in result.fills], closings


def assert_same(one, two):
    """To the bit, NaN included (a leg that never traded has no price)."""
    for name in ("sent", "fills", "closings", "trades", "purse", "refusals", "transfers"):
        assert repr(getattr(one, name)) == repr(getattr(two, name)), name
    assert (one.missed, one.halted, one.open_at_end) == (two.missed, two.halted, two.open_at_end)


def assert_agree(result, outcome):
    """With the second program: decisions exactly, money to a billionth of a dollar."""
    orders, filled, closings = as_rows(result)
    assert orders == outcome.orders
    assert filled == outcome.fills
    assert closings == outcome.closings
    assert result.halted == outcome.halted
    assert {t.pair: t.net_usdt for t in result.trades} == pytest.approx(outcome.nets, abs=1e-9)


ONE_EVENT = Case([spot(0, 99.5, 100), perp(0, 101, 101.5)], ("updates", "snapshots"), FIFTH, rule())


@example(ONE_EVENT)
@given(cases)
def test_compiled_and_plain_give_the_same_orders_fills_and_trades(case):
    assert_same(
        run(case.tape, case.rule, case.latency, funds=case.funds),
        run(case.tape, case.rule, case.latency, funds=case.funds, plain=True),
    )


@example(ONE_EVENT)
@given(cases)
def test_the_replay_agrees_with_a_second_program(case):
    result = run(case.tape, case.rule, case.latency, funds=case.funds)
    outcome = Replay(quotes_by_hand(case.quotes), case.rule, case.latency, case.kinds, case.inventory).run()
    assert_agree(result, outcome)
    for trade in result.trades:
        event(trade.reason)


@given(cases)
def test_nothing_fills_before_it_has_arrived_and_the_clock_never_goes_back(case):
    result = run(case.tape, case.rule, case.latency, funds=case.funds)
    for log in (result.sent, result.fills, result.closings):
        times = [entry.ts_ns for entry in log]
        assert times == sorted(times)
    for leg in (SPOT, PERP):
        orders = [s for s in result.sent if s.leg == leg]
        for f in result.fills:
            if f.leg == leg and not (f.ts_ns == result.end_ns and result.open_at_end):
                order = max((s for s in orders if s.ts_ns < f.ts_ns), key=lambda s: s.ts_ns)
                assert f.ts_ns >= order.ts_ns + case.latency.ns(leg, order.ts_ns) > order.ts_ns
                assert abs(f.qty) <= abs(order.qty) + 1e-9 and f.qty * order.qty > 0


@given(cases)
def test_no_moment_leaves_more_than_one_clip_unhedged(case):
    """But for what no venue takes as an order: where a clip was added to the one before; and where spot is bought back and
    the fee is taken in coins, up to the next step is ordered (0.5 wanted on a grid of 0.5: 1.0 ordered, 0.9995 received)."""
    rule, result = case.rule, run(case.tape, case.rule, case.latency, funds=case.funds)
    several = rule.max_position_usdt > rule.clip_usdt
    grain = several * max(rule.spot.step, rule.perp.step, rule.spot.min_qty, rule.perp.min_qty)
    cheapest = min(case.tape.spot_bid.min(), case.tape.perp_bid.min())
    if several:
        grain += max(rule.spot.min_notional_usdt, rule.perp.min_notional_usdt) / cheapest
    naked, held = 0.0, {}
    clips, sizes, bought_back = {}, {}, set()
    for s in result.sent:
        if s.phase != ENTERING and s.leg == SPOT and s.qty > 0.0 and rule.spot.fee_in_base:
            bought_back.add(s.pair)
        if s.phase == ENTERING:
            clips[s.pair] = max(abs(s.qty), clips.get(s.pair, 0.0), several * rule.clip_usdt / cheapest)
            sizes[s.pair] = sizes.get(s.pair, 0.0) + abs(s.qty)
    for f in result.fills:
        if f.ts_ns == result.end_ns and result.open_at_end:
            break  # what the end of the tape closes has no moment between its legs
        held[f.pair] = held.get(f.pair, 0.0) + f.qty
        allowed = clips[f.pair] + case.rule.leg_tolerance * sizes[f.pair] + rule.spot.step * (f.pair in bought_back)
        naked = max(naked, abs(held[f.pair]) - allowed)
    assert naked <= grain + 1e-9


# --- No look-ahead ---------------------------------------------------------------------------------------------------


def poisoned(tape: Tape, after_ns: int, seed: int = 0) -> Tape:
    """The tape with nonsense in every row later than `after_ns`: prices, sizes and ages; only the stamps stay."""
    rng = np.random.default_rng(seed)
    late = tape.ts_ns > after_ns
    columns = {}
    for name in TAPE_COLUMNS[2:]:
        column = getattr(tape, name).copy()
        high = 10**10 if column.dtype == np.int64 else 1e3
        column[late] = rng.uniform(0, high, late.sum()).astype(column.dtype)
        columns[name] = column
    return rewritten(tape, **columns)


def assert_same_until(result, other, ts_ns):
    """Everything decided, filled and closed up to a moment, and the trades closed by then, to the bit."""
    for name in ("sent", "fills", "closings"):
        one, two = ([x for x in getattr(r, name) if x.ts_ns <= ts_ns] for r in (result, other))
        assert repr(one) == repr(two)
    closed = {c.pair for c in result.closings if c.ts_ns <= ts_ns}
    done = [[t for t in r.trades if t.pair in closed] for r in (result, other)]
    assert repr(done[0]) == repr(done[1])


@given(cases)
def test_nonsense_in_later_rows_leaves_earlier_orders_and_fills_alone(case):
    tape = case.tape
    assume(len(tape) > 2)
    honest = run(tape, case.rule, case.latency, funds=case.funds)
    for k in (len(tape) // 3, 2 * len(tape) // 3):
        after_ns = int(tape.ts_ns[k])
        assume(after_ns < tape.end_ns)
        assert_same_until(honest, run(poisoned(tape, after_ns, k), case.rule, case.latency, funds=case.funds), after_ns)


# --- Real recordings -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lunc(recording):
    return read(
        LegFile(recording("mexc_spot_LUNC_USDT_book_2025-10-11.parquet"), "snapshots"),
        LegFile(recording("gateio_futures_LUNC_USDT_book_2025-10-11.parquet"), "snapshots", contract_size=10_000.0),
    )


@pytest.fixture(scope="module", params=["2023-04-05", "2024-08-08"])
def btc(recording, request):
    return read(
        LegFile(recording(f"binance_spot_BTC_USDT_book_{request.param}.parquet"), "updates"),
        LegFile(recording(f"binance_futures_BTC_USDT_book_{request.param}.parquet"), "updates"),
    )


def minute_filter(tape: Tape) -> Filter:
    """Half-life of a minute about the median basis, 15 bps wide, under noise of 10 bps; one look per half second."""
    basis = (tape.perp_bid + tape.perp_ask) / (tape.spot_bid + tape.spot_ask) - 1
    return Filter(0.0115525, float(np.median(basis)), 0.0015, 0.0010, 0.5)


def busy(tape: Tape, *, share=0.25, **changes):
    """A rule without fees that the tape itself passes often: entered in the best quarter of the time, left likewise."""
    entries = (tape.perp_bid - tape.spot_ask) / tape.spot_ask
    exits = (tape.perp_ask - tape.spot_bid) / tape.spot_bid
    thresholds = {"entry": np.quantile(entries, 1 - share), "exit": np.quantile(exits, share)}
    return rule(**thresholds | {"price_bound": 0.005, "leg_tolerance": 0.01, "leg_deadline_s": 15} | changes)


LUNC_RULES = {
    "clip_usdt": 100.0,
    "step": 10_000.0,
    "spot": leg_rule(min_notional_usdt=1.0),
    "perp": leg_rule(step=10_000.0, min_qty=10_000.0),
}


@pytest.mark.parametrize("kind", ["snapshots", "updates"])
@pytest.mark.parametrize(("signal", "max_hold_s"), [("raw", 5.0), ("raw", 600.0), ("filtered", 60.0)])
def test_all_three_agree_on_the_real_lunc_quotes(lunc, kind, signal, max_hold_s):
    process = minute_filter(lunc) if signal == "filtered" else OFF
    tape = dataclasses.replace(lunc, perp_kind=kind)
    of = busy(lunc, max_hold_s=max_hold_s, filter=process, **LUNC_RULES)
    result = run(tape, of, Latency(0.1, 0.15))
    assert len(result.trades) > 10
    assert_same(result, run(tape, of, Latency(0.1, 0.15), plain=True))
    assert_agree(result, Replay(quotes_of(tape), of, Latency(0.1, 0.15), ("snapshots", kind)).run())


@pytest.mark.parametrize(("share", "max_hold_s", "least"), [(0.25, 0.5, 15), (0.6, 10.0, 1500)])
def test_all_three_agree_on_the_real_btc_quotes(btc, share, max_hold_s, least):
    of = busy(btc, share=share, max_hold_s=max_hold_s, step=0.001, perp=leg_rule(step=0.001, min_qty=0.001))
    result = run(btc, of, Latency(0.005, 0.01))
    assert len(result.trades) > least
    assert_same(result, run(btc, of, Latency(0.005, 0.01), plain=True))
    assert_agree(result, Replay(quotes_of(btc), of, Latency(0.005, 0.01), ("updates", "updates")).run())


def test_nonsense_in_later_rows_leaves_earlier_trades_of_the_real_quotes_alone(lunc):
    of, latency = busy(lunc, max_hold_s=30.0, **LUNC_RULES), Latency(0.1, 0.15)
    honest = run(lunc, of, latency)
    for part in (0.1, 0.4, 0.8):
        after_ns = int(lunc.ts_ns[int(part * len(lunc))])
        assert_same_until(honest, run(poisoned(lunc, after_ns), of, latency), after_ns)
        before = [t for t in honest.trades if t.closed_ns <= after_ns]
        assert before or part == 0.1


# --- The stale book of 11 October 2025 -------------------------------------------------------------------------------


@pytest.fixture
def stale_reading(lunc):
    """The row at 04:45:46.16 UTC, where spot has fallen and the perpetual's quote is the one of 1.7 s ago."""
    row = int(np.argmin((lunc.perp_ask - lunc.spot_bid) / lunc.spot_bid))
    assert utc(int(lunc.ts_ns[row])).startswith("2025-10-11 04:45:46.16")
    return row


def around(lunc, row):
    """Ten minutes before the reading and one after it."""
    return lunc.between(int(lunc.ts_ns[row]) - seconds(600), int(lunc.ts_ns[row]) + seconds(60))


def patient(exit_bps, **changes):
    """Enters at any price, then leaves only for this exit cost."""
    return rule(entry=-0.05, exit=exit_bps / 1e4, max_hold_s=7200, leg_deadline_s=15, **LUNC_RULES | changes)


def test_the_reading_is_on_the_tape(lunc, stale_reading):
    cost = (lunc.perp_ask[stale_reading] - lunc.spot_bid[stale_reading]) / lunc.spot_bid[stale_reading]
    assert cost * 1e4 == pytest.approx(-157, abs=0.5)
    assert lunc.perp_age_ns[stale_reading] / 1e9 == pytest.approx(1.7, abs=0.05)
    assert lunc.spot_age_ns[stale_reading] == 0


@pytest.mark.parametrize("exit_bps", [-100.0, -120.0, -140.0, -150.0])
def test_nothing_is_sent_on_a_quote_older_than_a_second_lesson_28(lunc, stale_reading, exit_bps):
    result = run(around(lunc, stale_reading), patient(exit_bps, max_quote_age_s=1.0), Latency(0.1, 0.1))
    assert sent(result, ENTERING)
    assert not sent(result, EXITING)
    assert all(t.reason != "target" for t in result.trades)


def test_without_the_limit_on_age_it_would_have_been_sent(lunc, stale_reading):
    result = run(around(lunc, stale_reading), patient(-150.0, max_quote_age_s=5.0), Latency(0.1, 0.1))
    at_ns = int(lunc.ts_ns[stale_reading])
    assert {s.leg for s in result.sent if s.ts_ns == at_ns and s.phase == EXITING} == {SPOT, PERP}


def test_and_even_then_the_order_does_not_meet_the_stale_quote(lunc, stale_reading):
    """The perpetual is polled: the next row shows what it really cost, more than one per cent above."""
    result = run(around(lunc, stale_reading), patient(-150.0, max_quote_age_s=5.0), Latency(0.1, 0.1))
    first = next(f for f in result.fills if f.leg == PERP and f.ts_ns > lunc.ts_ns[stale_reading])
    assert first.qty > 0 and first.price > 1.01 * lunc.perp_ask[stale_reading]


# --- The compiled code -----------------------------------------------------------------------------------------------


def test_editing_any_compiled_module_moves_the_cache_mistake_23(tmp_path):
    """numba looks only at the file of the function itself; an old machine must not be served after an edit."""
    package = Path(delta_arb.__file__).parent
    shutil.copytree(package, tmp_path / "delta_arb", ignore=shutil.ignore_patterns("__pycache__", "live"))
    script = """
        from pathlib import Path
        from delta_arb.backtest.event_loop import drive
        from delta_arb.numba_cache import compiled, reached

        print(compiled(drive).stats.cache_path)
        for module in sorted({f.__module__ for f in (drive, *reached(drive))}):
            with Path(*module.split(".")).with_suffix(".py").open("a") as file:
                file.write("# edited")
            compiled.cache_clear()
            print(compiled(drive).stats.cache_path)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    folders = done.stdout.split()
    assert (
        len(set(folders))
        == len(folders)
        == 1 + len({f.__module__ for f in (event_loop.drive, *reached(event_loop.drive))})
    )
    assert {decide.decide, market.fill, fast_forward.next_row} <= set(reached(event_loop.drive))


def test_another_number_in_a_file_without_compiled_code_of_the_kernel_moves_the_cache(monkeypatch):
    """`add_pair` compares with numbers of `market`, none of whose functions it calls."""
    before = numba_cache._sources([sweep_figures.add_pair])
    monkeypatch.setattr(sweep_figures, "NEVER", 2 * sweep_figures.NEVER)
    assert numba_cache._sources([sweep_figures.add_pair]) != before


def test_machine_code_is_kept_where_it_was_asked_for_and_never_beside_a_read_only_package(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert numba_cache.cache_folder() == tmp_path
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    assert numba_cache.cache_folder() == Path(numba_cache.__file__).parent / "__pycache__"
    monkeypatch.setattr(numba_cache.os, "access", lambda *_: False)
    assert numba_cache.cache_folder() == tmp_path / "user" / "delta_arb"


def test_sent_orders_are_plain_values():
    """Not numpy scalars: they are compared, journalled and printed."""
    result = run(Tape.of(IN), rule(), FIFTH)
    assert result.sent[0] == Sent(1, 0, SPOT, ENTERING, 10.0, 102.0, False)
    assert [type(value) for value in result.sent[0]] == [int, int, int, int, float, float, bool]


# --- A size shown once fills once ------------------------------------------------------------------------------------


def test_what_was_taken_from_a_book_is_gone_until_its_next_row():
    """Ten are decided on a hundred shown, but at the arrival the perpetual shows six: six are sold, and the order for the
    four missing meets the same row, where nothing is left. The row of 0.55 s shows a hundred again."""
    thin, again = perp(0.1, 101, 101.5, 6, 100), perp(0.55, 101, 101.5)
    result = replay(*IN, thin, spot(0.5, 99.5, 100), again, spot(9, 99.5, 100))
    assert fills(result, SPOT)[0] == (0.2, 10.0, 100.0)
    sold = [fill for fill in fills(result, PERP) if fill[1] < 0]
    assert sold[0] == (0.2, -6.0, 101.0)
    assert [qty for at, qty, _ in sold[1:]] == [-4.0] and sold[1][0] >= 0.55
