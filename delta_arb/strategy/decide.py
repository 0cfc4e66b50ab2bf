"""The pair machine: `decide` is the only place that decides.

    decide(state, event, rule) -> (spot order, perp order)

It is deterministic: no clock, no network, no randomness; it changes the state that it is handed and nothing else (live
hands it a copy, and adopts that once the journal has committed). An event is a quote of either leg, a report about an
order, or the timer that the state asked for (`state.wake_ns`); each event carries the latest book of both legs. The
backtest replays this function, the live runner is driven by it. It is plain Python over fields of records, so numba
compiles the very same code for the backtest; live runs it as it is.

    FLAT -> ENTERING -> OPEN -> EXITING -> FLAT      HEDGING whenever filled legs differ by more than the tolerance
                                                     HALTED when that could not be mended; only a person leaves it

A direct pair buys spot and sells the perpetual: its side is 1. A reverse pair, with the side -1, sells spot out of
inventory, which is itself held hedged by a core short, and buys the perpetual, which unwinds that core; its legs are what
it changes of both. The values are in `state`; quantities and prices of orders, and what mends unequal legs, in `sizing`.
"""

from delta_arb.market import (
    GUARD,
    NEVER,
    NO_REASON,
    PERP,
    SPOT,
    TARGET,
    TIMEOUT,
    Order,
    exit_price,
    tradable,
)
from delta_arb.strategy.resting import begin_resting, resting
from delta_arb.strategy.settling import booked, decidable, entry_level, exit_level, opening_pays, sent, settled
from delta_arb.strategy.sizing import affordable, entry_qty, exit_qty
from delta_arb.strategy.state import (
    DIRECT,
    ENTERING,
    EXITING,
    FLAT,
    HALTED,
    HEDGING,
    NO_LEG,
    NO_ORDERS,
    OUTSIDE,
    REPORT,
    REVERSE,
    Event,
    MachineRule,
    State,
)


def decide(state: State, event: Event, rule: MachineRule) -> tuple[Order, Order]:
    """Change the state as the event demands, and return the orders that it calls for."""
    if rule.quoting.leg == NO_LEG:
        return take(state, event, rule)
    told = event.kind == REPORT or event.kind == OUTSIDE
    if told and not booked(state, event):
        return NO_ORDERS
    if not told:
        begin_resting(state, event, rule)
    return resting(state, event, rule) if state.rests else _taken(state, event, rule, told)


def take(state: State, event: Event, rule: MachineRule) -> tuple[Order, Order]:
    """`decide` for a rule of which no leg rests: all of it that a replay of such rules has to compile."""
    told = event.kind == REPORT or event.kind == OUTSIDE
    if told and not booked(state, event):
        return NO_ORDERS
    return _taken(state, event, rule, told)


def _taken(state: State, event: Event, rule: MachineRule, told: bool) -> tuple[Order, Order]:
    if state.legs[SPOT].working != 0.0 or state.legs[PERP].working != 0.0:
        return _waiting(state, event, rule)
    if state.phase == HALTED:
        return NO_ORDERS
    if told or state.phase == HEDGING:  # a late fill is hedged like any other
        return settled(state, event, rule)
    if state.phase == FLAT:
        return _flat(state, event, rule)
    return _open(state, event, rule)


def _waiting(state: State, event: Event, rule: MachineRule) -> tuple[Order, Order]:
    """Orders are out: nothing is decided but, past the deadline, that what still works must end."""
    if event.ts_ns < state.wake_ns:
        return NO_ORDERS
    state.wake_ns = event.ts_ns + rule.leg_deadline_ns
    return (
        Order(0.0, 0.0, False, state.legs[SPOT].working != 0.0, False),
        Order(0.0, 0.0, False, state.legs[PERP].working != 0.0, False),
    )


# --- Entering --------------------------------------------------------------------------------------------------------


def _flat(state: State, event: Event, rule: MachineRule) -> tuple[Order, Order]:
    """Enter where it pays; a direction left without profit is armed again once its edge has been below entry - rearm."""
    if not decidable(event, rule):
        return NO_ORDERS
    pays, reverse_pays = opening_pays(DIRECT, event), opening_pays(REVERSE, event)
    state.armed = state.armed or pays < rule.entry - rule.rearm
    state.reverse_armed = state.reverse_armed or reverse_pays < rule.reverse_entry - rule.rearm
    if not rule.may_enter or rule.flatten or rule.quoting.entry:  # one that rests has begun before
        return NO_ORDERS
    if state.armed and pays >= rule.entry:
        return _enter(DIRECT, state, event, rule)
    if state.reverse_armed and reverse_pays >= rule.reverse_entry:
        return _enter(REVERSE, state, event, rule)
    state.refusing = False
    return NO_ORDERS


def _enter(side: int, state: State, event: Event, rule: MachineRule) -> tuple[Order, Order]:
    """A clip of a new pair, or one more of the open pair."""
    opens = state.phase == FLAT
    held, spot_price = abs(state.legs[SPOT].position), exit_price(-side, event.spot)
    room_usdt = rule.clip_usdt if opens else min(rule.clip_usdt, rule.max_position_usdt - held * spot_price)
    qty = entry_qty(side, room_usdt, event, rule) if room_usdt > 0.0 else 0.0
    if qty == 0.0:
        return NO_ORDERS
    if not affordable(side, qty, event, rule):
        state.refused += 0 if state.refusing else 1
        state.refusing = True
        return NO_ORDERS
    if opens:
        state.pair += 1
        state.opened_ns = event.ts_ns
    state.phase, state.side, state.reason, state.exiting = ENTERING, side, NO_REASON, False
    state.pair_qty, state.clip_ns, state.refusing = held + qty, event.ts_ns, False
    state.hedging_ns, state.retry_ns, state.wake_ns = 0, 0, event.ts_ns + rule.leg_deadline_ns
    state.legs[SPOT].decided, state.legs[PERP].decided = spot_price, exit_price(side, event.perp)
    return sent(state, side * qty, -side * qty, event, rule)


# --- Open and leaving ------------------------------------------------------------------------------------------------


def _open(state: State, event: Event, rule: MachineRule) -> tuple[Order, Order]:
    reason = _exit_reason(state, event, rule)
    if reason == NO_REASON:  # another clip while the edge holds at entry level, on books newer than the clip before
        if _adds(state, event, rule):
            orders = _enter(state.side, state, event, rule)
            if state.phase == ENTERING:
                return orders
        else:
            state.refusing = False
        state.wake_ns = _exit_wake(state, event, rule)
        return NO_ORDERS
    spot_qty, perp_qty = exit_qty(state, event, rule, reason != TARGET)
    if spot_qty == 0.0 and perp_qty == 0.0:
        state.wake_ns = _exit_wake(state, event, rule)
        return NO_ORDERS
    state.phase, state.reason, state.exiting = EXITING, reason, True
    state.hedging_ns, state.wake_ns = 0, event.ts_ns + rule.leg_deadline_ns
    state.legs[SPOT].decided = exit_price(state.side, event.spot)
    state.legs[PERP].decided = exit_price(-state.side, event.perp)
    return sent(state, spot_qty, perp_qty, event, rule)


def _adds(state: State, event: Event, rule: MachineRule) -> bool:
    """Whether the open pair wants another clip; what it can be is for `_enter`."""
    if rule.max_position_usdt <= rule.clip_usdt or not rule.may_enter or rule.flatten:
        return False
    newer = event.spot.fresh_ns > state.clip_ns and event.perp.fresh_ns > state.clip_ns
    return newer and decidable(event, rule) and opening_pays(state.side, event) >= entry_level(state.side, rule)


def _exit_reason(state: State, event: Event, rule: MachineRule) -> int:
    """Why an open pair should be left now, or NO_REASON.

    A time-out on stale books waits for fresh ones until the leg deadline, then acts within the price bound; it is
    skipped while the same books would pass entry, because leaving to re-enter pays four fees. While a venue shows no
    tradable book nothing is sent: a hedged pair with one venue gone is safe, a single leg is not.
    """
    ready = decidable(event, rule)
    if ready and -opening_pays(-state.side, event) <= exit_level(state.side, rule):
        return TARGET
    due_ns = state.opened_ns + rule.max_hold_ns
    late = event.ts_ns >= due_ns + rule.leg_deadline_ns and tradable(event.spot) and tradable(event.perp)
    if rule.flatten:
        return GUARD if ready or late else NO_REASON
    if event.ts_ns < due_ns:
        return NO_REASON
    if ready:
        stays = rule.may_enter and opening_pays(state.side, event) >= entry_level(state.side, rule)
        return NO_REASON if stays else TIMEOUT
    return TIMEOUT if late else NO_REASON


def _exit_wake(state: State, event: Event, rule: MachineRule) -> int:
    """The next moment at which an open pair must be looked at although no quote comes."""
    due_ns = state.opened_ns + rule.max_hold_ns
    if event.ts_ns < due_ns:
        return due_ns
    return due_ns + rule.leg_deadline_ns if event.ts_ns < due_ns + rule.leg_deadline_ns else NEVER
