"""The event loop of the pair machine over a tape: rows, reports and timers in, orders out, filled by the fill rule.

An order decided at t reaches its venue at t + latency (feed plus order, per leg, never zero) and meets the book in
force there: of `updates` the last row at or before the arrival; of polled `snapshots` the first row at or after it,
and none within the maximum quote age lets the order expire. Its report is back when its outcome is known on the
tape. At equal times reports come first, then quotes (all rows of one instant are one event), then timers.

Rules come as a schedule: which one is in force from when. An open pair keeps the one it was opened with, but for the
permission to enter, which is always that of the newest; so a runner does that is handed one parameter file after another.

`drive` is written once: compiled with numba it replays a rule (`replay`) or thousands (`sweep`), uncompiled it is what
the compiled one is compared with.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from delta_arb.backtest.fast_forward import NEAR, awaited, book_at, first_at, next_row, shift_at
from delta_arb.latency import Delays
from delta_arb.market import END, HALT, NEVER, PERP, SPOT, UNTOUCHED, Book, Fill, Taken, fill, left_of, with_taken
from delta_arb.strategy.decide import decide, pair_lives
from delta_arb.strategy.ledger import Closing, closing, left_open
from delta_arb.strategy.margin import liquidated_at
from delta_arb.strategy.signal import UNKNOWN, step
from delta_arb.strategy.sizing import fee_usdt, received
from delta_arb.strategy.state import FLAT, HALTED, OUTSIDE, QUOTE, REPORT, TIMER, Event, Rule, State
from delta_arb.wallets import (
    BOTTOMLESS,
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


class Schedule(NamedTuple):
    """The rules of a replay in turn: rule k is in force from `from_ns[k]` on, the first one from the beginning.

    `rules` holds each of them twice, forbidden to enter and as it is: numbers 2k and 2k + 1. `way[k]` is the number of its
    signal in `fast_forward.Looks`.
    """

    from_ns: Sequence[int]
    rules: Sequence[Rule]
    way: Sequence[int]


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


@dataclass(slots=True)
class Venue:
    """The order under way to one venue: when its outcome is known, and the tape row whose book it meets (-1: none).

    `taken_*` is what fills of ours took of the book that was confirmed at `taken_ns`.
    """

    due_ns: int = NEVER
    row: int = -1
    qty: float = 0.0
    limit: float = 0.0
    taken_ns: int = UNTOUCHED.fresh_ns
    taken_bid_qty: float = 0.0
    taken_ask_qty: float = 0.0


def _blank() -> SimpleNamespace:
    """An event that the loop fills in again and again."""
    book = dict.fromkeys(Book._fields, 0)
    event = Event(QUOTE, 0, SimpleNamespace(**book), SimpleNamespace(**book), 0, 0.0, 0.0, 0.0)
    return SimpleNamespace(**{**event._asdict(), "wallet": SimpleNamespace(**BOTTOMLESS._asdict())})


@dataclass(slots=True)
class Machine:
    """Where a machine stands: its state, the event that it sees, the orders under way, and the first row not yet seen."""

    state: State = field(default_factory=State)
    event: Event = field(default_factory=_blank)
    venues: tuple[Venue, Venue] = field(default_factory=lambda: (Venue(), Venue()))
    row: int = 0
    now_ns: int = 0


class Driven(NamedTuple):
    """What a drive came to: the purse at the end, whether the machine is halted, whether a pair was still open.

    And what happened: orders, fills, closings, when an entry was refused, and the transfers.
    """

    purse: Purse
    halted: bool
    open_at_end: bool
    sent: list[Sent]
    fills: list[Fill]
    closings: list[Closing]
    refusals: list[int]
    transfers: list[Transfer]


PATIENCE = 16  # quiet rows; seeing so many costs as much as looking for the next one that matters


def drive(tape, looks, roads, schedule, money, stamps, machine):
    """Feed every row that matters, report and timer to `decide`, to the end of the tape; what is open then is closed."""
    state, event, venues = machine.state, machine.event, machine.venues
    n, i, now_ns = len(tape.ts_ns), machine.row, machine.now_ns
    end_ns = tape.ts_ns[n - 1]
    last = first_at(tape.ts_ns, 0, end_ns)  # the last instant is always seen
    sent, fills, closings = [], [], []
    refusals, transfers = [], []
    purse, moving, leverage = money.purse, NO_TRANSFER, schedule.rules[0].perp.leverage
    stamp, newest, pinned = first_at(stamps.ts_ns, 0, now_ns + 1), 0, 0
    quiet, patience = 0, 0  # events since the phase changed; as many are seen before the next jump as short ones taught
    jumping = looks.near.size > 0
    _show(event, tape, looks, schedule.way[0], max(i - 1, 0))
    while True:
        while newest + 1 < len(schedule.from_ns) and schedule.from_ns[newest + 1] <= now_ns:
            newest += 1
        of = newest if state.phase == FLAT else pinned
        rule, way = schedule.rules[2 * of + schedule.rules[2 * newest + 1].may_enter], schedule.way[of]
        due_ns = min(venues[SPOT].due_ns, venues[PERP].due_ns)
        next_ns = schedule.from_ns[newest + 1] if newest + 1 < len(schedule.from_ns) else NEVER
        if jumping and quiet >= patience and i < last:
            wait = awaited(state, min(due_ns, moving.arrives_ns, next_ns), rule)
            if tape.ts_ns[i] < wait.until_ns:
                row = min(next_row(tape, looks, way, wait, i), last)
                if due_ns == NEVER:
                    quiet, patience = 0, 0 if row - i >= NEAR else PATIENCE
                if row > i:  # as if the rows before it had been seen
                    _show(event, tape, looks, way, row - 1)
                    i, now_ns = row, tape.ts_ns[row - 1]
        row_ns = tape.ts_ns[i] if i < n else NEVER
        wake_ns = max(state.wake_ns, now_ns)  # a timer that is already due rings now; the clock never goes back
        now_ns = min(row_ns, due_ns, wake_ns)
        if now_ns > end_ns:
            break
        if now_ns >= next_ns:  # the newer rule is in force from here on
            now_ns = next_ns
            continue
        while stamp < len(stamps.ts_ns) and stamps.ts_ns[stamp] <= now_ns:  # paid on what is held strictly before
            purse = with_funding(purse, stamps.rate[stamp], stamps.mark[stamp])
            stamp += 1
        if moving.arrives_ns <= now_ns:
            purse = moved(purse, moving.to_leg, moving.usdt - moving.fee_usdt)
            moving = NO_TRANSFER
        kind, leg, filled, price = TIMER, PERP, 0.0, 0.0
        if due_ns == now_ns:
            kind, leg = REPORT, SPOT if venues[SPOT].due_ns == due_ns else PERP
            filled, price = _outcome(tape, leg, venues[leg], (rule.spot, rule.perp)[leg])
        elif row_ns == now_ns:
            while i + 1 < n and tape.ts_ns[i + 1] == now_ns:
                i += 1  # the rows of one instant are one event: the books between them never stood
            _show(event, tape, looks, way, i)
            i += 1
            kind, price = QUOTE, liquidated_at(state, event.perp, rule.perp)
            if price > 0.0:  # the venue takes the short away; the row is told with that
                kind, filled = OUTSIDE, -state.legs[PERP].position
        if filled != 0.0:
            made = Fill(state.pair, now_ns, leg, filled, price, fee_usdt(filled, price, (rule.spot, rule.perp)[leg]))
            fills.append(made)
            purse = with_fill(purse, made)
        _tell(event, kind, now_ns, leg, filled, price)
        wallet = wallet_of(purse, event.perp, leverage)
        event.wallet.spot_usdt, event.wallet.spot_coin, event.wallet.perp_usdt = wallet
        phase, lived, refused = state.phase, pair_lives(state), state.refused
        orders = decide(state, event, rule)
        if phase == FLAT:
            pinned = newest
        quiet = quiet + 1 if state.phase == phase else 0
        for k in range(2):  # a cancel needs no act here: an IOC order ends by itself, and its report is on its way
            if orders[k].qty != 0.0:
                sent.append(Sent(state.pair, now_ns, k, state.phase, orders[k].qty, orders[k].limit))
                _send(tape, i, now_ns, k, roads[k], orders[k], rule.max_quote_age_ns, venues[k])
        if lived and not pair_lives(state):
            closings.append(closing(state, event.spot, event.perp, now_ns, state.reason))
        if state.refused > refused:
            refusals.append(now_ns)
        if state.refusing and moving.usdt == 0.0:
            moving = sent_transfer(wallet, now_ns, money.policy)
            if moving.usdt > 0.0:
                transfers.append(moving)
                purse = moved(purse, PERP if moving.to_leg == SPOT else SPOT, -moving.usdt)
    rest, halted = left_open(state, event.spot, event.perp, end_ns, rule), state.phase == HALTED
    for made in rest:
        fills.append(made)
        purse = with_fill(purse, made)
    if len(rest) > 0:
        closings.append(closing(state, event.spot, event.perp, end_ns, HALT if halted else END))
    return Driven(purse, halted, len(rest) > 0, sent, fills, closings, refusals, transfers)


def _show(event, tape, looks, way, i):
    """The books and the signal of a row."""
    spot, perp = event.spot, event.perp
    spot.bid, spot.ask, spot.bid_qty, spot.ask_qty = (
        tape.spot_bid[i], tape.spot_ask[i], tape.spot_bid_qty[i], tape.spot_ask_qty[i],
    )  # fmt: skip
    perp.bid, perp.ask, perp.bid_qty, perp.ask_qty = (
        tape.perp_bid[i], tape.perp_ask[i], tape.perp_bid_qty[i], tape.perp_ask_qty[i],
    )  # fmt: skip
    spot.fresh_ns, perp.fresh_ns = tape.ts_ns[i] - tape.spot_age_ns[i], tape.ts_ns[i] - tape.perp_age_ns[i]
    event.shift = shift_at(looks, way, i)


def _tell(event, kind, ts_ns, leg, filled, price):
    event.kind, event.ts_ns, event.leg, event.filled, event.price, event.remaining = (
        kind,
        ts_ns,
        leg,
        filled,
        price,
        0.0,
    )


def _send(tape, i, now_ns, leg, road, order, max_quote_age_ns, venue):
    """Find where on the tape the order's fate is decided; `i` is the first row not yet seen by the machine."""
    row = max(first_at(road.delays.ts_ns, 0, now_ns + 1) - 1, 0)
    arrival_ns = now_ns + road.delays.latency_ns[row]
    n = len(tape.ts_ns)
    venue.qty, venue.limit = order.qty, order.limit
    if road.polled:
        while i < n and tape.ts_ns[i] <= arrival_ns + max_quote_age_ns:
            if tape.ts_ns[i] >= arrival_ns and tape.leg[i] == leg:
                venue.due_ns, venue.row = tape.ts_ns[i], i
                return
            i += 1
        venue.due_ns, venue.row = arrival_ns + max_quote_age_ns, -1
        return
    while i < n and tape.ts_ns[i] <= arrival_ns:
        i += 1
    venue.due_ns, venue.row = arrival_ns, i - 1


def _outcome(tape, leg, venue, of):
    """What the order under way changes of the position, and its price; a size shown once fills once."""
    venue.due_ns = NEVER
    if venue.row < 0:
        return 0.0, 0.0
    book = book_at(tape, leg, venue.row)
    taken = Taken(venue.taken_ns, venue.taken_bid_qty, venue.taken_ask_qty)
    filled, price = fill(venue.qty, venue.limit, left_of(book, taken), of.step)
    venue.taken_ns, venue.taken_bid_qty, venue.taken_ask_qty = with_taken(book, taken, filled)
    return received(filled, of), price


def filter_shifts(tape, process):
    """The filter's shift at every row, as the machine is told it."""
    shifts = np.zeros(len(tape.ts_ns))
    known, last = UNKNOWN, len(tape.ts_ns) - 1
    for i in range(last + 1):
        if i < last and tape.ts_ns[i + 1] == tape.ts_ns[i]:
            continue  # as in the replay, only the last row of an instant is seen
        known, shifts[i] = step(known, tape.ts_ns[i], book_at(tape, SPOT, i), book_at(tape, PERP, i), process)
    return shifts
