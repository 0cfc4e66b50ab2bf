"""A leg that rests, replayed: plain and compiled alike, what the machine may never do, where the money came from, and a
world in which it pays."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest

from delta_arb import tables
from delta_arb.backtest import resting_orders
from delta_arb.backtest.replay import run
from delta_arb.evidence import DataParams
from delta_arb.latency import Latency
from delta_arb.market import ASSUMPTIONS, NS, PERP, SPOT, FundingPayment
from delta_arb.optimize import carry_ways, roles
from delta_arb.optimize.export import evidence
from delta_arb.optimize.study import Constraints, Market
from delta_arb.params import Params, load, save, sealed
from delta_arb.quotes.prints import NO_PRINTS, Queues, prints
from delta_arb.quotes.tape import Tape
from delta_arb.report import choice_tables
from delta_arb.report.resting import resting_money
from delta_arb.rule_params import RestingLeg, Rule
from delta_arb.strategy.decide import decide
from delta_arb.strategy.rule import make_rule
from delta_arb.venue_terms import VenueTerms

LATENCY = Latency(0.1, 0.15)
SPOT_TERMS = VenueTerms(venue="mexc", taker_fee_bps=2.0, maker_fee_bps=0.0, qty_step=0.1, price_tick=0.1)
PERP_TERMS = VenueTerms(venue="gate", taker_fee_bps=1.0, maker_fee_bps=0.0, qty_step=1.0, min_qty=1.0, price_tick=0.1)
RESTS = {"adverse_bps": 0.5, "tolerance_bps": 3.0, "quotes_per_minute": 60.0, "longest_rest_s": 60.0}


def world(seed, n=700):
    """Two books that wander together, and trades at, behind and beyond their touch."""
    rng = np.random.default_rng(seed)
    ts, mids, basis = np.cumsum(rng.integers(1, 200_000_000, n)), 100 + np.cumsum(rng.normal(0, 0.02, n)), 0.0
    rows, trades = [], ([], [])
    for at, mid in zip(ts.tolist(), mids.tolist(), strict=True):
        leg, basis = int(rng.integers(2)), basis * 0.98 + rng.normal(0, 0.03)
        bid = np.floor((mid + basis * leg) * 10) / 10
        ask = round(bid + 0.1 * rng.integers(1, 3), 1)
        rows.append((at, leg, round(bid, 1), ask, float(rng.integers(1, 30)), float(rng.integers(1, 30))))
        if rng.random() < 0.3:
            side = 1 if rng.random() < 0.5 else -1
            price = round((ask if side > 0 else bid) + 0.1 * side * rng.integers(3), 1)
            trades[leg].append((at - int(rng.integers(2)) * 5_000_000, side, price, float(rng.integers(1, 20))))
    found = [prints(*zip(*sorted(leg, key=lambda t: t[0]), strict=True)) for leg in trades]
    return replace(Tape.of(rows), queues=Queues(*found, 0))


def resting_rule(leg, ends="both", **changes):
    resting = RestingLeg(
        **RESTS | {"ends": ends} | {k: changes.pop(k) for k in list(changes) if k in RestingLeg.model_fields}
    )
    said = {
        "entry_bps": 3.0,
        "exit_bps": -3.0,
        "clip_usdt": 500.0,
        "max_hold_s": 40.0,
        "leg_deadline_s": 5.0,
        "max_quote_age_s": 2.0,
    }
    return make_rule(Rule(**said | changes, **{f"{leg}_role": "maker"}, resting=resting), SPOT_TERMS, PERP_TERMS)


@pytest.mark.parametrize("leg", ["spot", "perp"])
@pytest.mark.parametrize("ends", ["both", "entry", "exit"])
@pytest.mark.parametrize("place", ASSUMPTIONS)
def test_the_compiled_replay_gives_the_orders_and_fills_of_the_plain_one(leg, ends, place):
    for seed, past in ((1, "take"), (2, "give_up")):
        tape, rule = world(seed).assuming(place), resting_rule(leg, ends, past_rest=past)
        plain, fast = run(tape, rule, LATENCY, plain=True), run(tape, rule, LATENCY)
        assert (plain.sent, plain.fills, plain.closings) == (fast.sent, fast.fills, fast.closings)
        assert plain.rested and all(f.leg == (SPOT if leg == "spot" else PERP) for f in plain.rested)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("leg", [SPOT, PERP])
def test_at_most_one_quote_and_one_hedge_and_no_fill_goes_unhedged(seed, leg, monkeypatch):
    """After each event: what differs is below one hedge step, or a hedge for it is out, or it waits for one."""
    seen = []

    def watched(state, event, rule):
        out = [state.legs[k].working for k in (SPOT, PERP)]
        orders = decide(state, event, rule)
        for k in (SPOT, PERP):
            assert orders[k].qty == 0.0 or out[k] == 0.0 or (event.leg == k and event.remaining == 0.0), (
                "an order beside one"
            )
        assert not orders[1 - leg].post_only
        if orders[leg].post_only:
            book = (event.spot, event.perp)[leg]
            assert orders[leg].limit < book.ask if orders[leg].qty > 0 else orders[leg].limit > book.bid
        if state.rests:
            excess = state.legs[SPOT].position + state.legs[PERP].position
            step = (rule.spot, rule.perp)[1 - leg].step
            assert abs(excess) < step - 1e-9 or state.legs[1 - leg].working != 0.0 or state.naked_ns > 0
            seen.append(excess)
        return orders

    monkeypatch.setattr(resting_orders, "decide", watched)
    done = run(world(seed), resting_rule("spot" if leg == SPOT else "perp"), LATENCY, plain=True)
    assert len(seen) > 100 and len(done.trades) > 2


def test_rows_and_trades_of_later_change_no_earlier_fill():
    tape, rule = world(3), resting_rule("spot")
    cut_ns = int(tape.ts_ns[400])
    short = tape.between(tape.start_ns, cut_ns)
    whole, part = run(tape, rule, LATENCY), run(short, rule, LATENCY)
    last_ns = short.end_ns
    assert [f for f in whole.fills if f.ts_ns < last_ns] == [f for f in part.fills if f.ts_ns < last_ns]


def test_without_trades_only_a_quote_that_reaches_ours_fills_and_the_result_says_so():
    tape = replace(world(1), queues=Queues(NO_PRINTS, NO_PRINTS, 0))
    done = run(tape, resting_rule("spot"), LATENCY)
    reached = {(int(ts), float(price)) for ts, price in zip(tape.ts_ns, tape.spot_ask, strict=True)}
    for f in done.rested:
        if f.qty > 0:
            assert any(ts == f.ts_ns and ask <= f.price + 1e-9 for ts, ask in reached)
    assert "no trades recorded" in repr(done)


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ("both", ("2.0 bps", "2 taker fees, 2 of a maker: spot rests at both ends, maker fee 0 bps on mexc")),
        ("entry", ("4.0 bps", "3 taker fees, 1 of a maker: spot rests at the entry, maker fee 0 bps on mexc")),
    ],
)
def test_the_fees_of_a_round_trip_are_those_of_its_roles(ends, said):
    """A taker pays 2 on spot and 1 on the perpetual, a maker 0 on spot: 0 + 1 each way, or 0 + 1 and 2 + 1."""
    rule = Rule(entry_bps=9.0, exit_bps=0.0, spot_role="maker", resting=RestingLeg(adverse_bps=0.0, ends=ends))
    assert choice_tables._fees(Params.model_construct(rule=rule, spot=SPOT_TERMS, perp=PERP_TERMS)) == said


def test_the_heading_says_the_fee_of_makers_where_it_was_said():
    fees = {"spot_venue": "mexc", "spot_maker_fee_bps": "0", "perp_venue": "gate", "perp_maker_fee_bps": ""}
    assert tables._makers(SimpleNamespace(**fees)) == " (of an order that rests 0 bps on mexc)"


def test_the_split_of_the_money_by_hand():
    """A buy of 1 at 100.0 rests; mid 100.1 then, 100.05 a second later. The hedge is sent at a bid of 100.6, gets 100.5.

    Spread 0.1, adverse selection -0.05, slippage -0.1; both are closed by takers at the end of the tape, spot at 100.0
    (mid 100.05) and the perpetual at 100.6. Cash is -100 + 100.5 + 100 - 100.6 = -0.1, so the basis is -0.05.
    """
    rows = [
        (0, SPOT, 100.0, 100.2, 5.0, 5.0), (0, PERP, 100.6, 100.7, 9.0, 9.0),
        (int(1.05 * NS), PERP, 100.5, 100.6, 9.0, 9.0), (int(1.9 * NS), SPOT, 100.0, 100.1, 5.0, 5.0),
        (3 * NS, PERP, 100.5, 100.6, 9.0, 9.0),
    ]  # fmt: skip
    trades = prints([NS], [-1], [99.9], [5.0])
    tape = replace(Tape.of(rows), queues=Queues(trades, NO_PRINTS, 2))
    resting = RestingLeg(adverse_bps=0.0, tolerance_bps=1000.0)
    rule = Rule(
        entry_bps=58.0, exit_bps=-900.0, clip_usdt=150.0, spot_role="maker", resting=resting, max_quote_age_s=10.0
    )
    terms = SPOT_TERMS.replace(taker_fee_bps=0.0), PERP_TERMS.replace(taker_fee_bps=0.0)
    done = run(tape, make_rule(rule, *terms), Latency(0.1, 0.1))
    assert [x for f in done.fills for x in (f.qty, f.price)] == pytest.approx(
        [1, 100.0, -1, 100.5, -1, 100.0, 1, 100.6]
    )
    found = resting_money(tape, done)
    assert (found.spread, found.adverse, found.slippage, found.basis) == pytest.approx((0.1, -0.05, -0.1, -0.05))
    assert found.against_bps[0] == pytest.approx(5.0) and found.net == pytest.approx(-0.1)


@pytest.mark.parametrize("leg", ["spot", "perp"])
def test_the_split_adds_up_to_the_net(leg):
    tape = world(4)
    done = run(tape, resting_rule(leg), LATENCY)
    assert len(done.trades) > 2
    assert resting_money(tape, done).net == pytest.approx(done.net_usdt, abs=1e-9)


# --- A world in which it pays -----------------------------------------------------------------------------------------


def paying(hours=30.0, every_s=2.0, seed=5):
    """Spot is wide (10 bps) and traded by people who know nothing, the perpetual is tight: mid and basis wander by themselves."""
    rng, n = np.random.default_rng(seed), int(hours * 3600 / every_s)
    perp = 100 * np.exp(np.cumsum(rng.normal(0, 2e-6, n)))
    basis = np.zeros(n)
    for k in range(1, n):
        basis[k] = 0.97 * basis[k - 1] + rng.normal(0, 0.5e-4)
    mid = perp / (1 + basis)
    ts = (np.arange(1, n + 1) * every_s * NS).astype(np.int64)
    down = lambda prices, tick: np.floor(prices / tick) * tick  # noqa: E731
    bid, perp_bid = down(mid * (1 - 5e-4), 0.001), down(perp, 0.001)
    rows = []
    for k in range(n):
        rows.append((int(ts[k]), SPOT, float(bid[k]), float(bid[k] + 0.1), 1.0, 1.0))
        rows.append((int(ts[k]), PERP, float(perp_bid[k]), float(perp_bid[k] + 0.002), 500.0, 500.0))
    side = rng.choice((-1, 1), n)
    deep = 0.06 * (rng.random(n) < 0.3)  # some sweep beyond the touch
    price = np.where(side < 0, bid - deep, bid + 0.1 + deep)
    trades = prints(ts + int(0.5 * NS), side, price, rng.exponential(3.0, n) + 0.01)
    return replace(Tape.of(rows), queues=Queues(trades, NO_PRINTS, 1))


@pytest.mark.slow
def test_where_resting_pays_it_is_found_and_exported(tmp_path):
    tape = paying()
    spot = VenueTerms(
        venue="mexc", taker_fee_bps=5.0, maker_fee_bps=0.0, qty_step=0.01, price_tick=0.001, latency_s=0.1
    )
    perp = VenueTerms(venue="gate", taker_fee_bps=2.0, qty_step=0.01, min_qty=0.01, latency_s=0.1)
    market = Market(
        spot=spot, perp=perp, payments=(), settings=Rule(clip_usdt=100.0, max_quote_age_s=5.0, leg_deadline_s=10.0)
    )
    choice = roles.chosen(tape, market, Constraints(max_hold_s=3600.0))
    assert choice.market.settings.maker_leg == "spot"
    verdict = roles.judged(tape, choice)
    assert verdict.trade, verdict.reason
    assert "under through" in verdict.reason
    day = datetime(2026, 11, 5, tzinfo=UTC)
    data = DataParams(
        synthetic=True, start=day, end=day + timedelta(hours=30), judged_from=None, events=len(tape), spot_sha256="a" * 64,
        perp_sha256="b" * 64, funding_sha256=None, spot_kind="updates", perp_kind="updates",
    )  # fmt: skip
    params = sealed(
        pair="WIDE_USDT", trade=True, reason=verdict.reason, rule=choice.market.rule_params(verdict.thresholds), spot=spot,
        perp=perp, data=data, evidence=evidence(verdict), created=day, valid_until=day + timedelta(days=1), code_version="0",
        notebook="02_optimization", run_id="one",
    )  # fmt: skip
    loaded = load(save(params, tmp_path / "latest.json"))
    assert loaded == params and loaded.rule.maker_leg == "spot"
    made = make_rule(loaded.rule, loaded.spot, loaded.perp)
    assert run(tape.assuming("through"), made, LATENCY).net_usdt > 0


# --- Carry ------------------------------------------------------------------------------------------------------------


def test_what_waiting_for_a_resting_entry_comes_to_by_hand():
    """A try at 0 h rests at the bid of 100 and fills at 1 h, when the ask is 99.9: edge 100.3 / 99.7 - 1 there, and half of the
    funding of 10 bps at 0.5 h is not missed, all of it is. Taken at once it were 100.5 / 100.2 - 1. The try at 7 h never fills.
    """
    hour = 3600 * NS
    rows = [
        (0, SPOT, 100.0, 100.2, 1.0, 1.0), (0, PERP, 100.5, 100.7, 1.0, 1.0), (hour, SPOT, 99.7, 99.9, 1.0, 1.0),
        (hour, PERP, 100.3, 100.5, 1.0, 1.0), (7 * hour, SPOT, 101.0, 101.2, 1.0, 1.0), (12 * hour, SPOT, 102.0, 102.2, 1.0, 1.0),
        (12 * hour, PERP, 102.5, 102.7, 1.0, 1.0),
    ]  # fmt: skip
    paid = (FundingPayment(hour // 2, 1e-3, 100.0, True),)
    market = Market(spot=SPOT_TERMS, perp=PERP_TERMS, payments=paid)
    found = carry_ways.waiting(Tape.of(rows), market, "reached")
    rested = (100.3 / 99.7 - 100.5 / 100.2) * 1e4 - 10.0
    assert (found.tries, found.unfilled, found.missed_bps) == pytest.approx((2, 0.5, 5.0))
    assert found.gain_bps == pytest.approx(rested / 2)  # the other one is taken four hours later on the same books


def test_no_leg_rests_where_no_trade_has_a_second_of_quotes_behind_it():
    """What prices do after a fill is not known then, and nothing is no answer to it."""
    whole = world(1)
    late = prints([whole.end_ns], [1], [100.0], [1.0])
    tape = replace(whole, queues=Queues(late, late, 0))
    market = Market(SPOT_TERMS, PERP_TERMS, LATENCY)
    assert roles.expected_adverse_bps(tape, SPOT) is None
    assert [rule.maker_leg for rule in roles.conducts(tape, market)] == [None]
    assert {rule.maker_leg for rule in roles.conducts(whole, market)} == {None, "spot", "perp"}
