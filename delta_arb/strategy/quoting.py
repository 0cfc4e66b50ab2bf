"""Where a resting order stands, and when it must go.

The quote of an end that rests is so far from the hedge's book that a fill, hedged there at once, leaves the level after the
fees of both fills, and the expected adverse selection (how far the mid goes against us right after a fill) besides:

    entry, spot rests    buys   perp_bid / (1 + entry + costs),  down to the tick, at most ask - tick
    exit,  spot rests    sells  perp_ask / (1 + exit - costs),   up to the tick,   at least bid + tick
    entry, perp rests    sells  spot_ask * (1 + entry + costs),  up to the tick,   at least bid + tick
    exit,  perp rests    buys   spot_bid * (1 + exit - costs),   down to the tick, at most ask - tick

with costs = distance + fees + adverse, all fractions. An exit whose longest hold is over stands at the touch, whatever it leaves.
"""

from delta_arb.market import SPOT, ceil_to, floor_to
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


def pays_as_taker(pays: float, rule: MachineRule) -> bool:
    """Whether an entry leaves its level, net of fees, with both legs taken now."""
    return pays >= rule.entry + rule.spot.fee + rule.perp.fee
