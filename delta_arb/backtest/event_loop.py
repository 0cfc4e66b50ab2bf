"""The driver of the pair machine over a tape: rows, reports and timers in, orders out, filled by the fill rule.

An order decided at t reaches its venue at t + latency (feed plus order, per leg, never zero) and meets the book in
force there: of `updates` the last row at or before the arrival; of polled `snapshots` the first row at or after it,
and none within the maximum quote age lets the order expire. Its report is back when its outcome is known on the
tape. At equal times reports come first, then quotes (all rows of one instant are one event), then timers.

`drive` is written once: compiled with numba it replays a rule (`backtest`) or thousands (`sweep`), uncompiled it is what
the compiled one is compared with.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from delta_arb.backtest.fast_forward import NEAR, awaited, first_at, next_row, perp_book, shift_at, spot_book
from delta_arb.latency import Delays
from delta_arb.market import NEVER, PERP, SPOT, UNTOUCHED, Book, Fill, Taken, fill, left_of, with_taken
from delta_arb.strategy.decide import decide, ended
from delta_arb.strategy.ledger import Closing, closing
from delta_arb.strategy.margin import liquidated_at
from delta_arb.strategy.signal import UNKNOWN, step
from delta_arb.strategy.sizing import fee_usdt, received
from delta_arb.strategy.state import FLAT, HALTED, OPEN, OUTSIDE, QUOTE, REPORT, START, TIMER, Event, State
from delta_arb.wallets import (
    NO_TRANSFER,
    Purse,
    Rebalancing,
    Transfer,
    moved,
    sent_transfer,
    wallet_of,
    with_fill,
    with_funding,
)


class Columns(NamedTuple):
    """The tape's columns as the kernel reads them: arrays when compiled, lists when plain."""

    ts_ns: Sequence[int]
    leg: Sequence[int]
    spot_bid: Sequence[float]
    spot_ask: Sequence[float]
    spot_bid_qty: Sequence[float]
    spot_ask_qty: Sequence[float]
    spot_age_ns: Sequence[int]
    perp_bid: Sequence[float]
    perp_ask: Sequence[float]
    perp_bid_qty: Sequence[float]
    perp_ask_qty: Sequence[float]
    perp_age_ns: Sequence[int]


class Road(NamedTuple):
    """The way of an order to one venue: its latencies over time, and whether that leg of the tape is polled."""

    delays: Delays
    polled: bool


class Pending(NamedTuple):
    """An order under way: when its outcome is known, and the tape row whose book it meets (-1: none)."""

    due_ns: int
    row: int
    qty: float
    limit: float


class Sent(NamedTuple):
    """An order as the machine sent it."""

    pair: int
    ts_ns: int
    leg: int
    phase: int
    qty: float
    limit: float


class Money(NamedTuple):
    """The wallets at the beginning, and when a transfer between them is sent."""

    purse: Purse
    policy: Rebalancing


class Stamps(NamedTuple):
    """The funding stamps as columns."""

    ts_ns: Sequence[int]
    rate: Sequence[float]
    mark: Sequence[float]


class Place(NamedTuple):
    """Where a machine stands with no order under way: its state, the first row not yet seen, and what was taken of the books."""

    state: State
    row: int
    now_ns: int
    spot_taken: Taken
    perp_taken: Taken


class Driven(NamedTuple):
    """What a drive came to: its last place, the books and the purse then, and what happened since its first one.

    `left_ns` is when its phase or arming first changed, or a short was taken away; `NEVER` where nothing of that was.
    """

    place: Place
    left_ns: int
    spot: Book
    perp: Book
    purse: Purse
    sent: list[Sent]
    fills: list[Fill]
    closings: list[Closing]
    refusals: list[int]
    transfers: list[Transfer]


NOTHING = Pending(NEVER, -1, 0.0, 0.0)
BEGINNING = Place(START, 0, 0, UNTOUCHED, UNTOUCHED)
PATIENCE = 16  # quiet rows; seeing so many costs as much as looking for the next one that matters


def drive(tape, looks, spot_road, perp_road, rule, money, stamps, place, pausing):
    """From a place on, feed every row that matters, report and timer to `decide`, as `Driven`.

    When `pausing`, only until the machine rests again: something has changed, and no order is under way.
    """
    n = len(tape.ts_ns)
    end_ns = tape.ts_ns[n - 1]
    state, i, now_ns, spot_taken, perp_taken = place
    spot_order, perp_order = NOTHING, NOTHING
    shown = max(i - 1, 0)
    spot, perp, shift = spot_book(tape, shown), perp_book(tape, shown), shift_at(looks, shown)
    sent, fills, closings = [], [], []
    refusals, transfers = [], []
    purse, moving, leverage = money.purse, NO_TRANSFER, rule.perp.leverage
    stamp, left_ns = first_at(stamps.ts_ns, 0, now_ns + 1), NEVER
    jumping, last = looks.near.size > 0, first_at(tape.ts_ns, 0, end_ns)  # the last instant is always seen
    quiet, patience = 0, 0  # events since the phase changed; as many are seen before the next jump as short ones taught
    while True:
        due_ns = min(spot_order.due_ns, perp_order.due_ns)
        if jumping and quiet >= patience and i < last:
            wait = awaited(state, min(due_ns, moving.arrives_ns), rule)
            if tape.ts_ns[i] < wait.until_ns:
                row = min(next_row(tape, looks, wait, i), last)
                if due_ns == NEVER:
                    quiet, patience = 0, 0 if row - i >= NEAR else PATIENCE
                if row > i:  # as if the rows before it had been seen
                    spot, perp, shift = spot_book(tape, row - 1), perp_book(tape, row - 1), shift_at(looks, row - 1)
                    i, now_ns = row, tape.ts_ns[row - 1]
        row_ns = tape.ts_ns[i] if i < n else NEVER
        wake_ns = max(state.wake_ns, now_ns)  # a timer that is already due rings now; the clock never goes back
        now_ns = min(row_ns, due_ns, wake_ns)
        if now_ns > end_ns:
            break
        before = state
        while stamp < len(stamps.ts_ns) and stamps.ts_ns[stamp] <= now_ns:  # paid on what is held strictly before
            purse = with_funding(purse, stamps.rate[stamp], stamps.mark[stamp])
            stamp += 1
        if moving.arrives_ns <= now_ns:
            purse = moved(purse, moving.to_leg, moving.usdt - moving.fee_usdt)
            moving = NO_TRANSFER
        if due_ns == now_ns:
            if spot_order.due_ns == due_ns:
                leg, order = SPOT, spot_order
                spot_order = NOTHING
                book = spot_book(tape, max(order.row, 0))
                filled, price = _outcome(order, left_of(book, spot_taken), rule.spot.step)
                spot_taken = with_taken(book, spot_taken, filled)
                filled = received(filled, rule.spot)
                fee = fee_usdt(filled, price, rule.spot)
            else:
                leg, order = PERP, perp_order
                perp_order = NOTHING
                book = perp_book(tape, max(order.row, 0))
                filled, price = _outcome(order, left_of(book, perp_taken), rule.perp.step)
                perp_taken = with_taken(book, perp_taken, filled)
                filled = received(filled, rule.perp)
                fee = fee_usdt(filled, price, rule.perp)
            if filled != 0.0:
                made = Fill(state.pair, now_ns, leg, filled, price, fee)
                fills.append(made)
                purse = with_fill(purse, made)
            event = Event(REPORT, now_ns, spot, perp, leg, filled, price, 0.0, shift, wallet_of(purse, perp, leverage))
        elif row_ns == now_ns:
            while i + 1 < n and tape.ts_ns[i + 1] == now_ns:
                i += 1  # the rows of one instant are one event: the books between them never stood
            spot, perp, shift = spot_book(tape, i), perp_book(tape, i), shift_at(looks, i)
            i += 1
            price = liquidated_at(state, perp, rule.perp)
            if price > 0.0:  # the venue takes the short away; the row is told with that
                filled = -state.perp.position
                made = Fill(state.pair, now_ns, PERP, filled, price, fee_usdt(filled, price, rule.perp))
                fills.append(made)
                purse = with_fill(purse, made)
                event = Event(
                    OUTSIDE, now_ns, spot, perp, PERP, filled, price, 0.0, shift, wallet_of(purse, perp, leverage)
                )
            else:
                event = Event(QUOTE, now_ns, spot, perp, 0, 0.0, 0.0, 0.0, shift, wallet_of(purse, perp, leverage))
        else:
            event = Event(TIMER, now_ns, spot, perp, 0, 0.0, 0.0, 0.0, shift, wallet_of(purse, perp, leverage))
        state, orders = decide(state, event, rule)
        quiet = quiet + 1 if state.phase == before.phase else 0
        # A cancel needs no act here: an IOC order ends by itself, and its report is on its way.
        if orders[0].qty != 0.0:
            sent.append(Sent(state.pair, now_ns, SPOT, state.phase, orders[0].qty, orders[0].limit))
            spot_order = _send(tape, i, now_ns, SPOT, spot_road, orders[0].qty, orders[0].limit, rule)
        if orders[1].qty != 0.0:
            sent.append(Sent(state.pair, now_ns, PERP, state.phase, orders[1].qty, orders[1].limit))
            perp_order = _send(tape, i, now_ns, PERP, perp_road, orders[1].qty, orders[1].limit, rule)
        if ended(before, state):
            closings.append(closing(state, spot, perp, now_ns, state.reason))
        if state.refused > before.refused:
            refusals.append(now_ns)
        if state.refusing and moving.usdt == 0.0:
            moving = sent_transfer(event.wallet, now_ns, money.policy)
            if moving.usdt > 0.0:
                transfers.append(moving)
                purse = moved(purse, PERP if moving.to_leg == SPOT else SPOT, -moving.usdt)
        if pausing:
            if state.phase != before.phase or state.armed != before.armed or event.kind == OUTSIDE:
                left_ns = min(left_ns, now_ns)
            if left_ns != NEVER and (state.phase == FLAT or state.phase == OPEN or state.phase == HALTED):
                break
    place = Place(state, i, now_ns, spot_taken, perp_taken)
    return Driven(place, left_ns, spot, perp, purse, sent, fills, closings, refusals, transfers)


def _send(tape, i, now_ns, leg, road, qty, limit, rule):
    """Where on the tape the order's fate is decided; `i` is the first row not yet seen by the machine."""
    row = max(first_at(road.delays.ts_ns, 0, now_ns + 1) - 1, 0)
    arrival_ns = now_ns + road.delays.latency_ns[row]
    n = len(tape.ts_ns)
    if road.polled:
        while i < n and tape.ts_ns[i] <= arrival_ns + rule.max_quote_age_ns:
            if tape.ts_ns[i] >= arrival_ns and tape.leg[i] == leg:
                return Pending(tape.ts_ns[i], i, qty, limit)
            i += 1
        return Pending(arrival_ns + rule.max_quote_age_ns, -1, qty, limit)
    while i < n and tape.ts_ns[i] <= arrival_ns:
        i += 1
    return Pending(arrival_ns, i - 1, qty, limit)


def _outcome(order, book, step):
    if order.row < 0:
        return 0.0, 0.0
    return fill(order.qty, order.limit, book, step)


def filter_shifts(tape, process):
    """The filter's shift at every row, as the machine is told it."""
    shifts = np.zeros(len(tape.ts_ns))
    known, last = UNKNOWN, len(tape.ts_ns) - 1
    for i in range(last + 1):
        if i < last and tape.ts_ns[i + 1] == tape.ts_ns[i]:
            continue  # as in the replay, only the last row of an instant is seen
        known, shifts[i] = step(known, tape.ts_ns[i], spot_book(tape, i), perp_book(tape, i), process)
    return shifts
