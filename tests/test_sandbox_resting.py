"""Resting orders on the local venues: the queue of recorded trades, five levels, and what goes wrong around a cancel."""

import asyncio
import json
import math
from dataclasses import replace
from decimal import Decimal as D
from pathlib import Path

import ccxt
import ccxt.pro
import pytest

from delta_arb.market import ASSUMPTIONS, BACK, NS
from delta_arb.quotes.depth_and_trades import Queues, prints
from delta_arb.quotes.tape import Tape
from delta_arb.sandbox import values as v
from delta_arb.sandbox.engine import Engine
from delta_arb.sandbox.faults import Fault, Faults
from delta_arb.sandbox.perpetual import PerpetualEngine
from delta_arb.sandbox.values import BUY, IOC, POST_ONLY, SELL, Listing, Print, Quote, Settings, Trade, dec
from delta_arb.sandbox.venues import Feed, Venues, setup_of

PAIR = "SYN_USDT"
TAPES = json.loads((Path(__file__).parent / "maker_tapes.json").read_text("utf-8"))
COMMON, SIDES = TAPES["common"], {"buy": BUY, "sell": SELL}
LISTING = Listing("SYN", dec(COMMON["spot_tick"]), dec(COMMON["spot_step"]))
CASES = [(tape, assumption) for tape in TAPES["tapes"] for assumption in ASSUMPTIONS]


def venue(*faults, at="100.0", shown=5, settings=None, **changes):
    """A spot venue at 100.0 / 100.2 with orders in the queue behind what is shown."""
    later = []
    engine = Engine(
        "mexc", [LISTING], {"USDT": D(10_000), "SYN": D(100)}, faults=Faults("mexc", lambda: 1.0, faults),
        settings=settings or Settings(maker_fee=D(0), **changes), later=lambda s, act: later.append((s, act)),
    )  # fmt: skip
    engine.quote(PAIR, D(at), D(shown), D("100.2"), D(5))
    return engine, later


def rest(engine, qty=2, price="100.0", side=BUY, tif=POST_ONLY):
    return engine.place(PAIR, side, qty=D(qty), price=D(price), tif=tif).id


def heard(engine, kind):
    events = []
    engine.listen(kind, events.append)
    return events


# The twenty tapes, by hand


def steps(tape):
    """What reaches the spot venue, in the order of the rules: trades, rows, arrivals."""
    for ts, where, kind, *rest in tape["events"]:
        if where == "spot":
            yield ts, 0 if kind == "trade" else 1, rest
    for ts, what, *rest in tape["commands"]:
        yield round(ts + COMMON["place_s" if what == "place" else "cancel_s"], 9), 2, rest


@pytest.mark.parametrize(("tape", "assumption"), CASES, ids=[f"{t['name']}, {a}" for t, a in CASES])
def test_the_venue_fills_every_tape_as_worked_by_hand(tape, assumption):
    engine, _ = venue(queue=assumption)
    fills, order, now = [], None, 0.0
    engine.listen(Trade, lambda t: fills.append((now, t.side * t.qty, t.price)) if t.maker else None)
    refused = []
    for now, kind, rest in sorted(steps(tape), key=lambda step: step[:2]):
        if kind == 0:
            engine.print_trade(PAIR, SIDES[rest[0]], dec(rest[2]), dec(rest[1]))
        elif kind == 1:
            engine.quote(PAIR, *map(dec, rest))
        elif not rest:
            if engine.order(order).state == v.OPEN:
                engine.cancel(order)
        else:
            try:
                order = engine.place(PAIR, SIDES[rest[0]], qty=dec(rest[1]), price=dec(rest[2]), tif=POST_ONLY).id
            except v.WouldTakeLiquidity:
                refused.append(now)
    expected = tape["expected"][assumption]
    merged = {}
    for ts, qty, price in fills:
        merged[ts, price] = merged.get((ts, price), 0) + qty
    assert [(ts, float(qty), float(price)) for (ts, price), qty in merged.items()] == [
        tuple(fill) for fill in expected["fills"]
    ]
    assert refused == ([expected["refused"]] if "refused" in expected else [])


# The queue and the levels


def test_a_trade_of_others_is_printed_once_and_shared_best_price_first():
    engine, _ = venue(queue="front")
    low, high = rest(engine, 3, "100.0"), rest(engine, 2, "100.1")
    shown = heard(engine, Print)
    engine.print_trade(PAIR, SELL, D("100.0"), D(4))
    assert (engine.order(high).filled, engine.order(low).filled) == (2, 2)
    assert [(p.price, p.qty) for p in shown] == [(D("100.0"), D(4))]


def test_an_order_that_is_made_smaller_keeps_its_place_and_one_at_another_price_joins_behind():
    for qty, price, filled in ((1, "100.0", 1), (2, "100.1", 2), (3, "100.0", 0)):
        engine, _ = venue()
        order = rest(engine, 2, "100.0")
        engine.print_trade(PAIR, SELL, D("100.0"), D(5))  # what was ahead of it
        engine.amend(order, D(qty), D(price))
        engine.print_trade(PAIR, SELL, D(price), D(2))
        assert engine.order(order).filled == filled


def test_five_levels_stand_behind_a_quote_and_are_consumed_and_refilled():
    engine, _ = venue()
    engine.behind = (D("1.5"), D(2), D(3), D(4))
    engine.quote(PAIR, D("100.0"), D(5), D("100.2"), D(5))
    book = engine.books[PAIR]
    assert book.levels(SELL) == [
        (D(f"100.{n}"), q) for n, q in zip(range(2, 7), map(D, ("5", "7.5", "10", "15", "20")))
    ]
    assert book.levels(BUY)[-1] == (D("99.6"), D(20))
    order = engine.place(PAIR, BUY, qty=D(10), price=D("100.3"), tif=IOC)
    assert (order.filled, book.levels(SELL)[0]) == (10, (D("100.3"), D("2.5")))
    engine.quote(PAIR, D("100.0"), D(5), D("100.2"), D(5))
    assert book.best(SELL) == (D("100.2"), D(5))


def test_a_deeper_level_that_is_shown_tells_what_is_ahead():
    engine, _ = venue()
    engine.behind = (D(2),)
    engine.quote(PAIR, D("100.0"), D(5), D("100.2"), D(5))
    order = rest(engine, 2, "99.9")  # 10 are shown there
    engine.print_trade(PAIR, SELL, D("99.9"), D(11))
    assert engine.order(order).filled == 1


def test_a_feed_plays_the_trades_before_the_rows_of_their_stamp():
    rows = [(0, 0, 1.0, 1.1, 50.0, 50.0), (0, 1, 1.0, 1.1, 500.0, 500.0), (2, 0, 0.9, 1.0, 40.0, 50.0)]
    tape = Tape.of([(row[0] * NS, *row[1:]) for row in rows] + [(3 * NS, 1, 1.0, 1.1, 500.0, 500.0)])
    spot = prints([2 * NS, 9 * NS], [SELL, BUY], [0.9, 1.0], [7.0, 1.0])
    tape = replace(tape, queues=Queues(spot, prints([1 * NS], [BUY], [1.1], [20.0]), BACK))
    setup = setup_of(tape, "SYN", D(10))
    engines = Engine("mexc", [setup.spot], {}), PerpetualEngine("gate", [setup.perp], {})
    feed = Feed(tape, *engines, speed=math.inf)
    seen = []
    for engine in engines:
        engine.listen(Print, lambda p, e=engine: seen.append((e.venue, float(p.price), float(p.qty), p.side)))
        engine.listen(Quote, lambda q, e=engine: seen.append((e.venue, float(q.bid))))
    feed.start()
    asyncio.run(feed.run())
    assert seen[2:] == [("gate", 1.1, 20.0, BUY), ("mexc", 0.9, 7.0, SELL), ("mexc", 0.9)]


# What goes wrong


def test_a_post_only_order_is_refused_or_accepted_and_cancelled_when_a_fault_says_that_it_would_take():
    refusing, _ = venue(Fault("order.create", "would_take"))
    with pytest.raises(v.WouldTakeLiquidity):
        rest(refusing)
    assert rest(refusing)
    cancelling, _ = venue(Fault("order.create", "would_take"), settings=Settings(post_only_refused=False))
    assert cancelling.order(rest(cancelling)).finish == v.BY_POST_ONLY


def test_an_order_that_fills_whole_during_its_cancel_is_not_there_to_be_cancelled():
    engine, _ = venue(Fault("order.cancel", "late_fill", fraction=1.0))
    order = rest(engine)
    with pytest.raises(v.OrderFinished):
        engine.cancel(order)
    assert engine.order(order).state == v.FILLED


def test_a_fill_after_the_cancel_is_booked_once_and_leaves_no_coin_locked():
    engine, later = venue(Fault("order.cancel", "fill_after", fraction=0.5, seconds=0.3))
    order = rest(engine)
    assert engine.cancel(order).filled == 0
    [(seconds, act)] = later
    act()
    order = engine.order(order)
    assert (seconds, order.state, order.filled) == (0.3, v.CANCELLED, 1)
    account = engine.account
    assert (account.free["USDT"], account.locked["USDT"], account.free["SYN"]) == (9_900, 0, 101)


# Through genuine clients


def on_the_wire(play, *faults, **setup):
    async def go():
        async with asyncio.timeout(20), Venues.quiet(faults, **setup) as venues:
            venues.quote("0.8000", 50, "0.8002", 50)
            clients = {}
            try:
                for name, config in venues.config().items():
                    clients[name] = getattr(ccxt.pro, name)(config | {"enableRateLimit": False})
                await play(venues, clients["mexc"], clients["gate"])
            finally:
                for client in clients.values():
                    await client.close()

    asyncio.run(go())


def test_a_trade_fills_a_resting_order_and_a_cancel_then_finds_nothing():
    async def play(venues, mexc, gate):
        for client, symbol, leg, qty in ((mexc, "SYN/USDT", "spot", 20), (gate, "SYN/USDT:USDT", "perp", 2)):
            await client.load_markets()
            order = await client.create_order(symbol, "limit", "buy", qty, 0.8, {"postOnly": True})
            venues.trade(SELL, "0.8", 60, leg)  # 50 were there before us
            found = await client.fetch_order(order["id"], symbol)
            assert (found["status"], found["filled"]) == ("open", qty / 2)
            assert [o["id"] for o in await client.fetch_open_orders(symbol)] == [order["id"]]
            venues.trade(SELL, "0.7999", 60, leg)
            assert (await client.fetch_my_trades(symbol))[-1]["takerOrMaker"] == "maker"
            with pytest.raises(ccxt.ExchangeError, match=r"-2011|ORDER_FINISHED"):
                await client.cancel_order(order["id"], symbol)

    on_the_wire(play)


def test_a_countdown_cancels_what_rests_on_gate_unless_it_is_refreshed():
    async def play(venues, mexc, gate):
        await gate.load_markets()
        later = []
        venues.perp.later = lambda seconds, act: later.append((seconds, act))
        order = await gate.create_order("SYN/USDT:USDT", "limit", "sell", 2, 0.9, {"postOnly": True})
        for _ in range(2):
            asked = {"settle": "usdt", "timeout": 5, "contract": "SYN_USDT"}
            await gate.privateFuturesPostSettleCountdownCancelAll(asked)
        (_, first), (seconds, second) = later
        first()
        assert (await gate.fetch_order(order["id"], "SYN/USDT:USDT"))["status"] == "open"
        second()
        assert (seconds, (await gate.fetch_order(order["id"], "SYN/USDT:USDT"))["status"]) == (5, "canceled")

    on_the_wire(play)
