"""The venues' engine: what fills, at what price, out of which size, and what it does to wallets and positions."""

import asyncio
import math
from decimal import Decimal as D

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delta_arb.market import NS, FundingPayment
from delta_arb.quotes.tape import Tape
from delta_arb.sandbox import values as v
from delta_arb.sandbox.engine import Engine
from delta_arb.sandbox.faults import Fault, Faults
from delta_arb.sandbox.perpetual import PerpetualEngine
from delta_arb.sandbox.values import (
    BUY,
    IOC,
    MARKET,
    POST_ONLY,
    SELL,
    Listing,
    Order,
    Quote,
    Settings,
    Trade,
    text,
)
from delta_arb.sandbox.venues import Feed, setup_of

PAIR = "SYN_USDT"
SPOT = Listing("SYN", D("0.01"), D(1), D(1), min_notional=D(1))
PERP = Listing("SYN", D("0.01"), D(10), D(10), contract_size=D(10))
TAKER = D("0.001")
FEES = Settings(taker_fee=TAKER, maker_fee=D(0), leverage=D(10))


def spot(usdt=1000, coins=100, settings=FEES, faults=None):
    engine = Engine("mexc", [SPOT], {"USDT": D(usdt), "SYN": D(coins)}, settings=settings, faults=faults)
    quote(engine, "0.99", 50, "1.01", 40)
    return engine


def perp(usdt=100, settings=FEES, faults=None):
    engine = PerpetualEngine("gate", [PERP], {"USDT": D(usdt)}, settings=settings, faults=faults)
    quote(engine, "0.99", 500, "1.01", 400)
    return engine


def quote(engine, bid, bid_qty, ask, ask_qty):
    engine.quote(PAIR, D(bid), D(bid_qty), D(ask), D(ask_qty))


def script(*faults):
    return Faults("gate", lambda: 1.0, faults)


def heard(engine, kind):
    events = []
    engine.listen(kind, events.append)
    return events


# What fills


def test_a_limit_order_fills_at_the_shown_price_not_at_its_limit():
    order = spot().place(PAIR, BUY, qty=D(10), price=D("1.05"), tif=IOC)
    assert (order.state, order.filled, order.average, order.fee) == (v.FILLED, D(10), D("1.01"), D("0.0101"))


def test_an_ioc_order_fills_what_is_shown_and_cancels_the_rest():
    order = spot().place(PAIR, BUY, qty=D(60), price=D("1.01"), tif=IOC)
    assert (order.state, order.finish, order.filled, order.left) == (v.CANCELLED, v.BY_IOC, D(40), D(20))


def test_size_taken_is_gone_until_the_next_quote_and_prices_do_not_move():
    engine = spot()
    shown = heard(engine, Quote)
    engine.place(PAIR, BUY, qty=D(30), price=D("1.01"), tif=IOC)
    assert (shown[-1].ask, shown[-1].ask_qty, shown[-1].bid_qty) == (D("1.01"), D(10), D(50))
    assert engine.place(PAIR, BUY, qty=D(30), price=D("1.01"), tif=IOC).filled == D(10)
    assert (shown[-1].ask, shown[-1].ask_qty) == (D(0), D(0))
    assert engine.place(PAIR, BUY, qty=D(30), price=D("1.01"), tif=IOC).filled == 0
    quote(engine, "0.99", 50, "1.01", 40)
    assert shown[-1].ask_qty == D(40)
    assert engine.place(PAIR, BUY, qty=D(30), price=D("1.01"), tif=IOC).filled == D(30)


def test_a_deep_book_is_taken_level_by_level_up_to_the_limit():
    engine = spot()
    engine.set_book(PAIR, [(D("0.99"), D(5))], [(D("1.01"), D(10)), (D("1.02"), D(10)), (D("1.05"), D(100))])
    order = engine.place(PAIR, BUY, qty=D(50), price=D("1.02"), tif=IOC)
    assert order.filled == 20
    assert order.average == D("1.015")
    assert [(t.price, t.qty) for t in engine.trades] == [(D("1.01"), D(10)), (D("1.02"), D(10))]


def test_a_resting_order_fills_at_its_own_price_as_maker_when_a_quote_reaches_it():
    engine = spot()
    order = engine.place(PAIR, BUY, qty=D(60), price=D("1.00"))
    assert order.state == v.OPEN
    quote(engine, "0.97", 50, "0.98", 25)
    assert engine.order(order.id).filled == D(25)
    quote(engine, "0.97", 50, "1.00", 100)
    order = engine.order(order.id)
    assert (order.state, order.average, order.fee) == (v.FILLED, D("1.00"), 0)
    assert all(trade.maker for trade in engine.trades)


def test_an_unchanged_quote_shows_its_size_again():
    engine = spot()
    order = engine.place(PAIR, BUY, qty=D(60), price=D("1.01"))
    assert order.filled == D(40)
    quote(engine, "0.99", 50, "1.01", 40)
    assert engine.order(order.id).state == v.FILLED


def test_resting_orders_share_the_size_shown_best_price_first():
    engine = spot()
    low = engine.place(PAIR, BUY, qty=D(30), price=D("0.99"))
    high = engine.place(PAIR, BUY, qty=D(30), price=D("1.00"))
    quote(engine, "0.97", 50, "0.98", 40)
    assert (engine.order(high.id).filled, engine.order(low.id).filled) == (D(30), D(10))


def test_a_post_only_order_never_takes():
    with pytest.raises(v.WouldTakeLiquidity):
        spot().place(PAIR, BUY, qty=D(1), price=D("1.01"), tif=POST_ONLY)
    engine = spot(settings=Settings(post_only_refused=False))
    order = engine.place(PAIR, BUY, qty=D(1), price=D("1.01"), tif=POST_ONLY)
    assert (order.state, order.finish, order.filled) == (v.CANCELLED, v.BY_POST_ONLY, 0)
    assert engine.place(PAIR, BUY, qty=D(1), price=D("1.00"), tif=POST_ONLY).state == v.OPEN


def test_market_orders_take_what_is_shown():
    engine = spot()
    assert engine.place(PAIR, SELL, MARKET, D(60)).filled == D(50)
    assert engine.place(PAIR, BUY, MARKET, D(30)).filled == D(30)


def test_a_withdrawn_book_fills_nothing_and_keeps_the_mark():
    engine = spot()
    quote(engine, "0.99", 0, "1.01", 0)
    assert engine.place(PAIR, BUY, qty=D(10), price=D("1.01"), tif=IOC).filled == 0
    assert engine.marks[PAIR] == D("1.00")


# Refusals


@pytest.mark.parametrize(
    ("refusal", "order"),
    [
        (v.UnknownPair, {"pair": "BTC_USDT", "qty": D(10), "price": D(1)}),
        (v.InsufficientFunds, {"qty": D(1000), "price": D(1)}),
        (v.BelowMinimum, {"qty": D(0), "price": D(1)}),
        (v.BelowNotional, {"qty": D(1), "price": D("0.9")}),
        (v.AboveMaximum, {"qty": D(10) ** 13, "price": D(1)}),
        (v.BadPrecision, {"qty": D("1.5"), "price": D(1)}),
        (v.BadPrecision, {"qty": D(10), "price": D("1.001")}),
        (v.BadPrecision, {"qty": D(10), "price": D(-1)}),
        (v.PriceTooDeviated, {"qty": D(10), "price": D("1.51")}),
    ],
)
def test_what_the_rules_forbid_is_refused_and_leaves_no_trace(refusal, order):
    engine = spot()
    with pytest.raises(refusal):
        engine.place(**{"pair": PAIR, "side": BUY} | order)
    assert engine.orders == {}
    assert engine.account.free["USDT"] == 1000


def test_client_ids_are_unique_and_name_the_order():
    engine = spot()
    first = engine.place(PAIR, BUY, qty=D(10), price=D("0.95"), client_id="mine")
    with pytest.raises(v.DuplicateClientId):
        engine.place(PAIR, BUY, qty=D(10), price=D("0.95"), client_id="mine")
    assert engine.order(client_id="mine").id == first.id
    assert engine.cancel(client_id="mine").state == v.CANCELLED
    with pytest.raises(v.OrderFinished):
        engine.cancel(first.id)
    with pytest.raises(v.UnknownOrder):
        engine.order(client_id="other")


def test_a_pair_being_delisted_takes_no_orders_and_cancels_resting_ones():
    engine = spot()
    order = engine.place(PAIR, BUY, qty=D(10), price=D("0.95"))
    engine.delist(PAIR)
    assert engine.order(order.id).finish == v.BY_DELISTING
    with pytest.raises(v.NotTrading):
        engine.place(PAIR, BUY, qty=D(10), price=D("0.95"))
    engine.delist(PAIR, on=False)
    assert engine.place(PAIR, BUY, qty=D(10), price=D("0.95")).state == v.OPEN


# Wallets


def test_spot_locks_cost_and_fee_and_gives_back_what_it_did_not_need():
    engine = spot()
    order = engine.place(PAIR, BUY, qty=D(100), price=D("1.00"))
    assert (engine.account.free["USDT"], engine.account.locked["USDT"]) == (D("899.9"), D("100.1"))
    quote(engine, "0.97", 50, "0.98", 40)
    engine.cancel(order.id)
    assert engine.account.locked["USDT"] == 0
    assert engine.account.free["USDT"] == D(960)  # 40 at 1.00, maker pays nothing
    assert engine.account.free["SYN"] == D(140)


def test_the_fee_is_taken_in_quote_or_in_the_coin_received():
    engine = spot(settings=Settings(taker_fee=TAKER, fee_in=v.RECEIVED))
    engine.place(PAIR, BUY, qty=D(10), price=D("1.01"), tif=IOC)
    assert (engine.account.free["SYN"], engine.account.free["USDT"]) == (D("109.99"), D("989.9"))
    assert (engine.trades[-1].fee, engine.trades[-1].fee_coin) == (D("0.01"), "SYN")
    engine.place(PAIR, SELL, qty=D(10), price=D("0.99"), tif=IOC)
    assert engine.account.free["USDT"] == D("989.9") + D("9.9") * (1 - TAKER)


def test_the_fee_can_be_paid_in_the_venues_own_token():
    """MX at 2 USDT, Gate's points at 1; a thousand of them are there."""
    engine = spot(settings=Settings(taker_fee=TAKER, fee_in="MX"))
    engine.place(PAIR, BUY, qty=D(10), price=D("1.01"), tif=IOC)
    assert (engine.account.free["USDT"], engine.account.free["SYN"]) == (D("989.9"), D(110))
    assert engine.account.free["MX"] == 1000 - D("0.00505")  # a thousandth of 10.1 USDT
    assert (engine.trades[-1].fee, engine.trades[-1].fee_coin) == (D("0.00505"), "MX")
    engine = perp(settings=Settings(taker_fee=TAKER, fee_in="points"))
    engine.place(PAIR, SELL, qty=D(100), price=D("0.99"), tif=IOC)
    assert (engine.account.wallet, engine.account.points) == (D(100), 1000 - D("0.099"))


def test_a_short_earns_when_the_price_falls_and_pays_fees_in_usdt():
    engine = perp()
    engine.place(PAIR, SELL, qty=D(100), price=D("0.99"), tif=IOC)
    quote(engine, "0.89", 500, "0.90", 500)
    engine.place(PAIR, BUY, qty=D(100), price=D("0.90"), tif=IOC, reduce_only=True)
    position = engine.account.position(PAIR)
    assert engine.account.wallet == 100 + 9 - D("0.099") - D("0.09")
    assert (position.size, position.last_close) == (0, 9 - D("0.189"))
    assert engine.account.available == engine.account.wallet


def test_initial_margin_limits_what_can_be_opened():
    engine = perp(usdt=10)
    with pytest.raises(v.InsufficientFunds):
        engine.place(PAIR, SELL, qty=D(110), price=D("0.99"), tif=IOC)
    engine.place(PAIR, SELL, qty=D(90), price=D("0.99"), tif=IOC)
    assert engine.place(PAIR, BUY, qty=D(90), price=D("1.01"), tif=IOC).state == v.FILLED  # closing needs no margin


def test_a_reduce_only_order_never_opens_and_never_turns_a_position():
    engine = perp()
    with pytest.raises(v.NothingToReduce):
        engine.place(PAIR, BUY, qty=D(10), price=D("1.01"), tif=IOC, reduce_only=True)
    engine.place(PAIR, SELL, qty=D(30), price=D("0.99"), tif=IOC)
    order = engine.place(PAIR, BUY, qty=D(50), price=D("1.01"), tif=IOC, reduce_only=True)
    assert (order.filled, order.finish) == (D(30), v.BY_REDUCE_ONLY)
    assert engine.account.position(PAIR).size == 0


def test_a_resting_reduce_only_order_ends_with_the_position():
    engine = perp()
    engine.place(PAIR, SELL, qty=D(30), price=D("0.99"), tif=IOC)
    resting = engine.place(PAIR, BUY, qty=D(30), price=D("0.90"), reduce_only=True)
    engine.place(PAIR, BUY, qty=D(30), price=D("1.01"), tif=IOC)
    assert engine.order(resting.id).finish == v.BY_REDUCE_ONLY


def test_a_position_closed_whole_and_turned_keeps_exact_books():
    engine = perp()
    engine.place(PAIR, SELL, qty=D(30), price=D("0.99"), tif=IOC)
    engine.place(PAIR, BUY, qty=D(70), price=D("1.01"), tif=IOC)
    position = engine.account.position(PAIR)
    assert (position.size, position.entry) == (D(40), D("1.01"))
    assert engine.account.wallet == 100 - 30 * D("0.02") - TAKER * (30 * D("0.99") + 70 * D("1.01"))


def test_longs_pay_a_positive_funding_rate_and_shorts_receive_it():
    engine = perp()
    engine.place(PAIR, SELL, qty=D(100), price=D("0.99"), tif=IOC)
    before = engine.account.wallet
    assert engine.fund(PAIR, D("0.0001"), D("1.00")).paid_usdt == D("0.01")
    assert engine.account.wallet - before == D("0.01")
    assert engine.account.position(PAIR).funding == D("0.01")


def test_a_funding_flip_turns_the_sign():
    engine = perp(faults=script(Fault("market", "funding_flip")))
    engine.place(PAIR, SELL, qty=D(100), price=D("0.99"), tif=IOC)
    assert engine.fund(PAIR, D("0.0001"), D("1.00")).paid_usdt == D("-0.01")
    assert [line.do for line in engine.faults.log] == ["funding_flip"]


# Losing the position


@pytest.mark.parametrize("cross", [True, False])
def test_a_short_is_liquidated_when_the_mark_reaches_its_price_and_loses_its_backing_at_most(cross):
    engine = perp(usdt=20, settings=Settings(taker_fee=TAKER, cross_margin=cross, leverage=D(10)))
    engine.place(PAIR, SELL, qty=D(100), price=D("0.99"), tif=IOC)
    position = engine.account.position(PAIR)
    at = engine.account.liquidation_price(position)
    backing = engine.account.wallet if cross else engine.account.position_margin(position)
    assert at == pytest.approx(D("1.17") if cross else D("1.077"), abs=D("0.01"))
    below, above = (at - D("0.02")).quantize(D("0.01")), (at + D("0.02")).quantize(D("0.01"))
    quote(engine, below, 500, below, 500)
    assert position.size == D(-100)
    wallet, orders = engine.account.wallet, heard(engine, Order)
    quote(engine, above, 500, above, 500)
    assert position.size == 0
    assert wallet - backing - D("1.5") <= engine.account.wallet < wallet  # rounding of one price step, on 100 coins
    assert [(order.finish, order.filled) for order in orders] == [(v.BY_LIQUIDATION, D(100))]


def test_deleveraging_takes_a_part_in_whole_contracts():
    engine = perp()
    engine.place(PAIR, SELL, qty=D(100), price=D("0.99"), tif=IOC)
    engine.deleverage(PAIR, D("0.33"))
    assert engine.account.position(PAIR).size == D(-70)
    assert engine.trades[-1].order.finish == v.BY_ADL


# Faults of the matching


def test_a_late_fill_meets_the_book_of_its_release():
    later = []
    engine = spot(faults=Faults("mexc", lambda: 1.0, [Fault("order.create", "late_fill", seconds=2)]))
    engine.later = lambda seconds, callback: later.append((seconds, callback))
    order = engine.place(PAIR, BUY, qty=D(10), price=D("1.01"), tif=IOC)
    assert (order.state, order.filled, later[0][0]) == (v.OPEN, 0, 2)
    quote(engine, "0.99", 50, "1.00", 4)
    assert engine.order(order.id).filled == 0
    later[0][1]()
    order = engine.order(order.id)
    assert (order.state, order.filled, order.average) == (v.CANCELLED, D(4), D("1.00"))


def test_a_partial_fill_leaves_size_in_the_book():
    engine = spot(faults=Faults("mexc", lambda: 1.0, [Fault("order.create", "partial_fill", fraction=0.3)]))
    order = engine.place(PAIR, BUY, qty=D(10), price=D("1.01"), tif=IOC)
    assert (order.filled, order.finish) == (D(3), v.BY_IOC)


def test_an_order_fills_while_it_is_being_cancelled():
    engine = spot(faults=Faults("mexc", lambda: 1.0, [Fault("order.cancel", "late_fill", fraction=0.5)]))
    order = engine.place(PAIR, BUY, qty=D(10), price=D("0.95"))
    order = engine.cancel(order.id)
    assert (order.state, order.filled, order.average) == (v.CANCELLED, D(5), D("0.95"))


def test_one_frozen_side_is_shown_frozen_while_matching_goes_on():
    engine = spot(faults=Faults("mexc", lambda: 1.0, [Fault("stream.ticker", "freeze", side="ask", skip=1)]))
    shown = heard(engine, Quote)
    quote(engine, "1.09", 5, "1.11", 5)
    assert (shown[-1].bid, shown[-1].ask) == (D("1.09"), D("1.01"))
    assert engine.place(PAIR, BUY, qty=D(5), price=D("1.11"), tif=IOC).average == D("1.11")


# The tape


def taped(rows):
    """A tape of (seconds, leg, bid, ask, bid_qty, ask_qty), and both engines listed for it."""
    tape = Tape.of([(round(row[0] * NS), *row[1:]) for row in rows])
    setup = setup_of(tape, "SYN", D(10))
    spot_ = Engine("mexc", [setup.spot], {"USDT": D(1000), "SYN": D(100)})
    return tape, spot_, PerpetualEngine("gate", [setup.perp], {"USDT": D(1000)})


def test_prices_and_sizes_come_out_as_on_the_tape_and_only_on_their_own_leg():
    rows = [(0, 0, 0.00006123, 0.00006125, 5e6, 7.5), (0, 1, 0.1 + 0.2, 0.31, 10.0, 1230.0)]
    rows += [(k, k % 2, 0.00006 + k * 1e-8, 0.3 + k, 10.0 * k, 30.0) for k in range(1, 20)]
    tape, *engines = taped(rows)
    feed = Feed(tape, *engines, speed=math.inf)
    shown = [heard(engine, Quote) for engine in engines]
    feed.start()
    asyncio.run(feed.run())
    for leg, quotes in enumerate(shown):
        got = [[float(x) for x in (q.bid, q.ask, q.bid_qty, q.ask_qty)] for q in quotes]
        assert got == [list(row[2:]) for row in rows if row[1] == leg]
    assert text(shown[0][0].bid) == "0.00006123"


def test_funding_is_paid_at_its_stamp_by_what_was_held_before_it():
    first = [(0, 0, 1.0, 1.1, 50.0, 50.0), (0, 1, 1.0, 1.1, 500.0, 500.0)]
    tape, spot_, perp_ = taped([*first, *[(1, 1, 1.0, 1.1, 40.0, 50.0)] * 2])
    payments = [FundingPayment(-NS, 0.002, 1.0, True), FundingPayment(NS, 0.001, 2.0, True)]
    feed = Feed(tape, spot_, perp_, payments=payments, speed=math.inf)
    feed.start()
    assert [f.rate for f in perp_.funding] == [D("0.002")]  # history, known from the start
    assert perp_.upcoming_funding[PAIR].rate == D("0.001")
    perp_.place(PAIR, SELL, qty=D(100), price=D(1), tif=IOC)
    perp_.listen(Quote, lambda q: perp_.place(PAIR, SELL, qty=D(10), price=D(1), tif=IOC) if q.bid_qty == 40 else None)
    asyncio.run(feed.run())
    assert [f.paid_usdt for f in perp_.funding] == [0, D("0.2")]
    assert perp_.account.position(PAIR).size < -100


def test_a_tape_plays_at_the_speed_asked_for_and_repeats():
    tape, *engines = taped([(k / 10, k % 2, 1.0 + k, 2.0 + k, 10.0, 10.0) for k in range(21)])

    async def go():
        feed = Feed(tape, *engines, speed=20.0, repeat=True)
        feed.start()
        task = asyncio.create_task(feed.run())
        await asyncio.sleep(0.25)
        task.cancel()
        return feed.rows

    assert 30 <= asyncio.run(go()) <= 60  # 200 rows a second, on a busy machine


def test_a_withdrawn_row_withdraws_the_book():
    tape, *engines = taped([(0, 0, 1.0, 1.1, 50.0, 50.0), (0, 1, 1.0, 1.1, 50.0, 50.0), (1, 1, 1.0, 1.1, 0.0, 0.0)])
    feed = Feed(tape, *engines, speed=math.inf)
    feed.start()
    asyncio.run(feed.run())
    assert engines[1].books[PAIR].levels(BUY) == []
    assert engines[1].marks[PAIR] == D("1.05")


# One consistent state, and nothing out of thin air


def test_listeners_are_told_after_the_state_is_true():
    engine, seen = perp(), []
    engine.listen(Trade, lambda trade: seen.append((engine.order(trade.order.id).filled, engine.account.wallet)))
    order = engine.place(PAIR, SELL, qty=D(30), price=D("0.99"), tif=IOC)
    assert seen == [(order.filled, engine.account.wallet)]


def test_each_push_shows_the_state_of_its_own_moment():
    engine = spot()
    pushes = heard(engine, Order)
    engine.place(PAIR, BUY, qty=D(60), price=D("1.01"), tif=IOC)
    assert [(o.state, o.filled) for o in pushes] == [(v.OPEN, 0), (v.OPEN, D(40)), (v.CANCELLED, D(40))]


STEPS = st.tuples(
    st.sampled_from(["quote", "order", "order", "order", "cancel", "fund", "adl", "liquidate"]),
    st.sampled_from([BUY, SELL]),
    st.sampled_from(["limit", "market"]),
    st.sampled_from([v.GTC, IOC, POST_ONLY]),
    st.integers(1, 12),  # contracts of ten
    st.integers(-6, 6),  # price steps from 1.00
    st.booleans(),  # reduce only
)
FAULTS = st.lists(
    st.sampled_from(
        [
            Fault("order.create", "partial_fill", fraction=0.4, times=3),
            Fault("order.cancel", "late_fill", fraction=0.5, times=3),
            Fault("market", "funding_flip"),
            Fault("order.create", "late_fill", seconds=1, times=2),
        ]
    ),
    max_size=3,
)


def play(engine, steps):
    """Do what the steps say; checks of every fill on the way. Returns the refusals met."""
    refused, later, doing = 0, [], ""
    quotes = [engine.books[PAIR].quote(0)]
    engine.later = lambda seconds, callback: later.append(callback)

    def check(trade):
        """Not worse than the limit, and out of the size that was shown, which shrinks by just as much."""
        order = trade.order
        assert trade.qty > 0
        if order.kind == "limit":
            assert (order.price - trade.price) * order.side >= 0
        if trade.maker:
            assert trade.price == order.price
        if doing not in ("cancel", "adl", "liquidate") and order.finish != v.BY_LIQUIDATION:
            before, after = ((q.ask_qty if order.side == BUY else q.bid_qty) for q in quotes[-2:])
            assert before - after == trade.qty

    engine.listen(Trade, check)
    engine.listen(Quote, quotes.append)
    for what, side, kind, tif, size, ticks, reduce in steps:
        qty, price, doing = D(10 * size), 1 + D(ticks) / 100, what
        try:
            if what == "quote":
                while later:
                    later.pop()()
                quote(engine, price, 20 * size, price + D("0.02"), 10 * size)
            elif what == "order":
                engine.place(PAIR, side, kind, qty, price, tif=tif, reduce_only=reduce)
            elif what == "cancel" and (open_orders := engine.open_orders()):
                engine.cancel(open_orders[0].id)
            elif what in ("adl", "liquidate"):
                engine.take_positions(PAIR, what, D("0.5"))
            elif what == "fund" and hasattr(engine, "fund"):
                engine.fund(PAIR, D("0.001") * ticks, D(1))
        except v.Refusal:
            refused += 1
    doing = "release"
    while later:
        later.pop()()
    return refused


def check_orders(engine):
    for order in engine.orders.values():
        trades = [t for t in engine.trades if t.order.id == order.id]
        assert sum((t.qty for t in trades), D(0)) == order.filled <= order.qty
        assert sum((t.qty * t.price for t in trades), D(0)) == order.filled_quote
        assert sum((t.fee for t in trades), D(0)) == order.fee
        if order.state == v.FILLED:
            assert order.left == 0
        if order.tif == IOC and not order.held:
            assert order.state != v.OPEN


@settings(max_examples=150, deadline=None)
@given(steps=st.lists(STEPS, max_size=40), faults=FAULTS, fee_in=st.sampled_from([v.QUOTE, v.RECEIVED]))
def test_spot_coins_change_by_fills_and_fees_only(steps, faults, fee_in):
    engine = spot(
        1000, 200, Settings(taker_fee=TAKER, maker_fee=D("-0.0002"), fee_in=fee_in), Faults("mexc", lambda: 1.0, faults)
    )
    play(engine, steps)
    check_orders(engine)
    bought = sum((t.side * t.qty for t in engine.trades), D(0))
    cash = -sum((t.side * t.qty * t.price for t in engine.trades), D(0))
    fees = {coin: sum((t.fee for t in engine.trades if t.fee_coin == coin), D(0)) for coin in ("SYN", "USDT")}
    assert engine.account.total("SYN") == 200 + bought - fees["SYN"]
    assert engine.account.total("USDT") == 1000 + cash - fees["USDT"]
    assert engine.account.free["USDT"] >= 0 and engine.account.free["SYN"] >= 0
    if not engine.open_orders():
        assert engine.account.locked["USDT"] == engine.account.locked["SYN"] == 0


@settings(max_examples=150, deadline=None)
@given(steps=st.lists(STEPS, max_size=40), faults=FAULTS, cross=st.booleans())
def test_a_margin_wallet_changes_by_realised_pnl_fees_and_funding_only(steps, faults, cross):
    rules = Settings(taker_fee=TAKER, maker_fee=D("-0.0002"), cross_margin=cross)
    engine = perp(500, rules, Faults("gate", lambda: 1.0, faults))
    paid = heard(engine, v.FundingPaid)
    play(engine, steps)
    check_orders(engine)
    cash = -sum((t.side * t.qty * t.price for t in engine.trades), D(0))
    fees = sum((t.fee for t in engine.trades), D(0))
    funding = sum((p.paid_usdt for p in paid), D(0))
    still_open = sum((p.cost for p in engine.account.held()), D(0))
    assert engine.account.wallet == 500 + cash + still_open - fees + funding
    held = sum((p.size for p in engine.account.held()), D(0))
    assert held == sum((t.side * t.qty for t in engine.trades), D(0))
    assert set(engine.account.order_margin) == {o.id for o in engine.open_orders()}
