"""Resting orders at the venues through genuine ccxt, on the local venues: what is told of them, and of every race."""

import math
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_live_venues import BOTH, HURRY_MS, live, until

from delta_arb.live import checks, clock
from delta_arb.live.config import WatchSettings
from delta_arb.live.journal import Journal
from delta_arb.live.venues.base import WOULD_TAKE, Execution, Placed, Report, VenueError
from delta_arb.live.venues.gate import GateVenue
from delta_arb.live.venues.mexc import MexcVenue
from delta_arb.live.venues.order_tracker import BookedFill, OrderStatus, OrderTracker
from delta_arb.live.watch import Watcher
from delta_arb.market import NS, PERP, SPOT, Book, Order
from delta_arb.sandbox.values import BUY, OPEN, SELL
from delta_arb.strategy.state import REPORT, Event, State

QTY = 20.0
RESTING = Order(QTY, 0.8, False, False, True)


def trade(it, leg, qty, price="0.8000"):
    """Others sell; up to 60 were there before us."""
    it.venues.trade(SELL, price, qty, ("spot", "perp")[leg])


async def rest(it, leg, order=RESTING, order_id="run-1"):
    accepted = await it.outcome(leg, order, order_id)
    assert (accepted.final, accepted.filled, accepted.working, accepted.refused) == (False, 0.0, order.qty, "")
    return order_id


def steps(it, order_id="run-1"):
    return [(o.filled, o.working, o.final) for o in it.of(order_id)]


@BOTH
@live
async def test_it_rests_fills_in_parts_and_each_part_is_told_once(it, leg):
    await rest(it, leg)
    [placed] = it.placed(leg)
    assert (placed.tif, placed.state, float(placed.qty)) == ("post_only", OPEN, QTY)
    for stream in ("stream.orders", "stream.fills"):
        it.fault(leg, stream, "duplicate", times=0)
    trade(it, leg, 10, "0.7999")
    await until(lambda: len(it.of("run-1")) == 2)
    trade(it, leg, 100, "0.7999")
    await until(lambda: it.of("run-1")[-1].final)
    assert steps(it)[:3] == [(0.0, QTY, False), (10.0, 10.0, False), (QTY, 0.0, True)]
    assert {o.filled for o in it.of("run-1")[2:]} == {QTY}  # a duplicate tells nothing new
    assert it.of("run-1")[-1].price == 0.8


@pytest.mark.parametrize("refused", [True, False], ids=["refused", "accepted and cancelled"])
@BOTH
@live
async def test_one_that_would_take_is_refused_in_the_same_words_either_way(it, leg, refused):
    venue = (it.venues.spot, it.venues.perp)[leg]
    venue.settings = replace(venue.settings, post_only_refused=refused)
    it.legs[leg].prepare("run-1", Order(QTY, 0.8002, False, False, True))()
    await until(lambda: it.of("run-1") and it.of("run-1")[-1].final)
    end = it.of("run-1")[-1]
    assert (end.refused, end.filled, end.working, end.for_good) == (WOULD_TAKE, 0.0, 0.0, False)


@BOTH
@live
async def test_a_cancel_ends_it_and_one_of_an_order_that_is_gone_is_looked_up(it, leg):
    await rest(it, leg)
    await it.legs[leg].cancel("run-1")
    await until(lambda: it.of("run-1")[-1].final)
    assert (it.of("run-1")[-1].refused, it.of("run-1")[-1].filled) == ("", 0.0)
    await rest(it, leg, order_id="run-2")
    it.fault(leg, "order.cancel", "late_fill", fraction=1.0)
    await it.legs[leg].cancel("run-2")  # "no such order", for it filled meanwhile
    assert (await it.legs[leg].outcome("run-2")).filled == QTY


@BOTH
@live
async def test_a_fill_during_the_cancel_and_one_after_it_are_fills(it, leg):
    await rest(it, leg)
    it.fault(leg, "order.cancel", "late_fill", fraction=0.5)
    await it.legs[leg].cancel("run-1")
    await until(lambda: it.of("run-1")[-1].final)
    assert it.of("run-1")[-1].filled == 10.0
    await rest(it, leg, order_id="run-2")
    it.fault(leg, "order.cancel", "fill_after", fraction=0.5, seconds=0.2)
    await it.legs[leg].cancel("run-2")
    await until(lambda: it.of("run-2")[-1].filled == 10.0)
    assert next(o.filled for o in it.of("run-2") if o.final) == 0.0


@BOTH
@live
async def test_a_lost_push_of_a_fill_is_made_up_for_by_rest(it, leg):
    await rest(it, leg)
    it.fault(leg, "stream.fills", "drop")
    trade(it, leg, 10, "0.7999")
    await until(lambda: steps(it)[-1] == (10.0, 10.0, False))
    it.fault(leg, "stream.orders", "silence")
    it.fault(leg, "stream.fills", "silence")
    trade(it, leg, 5, "0.7999")  # half a contract on Gate: nothing
    found = await it.legs[leg].outcome("run-1")
    assert (found.final, found.filled, found.working) == ((False, 15.0, 5.0) if leg == SPOT else (False, 10.0, 10.0))


@BOTH
@live
async def test_an_answer_that_never_comes_is_a_doubt_and_the_stream_tells_that_it_rests(it, leg):
    it.hurry(leg)
    it.fault(leg, "order.create", "hang")
    it.legs[leg].prepare("run-1", RESTING)()
    await until(lambda: any(o.working == QTY for o in it.of("run-1")), within_s=HURRY_MS / 1000 + 4)
    assert not any(o.final for o in it.of("run-1"))


@live(legs=(PERP,))
async def test_gate_amends_and_mexc_says_that_it_does_not(it):
    await rest(it, PERP, Order(-QTY, 0.8002, False, False, True))
    await it.legs[PERP].amend("run-1", -30.0, 0.8005)
    [placed] = it.placed(PERP)
    assert (float(placed.qty), float(placed.price)) == (30.0, 0.8005)
    it.venues.trade(BUY, "0.8006", 30, "perp")
    await until(lambda: it.of("run-1")[-1].final)
    assert it.of("run-1")[-1].filled == -30.0
    with pytest.raises(VenueError, match="amends no order"):
        await it.client(SPOT).amend("run-1", 1.0, 1.0)


@live
async def test_gate_cancels_by_itself_when_it_is_not_asked_again(it):
    later = []
    it.venues.perp.later = lambda seconds, act: later.append((seconds, act))
    await rest(it, PERP)
    assert await it.legs[PERP].cancel_after(3.0)
    assert not await it.legs[SPOT].cancel_after(3.0)
    seconds, act = later[-1]
    assert seconds == 5  # its least
    act()
    await until(lambda: it.of("run-1")[-1].final)


@live
async def test_the_fee_of_makers_is_the_accounts_own(it):
    assert [leg.terms.maker_fee_bps for leg in it.legs.values()] == [0.0, 2.0]
    await rest(it, PERP)
    trade(it, PERP, 200, "0.7999")
    await until(lambda: it.of("run-1")[-1].final)
    assert it.of("run-1")[-1].fee_usdt == pytest.approx(QTY * 0.8 * 0.0002)


@live(legs=(PERP,))
async def test_gate_sends_no_quote_when_a_day_of_them_filled_too_little_and_hedges_all_the_same(it):
    venue = it.legs[PERP]
    venue._ratio.count(requests=77_760, filled=770)  # 0.9 of 86,400; 1 % of it would be 777
    assert "filled" in (await it.outcome(PERP, RESTING)).refused
    assert (await it.outcome(PERP, Order(-10.0, 0.8, False, False), "run-2")).filled == -10.0
    venue._ratio.count(requests=0, filled=10)
    await rest(it, PERP, order_id="run-3")


@live(legs=(PERP,))
async def test_gate_counts_what_the_runs_before_asked_in_the_last_day(it, tmp_path):
    """Three hours ago 4 quotes, of which one filled: 8 requests; a hedge on the other leg, and a quote of 25 hours ago."""
    now_ns, book = clock.now_ns(), Book(0.8, 0.8002, 100.0, 100.0, 0)
    with Journal(tmp_path / "j.sqlite", "run") as journal:

        def sent(order_id, hours, leg=PERP, rests=True, filled=0.0):
            at_ns = now_ns - hours * 3600 * NS
            told = Event(REPORT, at_ns, book, book, leg, filled, 0.8, 0.0, 0.0)
            order = Order(-10.0, 0.8, False, False, rests)
            journal.event(told, State(), [Placed(order_id, leg, order)], Report(at_ns, leg, order_id, filled, 0.8))

        for n in range(4):
            sent(f"run-p{n}", 3, filled=-10.0 if n == 2 else 0.0)
        sent("run-s1", 3, SPOT, rests=False, filled=10.0)
        sent("run-p9", 25)
        asked = journal.asked_since(now_ns - 24 * 3600 * NS, PERP)
    assert asked == [((now_ns - 3 * 3600 * NS) // (3600 * NS), 8, 1)]
    venue = it.legs[PERP]
    venue.asked_before([(asked[0][0], 77_752, 770), *asked])  # 0.9 of 86,400; 1 % of it would be 777
    assert "77760 requests about orders in a day and 771 filled" in (await it.outcome(PERP, RESTING)).refused


@settings(max_examples=80, deadline=None)
@given(data=st.data(), qtys=st.lists(st.integers(1, 9), min_size=1, max_size=4), left=st.integers(0, 3))
def test_what_is_told_of_a_resting_order_only_grows_and_ends_whole(data, qtys, left):
    """Pushes late, twice and out of order: each fill once, the end when all of it is here."""
    total, told = float(sum(qtys)), []
    orders = OrderTracker((0.0005, 0.0), told.append)
    orders.add("run-1", Order(total + left, 1.0, False, False, True))
    said = [OrderStatus("run-1", "v1", 0, float(sum(qtys[:n])), 1.0, False) for n in range(len(qtys))]
    said.append(OrderStatus("run-1", "v1", 0, total, 1.0, True))
    fills = [BookedFill(float(q), Execution(str(n), "run-1", n, float(q), 1.0, 0.5 * q)) for n, q in enumerate(qtys)]
    for push in data.draw(st.permutations([*said, *fills, said[-1], *fills[:1]])):
        orders.hear(push) if isinstance(push, OrderStatus) else orders.book(push, "v1")
    filled = [o.filled for o in told]
    assert filled == sorted(filled)
    ended = [o.final for o in told]
    assert ended == sorted(ended)
    assert (told[-1].final, told[-1].filled, told[-1].working) == (True, total, 0.0)
    assert all(o.filled + o.working == total + left for o in told if not o.final)
    assert math.isclose(told[-1].fee_usdt, 0.5 * total)


# --- What a dead runner leaves ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("leg", "accepted", "watched", "passed"),
    [
        ("spot", False, False, False), ("spot", True, False, True), ("spot", False, True, True), ("perp", False, False, None),
        (None, False, False, None),
    ],
)  # fmt: skip
def test_a_leg_rests_at_mexc_only_while_somebody_watches_or_that_is_accepted(tmp_path, leg, accepted, watched, passed):
    """Gate cancels by itself, MEXC does not; nothing is asked where both legs take."""
    config = SimpleNamespace(name="X", watch=WatchSettings(accept_unwatched=accepted), alerts=None)
    job = SimpleNamespace(config=config, journal=tmp_path / "live" / "live.sqlite", alerts=(), say=lambda text: None)
    params = SimpleNamespace(rule=SimpleNamespace(maker_leg=leg))
    seen = SimpleNamespace(venues=(MexcVenue, GateVenue))
    rows = lambda: checks._resting(job, params, seen)  # noqa: E731
    if watched:
        end, during = threading.Event(), []
        watcher = Watcher.__new__(Watcher)
        watcher.job, watcher._run = job, lambda: (during.append(rows()), end.wait(5))
        thread = threading.Thread(target=watcher.run)
        thread.start()
        while not during:
            pass
        assert [row.passed for row in during[0]] == [True] and during[0][0].found == "a watcher is up"
        end.set()
        thread.join()
        assert [row.passed for row in rows()] == [False]  # it has gone
        return
    assert [row.passed for row in rows()] == ([] if passed is None else [passed])
    if passed is False:
        assert "mexc has no countdown and no watcher is up" in rows()[0].found
