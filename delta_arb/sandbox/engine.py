"""One venue's engine: listings, books, one account, orders. Validates, matches, settles, publishes events.

Everything is synchronous and single-threaded: a call returns with the whole state true (order, trades, wallet,
positions), and only then calls the listeners, in the order in which things happened:

    engine.listen(Quote, callback)          best level as shown (also after our own orders thinned it)
    engine.listen(BookChange, callback)     the levels that changed, with the ids they span
    engine.listen(Print, callback)          public trades
    engine.listen(Order, callback)          a copy of an own order after each change of state
    engine.listen(Trade, callback)          own fills (with the order after them)
    engine.listen(BalanceChange, callback)  one coin after a change, with the reason
    engine.listen(PositionChange | FundingPaid, callback)

An order that arrives takes the levels shown, best first, and what it took is gone until the next quote of that pair. A
resting order fills at its own price by trades of others, in its queue (`book.Queue`), and by quotes that reach it, at most their size.
"""

from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import replace
from decimal import Decimal
from itertools import count

from delta_arb.sandbox import values as v
from delta_arb.sandbox.accounts import SpotAccount
from delta_arb.sandbox.book import Clock, MarketData, Queue, check, floor_to, reaches
from delta_arb.sandbox.faults import Fault, Faults
from delta_arb.sandbox.values import dec, text


class Engine(MarketData):
    """One spot venue; `perpetual.PerpetualEngine` adds positions.

    Args:
        venue: 'mexc' or 'gate'; whose faults it listens to.
        listings: what trades here.
        deposits: coin -> amount at the start.
        later: runs a callback after so many seconds (`loop.call_later` in the server); needed for late fills.
    """

    def __init__(
        self,
        venue: str,
        listings: Iterable[v.Listing],
        deposits: Mapping[str, Decimal],
        *,
        settings: v.Settings | None = None,
        faults: Faults | None = None,
        clock: Clock | None = None,
        later: Callable[[float, Callable[[], None]], object] | None = None,
    ) -> None:
        super().__init__(venue, listings, faults, clock)
        self.settings = settings or v.Settings()
        self.orders: dict[int, v.Order] = {}
        self.trades: list[v.Trade] = []
        self.account = self._open_account({coin: dec(amount) for coin, amount in deposits.items()})
        self.later = later
        self._queue = Queue(self.settings.queue)
        self._open: dict[str, dict[int, v.Order]] = {pair: {} for pair in self.listings}
        self._client_ids: dict[str, int] = {}
        self._order_ids = count(self.clock.now_ms() * 1000)

    def _open_account(self, deposits: Mapping[str, Decimal]) -> SpotAccount:
        return SpotAccount(deposits, self.settings, self._emit)

    # Orders

    def place(
        self,
        pair: str,
        side: int,
        kind: str = v.LIMIT,
        qty: Decimal = v.ZERO,
        price: Decimal = v.ZERO,
        *,
        tif: str = v.GTC,
        reduce_only: bool = False,
        client_id: str = "",
    ) -> v.Order:
        """Validate, accept and match one order; returns its state now (a copy).

        Raises:
            Refusal: one of its subclasses; then nothing has happened.
        """
        listing = self.listing(pair)
        if pair in self.delisting and not reduce_only:
            raise v.NotTrading(f"{pair} is being delisted")
        order = self._new_order(pair, side, kind, qty, price, tif, reduce_only, client_id)
        check(order, listing, self.marks.get(pair), self._client_ids)
        if reduce_only:
            self._check_reduces(order)
        post_only_takes = tif == v.POST_ONLY and (
            self._takes(order) or self._fault("order.create", "would_take", order)
        )
        if post_only_takes and self.settings.post_only_refused:
            raise v.WouldTakeLiquidity(f"order price {text(price)} would be filled at once")
        self.account.reserve(order, listing, self._worst_price(order), order.created_ns)
        self._accept(order)
        if post_only_takes:
            self._finish(order, v.BY_POST_ONLY)
        elif late := self._fault("order.create", "late_fill", order):
            order.held = True
            self._later(late.seconds, lambda: self._release(order))
        else:
            self._match_incoming(order)
        self._flush()
        return copy(order)

    def _new_order(self, pair, side, kind, qty, price, tif, reduce_only, client_id) -> v.Order:
        now_ns = self.clock.now_ns()
        tif, price = (v.IOC, v.ZERO) if kind == v.MARKET else (tif, price)
        return v.Order(
            next(self._order_ids), client_id, pair, side, kind, tif, price, qty, reduce_only,
            created_ns=now_ns, updated_ns=now_ns,
        )  # fmt: skip

    def _accept(self, order: v.Order) -> None:
        self.orders[order.id] = order
        self._open[order.pair][order.id] = order
        if order.client_id:
            self._client_ids[order.client_id] = order.id
        self._emit(order)

    def cancel(self, order_id: int | None = None, client_id: str = "") -> v.Order:
        """Cancel one open order; returns its last state (a copy), fills included.

        Raises:
            UnknownOrder, OrderFinished: also where it filled whole while the cancel was under way.
        """
        order = self._working(order_id, client_id)
        resting = order.kind == v.LIMIT and not order.held
        if resting and (fault := self._fault("order.cancel", "late_fill", order)):
            if qty := min(self._share(order, fault), self._allowed(order)):
                self._fill(order, order.price, qty, maker=True)
            self._flush()
            order = self._working(order.id)
        after = self._fault("order.cancel", "fill_after", order) if resting else None
        qty = self._share(order, after) if after else v.ZERO
        self._finish(order, v.BY_USER)
        if qty:
            self._fill_later(order, qty, after.seconds)
        self._flush()
        return copy(order)

    def _working(self, order_id: int | None, client_id: str = "") -> v.Order:
        order = self._find(order_id, client_id)
        if order.state != v.OPEN:
            raise v.OrderFinished(f"order {order.id} is {order.state}")
        return order

    def _fault(self, hook: str, action: str, order: v.Order) -> Fault | None:
        return self.faults.take(hook, (action,), f"order {order.id} {order.client_id}".strip())

    def _share(self, order: v.Order, fault: Fault) -> Decimal:
        """The fraction of a fault, of what is left of an order."""
        return floor_to(order.left * dec(fault.fraction), self.listings[order.pair].qty_step)

    def amend(self, order_id: int, qty: Decimal, price: Decimal) -> v.Order:
        """Give a resting order another quantity (fills included) or price; it may fill at once. Returns a copy.

        Raises:
            UnknownOrder, OrderFinished; or what a new order of the same kind would be refused for.
        """
        order = self._working(order_id)
        listing, old = self.listings[order.pair], (order.qty, order.price)
        order.qty, order.price = qty, price
        try:
            check(order, listing, self.marks.get(order.pair), ())
            if qty <= order.filled:
                raise v.BelowMinimum(f"{text(order.filled)} is filled already")
            if order.tif == v.POST_ONLY and self._takes(order):
                raise v.WouldTakeLiquidity(f"order price {text(price)} would be filled at once")
            self._reserve_anew(order)
        except v.Refusal:
            order.qty, order.price = old
            self._reserve_anew(order)
            raise
        if price != old[1] or qty > old[0]:
            self._queue.leave(order)  # behind what is there now
        order.updated_ns, order.updates = self.clock.now_ns(), order.updates + 1
        self._emit(order)
        self._match_incoming(order)
        self._flush()
        return copy(order)

    def _reserve_anew(self, order: v.Order) -> None:
        now_ns, listing = self.clock.now_ns(), self.listings[order.pair]
        self.account.release(order, listing, now_ns)
        self.account.reserve(order, listing, order.price, now_ns)

    def cancel_all(self, pair: str | None = None, side: int | None = None, finish: str = v.BY_USER) -> list[v.Order]:
        """Cancel the open orders of a pair (or of all) and side (or both)."""
        orders = [o for p in ([pair] if pair else self._open) for o in self._open[p].values() if side in (None, o.side)]
        for order in orders:
            self._finish(order, finish)
        self._flush()
        return [copy(order) for order in orders]

    def order(self, order_id: int | None = None, client_id: str = "") -> v.Order:
        """One order (a copy); raises UnknownOrder."""
        return copy(self._find(order_id, client_id))

    def open_orders(self, pair: str | None = None) -> list[v.Order]:
        """Copies, oldest first."""
        return [copy(order) for p in ([pair] if pair else self._open) for order in self._open.get(p, {}).values()]

    def _find(self, order_id: int | None, client_id: str) -> v.Order:
        found = self.orders.get(self._client_ids.get(client_id, -1) if order_id is None else order_id)
        if found is None:
            raise v.UnknownOrder(f"no order {order_id or client_id}")
        return found

    # Matching

    def _takes(self, order: v.Order) -> bool:
        price, qty = self.books[order.pair].best(-order.side)
        return bool(qty) and reaches(order, price)

    def _worst_price(self, order: v.Order) -> Decimal:
        """The price to reserve for: the limit, or the worst level that a market order reaches now."""
        if order.kind == v.LIMIT:
            return order.price
        wanted, price = order.qty, self.marks.get(order.pair, v.ZERO)
        for price, qty in self.books[order.pair].levels(-order.side):  # noqa: B007 - the last price reached is the answer
            wanted -= qty
            if wanted <= 0:
                break
        return price

    def _match_incoming(self, order: v.Order) -> None:
        """Take what is shown; the rest rests (GTC, post-only) or is cancelled."""
        fault = self._fault("order.create", "partial_fill", order)
        limit_qty = order.filled + self._share(order, fault) if fault else order.qty
        for price, shown in [level for level in self.books[order.pair].levels(-order.side) if reaches(order, level[0])]:
            qty = min(shown, limit_qty - order.filled, self._allowed(order), self.account.can_pay(order, price))
            qty = self._grid_qty(order, qty)
            if qty <= 0:
                break
            self._consume(order, price, qty)
            self._fill(order, price, qty, maker=False)
        if order.state == v.OPEN and order.reduce_only and not self._allowed(order):
            self._finish(order, v.BY_REDUCE_ONLY)
        elif order.state == v.OPEN and order.tif == v.IOC:
            self._finish(order, v.BY_IOC)
        elif order.state == v.OPEN:
            self._queue.join(order, self.books[order.pair])

    def _resting(self, pair: str) -> list[v.Order]:
        """Best price and oldest first."""
        orders = (order for order in self._open[pair].values() if not order.held)
        return sorted(orders, key=lambda o: (-o.side * o.price, o.id))

    def _match_resting(self, pair: str) -> None:
        """Fill resting orders that the new quote reached."""
        book, step = self.books[pair], self.listings[pair].qty_step
        for order in self._resting(pair) if self._open[pair] else ():
            while order.state == v.OPEN:
                qty = min(self._queue.on_row(order, book, step), floor_to(self._allowed(order), step))
                if qty <= 0:
                    break
                self._consume(order, book.best(-order.side)[0], qty)
                self._fill(order, order.price, qty, maker=True)

    def _traded(self, pair: str, side: int, price: Decimal, qty: Decimal) -> None:
        """Fill resting orders that a trade of others reaches in their queue."""
        step = self.listings[pair].qty_step
        for order in self._resting(pair) if self._open[pair] else ():
            filled = min(self._queue.on_print(order, side, price, qty, step), floor_to(self._allowed(order), step))
            if filled > 0:
                qty -= filled
                self._fill(order, order.price, filled, maker=True, public=False)

    def _consume(self, order: v.Order, price: Decimal, qty: Decimal) -> None:
        """Take `qty` from the level that fills `order`, and show what is left of it."""
        book = self.books[order.pair]
        level = book.take(-order.side, price, qty)
        self._show(book, ((level,), ()) if order.side == v.SELL else ((), (level,)), None, None, self.clock.now_ns())

    def _allowed(self, order: v.Order) -> Decimal:
        """How much the order may still fill."""
        return order.left

    def _grid_qty(self, order: v.Order, qty: Decimal) -> Decimal:
        """What of `qty` is on the grid."""
        return floor_to(qty, self.listings[order.pair].qty_step)

    def _fill_later(self, order: v.Order, qty: Decimal, seconds: float) -> None:
        """An order that was said to be cancelled turns out to have filled; what pays for it stays locked until then."""
        paid, listing = replace(order, qty=order.filled + qty), self.listings[order.pair]
        self.account.reserve(paid, listing, order.price, self.clock.now_ns())

        def fill() -> None:
            order.frozen = paid.frozen
            self._fill(order, order.price, qty, maker=True)
            self.account.release(order, listing, self.clock.now_ns())
            self._flush()

        self._later(seconds, fill)

    def _fill(
        self, order: v.Order, price: Decimal, qty: Decimal, maker: bool, why: str = v.BY_FILL, *, public: bool = True
    ) -> None:
        """Book one fill everywhere: order, account, trades, and prints, unless it is part of a public trade."""
        now_ns = self.clock.now_ns()
        settled = self.account.fill(order, self.listings[order.pair], price, qty, maker, now_ns)
        order.filled, order.filled_quote = order.filled + qty, order.filled_quote + price * qty
        order.fee, order.updated_ns, order.updates = order.fee + settled.fee, now_ns, order.updates + 1
        done = order.filled == order.qty
        if done:
            self._end(order, v.FILLED, why)
        trade = v.Trade(
            next(self._trade_ids), now_ns, order.pair, order.side, price, qty, maker, settled.fee, settled.fee_coin,
            copy(order), settled.closed_qty,
        )  # fmt: skip
        self.trades.append(trade)
        self._emit(trade)
        self._emit(order)
        if public:
            self._print(order.pair, -order.side if maker else order.side, price, qty, now_ns)

    def _finish(self, order: v.Order, why: str) -> None:
        order.updates += 1
        self._end(order, v.CANCELLED, why)
        self._emit(order)

    def _end(self, order: v.Order, state: str, why: str) -> None:
        order.state, order.finish = state, why
        order.updated_ns = order.finished_ns = self.clock.now_ns()
        self._open[order.pair].pop(order.id, None)
        self._queue.leave(order)
        self.account.release(order, self.listings[order.pair], order.finished_ns)

    def _release(self, order: v.Order) -> None:
        """A late fill's time has come."""
        order.held = False
        if order.state == v.OPEN:
            self._match_incoming(order)
        self._flush()

    def _later(self, seconds: float, callback: Callable[[], None]) -> None:
        if self.later is None:
            raise RuntimeError("this engine has no timer; give it `later` (the server does)")
        self.later(seconds, callback)

    def delist(self, pair: str, on: bool = True) -> None:
        """Take no new orders any more and cancel the resting ones (or take orders again)."""
        if not on:
            self.delisting.discard(pair)
            return
        self.delisting.add(pair)
        self.cancel_all(pair, finish=v.BY_DELISTING)

    def _quoted(self, pair: str) -> None:
        self._match_resting(pair)
        self._mark_moved(pair)

    # What a perpetual adds

    def _check_reduces(self, order: v.Order) -> None:
        """Refuse a reduce-only order that has nothing to reduce."""
        raise v.NothingToReduce("a spot venue has no positions")

    def _mark_moved(self, pair: str) -> None:
        """A quote came."""

    def take_positions(self, pair: str, action: str, fraction: Decimal) -> None:
        """'liquidate' the position of a pair, or take `fraction` of it ('adl'); nothing on a spot venue."""
