"""Replay of the pair machine over a tape: the same `decide` as live, fed event by event, filled by the fill rule.

An order decided at t reaches its venue at t + latency (feed plus order, per leg, never zero) and meets the book in
force there: of `updates` the last row at or before the arrival; of polled `snapshots` the first row at or after it,
and none within the maximum quote age lets the order expire. Its report is back when its outcome is known on the
tape. At equal times reports come first, then quotes (all rows of one instant are one event), then timers.

`_replay` is written once: `run` compiles it with numba (functions of market, spread and strategy included) and skips
the rows on which nothing can be decided (see `jump`); `run(plain=True)` executes the same lines in Python and skips
none. Both give the identical lists of orders and fills.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from . import hedge, jump, kalman, margin, market, sizes, spread, strategy, wallets
from .dust import Dust, dust
from .expected import NOTHING_EXPECTED, Expected, expected
from .jump import NEAR, Looks, awaited, extremes, first_at, next_row, perp_book, shift_at, spot_book
from .kalman import UNKNOWN, Filter, step
from .kernel import machine_code, records
from .latency import Delays, Latency
from .ledger import TRADE_FIELDS, Closing, Trade, close_out, closing, settle_all, total
from .margin import liquidated_at
from .market import NS, PERP, SNAPSHOTS, SPOT, UNTOUCHED, Fill, FundingPayment, fill, left_of, with_taken
from .pair import HALTED, NEVER, OUTSIDE, QUOTE, REPORT, START, TIMER, Event, Rule
from .rules import check_deadline
from .sizes import fee_usdt, received
from .strategy import decide, ended
from .tape import Tape
from .wallets import (
    BOUNDLESS,
    NO_TRANSFER,
    Funds,
    Purse,
    Rebalancing,
    Transfer,
    days_blocked,
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


NOTHING = Pending(NEVER, -1, 0.0, 0.0)
PATIENCE = 16  # quiet rows; seeing so many costs as much as looking for the next one that matters


def _replay(tape, looks, spot_road, perp_road, rule, money, stamps):
    """Feed every row that matters, report and timer to `decide`; returns the last state, its books, purse, and logs."""
    n = len(tape.ts_ns)
    end_ns = tape.ts_ns[n - 1]
    state = START
    spot_order, perp_order = NOTHING, NOTHING
    spot_taken, perp_taken = UNTOUCHED, UNTOUCHED
    spot, perp = spot_book(tape, 0), perp_book(tape, 0)
    sent, fills, closings = [], [], []
    refusals, transfers = [], []
    purse, moving, stamp, leverage = money.purse, NO_TRANSFER, 0, rule.perp.leverage
    i, now_ns, shift = 0, tape.ts_ns[0], 0.0
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
    return state, spot, perp, purse, sent, fills, closings, refusals, transfers


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


def _shifts(tape, process):
    """The filter's shift at every row, as the machine is told it."""
    shifts = np.zeros(len(tape.ts_ns))
    known, last = UNKNOWN, len(tape.ts_ns) - 1
    for i in range(last + 1):
        if i < last and tape.ts_ns[i + 1] == tape.ts_ns[i]:
            continue  # as in the replay, only the last row of an instant is seen
        known, shifts[i] = step(known, tape.ts_ns[i], spot_book(tape, i), perp_book(tape, i), process)
    return shifts


COMPILED = (
    market.floor_to, market.fill, market.tradable, market.left_of, market.with_taken, market.exit_price, kalman.step,
    spread.entry_edge, spread.exit_cost, sizes.usable, sizes.orderable, sizes.shown_qty, sizes.entry_qty,
    sizes.exit_qty, sizes.clip_qty, sizes._both_take,
    sizes._order, sizes.spot_order, sizes.perp_order, hedge._cut_qty, hedge._grow_qty, hedge.unbalanced,
    hedge.completing_is_cheaper, hedge.mending, strategy._moved, strategy._with_wake, strategy._surprised, strategy._filled,
    strategy._booked, strategy._cancel, strategy._waiting, strategy.opening_pays, strategy.closing_costs,
    strategy.entry_level, strategy.exit_level, strategy._rearmed, strategy._enter, strategy._flat,
    strategy._staying, strategy.adds, strategy.exit_reason,
    strategy._exit_wake, strategy._open, strategy._closed, strategy.ended, margin.liquidation_price,
    margin.liquidated_at, strategy._halted, strategy._hedge, strategy._hedging, strategy._settled,
    strategy._with_refusal, strategy.decide, closing,
    market.ceil_to, sizes.received, sizes.ordered, sizes.fee_usdt, sizes.affordable, wallets.with_fill,
    wallets.with_funding, wallets.wallet_of, wallets.sent_transfer, wallets.moved, jump.spot_book, jump.perp_book,
    jump.shift_at, jump._until, jump._high, jump._low, jump._flat, jump._open, jump.awaited, jump.strength,
    jump.first_at, jump._seek, jump.next_row, _send, _outcome,
)  # fmt: skip


def compiled(kernel, more=()):
    """`_replay`, `_shifts` or `extremes` as machine code; `more` are functions called besides those of the replay."""
    return machine_code(kernel, COMPILED, more)


@dataclass(frozen=True, slots=True)
class Backtest:
    """What the machine did on a tape: orders, fills, closed trades; `missed` entries filled on neither leg.

    `purse` is what the wallets hold at the end, `refusals` when an opportunity came that they could not pay for.
    """

    trades: tuple[Trade, ...]
    sent: tuple[Sent, ...]
    fills: tuple[Fill, ...]
    closings: tuple[Closing, ...]
    payments: tuple[FundingPayment, ...]
    missed: int
    halted: bool
    open_at_end: bool
    start_ns: int
    end_ns: int
    rule: Rule
    funds: Funds = BOUNDLESS
    purse: Purse = BOUNDLESS.purse
    refusals: tuple[int, ...] = ()
    transfers: tuple[Transfer, ...] = ()

    @property
    def capital_usdt(self) -> float:
        """What both wallets were given; without wallets the value of a full position and the margin of its short."""
        return capital_of(self.rule, self.funds)

    @property
    def dust(self) -> tuple[Dust, Dust]:
        """What the closed pairs left of spot and perpetual below the venues' minima."""
        return dust(self.fills, self.closings, self.rule)

    @property
    def days_blocked(self) -> int:
        """On how many UTC days a wallet could not pay for an entry."""
        return days_blocked(self.refusals)

    @property
    def transfers_month(self) -> float:
        """Transfers between the wallets, per 30 days."""
        return 30.0 * len(self.transfers) / self.days if self.days else 0.0

    @property
    def transfer_fees_usdt(self) -> float:
        """What the transfers cost; it belongs to no pair, so it is not in `net_usdt`."""
        return sum((t.fee_usdt for t in self.transfers), 0.0)

    @property
    def net_usdt(self) -> float:
        return total(t.net_usdt for t in self.trades)

    @property
    def days(self) -> float:
        return (self.end_ns - self.start_ns) / (86_400 * NS)

    def to_frame(self):
        """One row per trade, the fields of `Trade` as columns."""
        import pandas as pd

        return pd.DataFrame([[getattr(t, name) for name in TRADE_FIELDS] for t in self.trades], columns=TRADE_FIELDS)

    def __repr__(self) -> str:
        tail = ", halted" if self.halted else ", open at the end" if self.open_at_end else ""
        return f"Backtest({len(self.trades)} trades, net {self.net_usdt:.4f} USDT, {self.days:.2f} days{tail})"


def capital_of(rule: Rule, funds: Funds) -> float:
    """The capital of `Backtest.capital_usdt`."""
    given = funds.spot_usdt + funds.perp_usdt
    full = max(rule.clip_usdt, rule.max_position_usdt) * (1.0 + 1.0 / rule.perp.leverage)
    return given if given < math.inf else full


def _columns(tape: Tape) -> Columns:
    return Columns(*(getattr(tape, name) for name in Columns._fields))


def _stamps(payments: Sequence[FundingPayment]) -> Stamps:
    ts_ns = np.array([p.ts_ns for p in payments], np.int64)
    return Stamps(ts_ns, *(np.array([getattr(p, name) for p in payments], float) for name in ("rate", "mark")))


def shifts(tape: Tape, process: Filter) -> np.ndarray:
    """What the filter adds to the raw edges and costs at the last row of every instant, as a fraction; else zero."""
    return np.zeros(len(tape)) if process.noise_sd == 0.0 else compiled(_shifts)(_columns(tape), process)


def looks(
    tape: Tape, process: Filter, promised: Expected = NOTHING_EXPECTED, *, plain: bool = False, jumping: bool = True
) -> Looks:
    """What every replay of one tape, filter and expected funding shares; without `jumping`, every row will be looked at."""
    columns = _plain(_columns(tape)) if plain else _columns(tape)
    made = (lambda kernel: kernel) if plain else compiled
    shift = made(_shifts)(columns, process) if process.noise_sd != 0.0 else np.zeros(1)
    if promised.ts_ns:
        shift = np.broadcast_to(shift, len(tape)) + promised_at(promised, tape.ts_ns)
    return Looks(shift, *(made(extremes)(columns, shift) if jumping else (NOWHERE, NOWHERE)))


def promised_at(promised: Expected, ts_ns: np.ndarray) -> np.ndarray:
    """`Expected.at` for a column of moments."""
    return np.array(promised.edges)[np.searchsorted(np.array(promised.ts_ns, np.int64), ts_ns, "left")]


NOWHERE = np.zeros((4, 0))  # extremes of no block: every row is looked at


def _plain(columns):
    """The same named tuple with lists for its arrays, which plain Python reads faster."""
    return type(columns)(*(column.tolist() for column in columns))


def kernel_inputs(tape: Tape, latency: Latency, payments: Sequence[FundingPayment], funds: Funds):
    """Columns, roads of both legs, wallets and funding stamps as the kernel reads them."""
    delays = [latency.between(leg, tape.start_ns, tape.end_ns) for leg in (SPOT, PERP)]
    roads = Road(delays[SPOT], tape.spot_kind == SNAPSHOTS), Road(delays[PERP], tape.perp_kind == SNAPSHOTS)
    return _columns(tape), roads, Money(funds.purse, funds.rebalancing), _stamps(payments)


def run(
    tape: Tape,
    rule: Rule,
    latency: Latency,
    payments: Sequence[FundingPayment] = (),
    *,
    funds: Funds = BOUNDLESS,
    plain: bool = False,
    seen: Looks | None = None,
) -> Backtest:
    """Replay `rule` over `tape`. An open position at the end is closed on its exit side, counted and flagged.

    `seen` is `looks(tape, rule.filter)`, with the funding that the rule expects, where many replays share
    one tape; with any of them the result is the same.

    Raises:
        ParamsError: an order could still be under way when its deadline passes (deadline not above latency + quote age).
        DataError: a funding stamp is missing inside a hold.
    """
    check_deadline(rule, latency)
    columns, roads, money, stamps = kernel_inputs(tape, latency, payments, funds)
    if seen is None:
        promised = expected(payments, rule.funding_horizon_s)
        seen = looks(tape, rule.filter, promised, plain=plain, jumping=not plain)
    if plain:
        columns, stamps, seen = _plain(columns), _plain(stamps), seen._replace(shift=seen.shift.tolist())
        roads = tuple(road._replace(delays=_plain(road.delays)) for road in roads)
    if plain:
        done = _replay(columns, seen, *roads, rule, money, stamps)
    else:
        done = compiled(_replay)(columns, seen, *roads, records([rule])[0], money, stamps)
    state, spot, perp, purse, sent, fills, closings, refusals, transfers = done
    last, ended = close_out(state, spot, perp, tape.end_ns, rule)
    fills, closings = (*fills, *last), (*closings, *ended)
    trades = settle_all(fills, closings, payments)
    return Backtest(
        trades=trades,
        sent=tuple(sent),
        fills=fills,
        closings=closings,
        payments=tuple(payments),
        missed=len(closings) - len(trades),
        halted=state.phase == HALTED,
        open_at_end=bool(last),
        start_ns=tape.start_ns,
        end_ns=tape.end_ns,
        rule=rule,
        funds=funds,
        purse=functools.reduce(with_fill, last, purse),
        refusals=tuple(refusals),
        transfers=tuple(transfers),
    )
