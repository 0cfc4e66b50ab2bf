"""An order that rests on paper: filled in its queue by the rules of the replay (`strategy.queue_fills`), told event by event.

Trades of a stamp come before its rows, and both before what arrives then; fills of one stamp are one report. Where no trades are
told, only a quote that reaches the order fills it.
"""

from dataclasses import dataclass

from delta_arb.live.venues.base import WOULD_TAKE, Report
from delta_arb.market import NEVER, Book, Order
from delta_arb.strategy.queue_fills import Queued, crosses, joined, on_print, on_row
from delta_arb.strategy.sizing import fee_usdt, received
from delta_arb.strategy.state import LegRule

DONE = 1e-12  # of a base unit: less than this is nothing left


@dataclass(slots=True)
class PaperRest:
    """One that has arrived; `rested` makes it. What was `filled` since its last report is due at `told_ns`."""

    order_id: str
    leg: int
    of: LegRule
    place: int
    queued: Queued
    cancel_ns: int = NEVER  # when its cancel arrives
    told_ns: int = NEVER
    filled: float = 0.0

    @property
    def due_ns(self) -> int:
        """When its next report is due."""
        return min(self.told_ns, self.cancel_ns)

    @property
    def left(self) -> float:
        """What still works, signed."""
        return self.queued.side * self.queued.left

    def on_row(self, ts_ns: int, book: Book) -> None:
        """A row of the book that it rests in."""
        own, other = _sides(self.queued.side, book)
        self.queued, filled = on_row(self.queued, *own, *other)
        self._fill(ts_ns, filled)

    def on_trade(self, ts_ns: int, side: int, price: float, qty: float) -> None:
        """A trade of others; `side` is its taker's."""
        self.queued, filled = on_print(self.queued, side, price, qty, self.place)
        self._fill(ts_ns, filled)

    def _fill(self, ts_ns: int, filled: float) -> None:
        if filled > 0.0:
            self.filled, self.told_ns = self.filled + filled, min(self.told_ns, ts_ns)

    def report(self) -> Report:
        """The one that is due; nothing works after the last one."""
        due_ns, filled = self.due_ns, received(self.queued.side * self.filled, self.of, True)
        over = self.queued.left <= DONE or due_ns == self.cancel_ns
        fee = fee_usdt(filled, self.queued.price, self.of, True)
        self.filled, self.told_ns = 0.0, NEVER
        remaining = 0.0 if over else self.left
        return Report(due_ns, self.leg, self.order_id, filled, self.queued.price, fee, remaining=remaining)


def rested(
    order_id: str, leg: int, order: Order, at_ns: int, book: Book | None, of: LegRule, place: int
) -> tuple[Report, PaperRest | None]:
    """What is reported of a post-only order that arrives at a book, and the order, if it rests."""
    side = 1 if order.qty > 0.0 else -1
    if book is None or crosses(side, order.limit, book.bid, book.ask):
        refused = WOULD_TAKE if book else ""
        return Report(at_ns, leg, order_id, 0.0, order.limit, 0.0, refused), None
    own, _ = _sides(side, book)
    queued = joined(side, order.limit, abs(order.qty), *own)
    return Report(at_ns, leg, order_id, 0.0, order.limit, 0.0, remaining=order.qty), PaperRest(
        order_id, leg, of, place, queued
    )


def _sides(side: int, book: Book) -> tuple[tuple[float, float], tuple[float, float]]:
    """(best, size) of the side that an order joins, and of the other one."""
    bid, ask = (book.bid, book.bid_qty), (book.ask, book.ask_qty)
    return (bid, ask) if side > 0 else (ask, bid)
