"""Where a resting order stands and when it must go: the pure rules of a leg with the role `maker`.

The quote of an entry is so far from the hedge's book that a fill, hedged there, earns the entry edge after all costs:

    buying:   price = hedge_bid / (1 + entry + fees + adverse), down to the tick, at most ask - tick
    selling:  price = hedge_ask / (1 + exit - fees - adverse),  up to the tick,   at least bid + tick

`adverse` is the expected adverse selection: how far the mid goes against us right after a fill. All are fractions.
"""

import math
from typing import NamedTuple

from delta_arb.market import ceil_to, floor_to

BUY, SELL = 1, -1
KEEP, CANCEL = 0, 1


class Quoting(NamedTuple):
    """How a leg rests: edge wanted, fees of the resting fill and its hedge, expected adverse selection (fractions), how far
    the quote may stand from where it is wanted, its least life, and the grid of prices."""

    edge: float
    fees: float
    adverse: float
    tolerance: float
    least_life_ns: int
    max_quote_age_ns: int
    tick: float


class Sight(NamedTuple):
    """What a quote is made from: best prices of the venue it rests at, and of the hedge's with the age of its book."""

    bid: float
    ask: float
    hedge_bid: float
    hedge_ask: float
    hedge_age_ns: int


def wanted_price(side: int, sight: Sight, quoting: Quoting) -> float:
    """The price of the quote on the grid, never crossing the book it rests at; USDT per base unit."""
    costs = quoting.fees + quoting.adverse
    if side == BUY:
        price = sight.hedge_bid / (1.0 + quoting.edge + costs)
        return min(floor_to(price, quoting.tick), floor_to(sight.ask - quoting.tick, quoting.tick))
    price = sight.hedge_ask / (1.0 + quoting.edge - costs)
    return max(ceil_to(price, quoting.tick), ceil_to(sight.bid + quoting.tick, quoting.tick))


def too_near(side: int, resting: float, wanted: float) -> float:
    """By how much of itself a resting price is nearer to the market than wanted; negative where it is too far."""
    return side * (resting - wanted) / resting


def action(side: int, resting: float, rests_since_ns: int, now_ns: int, sight: Sight, quoting: Quoting) -> int:
    """KEEP or CANCEL: too near by more than the tolerance, or an old hedge book, at once; too far after the least life."""
    if sight.hedge_age_ns > quoting.max_quote_age_ns:
        return CANCEL
    off = too_near(side, resting, wanted_price(side, sight, quoting))
    if off > quoting.tolerance:
        return CANCEL
    old = now_ns - rests_since_ns >= quoting.least_life_ns
    return CANCEL if off < -quoting.tolerance and old else KEEP


def hedge_quantity(unhedged: float, step: float, least: float) -> float:
    """What of an unhedged quantity can be hedged now, signed like it: down to the step, 0 below the least; base units."""
    size = floor_to(abs(unhedged), step)
    return math.copysign(size, unhedged) if size >= least * (1.0 - 1e-9) and size > 0.0 else 0.0
