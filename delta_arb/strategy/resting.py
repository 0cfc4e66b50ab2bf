"""A pair of which one leg rests and is hedged on its fills: what it remembers, and the commands that follow.

Fills are hedged, never orders. Parts below the hedge's step add up; what can never be hedged is unwound where it was bought.
One order rests at a time, one hedge is out at a time. Quantities are base units, bought positive; times int64 ns UTC.
"""

from dataclasses import dataclass
from typing import NamedTuple

from delta_arb.market import NEVER
from delta_arb.strategy.quoting import CANCEL, Quoting, Sight, action, hedge_quantity, wanted_price

PLACE, WITHDRAW, HEDGE, TAKE = range(
    4
)  # a post-only order, its cancel, a taker order of the hedge leg, one of the resting leg


class Command(NamedTuple):
    """What is sent: `qty` signed, `price` only of a post-only order."""

    kind: int
    qty: float = 0.0
    price: float = 0.0


class HedgeRule(NamedTuple):
    """The hedge venue's grid, and the difference of the legs that may stay (a share of one step)."""

    step: float
    least: float
    tolerance: float = 0.0


@dataclass(slots=True)
class RestingPair:
    """What is held on both legs and what is under way. `price` is 0 while no order is known to be out."""

    held: float = 0.0
    hedged: float = 0.0
    hedge_out: bool = False
    take_out: bool = False
    side: int = 0
    price: float = 0.0
    since_ns: int = NEVER
    cancelling: bool = False
    closing: bool = False  # past the deadline of an exit: both legs are taken once nothing rests

    @property
    def naked(self) -> float:
        """By how much the legs differ; what is on its way is not yet counted."""
        return self.held + self.hedged

    def placed(self, side: int, price: float) -> None:
        self.side, self.price, self.since_ns, self.cancelling = side, price, NEVER, False

    def ended_order(self) -> None:
        self.price, self.since_ns, self.cancelling = 0.0, NEVER, False


def follow(pair: RestingPair, rule: HedgeRule) -> list[Command]:
    """The taker orders that follow from where the pair stands: after every report."""
    if pair.hedge_out or pair.take_out:
        return []
    if pair.closing and not pair.price:
        return _close(pair)
    qty = hedge_quantity(-pair.naked, rule.step, rule.least)
    if qty:
        pair.hedge_out = True
        return [Command(HEDGE, qty)]
    if not pair.price and abs(pair.naked) > rule.tolerance * rule.step + 1e-12:
        pair.take_out = True
        return [Command(TAKE, -pair.naked)]
    return []


def _close(pair: RestingPair) -> list[Command]:
    commands = [Command(kind, -qty) for kind, qty in ((TAKE, pair.held), (HEDGE, pair.hedged)) if abs(qty) > 1e-12]
    pair.take_out = any(c.kind == TAKE for c in commands)
    pair.hedge_out = any(c.kind == HEDGE for c in commands)
    return commands


def quote(pair: RestingPair, side: int, left: float, sight: Sight, quoting: Quoting, now_ns: int) -> list[Command]:
    """Place, keep or withdraw the resting order; `left` is what is still wanted of it, base units."""
    if pair.price:
        if pair.cancelling or action(side, pair.price, pair.since_ns, now_ns, sight, quoting) != CANCEL:
            return []
        pair.cancelling = True
        return [Command(WITHDRAW)]
    if left <= 0.0 or sight.hedge_age_ns > quoting.max_quote_age_ns:
        return []
    price = wanted_price(side, sight, quoting)
    pair.placed(side, price)
    return [Command(PLACE, side * left, price)]
