"""What fills of a resting order in a replay, under an assumption about its place in the queue.

    FRONT    every print at our price is ours
    BACK     what was shown at our price when the order arrived trades before us; what vanishes without a print does not count
    THROUGH  nothing at our price

Under all three a print beyond our price fills us at our price, at most its size, and so does a quote of the other side that
reaches us. Only prints whose aggressor takes our side count. A size that got smaller is not taken for the queue: its row often
comes before the prints that explain it, and would be counted twice. Plain Python over scalars: the backtest compiles it, local
venues and paper run it as it is.
"""

from typing import NamedTuple

from delta_arb.market import ASSUMPTIONS, BACK, FRONT, SAME, THROUGH

__all__ = ["ASSUMPTIONS", "BACK", "FRONT", "THROUGH", "UNKNOWN", "Queued", "crosses", "joined", "on_print", "on_row"]

UNKNOWN = -1.0  # how much is ahead at a price that was never shown


class Queued(NamedTuple):
    """A resting order: +1 buys, -1 sells; `ahead` is what trades at our price before us, base units."""

    side: int
    price: float
    left: float
    ahead: float


def crosses(side: int, price: float, bid: float, ask: float) -> bool:
    """Whether an order at this price would take from the book, so that a post-only one is refused."""
    return _better(side, price, ask if side > 0 else bid) >= 0.0


def joined(side: int, price: float, qty: float, best: float, best_qty: float) -> Queued:
    """An order that arrives; `best` and its size are of the side that it joins."""
    return Queued(side, price, qty, _ahead(side, price, best, best_qty))


def _ahead(side: int, price: float, best: float, best_qty: float) -> float:
    better = _better(side, price, best)
    if better == 0.0:
        return best_qty
    return 0.0 if better > 0.0 else UNKNOWN


def _better(side: int, price: float, than: float) -> float:
    """By how much a price is more willing than another; exactly 0 where both are of one tick."""
    return 0.0 if abs(price - than) <= SAME * price else side * (price - than)


def on_row(order: Queued, best: float, best_qty: float, other: float, other_qty: float) -> tuple[Queued, float]:
    """A row of the book it rests in: what it fills (a quote of the other side at or beyond our price), and the order then."""
    if order.ahead == UNKNOWN:
        order = Queued(order.side, order.price, order.left, _ahead(order.side, order.price, best, best_qty))
    reached = _better(order.side, order.price, other) >= 0.0
    return _filled(order, other_qty if reached else 0.0)


def on_print(order: Queued, aggressor: int, price: float, qty: float, assumption: int) -> tuple[Queued, float]:
    """A print: what it fills of the order, and the order then."""
    if aggressor == order.side:
        return order, 0.0
    beyond = _better(order.side, order.price, price)
    if beyond > 0.0:
        return _filled(order, qty)
    if beyond < 0.0:
        return order, 0.0
    ahead = order.ahead if order.ahead == UNKNOWN else max(0.0, order.ahead - qty)
    after = Queued(order.side, order.price, order.left, ahead)
    return _filled(after, _at_our_price(order, qty, assumption))


def _at_our_price(order: Queued, qty: float, assumption: int) -> float:
    if assumption == FRONT:
        return qty
    if assumption == THROUGH or order.ahead == UNKNOWN:
        return 0.0
    return max(0.0, qty - order.ahead)


def _filled(order: Queued, qty: float) -> tuple[Queued, float]:
    fill = min(order.left, qty)
    return Queued(order.side, order.price, order.left - fill, order.ahead), fill
