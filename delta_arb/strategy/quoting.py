"""Where a resting order stands, when it must go, and what fills it there.

The quote of an end that rests is so far from the hedge's book that a fill, hedged there at once, leaves the level after the
fees of both fills, and the expected adverse selection (how far the mid goes against us right after a fill) besides:

    entry, spot rests    buys   perp_bid / (1 + entry + costs),  down to the tick, at most ask - tick
    exit,  spot rests    sells  perp_ask / (1 + exit - costs),   up to the tick,   at least bid + tick
    entry, perp rests    sells  spot_ask * (1 + entry + costs),  up to the tick,   at least bid + tick
    exit,  perp rests    buys   spot_bid * (1 + exit - costs),   down to the tick, at most ask - tick

with costs = distance + fees + adverse, all fractions. An exit whose longest hold is over stands at the touch, whatever it leaves.

What fills it in a replay follows from an assumption about its place in the queue:

    FRONT    every print at our price is ours
    BACK     what was shown at our price when the order arrived trades before us; what vanishes without a print does not count
    THROUGH  nothing at our price

Under all three a print beyond our price fills us at our price, at most its size, and so does a quote of the other side that
reaches us. Only prints whose aggressor takes our side count. A size that got smaller is not taken for the queue: its row often
comes before the prints that explain it, and would be counted twice. Plain Python over scalars: the backtest compiles it, local
venues and paper run it as it is.
"""

from typing import NamedTuple

from delta_arb.market import FRONT, SAME, SPOT, THROUGH, ceil_to, floor_to
from delta_arb.strategy.state import ENTERING, MachineRule, State

BUY, SELL = 1, -1
AT_THE_TOUCH = 1e6  # so much of the hedge's price is never on the wrong side of the own book
KEEP, TOO_NEAR, TOO_FAR = range(3)


def quote_side(state: State, rule: MachineRule) -> int:
    """Whether the leg that rests buys or sells at this end of a direct pair."""
    return BUY if (rule.quoting.leg == SPOT) == (state.phase == ENTERING) else SELL


def due(state: State, ts_ns: int, rule: MachineRule) -> bool:
    """Whether the longest hold of the pair is over, so that its exit is no longer a matter of price."""
    return state.phase != ENTERING and ts_ns >= state.opened_ns + rule.max_hold_ns


def hedge_ratio(state: State, shift: float, ts_ns: int, rule: MachineRule) -> float:
    """The price that is wanted over the price at which the hedge trades; `shift` is of the signal, as in `opening_pays`."""
    q, legs = rule.quoting, (rule.spot, rule.perp)
    if due(state, ts_ns, rule):
        return AT_THE_TOUCH if quote_side(state, rule) == BUY else 0.0
    costs = q.distance + legs[q.leg].maker_fee + legs[1 - q.leg].fee + q.adverse
    level = 1.0 + (rule.entry + costs if state.phase == ENTERING else rule.exit - costs) - shift
    return 1.0 / level if q.leg == SPOT else level


def wanted_price(side: int, bid: float, ask: float, hedge: float, ratio: float, tick: float) -> float:
    """The price of the quote on the grid, never crossing the book it rests at; `hedge` is where its fill would be hedged."""
    if side == BUY:
        return _as_written(min(floor_to(hedge * ratio, tick), floor_to(ask - tick, tick)), tick)
    return _as_written(max(ceil_to(hedge * ratio, tick), ceil_to(bid + tick, tick)), tick)


def _as_written(price: float, tick: float) -> float:
    """The price of so many ticks as a venue writes it: 0.7986, not the 0.7986000000000001 that 7986 times 0.0001 is."""
    a_unit = round(1.0 / tick)
    return round(price * a_unit) / a_unit if abs(a_unit * tick - 1.0) < 1e-9 else price


def misplaced(side: int, quote: float, wanted: float, tolerance: float) -> int:
    """Whether a quote is nearer to the market than wanted by more than the tolerance (a fraction), or farther."""
    nearer = side * (quote - wanted) / quote
    if nearer > tolerance:
        return TOO_NEAR
    return TOO_FAR if nearer < -tolerance else KEEP


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
    if assumption == FRONT:
        return _filled(after, qty)
    if assumption == THROUGH or order.ahead == UNKNOWN:
        return _filled(after, 0.0)
    return _filled(after, max(0.0, qty - order.ahead))


def _filled(order: Queued, qty: float) -> tuple[Queued, float]:
    fill = min(order.left, qty)
    return Queued(order.side, order.price, order.left - fill, order.ahead), fill
