"""What a pair machine waits for: rows on which `decide` provably changes nothing and orders nothing need not be looked at.

    orders out             nothing is decided before the first report, or the deadline
    money on its way       as otherwise, but not beyond its arrival
    flat                   of each direction, armed: nothing before what opening pays reaches the entry level;
                           disarmed: nothing before it is below the entry level less `rearm`
    an end rests           nothing before a report or the time asked for, and while a quote is out before it is misplaced
    open, nothing out      nothing before what leaving costs is down to the exit level, or the longest hold is over;
                           with several clips, or before what opening pays reaches the entry level again while spot is
                           cheap enough for what is left of the largest position to be an order
    halted                 nothing any more
    a short whose maintenance margin is known: and nothing before the perpetual's mid is at its liquidation price

`awaited` is written phase by phase from `decide`; in every other state each row is looked at. A row too many may be named,
never one too few: it is then decided on by `decide` itself. The compiled replay, the sweep and the runner's replay skip by it.
"""

from typing import NamedTuple

import numpy as np

from delta_arb.market import HALT, PERP, SPOT
from delta_arb.strategy.margin import liquidation_price
from delta_arb.strategy.settling import entry_level, exit_level
from delta_arb.strategy.state import DIRECT, FLAT, HALTED, OPEN, MachineRule, State

# What opening pays (see `settling.opening_pays`), and the same negated, the perpetual's mid, and spot's bid negated: each
# signal is awaited at or above a level.
DIRECT_HIGH, DIRECT_LOW, REVERSE_HIGH, REVERSE_LOW, MID, CHEAP = range(6)
NO_SIGNAL = -1


class Wait(NamedTuple):
    """Nothing is decided before one of two signals is at or above its level, the perpetual's mid is, or a time has come.

    The signal `adding`, if any, counts only on rows on which `CHEAP` is at its level too.
    """

    signal: int
    level: float
    other: int
    other_level: float
    mid: float
    until_ns: int
    adding: int
    cheap: float


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
    return Wait(DIRECT_HIGH, np.inf, DIRECT_HIGH, np.inf, mid, until_ns, NO_SIGNAL, -np.inf)


def _flat(state: State, next_ns: int, rule: MachineRule) -> Wait:
    if rule.quoting.entry and state.armed and rule.may_enter:
        return _until(0, np.inf)
    opens = rule.may_enter and not rule.flatten
    direct, reverse = rule.entry if opens else np.inf, rule.reverse_entry if opens else np.inf
    return Wait(
        DIRECT_HIGH if state.armed else DIRECT_LOW, direct if state.armed else rule.rearm - rule.entry,
        REVERSE_HIGH if state.reverse_armed else REVERSE_LOW, reverse if state.reverse_armed else rule.rearm - rule.reverse_entry,
        np.inf, next_ns, NO_SIGNAL, -np.inf,
    )  # fmt: skip


def _open(state: State, next_ns: int, rule: MachineRule, mid: float) -> Wait:
    if rule.quoting.exit or rule.flatten or state.wake_ns != state.opened_ns + rule.max_hold_ns:
        return _until(0, mid)  # the longest hold is over, or a person wants out: every row may be the one
    leaves = -exit_level(state.side, rule)  # leaving one direction is opening the other
    adds = entry_level(state.side, rule) if rule.may_enter and rule.max_position_usdt > rule.clip_usdt else np.inf
    until_ns = min(next_ns, state.wake_ns)
    if adds == np.inf:
        signal = REVERSE_HIGH if state.side == DIRECT else DIRECT_HIGH
        return Wait(signal, leaves, signal, np.inf, mid, until_ns, NO_SIGNAL, -np.inf)
    held, least_usdt = abs(state.legs[SPOT].position), max(rule.spot.min_notional_usdt, 1e-9)
    # the price of spot above which what is left of the largest position is no order, with a little to spare for rounding
    highest = (rule.max_position_usdt - (1.0 - 1e-6) * least_usdt) / held * (1.0 + 1e-9) if held > 0.0 else np.inf
    cheap = -highest
    if state.side == DIRECT:
        return Wait(DIRECT_HIGH, adds, REVERSE_HIGH, leaves, mid, until_ns, DIRECT_HIGH, cheap)
    return Wait(DIRECT_HIGH, leaves, REVERSE_HIGH, adds, mid, until_ns, REVERSE_HIGH, cheap)
