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

from delta_arb.backtest.fast_forward import NEAR, Looks, book_at, first_at, next_row, shift_at
from delta_arb.backtest.resting_orders import Roads, arrives, decided, heard, latency_ns, quote_due, quote_row, quoted
from delta_arb.backtest.sweep_figures import add_pair, trace
from delta_arb.market import END, HALT, NEVER, PERP, SPOT, UNTOUCHED, Book, Fill, Taken, fill, left_of, with_taken
from delta_arb.quotes.depth_and_trades import into_levels
from delta_arb.quotes.tape import Books
from delta_arb.strategy.ledger import Closing, closing, left_open
from delta_arb.strategy.margin import liquidated_at
from delta_arb.strategy.settling import booked, pair_lives
from delta_arb.strategy.signal import UNKNOWN, step
from delta_arb.strategy.sizing import fee_usdt, received
from delta_arb.strategy.state import FLAT, HALTED, OUTSIDE, QUOTE, REPORT, TIMER, Event, MachineRule, State
from delta_arb.strategy.waiting import awaited
from delta_arb.wallets import (
    BOTTOMLESS,
    BOUNDLESS,
    NO_TRANSFER,
    Purse,
    Rebalancing,
    Transfer,
    moved,
    sent_transfer,
    wallet_of,
    with_fill,
)


class Columns(NamedTuple):
    """The tape as the kernel reads it: arrays when compiled, lists when plain."""

    ts_ns: Sequence[int]
    leg: Sequence[int]
    spot_row: Sequence[int]
    perp_row: Sequence[int]
    spot: Books
    perp: Books


class Schedule(NamedTuple):
    """The rules of a replay in turn: rule k is in force from `from_ns[k]` on, the first one from the beginning.

    `rules` holds each of them twice, forbidden to enter and as it is: numbers 2k and 2k + 1. `way[k]` is the number of its
    signal in `fast_forward.Looks`.
    """

    from_ns: Sequence[int]
    rules: Sequence[MachineRule]
    way: Sequence[int]


class Sent(NamedTuple):
    """An order as the machine sent it."""

    pair: int
    ts_ns: int
    leg: int
    phase: int
    qty: float
    limit: float
    post_only: bool


class Stamps(NamedTuple):
    """The funding stamps as columns."""

    ts_ns: Sequence[int]
    rate: Sequence[float]
    mark: Sequence[float]


class Ground(NamedTuple):
    """What a replay stands on besides its rules: tape and what was seen of it, ways to the venues, transfers, funding stamps."""

    tape: Columns
    looks: Looks
    roads: Roads
    policy: Rebalancing
    stamps: Stamps


@dataclass(slots=True)
class OrderUnderWay:
    """The order under way to one venue: when a report of it is due (`NEVER`: none is known), and what that will say.

    `filled` is what it changes of the position, `remaining` what works on, `whole` whether all of it was filled. Of one that
    `rests`: what is left of it at its `limit`, what trades before it, the first print and row not yet looked through, when its
    cancel arrives (`NEVER`: none is under way). `taken_*` is what fills of ours took of
    the book that was confirmed at `taken_ns`, and `entered_ns` the newest snapshot of levels that they went on into.
    """

    due_ns: int = NEVER
    filled: float = 0.0
    price: float = 0.0
    whole: bool = False
    remaining: float = 0.0
    rests: bool = False
    side: int = 1
    limit: float = 0.0
    left: float = 0.0
    ahead: float = 0.0
    print: int = 0
    row: int = 0
    cancel_ns: int = NEVER
    taken_ns: int = UNTOUCHED.fresh_ns
    taken_bid_qty: float = 0.0
    taken_ask_qty: float = 0.0
    entered_ns: int = UNTOUCHED.fresh_ns


def _blank() -> SimpleNamespace:
    """An event that the loop fills in again and again."""
    book = dict.fromkeys(Book._fields, 0)
    event = Event(QUOTE, 0, SimpleNamespace(**book), SimpleNamespace(**book), 0, 0.0, 0.0, 0.0)
    return SimpleNamespace(**{**event._asdict(), "wallet": SimpleNamespace(**BOTTOMLESS._asdict())})


@dataclass(slots=True)
class Machine:
    """Where a replay stands: the machine's state, the event that it sees, the orders under way, the first row not yet seen.

    `purse` has the fields of `wallets.Purse`, `transfer_*` is the transfer on its way, `stamp` the next funding stamp,
    `newest` and `pinned` are the rules of the schedule for entries and for the open pair, which was entered at `entered_ns`.
    So many `quiet` events have been since the phase changed; `patience` are seen before the next jump, as short ones taught.
    """

    state: State = field(default_factory=State)
    event: Event = field(default_factory=_blank)
    venues: tuple[OrderUnderWay, OrderUnderWay] = field(default_factory=lambda: (OrderUnderWay(), OrderUnderWay()))
    purse: tuple[float, float, float, float] = field(default_factory=lambda: [*BOUNDLESS.purse])
    transfer_arrives_ns: int = NEVER
    transfer_to: int = SPOT
    transfer_usdt: float = 0.0
    transfer_fee_usdt: float = 0.0
    row: int = 0
    now_ns: int = 0
    entered_ns: int = 0
    stamp: int = 0
    newest: int = 0
    pinned: int = 0
    quiet: int = 0
    patience: int = 0
    open_at_end: bool = False


class Logs(NamedTuple):
    """What happened: orders, fills, closings, when an entry was refused, and the transfers."""

    sent: list[Sent]
    fills: list[Fill]
    closings: list[Closing]
    refusals: list[int]
    transfers: list[Transfer]


def whole_tape(ground, schedule, machine):
    """Everything that happened on a tape, whether the machine has halted, whether a pair was still open, and the purse."""
    logs = Logs(  # empty lists, of which the compiler sees what will be in them
        [Sent(0, 0, 0, 0, 0.0, 0.0, False)][:0], [Fill(0, 0, 0, 0.0, 0.0, 0.0)][:0], [Closing(0, 0, 0, 0.0, 0.0)][:0], [0][:0],
        [NO_TRANSFER][:0],
    )  # fmt: skip
    drive(ground, schedule, machine, logs, None)
    return logs, machine.state.phase == HALTED, machine.open_at_end, _purse(machine)


PATIENCE = 16  # quiet rows; seeing so many costs as much as looking for the next one that matters


def drive(ground, schedule, machine, logs, account):
    """Feed every row that matters, report and timer to `decide`, to the end of the tape; what is open then is closed.

    Where rows are left out, so are reports that decide nothing: of two orders that both fill whole the later report settles
    both. What happens is put into `logs`; or, where an `account` is given instead, each pair into that when it has ended.
    """
    (tape, looks, roads, policy, stamps), purse = ground, _purse(machine)
    state, event, venues, leverage = machine.state, machine.event, machine.venues, schedule.rules[0].perp.leverage
    n, i, now_ns = len(tape.ts_ns), machine.row, machine.now_ns
    end_ns, last = tape.ts_ns[n - 1], n - 1
    while last > 0 and tape.ts_ns[last - 1] == end_ns:
        last -= 1  # the last instant is always seen
    jumping, legs, queues = looks.near.size > 0, roads.legs, roads.queues
    _show(event, tape, looks, schedule.way[0], max(i - 1, 0))
    while True:
        while machine.newest + 1 < len(schedule.from_ns) and schedule.from_ns[machine.newest + 1] <= now_ns:
            machine.newest += 1
        newest = machine.newest
        of = newest if state.phase == FLAT else machine.pinned
        rule, way = schedule.rules[2 * of + schedule.rules[2 * newest + 1].may_enter], schedule.way[of]
        due_ns = min(venues[SPOT].due_ns, venues[PERP].due_ns)
        next_ns = schedule.from_ns[newest + 1] if newest + 1 < len(schedule.from_ns) else NEVER
        row = i
        if jumping and machine.quiet >= machine.patience and i < last:
            wait = awaited(state, min(due_ns, machine.transfer_arrives_ns, next_ns), rule)
            if tape.ts_ns[i] < wait.until_ns:
                row = min(next_row(tape, looks, way, wait, i), last)
                row = quote_row(queues, tape, looks, way, state, rule, i, row)
                if due_ns == NEVER:
                    machine.quiet, machine.patience = 0, 0 if row - i >= NEAR else PATIENCE
        due_ns, row = quote_due(queues, tape, machine, rule, due_ns, i, row)
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
        while (
            machine.stamp < len(stamps.ts_ns) and stamps.ts_ns[machine.stamp] <= now_ns
        ):  # on what is held strictly before
            purse = moved(purse, PERP, -stamps.rate[machine.stamp] * stamps.mark[machine.stamp] * purse.perp_qty)
            machine.stamp += 1
        if machine.transfer_arrives_ns <= now_ns:
            purse = moved(purse, machine.transfer_to, machine.transfer_usdt - machine.transfer_fee_usdt)
            machine.transfer_arrives_ns, machine.transfer_usdt = NEVER, 0.0
        kind, leg, filled, price, remaining, rested = TIMER, PERP, 0.0, 0.0, 0.0, False
        if due_ns == now_ns:
            kind, leg = REPORT, SPOT if venues[SPOT].due_ns == due_ns else PERP
            filled, price = venues[leg].filled, venues[leg].price
            remaining, rested = heard(queues, venues[leg])
        elif row_ns == now_ns:
            while i + 1 < n and tape.ts_ns[i + 1] == now_ns:
                i += 1  # the rows of one instant are one event: the books between them never stood
            _show(event, tape, looks, way, i)
            i += 1
            kind, price = QUOTE, liquidated_at(state, event.perp, rule.perp)
            if price > 0.0:  # the venue takes the short away; the row is told with that
                kind, filled = OUTSIDE, -state.legs[PERP].position
        while True:
            machine.row = i
            _tell(event, kind, now_ns, leg, filled, price, remaining)
            purse = _with_fill(purse, machine, rule, rested, logs, account)
            wallet = wallet_of(purse, event.perp, leverage)
            event.wallet.spot_usdt, event.wallet.spot_coin, event.wallet.perp_usdt = wallet
            phase, lived, refused = state.phase, pair_lives(state), state.refused
            orders = decided(queues, state, event, rule)
            if account is not None:
                trace(account.curve, state, now_ns)
            if phase == FLAT:
                machine.pinned, machine.entered_ns = newest, now_ns
            machine.quiet = machine.quiet + 1 if state.phase == phase else 0
            # an IOC order ends by itself, its report is on its way: only one that rests is cancelled
            for k in range(2):
                if not quoted(queues, tape, machine, now_ns, k, legs[k], orders[k], rule) and orders[k].qty != 0.0:
                    _send(tape, i, now_ns, k, legs[k], orders[k], rule, venues[k])
                if orders[k].qty != 0.0 and logs is not None:
                    logs.sent.append(
                        Sent(state.pair, now_ns, k, state.phase, orders[k].qty, orders[k].limit, orders[k].post_only)
                    )
            if lived and not pair_lives(state):
                _ended(closing(state, event.spot, event.perp, now_ns, state.reason), machine, logs, account)
            if logs is not None and state.refused > refused:
                logs.refusals.append(now_ns)
            if state.refusing and machine.transfer_usdt == 0.0:
                sent = sent_transfer(wallet, now_ns, policy)
                if sent.usdt > 0.0:
                    if logs is not None:
                        logs.transfers.append(sent)
                    purse = moved(purse, PERP if sent.to_leg == SPOT else SPOT, -sent.usdt)
                    machine.transfer_arrives_ns, machine.transfer_to = sent.arrives_ns, sent.to_leg
                    machine.transfer_usdt, machine.transfer_fee_usdt = sent.usdt, sent.fee_usdt
            first = SPOT if venues[SPOT].due_ns <= venues[PERP].due_ns else PERP
            due_ns = venues[1 - first].due_ns
            if not jumping or due_ns > end_ns or not (venues[SPOT].whole and venues[PERP].whole):
                break
            if machine.stamp < len(stamps.ts_ns) and stamps.ts_ns[machine.stamp] <= due_ns:
                break
            if min(next_ns, machine.transfer_arrives_ns) <= due_ns:
                break
            # both orders fill whole: the first report changes its leg and decides nothing, the second is the next event
            machine.row = first_at(tape.ts_ns, i, venues[first].due_ns)
            _tell(event, REPORT, venues[first].due_ns, first, venues[first].filled, venues[first].price, 0.0)
            purse = _with_fill(purse, machine, rule, False, logs, account)
            booked(state, event)
            kind, leg, now_ns, remaining, rested = REPORT, 1 - first, due_ns, 0.0, False
            filled, price = venues[leg].filled, venues[leg].price
            venues[SPOT].due_ns, venues[PERP].due_ns = NEVER, NEVER
            row = first_at(tape.ts_ns, i, now_ns)
            if row > i:
                _show(event, tape, looks, way, row - 1)
                i = row
    machine.open_at_end = state.legs[SPOT].position != 0.0 or state.legs[PERP].position != 0.0
    for made in left_open(state, event.spot, event.perp, end_ns, rule):
        if made.qty != 0.0:
            _keep(made, n - 1, logs, account)
            purse = with_fill(purse, made)
    if machine.open_at_end:
        reason = HALT if state.phase == HALTED else END
        _ended(closing(state, event.spot, event.perp, end_ns, reason), machine, logs, account)
    for k in range(4):
        machine.purse[k] = purse[k]


def _purse(machine):
    return Purse(machine.purse[0], machine.purse[1], machine.purse[2], machine.purse[3])


def _show(event, tape, looks, way, i):
    """The books and the signal of a row."""
    spot, perp = event.spot, event.perp
    spot.bid, spot.ask, spot.bid_qty, spot.ask_qty, spot.fresh_ns = book_at(tape, SPOT, i)
    perp.bid, perp.ask, perp.bid_qty, perp.ask_qty, perp.fresh_ns = book_at(tape, PERP, i)
    event.shift = shift_at(looks.shift, way, i)


def _tell(event, kind, ts_ns, leg, filled, price, remaining):
    event.kind, event.ts_ns, event.leg = kind, ts_ns, leg
    event.filled, event.price, event.remaining = filled, price, remaining


def _with_fill(purse, machine, rule, rested, logs, account):
    """The purse after the fill that the event may bring, which is kept; an order that `rested` pays the makers' fee."""
    event = machine.event
    if event.filled == 0.0:
        return purse
    fee_rule = (rule.spot, rule.perp)[event.leg]
    fee = fee_usdt(event.filled, event.price, fee_rule, rested)
    made = Fill(machine.state.pair, event.ts_ns, event.leg, event.filled, event.price, fee)
    _keep(made, machine.row, logs, account)
    return with_fill(purse, made)


def _keep(made, row, logs, account):
    if logs is not None:
        logs.fills.append(made)
    if account is not None:
        fills, curve = account.fills, account.curve
        if curve.fills < len(fills):
            f = fills[curve.fills]
            (f.pair, f.ts_ns, f.leg, f.qty, f.price, f.fee_usdt), f.row = made, row
        curve.fills += 1  # of more than there is room for, only their number


def _ended(closing, machine, logs, account):
    if logs is not None:
        logs.closings.append(closing)
    if account is not None:
        add_pair(account, closing, machine.entered_ns, machine.row)


def _send(tape, i, now_ns, leg, road, order, rule, venue):
    """Find what becomes of an order; `i` is the first row not yet seen by the machine. A size shown once fills once."""
    arrival_ns = now_ns + latency_ns(road, now_ns)
    venue.due_ns, row = arrives(tape, i, leg, arrival_ns, road.polled, rule.max_quote_age_ns)
    venue.filled, venue.price, venue.whole, venue.remaining = 0.0, 0.0, False, 0.0
    if row >= 0:
        book, of = book_at(tape, leg, row), (rule.spot, rule.perp)[leg]
        taken = Taken(venue.taken_ns, venue.taken_bid_qty, venue.taken_ask_qty)
        filled, price = fill(order.qty, order.limit, left_of(book, taken), of.step)
        if taken.fresh_ns != book.fresh_ns:
            known, at_ns, old_ns = road.depth, venue.due_ns, rule.max_quote_age_ns
            into = into_levels(known, at_ns, old_ns, order, price, filled, of.step, venue.entered_ns)
            filled, price, venue.entered_ns = into
        venue.taken_ns, venue.taken_bid_qty, venue.taken_ask_qty = with_taken(book, taken, filled)
        venue.filled, venue.price, venue.whole = received(filled, of), price, filled == order.qty


def filter_shifts(tape, process):
    """The filter's shift at every row, as the machine is told it."""
    shifts = np.zeros(len(tape.ts_ns))
    known, last = UNKNOWN, len(tape.ts_ns) - 1
    for i in range(last + 1):
        if i < last and tape.ts_ns[i + 1] == tape.ts_ns[i]:
            continue  # as in the replay, only the last row of an instant is seen
        known, shifts[i] = step(known, tape.ts_ns[i], book_at(tape, SPOT, i), book_at(tape, PERP, i), process)
    return shifts
