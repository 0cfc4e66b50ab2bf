"""Where the pair machine need not look: rows on which `decide` provably changes nothing and orders nothing.

    orders out             nothing is decided before the first report, or the deadline
    money on its way       as otherwise, but not beyond its arrival
    flat                   of each direction, armed: nothing before what opening pays reaches the entry level;
                           disarmed: nothing before it is below the entry level less `rearm`
    an end rests           nothing before a report or the time asked for, and while a quote is out before it is misplaced
    open, nothing out      nothing before what leaving costs is down to the exit level, or the longest hold is over;
                           with several clips, or before what opening pays reaches the entry level again
    halted                 nothing any more
    a short whose maintenance margin is known: and nothing before the perpetual's mid is at its liquidation price

`awaited` is written phase by phase from `strategy.decide`; in every other state each row is looked at. A row too many
may be named, never one too few: it is then decided on by `decide` itself. To find the rows fast, the extremes of the
signals are kept for every block of 32 rows and for every 32 blocks; they are made by the very formulas that the rows
are tested with, so a block that cannot reach a level holds no row that does, to the last bit.
"""

from typing import NamedTuple

import numpy as np

from delta_arb.market import HALT, PERP, SPOT, Book, entry_edge, exit_cost
from delta_arb.strategy.margin import liquidation_price
from delta_arb.strategy.settling import entry_level, exit_level
from delta_arb.strategy.state import DIRECT, FLAT, HALTED, OPEN, MachineRule, State

NEAR = 32  # rows of a block
FAN = 32  # blocks of a far one
FAR = FAN * NEAR
# What opening pays (see `strategy.opening_pays`), and the same negated, and the perpetual's mid: each signal is awaited at
# or above a level.
DIRECT_HIGH, DIRECT_LOW, REVERSE_HIGH, REVERSE_LOW, MID = range(5)
SIGNALS = 5


class Looks(NamedTuple):
    """What is known of a tape before any rule, for each way (a filter and an expected funding) that rules of it look at it.

    `shift`, of shape (ways, n), is what the way adds to edges and costs at every row, or (1, 1) and zero; `near` and `far`,
    of shape (ways, signals, blocks), the extremes of the signals, without blocks where every row is to be looked at.
    """

    shift: np.ndarray
    near: np.ndarray
    far: np.ndarray


class Wait(NamedTuple):
    """Nothing is decided before one of two signals is at or above its level, the perpetual's mid is, or a time has come."""

    signal: int
    level: float
    other: int
    other_level: float
    mid: float
    until_ns: int


def book_at(tape, leg, i):
    """A leg's book at a row."""
    if leg == SPOT:
        fresh_ns = tape.ts_ns[i] - tape.spot_age_ns[i]
        return Book(tape.spot_bid[i], tape.spot_ask[i], tape.spot_bid_qty[i], tape.spot_ask_qty[i], fresh_ns)
    fresh_ns = tape.ts_ns[i] - tape.perp_age_ns[i]
    return Book(tape.perp_bid[i], tape.perp_ask[i], tape.perp_bid_qty[i], tape.perp_ask_qty[i], fresh_ns)


def shift_at(looks, way, i):
    """What the filter adds to a raw edge or cost at a row."""
    return looks.shift[way, min(i, looks.shift.shape[1] - 1)]


# --- What each phase waits for ----------------------------------------------------------------------------------------


def awaited(state: State, next_ns: int, rule: MachineRule) -> Wait:
    """`next_ns` is when the first report of the orders under way comes, money from the other wallet, or a newer rule."""
    if state.rests:
        return _resting(state, next_ns, rule)
    if state.legs[SPOT].working != 0.0 or state.legs[PERP].working != 0.0:
        return _until(min(next_ns, state.wake_ns), np.inf)
    mid = _liquidation(state, rule)
    if state.phase == HALTED:
        return _until(next_ns, mid)
    if state.phase == FLAT and not state.refusing:
        return _flat(state, next_ns, rule)
    if state.phase == OPEN and not state.refusing:
        return _open(state, next_ns, rule, mid)
    return _until(0, mid)


def _resting(state: State, next_ns: int, rule: MachineRule) -> Wait:
    """While a quote is out it may also have to go: `resting_orders.next_misplaced` says on which row."""
    mid = _liquidation(state, rule)
    hedging = state.legs[1 - rule.quoting.leg].working != 0.0
    if (state.naked_ns > 0 and not hedging) or state.refusing or rule.flatten or state.reason == HALT:
        return _until(0, mid)
    if state.quote == 0.0 and not hedging and state.next_quote_ns < state.wake_ns:
        return _until(0, mid)  # the next quote waits for books that can be decided on
    return _until(min(next_ns, state.wake_ns), mid)


def _liquidation(state: State, rule: MachineRule) -> float:
    """The mid at which the venue takes the short away; inf without one, or where its maintenance rate is not known."""
    if rule.perp.maintenance > 0.0 and state.legs[PERP].position < 0.0:
        return float(liquidation_price(state.legs[PERP].average, rule.perp))
    return np.inf


def _until(until_ns: int, mid: float) -> Wait:
    return Wait(DIRECT_HIGH, np.inf, DIRECT_HIGH, np.inf, mid, until_ns)


def _flat(state: State, next_ns: int, rule: MachineRule) -> Wait:
    if rule.quoting.entry and state.armed and rule.may_enter:
        return _until(0, np.inf)
    opens = rule.may_enter and not rule.flatten
    direct, reverse = rule.entry if opens else np.inf, rule.reverse_entry if opens else np.inf
    return Wait(
        DIRECT_HIGH if state.armed else DIRECT_LOW, direct if state.armed else rule.rearm - rule.entry,
        REVERSE_HIGH if state.reverse_armed else REVERSE_LOW, reverse if state.reverse_armed else rule.rearm - rule.reverse_entry,
        np.inf, next_ns,
    )  # fmt: skip


def _open(state: State, next_ns: int, rule: MachineRule, mid: float) -> Wait:
    if rule.quoting.exit or rule.flatten or state.wake_ns != state.opened_ns + rule.max_hold_ns:
        return _until(0, mid)  # the longest hold is over, or a person wants out: every row may be the one
    leaves = -exit_level(state.side, rule)  # leaving one direction is opening the other
    adds = entry_level(state.side, rule) if rule.may_enter and rule.max_position_usdt > rule.clip_usdt else np.inf
    until_ns = min(next_ns, state.wake_ns)
    if adds == np.inf:
        signal = REVERSE_HIGH if state.side == DIRECT else DIRECT_HIGH
        return Wait(signal, leaves, signal, np.inf, mid, until_ns)
    if state.side == DIRECT:
        return Wait(DIRECT_HIGH, adds, REVERSE_HIGH, leaves, mid, until_ns)
    return Wait(DIRECT_HIGH, leaves, REVERSE_HIGH, adds, mid, until_ns)


# --- Where that is on the tape ----------------------------------------------------------------------------------------


def next_row(tape, looks, way, wait, i):
    """The first row, from `i` on, that a waiting machine must see: it may show a level, or is not before the time."""
    row = len(tape.ts_ns)
    for k in range(3):
        signal, level = (
            (wait.signal, wait.level) if k == 0 else (wait.other, wait.other_level) if k == 1 else (MID, wait.mid)
        )
        if level != np.inf:
            row = _seek(tape, looks, way, signal, level, wait.until_ns, i, row)
    if row == len(tape.ts_ns) or tape.ts_ns[row] > wait.until_ns:
        return first_at(tape.ts_ns, i, wait.until_ns)
    while row > i and tape.ts_ns[row - 1] == tape.ts_ns[row]:
        row -= 1  # the first one of its instant
    return row


def _seek(tape, looks, way, signal, level, until_ns, i, past):
    """The first row, from `i` on, at which a signal is at its level; `past` where it is behind that, or behind a time."""
    ts_ns, far, near = tape.ts_ns, looks.far[way, signal], looks.near[way, signal]
    spot = tape.spot_bid if signal >= REVERSE_HIGH else tape.spot_ask
    perp = tape.perp_ask if signal >= REVERSE_HIGH else tape.perp_bid
    sign = 1.0 if signal in (DIRECT_HIGH, REVERSE_LOW) else -1.0
    still = looks.shift.shape[1] == 1 and signal != MID
    cut = sign * (level - 1e-9) - looks.shift[way, 0]
    while i < past:
        block, part = i // FAR, i // NEAR
        if i % FAR == 0:
            while block < len(far) and not far[block] >= level:
                block += 1
            if block >= len(far) or ts_ns[max(i, block * FAR)] >= until_ns:
                return past
            i, part = max(i, block * FAR), max(part, block * FAN)
        stop = min((block + 1) * FAN, len(near))
        while part < stop and not near[part] >= level:
            part += 1
        i = max(i, part * NEAR)
        if part == stop:
            continue
        stop = min((part + 1) * NEAR, past)
        while i < stop:
            if still:  # without a division, and with a little to spare
                while i < stop and sign * (perp[i] - spot[i] - cut * spot[i]) < 0.0:
                    i += 1
            if i < stop and strength(tape, looks, way, signal, i) >= level:
                return i
            i += 1
        i = min(i, stop)
    return past


def first_at(ts_ns, i, until_ns):
    """The first row, from `i` on, that is not before a time; the number of rows where there is none."""
    n, step = len(ts_ns), 1
    while i + step < n and ts_ns[i + step] < until_ns:
        step *= 2
    low, high = i + step // 2, min(i + step, n)
    while low < high:
        middle = (low + high) // 2
        if ts_ns[middle] < until_ns:
            low = middle + 1
        else:
            high = middle
    return low


def strength(tape, looks, way, signal, i):
    """A signal at a row; one without prices shows none."""
    if signal == MID:
        return 0.5 * (tape.perp_bid[i] + tape.perp_ask[i])
    if signal >= REVERSE_HIGH:
        spot, perp = tape.spot_bid[i], tape.perp_ask[i]
        costs = exit_cost(spot, perp) + shift_at(looks, way, i) if spot > 0.0 and perp > 0.0 else np.nan
        return -costs if signal == REVERSE_HIGH else costs
    spot, perp = tape.spot_ask[i], tape.perp_bid[i]
    pays = entry_edge(spot, perp) + shift_at(looks, way, i) if spot > 0.0 and perp > 0.0 else np.nan
    return pays if signal == DIRECT_HIGH else -pays


def extremes(tape, looks):
    """Fill in the largest value of each signal in every block of 32 rows, and in every 32 blocks."""
    n = len(tape.ts_ns)
    for way in range(len(looks.shift)):
        near, far = looks.near[way], looks.far[way]
        for block in range(near.shape[1]):
            direct_high = direct_low = reverse_high = reverse_low = mid = -np.inf
            for i in range(block * NEAR, min((block + 1) * NEAR, n)):
                direct, reverse = (
                    strength(tape, looks, way, DIRECT_HIGH, i),
                    strength(tape, looks, way, REVERSE_HIGH, i),
                )
                direct_high, direct_low = max(direct_high, direct), max(direct_low, -direct)
                reverse_high, reverse_low = max(reverse_high, reverse), max(reverse_low, -reverse)
                mid = max(mid, strength(tape, looks, way, MID, i))
            for signal, value in enumerate((direct_high, direct_low, reverse_high, reverse_low, mid)):
                near[signal, block] = value
                far[signal, block // FAN] = max(far[signal, block // FAN], value)
