"""A resting order in a replay: when its placement and its cancel arrive, and what fills it between.

At one stamp a venue's trades come first, then its rows, then what arrives there. A placement is judged by the book in force at
its arrival. The order has no part in the trades of that stamp, and lives until its cancel has arrived, that stamp included. What
fills it is in `strategy.quoting`, under one assumption about its place in the queue. Fills of one stamp are one report.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from delta_arb.backtest.fast_forward import book_at, first_at, shift_at
from delta_arb.latency import Delays
from delta_arb.market import NEVER, PERP, SPOT, Order
from delta_arb.quotes.depth_and_trades import Depth, Prints, Queues, ahead_at
from delta_arb.strategy.decide import decide, take
from delta_arb.strategy.quoting import (
    BUY,
    KEEP,
    TOO_NEAR,
    UNKNOWN,
    Queued,
    crosses,
    hedge_ratio,
    joined,
    misplaced,
    on_print,
    on_row,
    quote_side,
    wanted_price,
)
from delta_arb.strategy.state import NO_LEG, Event, MachineRule, State

CHUNK = 256  # rows that are looked through before the queue is: what is found there may come first
DONE = 1e-12  # of a base unit: less than this is nothing left
NEAR = 1e-6  # of a price: what is looked at, of which the rules say whether it fills


class Road(NamedTuple):
    """The way of an order to one venue: its latencies over time, whether that leg of the tape is polled, and the levels recorded
    there (None where no rule rests and no levels are known)."""

    delays: Delays
    polled: bool
    depth: Depth | None


class Roads(NamedTuple):
    """The ways to both venues, and what resting orders fill by there.

    Where no rule rests and no levels are known there is None in its place, and the compiler leaves out all that is here.
    """

    legs: tuple[Road, Road]
    queues: Queues | None


def arrives(tape, i, leg, arrival_ns, polled, max_quote_age_ns):
    """When an order's outcome is known, and the row whose book it meets (-1: none); `i` is the first row not yet seen."""
    n = len(tape.ts_ns)
    if not polled:
        while i < n and tape.ts_ns[i] <= arrival_ns:
            i += 1
        return arrival_ns, i - 1
    while i < n and tape.ts_ns[i] <= arrival_ns + max_quote_age_ns:
        if tape.ts_ns[i] >= arrival_ns and tape.leg[i] == leg:
            return tape.ts_ns[i], i
        i += 1
    return arrival_ns + max_quote_age_ns, -1


def latency_ns(road: Road, now_ns: int) -> int:
    return road.delays.latency_ns[max(first_at(road.delays.ts_ns, 0, now_ns + 1) - 1, 0)]


def place(tape, machine, now_ns, leg, road: Road, prints: Prints, order: Order, rule: MachineRule):
    """Put a post-only order under way to its venue; the report of its arrival is what is heard next."""
    arrival_ns, venue = now_ns + latency_ns(road, now_ns), machine.venues[leg]
    venue.due_ns, row = arrives(tape, machine.row, leg, arrival_ns, road.polled, rule.max_quote_age_ns)
    venue.rests, venue.cancel_ns, venue.whole, venue.filled, venue.price = True, NEVER, False, 0.0, order.limit
    venue.remaining, side = 0.0, 1 if order.qty > 0.0 else -1
    if row < 0:
        return
    book = book_at(tape, leg, row)
    if crosses(side, order.limit, book.bid, book.ask):
        return
    best, size = (book.bid, book.bid_qty) if side > 0 else (book.ask, book.ask_qty)
    queued = joined(side, order.limit, abs(order.qty), best, size)
    venue.side, venue.limit, venue.left, venue.ahead = side, order.limit, queued.left, queued.ahead
    if queued.ahead == UNKNOWN:
        venue.ahead = ahead_at(road.depth, venue.due_ns, rule.max_quote_age_ns, side, order.limit)
    venue.remaining, venue.row = order.qty, row + 1
    venue.print = first_at(prints.ts_ns, min(venue.print, len(prints.ts_ns)), venue.due_ns + 1)


def withdraw(now_ns, road, venue):
    """Put the cancel of a resting order under way; it arrives no earlier than the order."""
    arrival_ns = now_ns + latency_ns(road, now_ns)
    if venue.cancel_ns != NEVER:
        return
    venue.cancel_ns = arrival_ns if venue.due_ns == NEVER else max(arrival_ns, venue.due_ns)
    if venue.due_ns == NEVER:
        venue.due_ns, venue.filled, venue.remaining = venue.cancel_ns, 0.0, 0.0


def decided(queues, state: State, event: Event, rule: MachineRule):
    """The orders that the event calls for."""
    if queues is None:
        return take(state, event, rule)
    return decide(state, event, rule)


def heard(queues, venue):
    """What a report says besides its fill: what works on, and whether the order rested.

    The next one is that of its cancel, if that is under way, or of a fill to come.
    """
    venue.due_ns = NEVER
    if queues is None:
        return 0.0, False
    remaining, rested = venue.remaining, venue.rests
    venue.filled = 0.0
    if remaining == 0.0:
        venue.rests, venue.cancel_ns = False, NEVER
    elif venue.cancel_ns != NEVER:
        venue.due_ns, venue.remaining = venue.cancel_ns, 0.0
    return remaining, rested


def quoted(queues, tape, machine, now_ns, leg, road: Road, order: Order, rule: MachineRule):
    """Send what concerns an order that rests; whether that was all."""
    if queues is None:
        return False
    if order.cancel and machine.venues[leg].rests:
        withdraw(now_ns, road, machine.venues[leg])
    if order.post_only:
        place(tape, machine, now_ns, leg, road, prints_of(queues, leg), order, rule)
    return order.post_only


def quote_row(queues, tape, looks, way, state: State, rule: MachineRule, i, row):
    """The row to look at next: the one that was found, or an earlier one on which the quote may have to go."""
    if queues is None:
        return row
    if state.quote == 0.0 or state.withdrawn or row <= i:
        return row
    return next_misplaced(tape, looks, way, state, rule, i, row)


def quote_due(queues, tape, machine, rule: MachineRule, due_ns, i, row):
    """When the next report is due and the row to look at next, once the queue has been followed to there."""
    if queues is None:
        return due_ns, row
    leg, venues = rule.quoting.leg, machine.venues
    if leg == NO_LEG or not venues[leg].rests:
        return due_ns, row
    until_ns = min(tape.ts_ns[min(row, len(tape.ts_ns) - 1)], due_ns, machine.state.wake_ns)
    fill_until(tape, leg, prints_of(queues, leg), queues.place, venues[leg], until_ns)
    due_ns = min(venues[SPOT].due_ns, venues[PERP].due_ns)
    return due_ns, min(row, first_at(tape.ts_ns, i, due_ns)) if row > i else row


def prints_of(queues: Queues, leg: int) -> Prints:
    return queues.spot if leg == SPOT else queues.perp


def fill_until(tape, leg, prints, place, venue, until_ns):
    """Look for a fill of the order that rests, at or before a time; what was looked through is not looked at again."""
    waits = venue.due_ns == NEVER or venue.due_ns == venue.cancel_ns
    if not waits:
        return
    until_ns = min(until_ns, venue.cancel_ns)
    n = len(tape.ts_ns)
    order = Queued(venue.side, venue.limit, venue.left, venue.ahead)
    k, row, filled, at_ns, past = venue.print, venue.row, 0.0, until_ns, len(prints.ts_ns)
    while order.left > DONE:
        print_ns = prints.ts_ns[k] if k < past else NEVER
        row_ns = tape.ts_ns[row] if row < n else NEVER
        if min(print_ns, row_ns) > at_ns:
            break
        more = 0.0
        if print_ns <= row_ns:
            order, more = on_print(order, prints.side[k], prints.price[k], prints.qty[k], place)
            k += 1
        else:
            if tape.leg[row] == leg:
                order, more = _shown(order, tape, leg, row)
            row += 1
        if more > 0.0:
            filled, at_ns = filled + more, min(print_ns, row_ns)  # from here on only what has the same stamp
    venue.print, venue.row, venue.left, venue.ahead = k, row, order.left, order.ahead
    if filled > 0.0:
        ended = order.left <= DONE or at_ns == venue.cancel_ns
        venue.due_ns, venue.filled, venue.price = at_ns, order.side * filled, order.price
        venue.remaining = 0.0 if ended else order.side * order.left


def _shown(order, tape, leg, row):
    """A row of the book it rests in."""
    book = book_at(tape, leg, row)
    if order.ahead != UNKNOWN and not crosses(order.side, order.price, book.bid, book.ask):
        return order, 0.0
    if order.side > 0:
        return on_row(order, book.bid, book.bid_qty, book.ask, book.ask_qty)
    return on_row(order, book.ask, book.ask_qty, book.bid, book.bid_qty)


def next_misplaced(tape, looks, way, state: State, rule: MachineRule, i, past):
    """The first row, from `i` on and before `past`, at which the quote that is out may have to go; at most a chunk further."""
    leg, side, tolerance = rule.quoting.leg, quote_side(state, rule), rule.quoting.tolerance
    own, own_row = (tape.spot, tape.spot_row) if leg == SPOT else (tape.perp, tape.perp_row)
    other, other_row = (tape.perp, tape.perp_row) if leg == SPOT else (tape.spot, tape.spot_row)
    hedge = other.bid if side == BUY else other.ask
    tick = rule.spot.tick if leg == SPOT else rule.perp.tick
    old_ns = state.quote_ns + rule.quoting.least_life_ns if state.quote_ns != NEVER else NEVER
    still, stop = looks.shift.shape[1] == 1, min(past, i + CHUNK)
    ratio = hedge_ratio(state, shift_at(looks.shift, way, i), tape.ts_ns[i], rule)
    row = i
    while row < stop:
        if not still:
            ratio = hedge_ratio(state, shift_at(looks.shift, way, row), tape.ts_ns[row], rule)
        at, of = own_row[row], other_row[row]
        off = misplaced(
            side, state.quote, wanted_price(side, own.bid[at], own.ask[at], hedge[of], ratio, tick), tolerance
        )
        if off == TOO_NEAR or (off != KEEP and tape.ts_ns[row] >= old_ns):
            break
        if (
            tape.ts_ns[row] - other.fresh_ns[of] > rule.max_quote_age_ns
            or other.bid_qty[of] <= 0.0
            or other.ask_qty[of] <= 0.0
            or other.bid[of] >= other.ask[of]
        ):
            break
        row += 1
    while row > i and tape.ts_ns[row - 1] == tape.ts_ns[row]:
        row -= 1  # the first one of its instant
    return row


def fills_while(
    tape, leg: int, rows: np.ndarray, prints: Prints, order: Queued, out_ns: tuple[int, int], way: int
) -> Iterator[tuple[int, float]]:
    """When and how much of one order fills that arrived at `out_ns[0]` and works until `out_ns[1]` (ns), under one assumption.

    Of the book it rests in only `rows` of the tape are seen, which are inside; the trades of a stamp come before them, and none at
    the arrival itself has a part. The plain form of what the kernel does, for orders that nothing else depends on.
    """
    sides = ("bid", "ask") if order.side > 0 else ("ask", "bid")
    books, row = (tape.spot, tape.spot_row) if leg == SPOT else (tape.perp, tape.perp_row)
    best, best_qty, other, other_qty = (getattr(books, f"{s}{unit}") for s in sides for unit in ("", "_qty"))
    reach = order.side * order.price + NEAR * order.price
    first, past = np.searchsorted(prints.ts_ns, out_ns, "right")
    at = slice(first, past)
    met = first + np.flatnonzero((prints.side[at] == -order.side) & (order.side * prints.price[at] <= reach))
    if order.ahead != UNKNOWN:
        rows = rows[order.side * other[row[rows]] <= reach]
    events = [(ts, 0, k) for ts, k in zip(prints.ts_ns[met].tolist(), met.tolist(), strict=True)]
    events += [(ts, 1, k) for ts, k in zip(tape.ts_ns[rows].tolist(), rows.tolist(), strict=True)]
    for ts_ns, kind, k in sorted(events):
        if kind:
            seen = (float(column[row[k]]) for column in (best, best_qty, other, other_qty))
            order, filled = on_row(order, *seen)
        else:
            order, filled = on_print(order, int(prints.side[k]), float(prints.price[k]), float(prints.qty[k]), way)
        if filled > 0.0:
            yield ts_ns, filled
        if order.left <= DONE:
            return
