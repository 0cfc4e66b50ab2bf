"""Where each resting order stands in the queue of its price, and what a row or a trade of others fills of it.

The rules are those of the replay (`strategy.queue_fills`); here quantities become exact decimals again, on the grid.
"""

from decimal import Decimal

from delta_arb.sandbox.book import Book
from delta_arb.sandbox.rules import round_to
from delta_arb.sandbox.values import Order
from delta_arb.strategy.queue_fills import ASSUMPTIONS, UNKNOWN, Queued, joined, on_print, on_row


class Queue:
    """The places of one venue's resting orders.

    Args:
        assumption: about what was there before us: front, back or through.
    """

    def __init__(self, assumption: str = "back") -> None:
        self._assumption = ASSUMPTIONS.index(assumption)
        self._places: dict[int, Queued] = {}

    def join(self, order: Order, book: Book) -> None:
        """At the end of the queue of its price, unless it stands there already; a level that is shown tells its size."""
        if order.id in self._places:
            return
        place = joined(order.side, float(order.price), float(order.left), *map(float, book.best(order.side)))
        shown = dict(book.levels(order.side)).get(order.price)
        if place.ahead == UNKNOWN and shown:
            place = place._replace(ahead=float(shown))
        self._places[order.id] = place

    def leave(self, order: Order) -> None:
        self._places.pop(order.id, None)

    def on_row(self, order: Order, book: Book, step: Decimal) -> Decimal:
        """What a new row fills of it, at most the best level of the other side."""
        sides = (*book.best(order.side), *book.best(-order.side))
        self._places[order.id], qty = on_row(self._place(order), *map(float, sides))
        return _exact(qty, step)

    def on_print(self, order: Order, side: int, price: Decimal, qty: Decimal, step: Decimal) -> Decimal:
        """What a trade of others fills of it; `side` is its taker's."""
        place = self._place(order)
        self._places[order.id], filled = on_print(place, side, float(price), float(qty), self._assumption)
        return _exact(filled, step)

    def _place(self, order: Order) -> Queued:
        return self._places[order.id]._replace(left=float(order.left))


def _exact(qty: float, step: Decimal) -> Decimal:
    """A quantity without the noise of floating point, down to the grid."""
    exact = round_to(Decimal(repr(qty)), step * Decimal("1e-6"))
    return exact - exact % step
