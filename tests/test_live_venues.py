"""The real venues' clients (MEXC spot, Gate.io perpetual) over genuine ccxt, against the local venues with faults."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from delta_arb.live.gate import Gate
from delta_arb.live.mexc import Mexc
from delta_arb.live.stream import Pace
from delta_arb.live.venue import Outcome, VenueError
from delta_arb.market import PERP, SPOT, Book, Order
from delta_arb.sandbox.faults import Fault
from delta_arb.sandbox.venues import Venues

QUICK = Pace(
    first_s=1.0, quiet_s=0.1, compare_s=0.5, again_s=0.03, ping_s=0.1, dead_s=0.3, backoff_s=0.02, clock_s=0.1,
    push_s=0.1, order_s=0.4,
)  # fmt: skip
CLASSES = (Mexc, Gate)
NAMES = ("mexc", "gate")


class Desk:
    """Both venues running, both clients open, and what they told."""

    def __init__(self, venues: Venues) -> None:
        self.venues = venues
        self.legs: list[Mexc | Gate] = []
        self.quotes: list[tuple[int, Book, int]] = []
        self.told: list[tuple[int, Outcome]] = []
        self.ticks = 0

    def client(self, leg: int, pace: Pace = QUICK, **changes) -> Mexc | Gate:
        return CLASSES[leg](leg, "SYN", self.venues.config()[NAMES[leg]], pace=pace, **changes)

    async def open(self, client: Mexc | Gate) -> Mexc | Gate:
        self.legs.append(client)
        await client.open(lambda *quote: self.quotes.append(quote), lambda *told: self.told.append(told))
        return client

    def fault(self, leg: int, at: str, do: str, **how) -> None:
        engine = (self.venues.spot, self.venues.perp)[leg]
        engine.faults.add(Fault(at, do, venue=NAMES[leg], **how))

    async def outcome(self, leg: int, order: Order, order_id: str = "run-1") -> Outcome:
        """Send, and the first thing that is told about it."""
        self.legs[leg].send(order_id, order)
        assert not [o for _, o in self.told if o.order_id == order_id]
        await until(lambda: self.of(order_id))
        return self.of(order_id)[0]

    def of(self, order_id: str) -> list[Outcome]:
        return [outcome for _, outcome in self.told if outcome.order_id == order_id]

    def placed(self, leg: int) -> list:
        """The orders in the venue's own log."""
        return list((self.venues.spot, self.venues.perp)[leg].orders.values())

    async def tick(self) -> None:
        """Something moves all the time, on both sides."""
        while True:
            self.ticks += 1
            self.venues.quote("0.8000", 50 + 10 * (self.ticks % 2), "0.8002", 70 + 10 * (self.ticks % 2))
            await asyncio.sleep(0.02)


@asynccontextmanager
async def desk(*, legs=(SPOT, PERP), faults=(), pace=QUICK, **changes):
    async with Venues.quiet(faults, spot_coins=1000, **changes) as venues:
        it = Desk(venues)
        venues.quote("0.8000", 50, "0.8002", 70)
        ticking = asyncio.create_task(it.tick())
        try:
            await asyncio.gather(*(it.open(it.client(leg, pace)) for leg in legs))
            yield it
        finally:
            ticking.cancel()
            await asyncio.gather(*(client.close() for client in it.legs))


def live(test=None, **how):
    """Run an async test with an open desk, within ten seconds."""
    if test is None:
        return lambda test: live(test, **how)

    def wrapped(**given):
        async def go():
            async with asyncio.timeout(10), desk(**how) as it:
                await test(it, **given)

        asyncio.run(go())

    wrapped.__name__, wrapped.__doc__ = test.__name__, test.__doc__
    names = test.__code__.co_varnames[1 : test.__code__.co_argcount]
    wrapped.pytestmark = getattr(test, "pytestmark", [])
    wrapped.__signature__ = __import__("inspect").Signature(
        [__import__("inspect").Parameter(name, __import__("inspect").Parameter.KEYWORD_ONLY) for name in names]
    )
    return wrapped


async def until(true, within_s: float = 3.0):
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110 - what is waited for happens in sockets
            await asyncio.sleep(0.002)


def buy(qty: float, limit: float = 0.8002, **how) -> Order:
    return Order(qty, limit, how.get("reduce_only", False), False)


def sell(qty: float, limit: float = 0.8, **how) -> Order:
    return buy(-qty, limit, **how)


# Opening


@live
async def test_the_instrument_is_what_the_venue_lists_with_the_accounts_own_fee(it):
    spot, perp = (leg.instrument for leg in it.legs)
    assert (spot.taker_fee, spot.contract_size, spot.qty_step, spot.min_qty, spot.min_notional_usdt) == (
        0.0005,
        1,
        1,
        1,
        1,
    )
    assert (perp.taker_fee, perp.contract_size, perp.qty_step, perp.min_qty) == (0.0005, 10, 10, 10)
    assert [leg.tick for leg in it.legs] == [0.0001, 0.0001]


# Quotes


@live
async def test_quotes_are_told_in_the_receive_path_with_both_stamps(it):
    it.quotes.clear()
    await until(lambda: {leg for leg, _, _ in it.quotes} == {SPOT, PERP})
    now_ns = time.time_ns()
    for leg, book, venue_ns in it.quotes:
        assert (book.bid, book.ask) == (0.8, 0.8002)
        assert book.bid_qty in (50, 60) and book.ask_qty in (70, 80)
        assert 0 <= now_ns - book.fresh_ns < 10**9 and abs(now_ns - venue_ns) < 10**9
        assert it.legs[0].quotes.slot.book.bid == 0.8, leg


# Orders


@pytest.mark.parametrize("leg", [SPOT, PERP])
@live
async def test_an_ioc_order_is_filled_whole_in_part_or_not_at_all(it, leg):
    whole = await it.outcome(leg, buy(50), "run-1")
    assert (whole.filled, whole.price, whole.final, whole.refused, whole.doubt) == (50, 0.8002, True, "", "")
    assert whole.fee_usdt == pytest.approx(50 * 0.8002 * 0.0005) and whole.fee_exact
    part = await it.outcome(leg, sell(100), "run-2")
    assert part.filled in (-50, -60) and part.price == 0.8 and part.final
    assert part.fee_usdt == pytest.approx(-part.filled * 0.8 * 0.0005)
    none = await it.outcome(leg, buy(50, 0.7999), "run-3")
    assert (none.filled, none.fee_usdt, none.final, none.refused) == (0, 0, True, "")
    for outcome in (whole, part, none):
        later = await it.legs[leg].outcome(outcome.order_id)
        assert later == outcome._replace(ts_ns=later.ts_ns)
    assert await it.legs[leg].outcome("run-4") is None


@live
async def test_an_account_is_told_in_base_units(it):
    await it.outcome(SPOT, buy(50), "run-1")
    await it.outcome(PERP, sell(50), "run-2")
    spot, perp = [await client.account() for client in it.legs]
    assert (spot.coin, spot.position) == (1050, 0)
    assert spot.usdt_total == pytest.approx(10_000 - 50 * 0.8002 * 1.0005)
    assert (perp.coin, perp.position) == (0, -50)
    assert perp.usdt_total == pytest.approx(10_000 - 50 * 0.8 * 0.0005)
    assert perp.liquidation_price > 0.8 and perp.adl_rank == 5


@live
async def test_a_venue_that_refuses_the_key_does_not_open(it):
    for client in (
        Mexc(SPOT, "SYN", it.venues.config()["mexc"] | {"secret": "wrong"}, pace=QUICK),
        Gate(PERP, "SYN", it.venues.config()["gate"] | {"secret": "wrong"}, pace=QUICK),
    ):
        with pytest.raises(VenueError, match=r"700002|INVALID_SIGNATURE"):
            await client.open(lambda *_: None, lambda *_: None)
