"""A leg that rests: the backtest, the runner on paper, and the runner on the local venues, fill by fill to the last digit."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from live_stage import stage
from test_live import drive, rule_params
from test_live_resting_session import RESTS, config

from delta_arb.backtest import replay as backtest
from delta_arb.latency import Latency
from delta_arb.market import ASSUMPTIONS, LEGS, NS, PERP, SPOT
from delta_arb.params import Rule
from delta_arb.quotes.depth_and_trades import NO_DEPTH, Depth, prints, snapshot
from delta_arb.quotes.tape import Tape
from delta_arb.rule_params import RestingLeg
from delta_arb.sandbox.venues import Feed
from delta_arb.strategy.rule import make_rule
from delta_arb.strategy.state import FLAT
from delta_arb.venue_terms import VenueTerms

TICK = 0.0001
SPOT_TERMS = VenueTerms(venue="mexc", taker_fee_bps=5.0, maker_fee_bps=0.0, qty_step=1.0, min_qty=1.0, price_tick=TICK)
PERP_TERMS = VenueTerms(
    venue="gate", taker_fee_bps=5.0, maker_fee_bps=2.0, contract_size=10.0, qty_step=10.0, min_qty=10.0, price_tick=TICK
)


def walk(seed, rows, step_s=0.1):
    """Quotes of both legs around a walk of the price and a basis that comes back, and trades at and beyond the touch."""
    rng = np.random.default_rng(seed)
    price, basis, quotes, trades = 8000, 5.0, [], []
    for k in range(rows):
        price = int(np.clip(price + rng.integers(-1, 2), 7500, 8500))
        basis += 0.1 * (3.0 - basis) + rng.normal(0.0, 3.0)
        leg, at_ns = int(rng.integers(2)), round(k * step_s * NS)
        bid = price if leg == SPOT else round(price * (1.0 + basis / 1e4))
        bid_qty, ask_qty = rng.integers(1, 30, 2) * (1.0 if leg == SPOT else 10.0)
        quotes.append((at_ns, leg, bid * TICK, (bid + 2) * TICK, bid_qty, ask_qty))
        if rng.random() < 0.7:
            side, beyond = int(rng.choice((-1, 1))), int(rng.integers(0, 3))
            level = price + 2 + beyond if side > 0 else price - beyond
            trades.append((at_ns + int(rng.integers(0, 2)) * NS // 50, side, level * TICK, float(rng.integers(1, 40))))
    tape = Tape.of([(t, leg, round(b, 4), round(a, 4), x, y) for t, leg, b, a, x, y in quotes])
    ts_ns, side, level, qty = zip(*sorted(trades, key=lambda t: t[0]))
    return replace(tape, queues=tape.queues._replace(spot=prints(ts_ns, side, np.round(level, 4), qty)))


def a_rule(**changes):
    resting = RestingLeg(
        adverse_bps=0.0, tolerance_bps=1.0, least_life_s=0.3, quotes_per_minute=600.0, longest_rest_s=60.0,
        **changes.pop("resting", {}),
    )  # fmt: skip
    rule = Rule(
        **{"entry_bps": 2.0, "exit_bps": 1.0, "max_hold_s": 120.0, "clip_usdt": 50.0, "leg_deadline_s": 6.0,
           "spot_role": "maker", "resting": resting} | changes
    )  # fmt: skip
    return make_rule(rule, SPOT_TERMS, PERP_TERMS)


class Given:
    """What `drive` asks of its inputs."""

    @staticmethod
    def latency():
        return Latency(0.03, 0.05)


@pytest.mark.parametrize("queue", ASSUMPTIONS)
def test_the_runner_on_paper_does_what_the_backtest_does(tmp_path, queue):
    tape, rule = walk(3, 6_000).assuming(queue), a_rule()
    expected = backtest.run(tape, rule, Given.latency(), ())
    runner, trades, sent, fills = drive(Given, tape, rule, (), tmp_path)
    assert repr(tuple(runner.trades)) == repr(expected.trades)
    assert repr(tuple(trades)) == repr(expected.trades)
    assert sent == [(s.pair, s.ts_ns, LEGS[s.leg], s.qty, s.limit) for s in expected.sent]
    assert fills == [(f.pair, f.ts_ns, LEGS[f.leg], f.qty, f.price, f.fee_usdt) for f in expected.fills]
    assert sum(leg == "spot" for _, _, leg, *_ in fills) >= 50


# --- Recorded levels --------------------------------------------------------------------------------------------------


def levels(at_s, bids, asks):
    """A snapshot of so many levels a side; those that are missing have the price 0."""
    numbers = [(*side, *[(0.0, 0.0)] * (5 - len(side))) for side in (bids, asks)]
    return snapshot(round(at_s * NS), [number for side in numbers for level in side for number in level])


def test_paper_takes_from_the_recorded_levels_as_the_backtest_does_by_hand(tmp_path):
    """Entry: 5 coins are bought where the ask has shrunk to 2 at 100.2: 1 more at 100.3 and 2 at 100.6, 501.9 in all; sold at 101.0.
    Exit: sold at 101.0, bought back 3 at 101.0, 1 at 101.1, 1 at 101.2, 505.3 in all. Fees of 2 bps on spot and 1 bp.
    Of a book of which only the best is known, 2 are bought at first.
    """
    rows = [
        (0.0, SPOT, 100.0, 100.2, 10.0), (0.0, PERP, 101.0, 101.2, 10.0), (0.05, SPOT, 100.0, 100.2, 2.0),
        (2.0, SPOT, 101.0, 101.2, 10.0), (2.0, PERP, 100.9, 101.0, 10.0), (2.05, PERP, 100.9, 101.0, 3.0),
        (4.0, SPOT, 101.0, 101.2, 10.0), (4.0, PERP, 100.9, 101.0, 10.0),
    ]  # fmt: skip
    bare = Tape.of([(round(t * NS), leg, bid, ask, qty, qty) for t, leg, bid, ask, qty in rows])
    spot = levels(0.05, [(100.0, 2.0)], [(100.2, 2.0), (100.3, 1.0), (100.6, 9.0)])
    perp = levels(2.05, [(100.9, 3.0)], [(101.0, 3.0), (101.1, 1.0), (101.2, 5.0)])
    terms = (
        SPOT_TERMS.replace(taker_fee_bps=2.0, price_tick=0.1),
        PERP_TERMS.replace(taker_fee_bps=1.0, contract_size=1.0, qty_step=1.0, min_qty=1.0, price_tick=0.1),
    )
    settings = Rule(entry_bps=70.0, exit_bps=5.0, max_hold_s=100.0, clip_usdt=510.0, leg_deadline_s=6.0)
    rule, latency = make_rule(settings, *terms), type("Of", (), {"latency": staticmethod(lambda: Latency(0.1, 0.15))})

    tape = replace(bare, depths=(spot, perp))
    for plain in (True, False):
        done = backtest.run(tape, rule, latency.latency(), (), plain=plain)
        got = [(f.leg, f.qty, f.price) for f in done.fills]
        assert got == [
            (SPOT, 5.0, pytest.approx(100.38)), (PERP, -5.0, 101.0), (SPOT, -5.0, 101.0), (PERP, 5.0, pytest.approx(101.06))
        ]  # fmt: skip
        fees = 2e-4 * (501.9 + 505.0) + 1e-4 * (505.0 + 505.3)
        assert done.net_usdt == pytest.approx((505.0 - 501.9) + (505.0 - 505.3) - fees, abs=1e-9)
    runner, _, sent, fills = drive(latency, tape, rule, (), tmp_path)
    assert repr(tuple(runner.trades)) == repr(done.trades)
    assert sent == [(s.pair, s.ts_ns, LEGS[s.leg], s.qty, s.limit) for s in done.sent]
    assert fills == [(f.pair, f.ts_ns, LEGS[f.leg], f.qty, f.price, f.fee_usdt) for f in done.fills]
    assert backtest.run(bare, rule, latency.latency(), ()).fills[0][3:5] == (2.0, 100.2)


def test_a_snapshot_of_levels_fills_one_order_in_each_replay_by_hand(tmp_path):
    """5 coins are wanted. 2 are bought at 100.2 and 1 at 100.3; what is left is ordered again on fresh quotes of 1 at
    100.2, and the 1 at 100.3 of the same snapshot is not sold a second time.
    """
    rows = [(0.0, SPOT, 100.0, 100.2, 10.0), (0.0, PERP, 101.0, 101.2, 10.0), (0.05, SPOT, 100.0, 100.2, 2.0)]
    rows += [(0.15 + n / 20, SPOT, 100.0, 100.2, 1.0) for n in range(12)]
    bare = Tape.of([(round(t * NS), leg, bid, ask, qty, qty) for t, leg, bid, ask, qty in rows])
    spot = levels(0.05, [(100.0, 2.0)], [(100.2, 2.0), (100.3, 1.0)])
    terms = (
        SPOT_TERMS.replace(taker_fee_bps=2.0, price_tick=0.1),
        PERP_TERMS.replace(taker_fee_bps=1.0, contract_size=1.0, qty_step=1.0, min_qty=1.0, price_tick=0.1),
    )
    settings = Rule(entry_bps=70.0, exit_bps=5.0, max_hold_s=100.0, clip_usdt=510.0, leg_deadline_s=6.0)
    rule, latency = make_rule(settings, *terms), type("Of", (), {"latency": staticmethod(lambda: Latency(0.1, 0.15))})
    tape = replace(bare, depths=(spot, NO_DEPTH))
    bought = [(3.0, pytest.approx((2 * 100.2 + 100.3) / 3)), (1.0, 100.2), (1.0, 100.2)]
    for plain in (True, False):
        done = backtest.run(tape, rule, latency.latency(), (), plain=plain)
        assert [(f.qty, f.price) for f in done.fills if f.leg == SPOT and f.qty > 0.0] == bought
    _, _, _, fills = drive(latency, tape, rule, (), tmp_path)
    assert [(qty, price) for _, _, leg, qty, price, _ in fills if leg == "spot" and qty > 0.0] == bought


def test_paper_rests_behind_what_the_levels_show_as_the_backtest_does(tmp_path):
    """Snapshots of both books through the whole walk: more is known of the queue, and both still agree to the last digit."""
    tape, rule = walk(3, 1_500), a_rule()
    every = [
        [
            levels(ts / NS, [(bid - k * TICK, 5.0 + k) for k in range(5)], [(ask + k * TICK, 3.0 + k) for k in range(5)])
            for ts, of, bid, ask in zip(tape.ts_ns, tape.leg, *(getattr(tape, f"{LEGS[leg]}_{side}") for side in ("bid", "ask")))
            if of == leg
        ]
        for leg in (SPOT, PERP)
    ]  # fmt: skip
    tape = replace(tape, depths=tuple(Depth(*map(np.concatenate, zip(*found))) for found in every))
    expected = backtest.run(tape, rule, Given.latency(), ())
    runner, _, _, fills = drive(Given, tape, rule, (), tmp_path)
    assert repr(tuple(runner.trades)) == repr(expected.trades)
    assert fills == [(f.pair, f.ts_ns, LEGS[f.leg], f.qty, f.price, f.fee_usdt) for f in expected.fills]
    assert fills != drive(Given, replace(tape, depths=(NO_DEPTH, NO_DEPTH)), rule, (), tmp_path / "bare")[3]


# --- Live on the local venues -----------------------------------------------------------------------------------------

STEP_S = 0.8  # a busy machine must have hedged by the next step


def scripted(seed, pairs):
    """Pairs that are entered and left by resting, each end filled in two parts by trades beyond the quote."""
    rng, now_ns, quotes, trades = np.random.default_rng(seed), NS, [], []

    def show(spot, perp):
        nonlocal now_ns
        for leg, bid in ((SPOT, spot), (PERP, perp)):
            quotes.append(
                (now_ns, leg, round(bid * TICK, 4), round((bid + 2) * TICK, 4), 500.0, 500.0 + rng.integers(9))
            )
        now_ns += round(STEP_S * NS)

    def trade(side, level, qty):
        nonlocal now_ns
        trades.append((now_ns, side, round(level * TICK, 4), qty))
        now_ns += round(STEP_S * NS)

    show(8000, 8001)
    for _ in range(pairs):
        spot = int(8000 + rng.integers(-20, 20))
        first, last = 5.0 * rng.integers(2, 12), 5.0 * rng.integers(2, 12)
        show(spot, spot + 18)
        trade(-1, spot - 1, float(first))
        trade(-1, spot - 1, 100.0)
        show(spot, spot - 12)
        trade(1, spot + 6, float(last))
        trade(1, spot + 6, 100.0)
    show(8000, 8001)
    ts_ns, side, level, qty = zip(*trades)
    tape = Tape.of(quotes)
    return replace(tape, queues=tape.queues._replace(spot=prints(ts_ns, side, level, qty)))


def ran_live(tape, folder):
    """Fills and trades of the runner on local venues that play the tape at its own speed."""

    async def play():
        async with stage(folder, rule=LIVE_RULE, config=config()) as it:
            await it.start()
            it.quoting = False
            feed = Feed(tape, it.venues.spot, it.venues.perp, speed=1.0)
            feed.start()
            await feed.run()
            await it.until(lambda: it.phase == FLAT or not it.session.busy())
            assert await it.stop() == "stopped"
            it.agree()
            it.agree_on_money()
            return it.rows("SELECT leg, qty, price, fee_usdt FROM fills ORDER BY rowid"), it.session.runner.trades

    return asyncio.run(play())


LIVE_RULE = {
    "entry_bps": 15.0, "exit_bps": -12.0, "spot_role": "maker", "leg_deadline_s": 12.0, "max_quote_age_s": 5.0,
    "resting": RESTS.model_copy(update={"quotes_per_minute": 6000.0}),
}  # fmt: skip


@pytest.mark.parametrize("pairs", [2, pytest.param(15, marks=pytest.mark.slow)])
def test_backtest_paper_and_live_on_local_venues_fill_alike(tmp_path, pairs):
    """Quantities and prices to the last digit; the venue's fees are exact decimals, ours floating point."""
    tape = scripted(5, pairs)
    fills, trades = ran_live(tape, tmp_path / "live")
    spot, perp = config().terms()
    rule = make_rule(rule_params(**LIVE_RULE), spot, perp)
    (tmp_path / "paper").mkdir()
    runner, _, _, paper = drive(Given, tape, rule, (), tmp_path / "paper")
    expected = backtest.run(tape, rule, Given.latency(), ())
    assert [(leg, qty, price) for _, _, leg, qty, price, _ in paper] == [f[:3] for f in fills]
    assert [(LEGS[f.leg], f.qty, f.price) for f in expected.fills] == [f[:3] for f in fills]
    assert [f.fee_usdt for f in expected.fills] == pytest.approx([f[3] for f in fills], abs=1e-12)
    assert [t.net_usdt for t in trades] == pytest.approx([t.net_usdt for t in expected.trades], abs=1e-12)
    assert repr(tuple(runner.trades)) == repr(expected.trades)
    assert len(trades) == pairs and sum(leg == "spot" for leg, *_ in fills) >= (50 if pairs > 2 else 6)
