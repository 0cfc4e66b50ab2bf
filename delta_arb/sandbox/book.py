"""What one venue shows: its listings, books, marks, public trades, its clock; what it checks of an order, and who listens.

Books are set by quotes, thinned by our own orders, never moved by them. Listeners hear after the state is true, in the
order in which things happened (see `engine` for the kinds of event). Where a resting order stands in the queue of its
price follows the rules of the replay (`strategy.quoting`), with quantities as exact decimals on the grid.
"""

import time
from collections import deque
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from itertools import count

from delta_arb.market import ASSUMPTIONS, NS
from delta_arb.sandbox import values as v
from delta_arb.sandbox.faults import Fault, Faults
from delta_arb.sandbox.values import text
from delta_arb.strategy.quoting import UNKNOWN, Queued, joined, on_print, on_row


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of `step` not above `value`."""
    return (value / step).to_integral_value(ROUND_FLOOR) * step


def round_to(value: Decimal, step: Decimal) -> Decimal:
    """The nearest multiple of `step`."""
    return (value / step).to_integral_value(ROUND_HALF_EVEN) * step


def on_grid(value: Decimal, step: Decimal) -> bool:
    return not value % step


def reaches(order: v.Order, price: Decimal) -> bool:
    """Whether the order's limit allows a fill at `price`; a market order's always does."""
    return order.kind != v.LIMIT or (price <= order.price if order.side == v.BUY else price >= order.price)


def check(order: v.Order, listing: v.Listing, mark: Decimal | None, client_ids: Container[str]) -> None:
    """Raise the Refusal that this order deserves by itself, if any; funds and the book come later."""
    if order.client_id and order.client_id in client_ids:
        raise v.DuplicateClientId(f"an order {order.client_id} exists")
    if order.kind == v.LIMIT and (order.price <= 0 or not on_grid(order.price, listing.price_step)):
        raise v.BadPrecision(f"price {text(order.price)} is not a positive multiple of {text(listing.price_step)}")
    if not on_grid(order.qty, listing.qty_step):
        raise v.BadPrecision(f"quantity {text(order.qty)} is not a multiple of {text(listing.qty_step)}")
    if order.qty <= 0 or order.qty < listing.min_qty:
        raise v.BelowMinimum(f"quantity {text(order.qty)} is below the minimum {text(listing.min_qty)}")
    if order.qty > listing.max_qty:
        raise v.AboveMaximum(f"quantity {text(order.qty)} is above the maximum {text(listing.max_qty)}")
    value = order.qty * (order.price or mark or v.ZERO)
    if value < listing.min_notional and not order.reduce_only:
        raise v.BelowNotional(f"value {text(value)} is below the minimum {text(listing.min_notional)}")
    if order.kind == v.LIMIT and mark and abs(order.price - mark) > mark * listing.max_deviation:
        raise v.PriceTooDeviated(f"price {text(order.price)} is too far from the mark {text(mark)}")


Levels = Iterable[tuple[Decimal, Decimal]]  # (price, qty)
Changed = tuple[tuple[Decimal, Decimal], ...]
PRINTS = 5_000  # public trades remembered per pair


class Book:
    """Bids and asks of one pair. Every change takes the next `id` (or the one given, when frames are replayed)."""

    def __init__(self, pair: str, first_id: int = 1_000_000) -> None:
        self.pair = pair
        self.id = first_id
        self.ts_ns = 0
        self._sides: dict[int, dict[Decimal, Decimal]] = {v.BUY: {}, v.SELL: {}}

    def levels(self, side: int, limit: int | None = None) -> list[tuple[Decimal, Decimal]]:
        """(price, qty) of the bids (`BUY`) or asks (`SELL`), best first."""
        return sorted(self._sides[side].items(), reverse=side == v.BUY)[:limit]

    def best(self, side: int) -> tuple[Decimal, Decimal]:
        """Best (price, qty) of a side, (0, 0) where it is empty."""
        levels = self._sides[side]
        if not levels:
            return v.ZERO, v.ZERO
        price = next(iter(levels)) if len(levels) == 1 else max(levels) if side == v.BUY else min(levels)
        return price, levels[price]

    def quote(self, ts_ns: int) -> v.Quote:
        return v.Quote(self.pair, ts_ns, self.id, *self.best(v.BUY), *self.best(v.SELL))

    def replace(self, side: int, levels: Levels) -> Changed:
        """Make `levels` the whole side; returns what changed, gone levels with qty 0."""
        old, new = self._sides[side], {price: qty for price, qty in levels if qty}
        if old == new:
            return ()
        self._sides[side] = new
        gone = [(price, v.ZERO) for price in old if price not in new]
        return (*gone, *((price, qty) for price, qty in new.items() if old.get(price) != qty))

    def change(self, side: int, levels: Levels) -> Changed:
        """Set single levels (qty 0 removes); returns them."""
        mine, changed = self._sides[side], tuple(levels)
        for price, qty in changed:
            if qty:
                mine[price] = qty
            else:
                mine.pop(price, None)
        return changed

    def take(self, side: int, price: Decimal, qty: Decimal) -> tuple[Decimal, Decimal]:
        """Consume `qty` of a level until the next quote; returns the level as it is now."""
        left = self._sides[side][price] - qty
        self.change(side, [(price, left)])
        return price, left


class Clock:
    """The venue's clock, ns UTC: the machine's, and `offset_s` of drift."""

    def __init__(self, wall_ns: Callable[[], int] = time.time_ns) -> None:
        self._wall_ns = wall_ns
        self.started_ns = wall_ns()
        self.offset_s = 0.0

    def now_ns(self) -> int:
        return self._wall_ns() + round(self.offset_s * NS)

    def now_ms(self) -> int:
        return self.now_ns() // 1_000_000

    def seconds(self) -> float:
        """Seconds since the venue started, without drift."""
        return (self._wall_ns() - self.started_ns) / NS


class MarketData:
    """Books, marks and public trades of one venue; `Engine` trades on it."""

    def __init__(self, venue: str, listings: Iterable[v.Listing], faults: Faults | None, clock: Clock | None) -> None:
        self.venue = venue
        self.clock = clock or Clock()
        self.faults = faults if faults is not None else Faults(venue, self.clock.seconds)
        self.listings = {listing.pair: listing for listing in listings}
        self._listed = dict(self.listings)
        self.delisting: set[str] = set()
        self.inactive: set[str] = set()
        self.unlisted: set[str] = set()
        self.terms_changed_ns = self.clock.started_ns
        self.books = {pair: Book(pair) for pair in self.listings}
        self.marks: dict[str, Decimal] = {}
        self.prints: dict[str, deque[v.Print]] = {pair: deque(maxlen=PRINTS) for pair in self.listings}
        self._trade_ids = count(self.clock.now_ms())  # rise over restarts too, as a venue's do
        self._listeners: dict[type, list[Callable]] = {}
        self._events: deque[object] = deque()
        self._emitting = False
        self.behind: tuple[Decimal, ...] = ()  # sizes of the levels behind a quote, as multiples of its own
        self._shown: dict[str, v.Quote] = {}  # the last quote published, for a frozen side

    def listing(self, pair: str) -> v.Listing:
        if pair not in self.listings:
            raise v.UnknownPair(f"no instrument {pair}")
        return self.listings[pair]

    def listed(self, pair: str) -> v.Listing:
        """One that the venue's lists show."""
        if pair in self.unlisted:
            raise v.UnknownPair(f"no instrument {pair}")
        return self.listing(pair)

    @property
    def shown(self) -> list[v.Listing]:
        """What the venue's lists show."""
        return [listing for pair, listing in self.listings.items() if pair not in self.unlisted]

    def is_trading(self, pair: str) -> bool:
        """Whether the venue lists the pair as trading."""
        return pair not in self.delisting | self.inactive

    def change_terms(self, pair: str, new: Mapping[str, Decimal]) -> None:
        """Other terms of a pair from now on; without any, those of the start again.

        Steps and minimum of a contract follow its size. Positions and resting orders keep their base units.
        """
        old = self._listed[pair]
        scale = new.get("contract_size", old.contract_size) / old.contract_size
        self.listings[pair] = replace(old, **{"qty_step": old.qty_step * scale, "min_qty": old.min_qty * scale} | new)
        self.terms_changed_ns = self.clock.now_ns()

    def listen(self, kind: type, callback: Callable[[object], None]) -> None:
        """Call back with each event of this type (see the top of this module)."""
        self._listeners.setdefault(kind, []).append(callback)

    def _emit(self, event: object) -> None:
        if type(event) in self._listeners:
            self._events.append(copy(event) if type(event) is v.Order else event)

    def _flush(self) -> None:
        """Tell what happened, once the state is true; a listener that acts on the engine queues behind."""
        if self._emitting:
            return
        self._emitting = True
        try:
            while self._events:
                event = self._events.popleft()
                for callback in self._listeners[type(event)]:
                    callback(event)
        finally:
            self._emitting = False

    def quote(
        self,
        pair: str,
        bid: Decimal,
        bid_qty: Decimal,
        ask: Decimal,
        ask_qty: Decimal,
        behind: Sequence[Levels] | None = None,
    ) -> None:
        """The tape's best level, with what stands behind it on both sides (None: by the profile); sizes of zero withdraw a
        side, the mark stays."""
        bids, asks = self._side(pair, v.BUY, bid, bid_qty), self._side(pair, v.SELL, ask, ask_qty)
        if behind is not None:
            bids, asks = [(bid, bid_qty), *behind[0]], [(ask, ask_qty), *behind[1]]
        self.set_book(pair, bids, asks, mark=(bid + ask) / 2)

    def _side(self, pair: str, side: int, price: Decimal, qty: Decimal) -> list[tuple[Decimal, Decimal]]:
        """A level and those behind it, each a price step further."""
        listing = self.listings[pair]
        behind = (floor_to(qty * share, listing.qty_step) for share in self.behind)
        levels = ((price - side * n * listing.price_step, size) for n, size in enumerate(behind, 1))
        return [(price, qty), *(level for level in levels if level[0] > 0)]

    def set_book(
        self, pair: str, bids: Levels, asks: Levels, *, book_id: int | None = None, mark: Decimal | None = None
    ) -> None:
        """A whole new book (also refreshes what our orders took); `book_id` names it when frames are replayed."""
        book = self.books[pair]
        changed = book.replace(v.BUY, bids), book.replace(v.SELL, asks)
        self._changed(book, changed, book_id, book_id, mark)

    def change_book(
        self, pair: str, bids: Levels, asks: Levels, *, first_id: int | None = None, last_id: int | None = None
    ) -> None:
        """Single levels of the book (qty 0 removes one); ids as recorded, or the next ones."""
        book = self.books[pair]
        self._changed(book, (book.change(v.BUY, bids), book.change(v.SELL, asks)), first_id, last_id, None)

    def _changed(
        self, book: Book, changed: tuple, first_id: int | None, last_id: int | None, mark: Decimal | None
    ) -> None:
        now_ns = self.clock.now_ns()
        if changed[0] or changed[1] or last_id is not None:
            self._show(book, changed, first_id, last_id, now_ns)
        if mark is None and book.best(v.BUY)[1] and book.best(v.SELL)[1]:
            mark = (book.best(v.BUY)[0] + book.best(v.SELL)[0]) / 2
        if mark is not None:
            self.marks[book.pair] = mark
        self._quoted(book.pair)
        self._flush()

    def _quoted(self, pair: str) -> None:
        """Trade on the new quote."""

    def _traded(self, pair: str, side: int, price: Decimal, qty: Decimal) -> None:
        """Trade on what others traded."""

    def _show(self, book: Book, changed: tuple, first_id: int | None, last_id: int | None, now_ns: int) -> None:
        """Give the change its id and publish it."""
        first = book.id + 1 if first_id is None else first_id
        book.id = first if last_id is None else last_id
        book.ts_ns = now_ns
        bids, asks = changed
        shown = book.quote(now_ns)
        if fault := self._frozen("stream.book", book.pair):
            bids, asks = ((), asks) if fault.side == "bid" else (bids, ())
        if fault := self._frozen("stream.ticker", book.pair):
            old = self._shown.get(book.pair, shown)
            kept = {"bid": old.bid, "bid_qty": old.bid_qty} if fault.side == "bid" else {}
            shown = shown._replace(**(kept or {"ask": old.ask, "ask_qty": old.ask_qty}))
        self._shown[book.pair] = shown
        self._emit(v.BookChange(book.pair, now_ns, first, book.id, bids, asks))
        self._emit(shown)

    def _frozen(self, stream: str, pair: str) -> Fault | None:
        """The fault that freezes one side of what this stream shows."""
        return self.faults.take(stream, ("freeze",), pair) if self.faults.any(stream) else None

    def print_trade(self, pair: str, side: int, price: Decimal, qty: Decimal) -> None:
        """A public trade of others; `side` is the taker's. It fills what of ours it reaches, and leaves the book alone."""
        self._print(pair, side, price, qty, self.clock.now_ns())
        self._traded(pair, side, price, qty)
        self._flush()

    def _print(self, pair: str, side: int, price: Decimal, qty: Decimal, now_ns: int) -> None:
        shown = v.Print(next(self._trade_ids), now_ns, pair, side, price, qty)
        self.prints[pair].append(shown)
        self._emit(shown)


class Queue:
    """The places of one venue's resting orders.

    Args:
        assumption: about what was there before us: front, back or through.
    """

    def __init__(self, assumption: str = "back") -> None:
        self._assumption = ASSUMPTIONS.index(assumption)
        self._places: dict[int, Queued] = {}

    def join(self, order: v.Order, book: Book) -> None:
        """At the end of the queue of its price, unless it stands there already; a level that is shown tells its size."""
        if order.id in self._places:
            return
        place = joined(order.side, float(order.price), float(order.left), *map(float, book.best(order.side)))
        shown = dict(book.levels(order.side)).get(order.price)
        if place.ahead == UNKNOWN and shown:
            place = place._replace(ahead=float(shown))
        self._places[order.id] = place

    def leave(self, order: v.Order) -> None:
        self._places.pop(order.id, None)

    def on_row(self, order: v.Order, book: Book, step: Decimal) -> Decimal:
        """What a new row fills of it, at most the best level of the other side."""
        sides = (*book.best(order.side), *book.best(-order.side))
        self._places[order.id], qty = on_row(self._place(order), *map(float, sides))
        return _exact(qty, step)

    def on_print(self, order: v.Order, side: int, price: Decimal, qty: Decimal, step: Decimal) -> Decimal:
        """What a trade of others fills of it; `side` is its taker's."""
        place = self._place(order)
        self._places[order.id], filled = on_print(place, side, float(price), float(qty), self._assumption)
        return _exact(filled, step)

    def _place(self, order: v.Order) -> Queued:
        return self._places[order.id]._replace(left=float(order.left))


def _exact(qty: float, step: Decimal) -> Decimal:
    """A quantity without the noise of floating point, down to the grid."""
    exact = round_to(Decimal(repr(qty)), step * Decimal("1e-6"))
    return exact - exact % step
