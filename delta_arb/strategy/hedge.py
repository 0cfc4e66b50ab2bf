"""Unequal legs: complete the missing one while that is cheaper than unwinding the filled one, else unwind.

`excess` is the sum of both signed positions, so either remedy trades against its sign: on the longer leg (the one
with the larger position) it unwinds, on the shorter one it completes.
"""

from delta_arb.market import exit_price
from delta_arb.strategy.sizing import orderable, usable
from delta_arb.strategy.state import Event, Rule, State


def unbalanced(state: State, event: Event, rule: Rule) -> bool:
    """Whether the legs differ by more than the tolerance, and by enough that a venue would take an order for it.

    An exit leaves nothing behind that can still be ordered, so there the tolerance is zero.
    """
    excess = state.spot.position + state.perp.position
    if not state.exiting and abs(excess) <= rule.leg_tolerance * state.pair_qty:
        return False
    return _cut_qty(state, event, rule) > 0.0 or (not state.exiting and _grow_qty(state, event, rule) > 0.0)


def mending(state: State, event: Event, rule: Rule, late: bool) -> tuple[float, float]:
    """Signed quantities (spot, perp) that mend the difference of the legs now; both zero while there is to wait.

    Both remedies need a fresh book of the leg they trade. When it is `late` only unwinding is tried, on the last book
    and within the price bound. What no venue takes as an unwinding order (less than one contract too many) is
    completed whatever it costs, but never on a stale book.
    """
    spot_is_longer = abs(state.spot.position) > abs(state.perp.position)
    cut = _cut_qty(state, event, rule)
    grow = 0.0 if state.exiting else _grow_qty(state, event, rule)
    completes = cut == 0.0 or (grow > 0.0 and not late and completing_is_cheaper(state, event, rule))
    on_spot = spot_is_longer != completes
    qty = grow if completes else cut
    if (completes or not late) and not usable(event.spot if on_spot else event.perp, event.ts_ns, rule):
        return 0.0, 0.0  # wait for a fresh book
    signed = -qty if state.spot.position + state.perp.position > 0.0 else qty
    return (signed, 0.0) if on_spot else (0.0, signed)


def completing_is_cheaper(state: State, event: Event, rule: Rule) -> bool:
    """Extra cost of the missing leg against the price it was decided on, below spread and both fees of the filled one."""
    excess = state.spot.position + state.perp.position
    if abs(state.spot.position) > abs(state.perp.position):
        longer, long_book, fee = state.spot, event.spot, rule.spot.fee
        shorter, short_book = state.perp, event.perp
    else:
        longer, long_book, fee = state.perp, event.perp, rule.perp.fee
        shorter, short_book = state.spot, event.spot
    if not usable(short_book, event.ts_ns, rule):
        return False
    if excess > 0.0:  # both remedies sell
        extra = (shorter.decided - short_book.bid) / short_book.bid
        return extra < (longer.average - long_book.bid) / long_book.bid + 2.0 * fee
    extra = (short_book.ask - shorter.decided) / short_book.ask
    return extra < (long_book.ask - longer.average) / long_book.ask + 2.0 * fee


def _cut_qty(state: State, event: Event, rule: Rule) -> float:
    """What the longer leg's venue would take to unwind the difference."""
    excess = state.spot.position + state.perp.position
    if abs(state.spot.position) > abs(state.perp.position):
        return orderable(abs(excess), exit_price(excess, event.spot), rule.spot)
    return orderable(abs(excess), exit_price(excess, event.perp), rule.perp)


def _grow_qty(state: State, event: Event, rule: Rule) -> float:
    """What the shorter leg's venue would take to complete it."""
    excess = state.spot.position + state.perp.position
    if abs(state.spot.position) > abs(state.perp.position):
        return orderable(abs(excess), exit_price(excess, event.perp), rule.perp)
    return orderable(abs(excess), exit_price(excess, event.spot), rule.spot)
