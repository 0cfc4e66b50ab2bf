"""What closed pairs left behind: less than a venue takes as an order, pair by pair, until together it is enough.

The ledger has booked each residual at its exit side when its pair closed; here it is summed over the pairs, per leg.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from delta_arb.market import LEGS, PERP, SPOT, Fill
from delta_arb.strategy.ledger import Closing
from delta_arb.strategy.sizing import orderable
from delta_arb.strategy.state import Rule

NOISE = 1e-9  # of the largest fill: what is left of equal quantities in floating point is no dust


class Dust(NamedTuple):
    """One leg's: signed base units, their value as the ledger booked it, and since when a venue would take them (or None)."""

    leg: str
    qty: float
    usdt: float
    sellable_ns: int | None


def dust(fills: Sequence[Fill], closings: Sequence[Closing], rule: Rule) -> tuple[Dust, Dust]:
    """The dust of both legs; `sellable_ns` is the end of the first pair after which the sum so far could be ordered."""
    left, largest = defaultdict(float), defaultdict(float)
    for f in fills:
        left[f.pair, f.leg] += f.qty
        largest[f.leg] = max(largest[f.leg], abs(f.qty))
    ends = [(c, {leg: left.get((c.pair, leg), 0.0) for leg in (SPOT, PERP)}) for c in closings]
    return tuple(_of_leg(leg, ends, NOISE * largest[leg], (rule.spot, rule.perp)[leg]) for leg in (SPOT, PERP))


def _of_leg(leg, ends, noise, of) -> Dust:
    qty, usdt, sellable_ns = 0.0, 0.0, None
    for closing, left in ends:
        if abs(left[leg]) <= noise:
            continue
        mark = (closing.spot_mark, closing.perp_mark)[leg]
        qty, usdt = qty + left[leg], usdt + left[leg] * mark
        if sellable_ns is None and orderable(abs(qty), mark, of) > 0.0:
            sellable_ns = closing.ts_ns
    return Dust(LEGS[leg], qty, usdt, sellable_ns)
