"""What venues push to everybody, taken apart, and the newest quote of one leg: whether it can be believed.

Both the order loop and the recorder read pushes by the functions here; each makes of the texts what it needs. A message of
another shape than documented raises one of `base.SHAPES`.

A quote is handed on in the receive path, the moment it is decoded. Its age counts from the last time the book was
confirmed: by a push (at the venue's own stamp, where that is older than our receipt), or by REST showing the same book.
REST is asked when the stream is quiet, and once a minute anyway, for a stream that stands still looks like a quiet
market, and one side alone can stand still while the other moves.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from delta_arb.live import clock
from delta_arb.live.venues.base import OnQuote, VenueError
from delta_arb.live.venues.websocket import Pace, Stream
from delta_arb.market import MS, Book, tradable

BUY = 1


class PublicQuote(NamedTuple):
    """The best prices and sizes, in the venue's units; "" or "0" where a side is empty. `number` is 0 where there is none."""

    symbol: str
    venue_ns: int
    number: int
    bid: str
    bid_qty: str
    ask: str
    ask_qty: str


class PublicTrade(NamedTuple):
    """A trade of others; `side` is +1 where the buyer came, `qty` above 0 and in the venue's units."""

    symbol: str
    venue_ns: int
    number: int
    side: int
    price: str
    qty: str


class PublicLevels(NamedTuple):
    """The best five levels: price and size of each bid, then of each ask, best first, "" where there is none."""

    symbol: str
    venue_ns: int
    number: int
    levels: tuple[str, ...]


DEPTH = 5
NO_LEVEL = ("", "")


def _levels(*sides: list[tuple[str, str]]) -> tuple[str, ...]:
    whole = (level for side in sides for level in [*side, *[NO_LEVEL] * DEPTH][:DEPTH])
    return tuple(part for level in whole for part in level)


def gate_levels(frame: dict[str, Any]) -> PublicLevels:
    """Of a push on futures.order_book; sizes in contracts."""
    r = frame["result"]
    sides = ([(str(level["p"]), str(level["s"])) for level in r[side]] for side in ("bids", "asks"))
    return PublicLevels(r["contract"], int(r["t"]) * MS, int(r["id"]), _levels(*sides))


def mexc_levels(push: Any) -> PublicLevels:
    """Of a push with `publicLimitDepths`."""
    book = push.publicLimitDepths
    sides = ([(level.price, level.quantity) for level in side] for side in (book.bids, book.asks))
    return PublicLevels(push.symbol, push.sendTime * MS, int(book.version or 0), _levels(*sides))


def gate_quote(frame: dict[str, Any]) -> PublicQuote:
    """Of an update on futures.book_ticker; sizes in contracts, `number` is the book's."""
    r = frame["result"]
    return PublicQuote(r["s"], int(r["t"]) * MS, int(r["u"]), str(r["b"]), str(r["B"]), str(r["a"]), str(r["A"]))


def gate_trades(frame: dict[str, Any]) -> list[PublicTrade]:
    """Of an update on futures.trades; a size below 0 is a sale."""
    return [_gate_trade(row) for row in frame["result"]]


def _gate_trade(row: dict[str, Any]) -> PublicTrade:
    size = str(row["size"])
    side = -1 if size.startswith("-") else 1
    at_ns = round(float(row["create_time_ms"]) * 1000) * 1000
    return PublicTrade(row["contract"], at_ns, int(row["id"]), side, str(row["price"]), size.lstrip("-"))


def mexc_quote(push: Any) -> PublicQuote:
    """Of a push with `publicAggreBookTicker`; fields that are zero are not on the wire, nor is a number."""
    t = push.publicAggreBookTicker
    return PublicQuote(push.symbol, push.sendTime * MS, 0, t.bidPrice, t.bidQuantity, t.askPrice, t.askQuantity)


def mexc_trades(push: Any) -> list[PublicTrade]:
    """Of a push with `publicAggreDeals`; the venue gives them no numbers."""
    deals = push.publicAggreDeals.deals
    return [
        PublicTrade(push.symbol, d.time * MS, 0, 1 if d.tradeType == BUY else -1, d.price, d.quantity) for d in deals
    ]


log = logging.getLogger(__name__)
DOUBT_NS = 500_000_000  # between a quote's stamp and our time: a clock may have been set
LOOKS = 3  # at REST, before a side that never agreed and never moved counts as frozen


class Quote(NamedTuple):
    """What the slot holds: the book, the venue's own stamp, and when we received it (ns, our clock)."""

    book: Book
    venue_ns: int
    recv_ns: int


class BookFeed:
    """The slot of one leg.

    Args:
        fetch: the best levels by REST.
        offset_ns: the venue's clock minus ours, now.
        doubt: hears of a stamp that is too far from our time: a clock may have been set.
    """

    def __init__(
        self,
        leg: int,
        name: str,
        pace: Pace,
        on_quote: OnQuote,
        fetch: Callable[[], Awaitable[Book]],
        offset_ns: Callable[[], int],
        doubt: Callable[[], None] = lambda: None,
    ) -> None:
        self.slot: Quote | None = None
        self.trusted = True  # False from a frozen side until a push agrees with REST: until then quotes go out as stale
        self.dropped = 0  # quotes of another market, or stamped in the future
        self.frozen = 0  # how often a side was found frozen
        self._leg, self._name, self._pace = leg, name, pace
        self._on_quote, self._fetch, self._offset_ns, self._doubt = on_quote, fetch, offset_ns, doubt
        self._compared_s = time.monotonic()
        self._failed = ""  # why the last comparison did; said once
        self._pushed = False  # whether the stream told what is in the slot

    def push(self, ours: bool, quote: tuple[float, float, float, float], venue_ns: int) -> bool:
        """A decoded quote (bid, its size, ask, its size), called in the receive path; whether it counts.

        What is of another market (not `ours`), or stamped in the future, is dropped and counted.
        """
        now_ns = clock.now_ns()
        sent_ns = venue_ns - self._offset_ns()
        if abs(now_ns - sent_ns) > DOUBT_NS:
            self._doubt()
        if not ours or sent_ns - now_ns > DOUBT_NS:
            self.dropped += 1
            if self.dropped == 1:
                why = "a stamp of the future" if ours else "another market"
                log.warning("%s: a quote of %s is dropped, as all that follow will be", self._name, why)
            return False
        bid, bid_qty, ask, ask_qty = quote
        self._pushed = True
        self._show(Quote(Book(bid, ask, bid_qty, ask_qty, min(now_ns, sent_ns)), venue_ns, now_ns))
        return True

    def _show(self, quote: Quote) -> None:
        self.slot = quote
        book = quote.book if self.trusted else quote.book._replace(fresh_ns=0)
        self._on_quote(self._leg, book, quote.venue_ns)

    async def seed(self) -> None:
        """Show the book by REST: at the start, and after a loss."""
        asked_ns = clock.now_ns()
        book = await self._fetch()
        self._pushed = False
        self._show(Quote(book._replace(fresh_ns=asked_ns), asked_ns + self._offset_ns(), asked_ns))

    async def supervise(self, stream: Stream) -> None:
        """Compare with REST, for ever; a frozen stream is dialled again."""
        while True:
            await asyncio.sleep(self._pace.quiet_s / 2)
            if not self._due():
                continue
            try:
                if not await self._stands():
                    self.trusted, self.frozen = False, self.frozen + 1
                    self._show(self.slot)
                    stream.redial("a side of the book stands still and differs from REST")
                self._failed = ""
            except VenueError as error:
                if str(error) != self._failed:
                    log.warning("%s: the book could not be compared: %s", self._name, error)
                self._failed = str(error)
            self._compared_s = time.monotonic()

    def _due(self) -> bool:
        if self.slot is None:
            return False
        quiet_s = (clock.now_ns() - self.slot.recv_ns) / 1e9
        doubtful = not self.trusted or not tradable(self.slot.book) or quiet_s > self._pace.quiet_s
        since_s = time.monotonic() - self._compared_s
        return since_s > (self._pace.quiet_s if doubtful else self._pace.compare_s)

    async def _stands(self) -> bool:
        """Whether REST shows the same; True also where both sides move, as they do in a busy market."""
        agreed, first = [False, False], self.slot.book
        moved = [False, False]
        for look in range(LOOKS):
            if look:
                await asyncio.sleep(self._pace.again_s)
            before, asked_ns = self.slot.book, clock.now_ns()
            rest = await self._fetch()
            now = self.slot
            for side in (0, 1):
                agreed[side] |= _side(rest, side) in (_side(before, side), _side(now.book, side))
                moved[side] |= _side(now.book, side) != _side(first, side)
            if all(agreed):
                self.trusted |= self._pushed
            if rest[:4] == now.book[:4] and now.book.fresh_ns < asked_ns:
                self._show(now._replace(book=now.book._replace(fresh_ns=asked_ns)))
            if all(agreed):
                return True
        return all(a or m for a, m in zip(agreed, moved, strict=True))


def _side(book: Book, side: int) -> tuple[float, float]:
    return (book.ask, book.ask_qty) if side else (book.bid, book.bid_qty)
