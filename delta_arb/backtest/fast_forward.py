"""Where the pair machine need not look: rows on which `decide` provably changes nothing and orders nothing.

    orders out             nothing is decided before the first report, or the deadline
    money on its way       as otherwise, but not beyond its arrival
    flat                   of each direction, armed: nothing before what opening pays reaches the entry level;
                           disarmed: nothing before it is below the entry level less `rearm`
    open, nothing out      nothing before what leaving costs is down to the exit level, or the longest hold is over;
                           with several clips, or before what opening pays reaches the entry level again
    halted                 nothing any more
    a short whose maintenance margin is known is looked at on every row: it may be liquidated

`awaited` is written phase by phase from `strategy.decide`; in every other state each row is looked at. A row too many
may be named, never one too few: it is then decided on by `decide` itself. To find the rows fast, the extremes of the
signals are kept for every block of 64 rows and for every 64 blocks; they are made by the very formulas that the rows
are tested with, so a block that cannot reach a level holds no row that does, to the last bit.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from delta_arb.market import Book, entry_edge, exit_cost
from delta_arb.strategy.decide import entry_level, exit_level
from delta_arb.strategy.state import DIRECT, FLAT, HALTED, OPEN, Rule, State

NEAR = 64  # rows of a block
FAR = 64 * NEAR
# What opening pays (see `strategy.opening_pays`), and the same negated: each signal is awaited at or above a level.
DIRECT_HIGH, DIRECT_LOW, REVERSE_HIGH, REVERSE_LOW = range(4)


class Looks(NamedTuple):
    """What is known of a tape and a filter before any rule: the shift at every row, and the extremes of the signals.

    `shift` is one zero without a filter; `near` and `far`, of shape (signals, blocks), are empty where every row is to
    be looked at.
    """

    shift: Sequence[float]
    near: np.ndarray
    far: np.ndarray


class Wait(NamedTuple):
    """Nothing is decided before one of two signals is at or above its level, or a time has come."""

    signal: int
    level: float
    other: int
    other_level: float
    until_ns: int


def spot_book(tape, i):
    fresh_ns = tape.ts_ns[i] - tape.spot_age_ns[i]
    return Book(tape.spot_bid[i], tape.spot_ask[i], tape.spot_bid_qty[i], tape.spot_ask_qty[i], fresh_ns)


def perp_book(tape, i):
    fresh_ns = tape.ts_ns[i] - tape.perp_age_ns[i]
    return Book(tape.perp_bid[i], tape.perp_ask[i], tape.perp_bid_qty[i], tape.perp_ask_qty[i], fresh_ns)


def shift_at(looks, i):
    """What the filter adds to a raw edge or cost at a row."""
    return looks.shift[min(i, len(looks.shift) - 1)]


# --- What each phase waits for ----------------------------------------------------------------------------------------


def awaited(state: State, next_ns: int, rule: Rule) -> Wait:
    """`next_ns` is when the first report of the orders under way comes, or money from the other wallet."""
    if state.spot.working != 0.0 or state.perp.working != 0.0:
        return _until(min(next_ns, state.wake_ns))
    if rule.perp.maintenance > 0.0 and state.perp.position < 0.0:
        return _until(0)  # the venue may take it, on any row
    if state.phase == FLAT and not state.refusing:
        return _flat(state, next_ns, rule)
    if state.phase == OPEN and not state.refusing:
        return _open(state, next_ns, rule)
    return _until(next_ns if state.phase == HALTED else 0)


def _until(until_ns: int) -> Wait:
    return Wait(DIRECT_HIGH, np.inf, DIRECT_HIGH, np.inf, until_ns)


def _flat(state: State, next_ns: int, rule: Rule) -> Wait:
    opens = rule.may_enter and not rule.flatten
    direct = _high(rule.entry, opens) if state.armed else _low(rule.entry, rule)
    reverse = _high(rule.reverse_entry, opens) if state.reverse_armed else _low(rule.reverse_entry, rule)
    return Wait(
        DIRECT_HIGH if state.armed else DIRECT_LOW, direct,
        REVERSE_HIGH if state.reverse_armed else REVERSE_LOW, reverse, next_ns,
    )  # fmt: skip


def _high(level: float, opens: bool) -> float:
    return float(level) if opens else np.inf


def _low(level: float, rule: Rule) -> float:
    return -float(level - rule.rearm)


def _open(state: State, next_ns: int, rule: Rule) -> Wait:
    if rule.flatten or state.wake_ns != state.opened_ns + rule.max_hold_ns:
        return _until(0)  # the longest hold is over, or a person wants out: every row may be the one
    leaves = -float(exit_level(state.side, rule))  # leaving one direction is opening the other
    adds = _high(entry_level(state.side, rule), rule.may_enter and rule.max_position_usdt > rule.clip_usdt)
    until_ns = min(next_ns, state.wake_ns)
    if adds == np.inf:
        signal = REVERSE_HIGH if state.side == DIRECT else DIRECT_HIGH
        return Wait(signal, leaves, signal, np.inf, until_ns)
    if state.side == DIRECT:
        return Wait(DIRECT_HIGH, adds, REVERSE_HIGH, leaves, until_ns)
    return Wait(DIRECT_HIGH, leaves, REVERSE_HIGH, adds, until_ns)


# --- Where that is on the tape ----------------------------------------------------------------------------------------


def next_row(tape, looks, wait, i):
    """The first row, from `i` on, that a waiting machine must see: it may show a level, or is not before the time."""
    if wait.level == np.inf and wait.other_level == np.inf:
        return first_at(tape.ts_ns, i, wait.until_ns)
    if wait.signal == REVERSE_HIGH:
        return _seek(tape.ts_ns, tape.spot_bid, tape.perp_ask, tape.spot_bid, tape.perp_ask, looks, wait, i)
    return _seek(tape.ts_ns, tape.spot_ask, tape.perp_bid, tape.spot_bid, tape.perp_ask, looks, wait, i)


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


def _seek(ts_ns, spot, perp, other_spot, other_perp, looks, wait, i):
    """As `next_row`; the prices are those that the signal and the other one are made of."""
    n, shift, last = len(ts_ns), looks.shift, len(looks.shift) - 1
    level, other_level, both = wait.level, wait.other_level, wait.other_level != np.inf
    for far in range(i // FAR, looks.far.shape[1]):
        if ts_ns[max(i, far * FAR)] >= wait.until_ns:
            break
        if looks.far[wait.signal, far] < level and looks.far[wait.other, far] < other_level:
            continue
        for near in range(max(i, far * FAR) // NEAR, min((far + 1) * (FAR // NEAR), looks.near.shape[1])):
            if looks.near[wait.signal, near] < level and looks.near[wait.other, near] < other_level:
                continue
            for at in range(max(i, near * NEAR), min((near + 1) * NEAR, n)):
                if strength(wait.signal, spot[at], perp[at], shift[min(at, last)]) >= level or (
                    both and strength(wait.other, other_spot[at], other_perp[at], shift[min(at, last)]) >= other_level
                ):
                    return first_at(ts_ns, i, min(wait.until_ns, ts_ns[at]))
    return first_at(ts_ns, i, wait.until_ns)


def strength(signal, spot, perp, shift):
    """A signal at the prices it is made of: spot ask and perp bid (direct), spot bid and perp ask (reverse).

    A row without prices shows none.
    """
    if not (spot > 0.0 and perp > 0.0):
        return -np.inf
    if signal >= REVERSE_HIGH:
        costs = exit_cost(spot, perp) + shift
        return -costs if signal == REVERSE_HIGH else costs
    pays = entry_edge(spot, perp) + shift
    return pays if signal == DIRECT_HIGH else -pays


def extremes(tape, shift):
    """The largest value of each signal in every block of 64 rows, and in every 64 blocks."""
    n, last = len(tape.ts_ns), len(shift) - 1
    near = np.full((4, (n + NEAR - 1) // NEAR), -np.inf)
    far = np.full((4, (n + FAR - 1) // FAR), -np.inf)
    for block in range(near.shape[1]):
        direct_high = direct_low = reverse_high = reverse_low = -np.inf
        for i in range(block * NEAR, min((block + 1) * NEAR, n)):
            direct = strength(DIRECT_HIGH, tape.spot_ask[i], tape.perp_bid[i], shift[min(i, last)])
            reverse = strength(REVERSE_HIGH, tape.spot_bid[i], tape.perp_ask[i], shift[min(i, last)])
            direct_high, direct_low = max(direct_high, direct), max(direct_low, -direct)
            reverse_high, reverse_low = max(reverse_high, reverse), max(reverse_low, -reverse)
        for signal, value in enumerate((direct_high, direct_low, reverse_high, reverse_low)):
            near[signal, block] = value
            far[signal, block // NEAR] = max(far[signal, block // NEAR], value)
    return near, far
