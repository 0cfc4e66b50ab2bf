"""A leg that rests, replayed: plain and compiled alike, what the machine may never do, where the money came from, and a
world in which it pays."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from delta_arb import tables
from delta_arb.backtest import resting_orders
from delta_arb.backtest.replay import run
from delta_arb.errors import ParamsError
from delta_arb.evidence import DataParams
from delta_arb.latency import Latency
from delta_arb.market import ASSUMPTIONS, DAY_S, NS, PERP, SPOT, FundingPayment, Order
from delta_arb.optimize import carry_walk_forward, carry_ways, roles
from delta_arb.optimize.export import evidence
from delta_arb.optimize.study import Constraints, Market, Thresholds
from delta_arb.params import Params, load, save, sealed
from delta_arb.quotes.depth_and_trades import NO_PRINTS, UNKNOWN, Depth, Queues, ahead_at, into_levels, prints
from delta_arb.quotes.tape import Tape
from delta_arb.report import choice_tables
from delta_arb.report.resting import capacity, resting_money, ways_table
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


# --- Recorded depth ---------------------------------------------------------------------------------------------------


def five(at_s, bids, asks):
    """A snapshot of so many levels; those that are missing have the price 0."""
    fill = lambda levels: [*levels, *[(0.0, 0.0)] * (5 - len(levels))]  # noqa: E731
    (bid, bid_qty), (ask, ask_qty) = (np.array(fill(levels), float).T for levels in (bids, asks))
    return Depth(np.array([round(at_s * NS)]), bid, bid_qty, ask, ask_qty)


BIDS, ASKS = [(100.0, 2.0), (99.9, 3.0), (99.7, 4.0)], [(100.1, 1.0), (100.2, 2.0), (100.4, 9.0)]


@pytest.mark.parametrize(
    ("price", "at_s", "ahead"),
    [(99.9, 1.0, 3.0), (99.8, 1.0, 0.0), (99.7, 1.5, 4.0), (99.6, 1.0, UNKNOWN), (99.9, 0.9, UNKNOWN), (99.9, 2.1, UNKNOWN)],
)  # fmt: skip
def test_recorded_levels_say_what_is_ahead_behind_the_best_price(price, at_s, ahead):
    """Of a snapshot at 1 s that counts for a second; below the last level shown nothing is known."""
    depth = five(1.0, BIDS, ASKS)
    assert ahead_at(depth, round(at_s * NS), NS, 1, price) == ahead
    mirrored = five(1.0, [(200 - p, q) for p, q in ASKS], [(200 - p, q) for p, q in BIDS])
    assert ahead_at(mirrored, round(at_s * NS), NS, -1, 200 - price) == ahead


@pytest.mark.parametrize(
    ("qty", "limit", "got", "mean"),
    [
        (5.0, 101.0, 5.0, (100.1 + 2 * 100.2 + 2 * 100.4) / 5), (5.0, 100.3, 3.0, (100.1 + 2 * 100.2) / 3),
        (1.0, 101.0, 1.0, 100.1), (5.0, 100.15, 1.0, 100.1), (30.0, 101.0, 12.0, (100.1 + 2 * 100.2 + 9 * 100.4) / 12),
    ],
)  # fmt: skip
def test_what_takes_more_than_the_best_shows_goes_into_the_recorded_levels(qty, limit, got, mean):
    """1 is shown at 100.1 and filled; then 2 at 100.2 and 9 at 100.4, as far as the limit reaches. Selling is the mirror image.
    A snapshot gives what is behind the best price once: to the next order only a newer one does.
    """
    order = Order(qty, limit, False, False)
    depth, entered = five(1.0, BIDS, ASKS), NS if got > 1.0 else -1
    assert into_levels(depth, NS, NS, order, 100.1, 1.0, 0.5, -1) == pytest.approx((got, mean, entered))
    assert into_levels(depth, NS, NS, order, 100.1, 1.0, 0.5, NS - 1)[:2] == pytest.approx((got, mean))
    assert into_levels(depth, NS, NS, order, 100.1, 1.0, 0.5, NS) == (1.0, 100.1, NS)  # entered before
    assert into_levels(depth, 3 * NS, NS, order, 100.1, 1.0, 0.5, -1) == (1.0, 100.1, -1)  # too old
    mirrored, sells = five(1.0, [(200 - p, q) for p, q in ASKS], []), Order(-qty, 200 - limit, False, False)
    assert into_levels(mirrored, NS, NS, sells, 99.9, -1.0, 0.5, -1) == pytest.approx((-got, 200 - mean, entered))


@pytest.mark.parametrize("levels", [False, True])
def test_a_quote_behind_the_best_fills_at_the_back_of_the_queue_that_was_recorded(levels):
    """The quote at 100 joins 3 shown there behind the best of 100.1: of 5 sold at 100, 2 are ours. Without levels nobody knows
    how many were before us, and nothing fills at our price.
    """
    rows = [
        (0, SPOT, 100.1, 100.3, 1.0, 5.0), (0, PERP, 101.0, 101.1, 1.0, 9.0), (int(1.9 * NS), SPOT, 100.1, 100.3, 1.0, 5.0),
        (int(1.9 * NS), PERP, 101.0, 101.1, 1.0, 9.0), (3 * NS, PERP, 101.0, 101.1, 1.0, 9.0),
    ]  # fmt: skip
    tape = replace(Tape.of(rows), queues=Queues(prints([NS], [-1], [100.0], [5.0]), NO_PRINTS, 1))
    if levels:
        spot, perp = (
            five(0.0, [(100.1, 1.0), (100.0, 3.0)], [(100.3, 5.0)]),
            five(1.0, [(101.0, 1.0), (100.9, 4.0)], [(101.1, 9.0)]),
        )
        tape = replace(tape, depths=(spot, perp))
    resting = RestingLeg(adverse_bps=0.0, tolerance_bps=1000.0)
    rule = Rule(
        entry_bps=99.0, exit_bps=-900.0, clip_usdt=151.0, participation=1.0, spot_role="maker", resting=resting, max_quote_age_s=10.0,
    )  # fmt: skip
    free = (
        SPOT_TERMS.replace(taker_fee_bps=0.0, qty_step=0.5),
        PERP_TERMS.replace(taker_fee_bps=0.0, qty_step=0.5, min_qty=0.5),
    )
    made = make_rule(rule, *free)
    for plain in (True, False):
        done = run(tape, made, Latency(0.1, 0.1), plain=plain)
        assert next((o.qty, o.limit) for o in done.sent if o.post_only) == (1.0, 100.0)
        assert [(f.qty, f.price) for f in done.rested] == ([(1.0, 100.0)] if levels else [])


def test_the_clip_that_the_trades_filled_by_hand():
    """A quote at 100 joins 100 coins there. 6 sold at 99.9 go to it under every assumption: 2 and 4 coins fill whole, 8 in part. So 405
    USDT is the clip, 400 of them in the three seconds of the record: 480,000 an hour. What is sold at 100 does not reach the back."""
    rows = [
        (t * NS, leg, bid, ask, 100.0, 100.0)
        for t in (0, 3)
        for leg, bid, ask in ((SPOT, 100.0, 100.1), (PERP, 101.0, 101.1))
    ]
    for side, price, said in (
        (-1, 99.9, "405 USDT, 480,000 USDT an hour"), (-1, 100.0, "none"), (1, 99.9, "none"),
    ):  # fmt: skip
        tape = replace(Tape.of(rows), queues=Queues(prints([NS], [side], [price], [6.0]), NO_PRINTS, 1))
        resting = RestingLeg(adverse_bps=0.0, tolerance_bps=1000.0)
        settings = Rule(
            clip_usdt=202.5,
            participation=1.0,
            spot_role="maker",
            resting=resting,
            max_quote_age_s=10.0,
            leg_deadline_s=20.0,
        )
        terms = SPOT_TERMS.replace(taker_fee_bps=0.0, qty_step=1.0), PERP_TERMS.replace(taker_fee_bps=0.0)
        market = Market(spot=terms[0], perp=terms[1], payments=(), settings=settings)
        sheet = SimpleNamespace(market=market, tape=tape, thresholds=Thresholds(99.0, -900.0, 3600.0))
        assert [capacity(sheet, way)[: len(said)] for way in (1, 2)] == [said] * 2, (side, price)


# --- Carry ------------------------------------------------------------------------------------------------------------


def waiting_tape():
    """A try at 0 h rests at the bid of 100, which the ask of 1 h reaches; that at 7 h is never reached, with books that stand still."""
    hour = 3600 * NS
    rows = [
        (0, SPOT, 100.0, 100.2, 1.0, 1.0), (0, PERP, 100.5, 100.7, 1.0, 1.0), (hour, SPOT, 99.7, 99.9, 1.0, 1.0),
        (hour, PERP, 100.3, 100.5, 1.0, 1.0), (7 * hour, SPOT, 101.0, 101.2, 1.0, 1.0), (12 * hour, SPOT, 102.0, 102.2, 1.0, 1.0),
        (12 * hour, PERP, 102.5, 102.7, 1.0, 1.0),
    ]  # fmt: skip
    return Tape.of(rows), (FundingPayment(hour // 2, 1e-3, 100.0, True),)


@pytest.mark.parametrize(("bar_s", "got"), [(0.0, 100.0), (3600.0, 99.7)])
def test_what_waiting_for_a_resting_entry_comes_to_by_hand(bar_s, got):
    """Filled at 1 h, at our price, or of candles at the bid of that bar; the perpetual is sold at 100.3 there. All of the funding
    of 10 bps at 0.5 h is missed. Taken at once it were 100.5 / 100.2 - 1. The other one is taken four hours later on the same books.
    """
    tape, paid = waiting_tape()
    found = carry_ways.waiting(carry_ways.shown(replace(tape, bar_s=bar_s), paid), "reached")
    assert (found.tries, found.unfilled, found.missed_bps) == pytest.approx((2, 0.5, 5.0))
    assert found.gain_bps == pytest.approx(((100.3 / got - 100.5 / 100.2) * 1e4 - 10.0) / 2)


@pytest.mark.parametrize(
    ("way", "sold", "at_h"),
    [
        ("front", (100.0, 0.4), 0.25), ("back", (100.0, 0.4), 1.0), ("back", (100.0, 1.2), 0.25), ("through", (100.0, 9.0), 1.0),
        ("through", (99.9, 0.1), 0.25), ("back", (100.1, 9.0), 1.0),
    ],
)  # fmt: skip
def test_with_recorded_trades_a_try_fills_by_them(way, sold, at_h):
    """One coin is shown at our 100 when we join: 0.4 sold there fill whoever is in front, 1.2 the one at the back too, and what is
    sold below us anybody. Else the ask of 99.9 reaches us after an hour. Before the stamp of 0.5 h no funding is missed."""
    tape, paid = waiting_tape()
    quarter = 900 * NS
    trades = prints([quarter // 2, quarter], [1, -1], [100.2, sold[0]], [9.0, sold[1]])
    seen = carry_ways.shown(replace(tape, queues=Queues(trades, NO_PRINTS, 1)), paid)
    assert seen.ways == ASSUMPTIONS
    found = carry_ways.tried(seen, 0, way)
    assert (found.filled, found.waited_s) == (True, at_h * 3600)
    hedged, missed = (100.5, 0.0) if at_h < 0.5 else (100.3, 10.0)
    assert (found.missed_bps, found.gain_bps) == pytest.approx(
        (missed, (hedged / 100.0 - 100.5 / 100.2) * 1e4 - missed)
    )


def test_a_try_sees_neither_trades_nor_funding_from_before_it_began_and_waits_to_its_end():
    """Begun at 0.1 h on the books of 0: what was sold at 0.05 h below our price fills nobody, and the stamp of then was not missed.
    Out for half an hour, it ends at 0.6 h, behind the stamp of 0.5 h, on books that still are those of 0."""
    tape, (paid, *_) = waiting_tape()
    early, begun = 180 * NS, 360 * NS
    trades = prints([early], [-1], [99.0], [9.0])
    stamps = (FundingPayment(early, 5e-3, 100.0, True), paid)
    seen = carry_ways.shown(replace(tape, queues=Queues(trades, NO_PRINTS, 1)), stamps)
    found = carry_ways.tried(seen, begun, "back", patience_s=1800.0)
    assert found == pytest.approx((-10.0, 10.0, False, 1800.0))


def test_the_ways_of_a_carry_say_what_is_proven():
    """Fees of 2 and 1 bps taken make 6 bps a round trip and a maker pays nothing: each fill saves 2."""
    tape, paid = waiting_tape()
    stamps = (*paid, FundingPayment(int(12.5 * 3600) * NS, 1e-3, 100.0, True))
    market = Market(spot=SPOT_TERMS, perp=PERP_TERMS, payments=stamps)
    taken, reached, through = carry_ways.ways(tape, market, stamps)
    crossed = carry_ways.crossing_bps(tape)
    assert taken.even.costs_bps == pytest.approx(6.0 + crossed)
    in_, out = reached.enter, reached.leave
    saved = in_.gain_bps + out.gain_bps + 2.0 * (2.0 - in_.unfilled - out.unfilled)
    assert reached.even.costs_bps == pytest.approx(6.0 + crossed - saved)
    assert (reached.name, through.name) == ("reached", "through")
    assert "only a quote that reaches ours is proven" in carry_ways.table([taken, reached, through]).note
    unknown = replace(market, spot=SPOT_TERMS.replace(maker_fee_bps=None))
    assert [way.name for way in carry_ways.ways(tape, unknown, stamps)] == ["both legs taken"]


def test_the_pairs_of_a_walk_are_priced_with_spot_resting_at_their_ends():
    """Entered at 0 h at the proven fill of the test above (2 bps of fees saved) on 50 of 100 USDT; the end of the quotes left it open."""
    tape, paid = waiting_tape()
    market = Market(spot=SPOT_TERMS, perp=PERP_TERMS, payments=paid, settings=Rule(clip_usdt=100.0))
    pair = SimpleNamespace(opened_ns=0, closed_ns=12 * 3600 * NS, censored=True, notional_usdt=50.0)
    gain = (100.3 / 100.0 - 100.5 / 100.2) * 1e4 - 10.0
    stamps = (*paid, FundingPayment(int(12.5 * 3600) * NS, 1e-3, 100.0, True))
    found = carry_ways.ways(tape, market, stamps, carry_ways.Walked([pair], 5, 1.0))
    assert [way.walked_bps_day for way in found[:2]] == pytest.approx([1.0, 1.0 + (gain + 2.0) / 2 / 5])


def test_the_page_shows_each_way_of_trading_under_each_assumption():
    """BTC-like: costs of 14 bps on a basis that hardly moves. The table replays on the whole tape what the choice replays."""
    tape = world(1, 1500)
    spot, perp = SPOT_TERMS.replace(taker_fee_bps=50.0), PERP_TERMS.replace(taker_fee_bps=20.0, maker_fee_bps=None)
    market = Market(
        spot, perp, LATENCY, payments=(), settings=Rule(clip_usdt=500.0, leg_deadline_s=5.0, max_quote_age_s=2.0)
    )
    choice = roles.chosen(tape, market, Constraints(max_hold_s=40.0))
    table = ways_table(choice, tape)
    assert [row[0] for row in table.rows] == [
        "both legs take",
        *(f"spot rests, {far} bps further" for far in (0, 2, 5)),
    ]
    assert "an honest no" in table.note
    for row, way in zip(table.rows, choice.ways, strict=True):
        entry, exit_ = map(float, row[1].rstrip(" *").split(" / "))
        for place, cell in zip(ASSUMPTIONS, row[2:], strict=True):
            if way.best:
                trades = way.market.replay(tape.assuming(place), way.best).trades
                assert (entry, exit_) == pytest.approx(way.best[:2], abs=0.06) and cell.startswith(f"{len(trades)}: ")
    plain = roles.chosen(replace(tape, queues=Queues(NO_PRINTS, NO_PRINTS, 0)), market, Constraints(max_hold_s=40.0))
    assert "trades of others (--spot-trades)" in repr(ways_table(plain, tape))
    with pytest.raises(ParamsError, match="middle is a share of the queue fitted to own fills, and none is fitted"):
        tape.assuming("middle")


def test_no_leg_rests_where_no_trade_has_a_second_of_quotes_behind_it():
    """What prices do after a fill is not known then, and nothing is no answer to it."""
    whole = world(1)
    late = prints([whole.end_ns], [1], [100.0], [1.0])
    tape = replace(whole, queues=Queues(late, late, 0))
    market = Market(SPOT_TERMS, PERP_TERMS, LATENCY)
    assert roles.expected_adverse_bps(tape, SPOT) is None
    assert [rule.maker_leg for rule in roles.conducts(tape, market)] == [None]
    assert {rule.maker_leg for rule in roles.conducts(whole, market)} == {None, "spot", "perp"}


def carry_world(days=66, funding_bps_day=6.0, every_s=300, seed=5):
    """Spot is wide (10 bps) and traded by people who know nothing, the perpetual is tight, and funding pays every 8 hours."""
    rng, n = np.random.default_rng(seed), days * 86_400 // every_s
    mid = 100 * np.exp(np.cumsum(rng.normal(0, 2e-4, n)))
    ts = (np.arange(1, n + 1) * every_s * NS).astype(np.int64)
    bid, perp = np.floor(mid * (1 - 5e-4) * 1000) / 1000, np.floor(mid * 1000) / 1000
    rows = []
    for k in range(n):
        rows.append((int(ts[k]), SPOT, float(bid[k]), float(round(bid[k] + 0.1, 3)), 1.0, 1.0))
        rows.append((int(ts[k]), PERP, float(perp[k]), float(round(perp[k] + 0.002, 3)), 500.0, 500.0))
    side, deep = rng.choice((-1, 1), n), 0.05 * (rng.random(n) < 0.3)
    trades = prints(ts + 2 * NS, side, np.where(side < 0, bid - deep, bid + 0.1 + deep), rng.exponential(3.0, n) + 0.01)
    paid = tuple(FundingPayment(k * 8 * 3600 * NS, funding_bps_day / 3e4, 100.0, True) for k in range(1, days * 3 + 1))
    return replace(Tape.of(rows), queues=Queues(trades, NO_PRINTS, 0)), paid


@pytest.mark.slow
def test_the_walk_of_a_carry_chooses_the_leg_that_rests_and_asks_back_and_through():
    tape, paid = carry_world()
    spot = VenueTerms(venue="mexc", taker_fee_bps=5.0, maker_fee_bps=0.0, qty_step=0.01, price_tick=0.001)
    perp = VenueTerms(venue="gate", taker_fee_bps=2.0, qty_step=0.01, min_qty=0.01)
    settings = Rule(clip_usdt=100.0, max_quote_age_s=60.0, leg_deadline_s=130.0)
    market = Market(spot, perp, payments=paid, settings=settings)
    walk = partial(carry_walk_forward.walk, look_back_s=30 * DAY_S, step_s=10 * DAY_S, rng=np.random.default_rng(7))
    found = walk(tape, market)
    assert (
        found.pays
        and found.market.settings.maker_leg == "spot"
        and found.market.settings.resting.longest_rest_s == 4 * 3600
    )
    assert (found.result.assumed, found.through.result.assumed) == ("back", "through")
    assert found.result.rested and found.taken is None and "spot rests" in repr(found)
    assert [g.name for g in found.gates[6:]] == [f"under through: {g.name}" for g in found.gates[:6]]
    poor = replace(found, through=replace(found.through, cash_percent=1e6))
    assert not poor.pays and "under through: net a year on all capital" in poor.verdict  # one of them is not enough
    both = walk(replace(tape, queues=Queues(NO_PRINTS, NO_PRINTS, 0)), market)
    assert both.market.settings.resting is None and both.through is None and both.conduct == ""
