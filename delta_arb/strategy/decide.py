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
    HALT,
    NEVER,
    NO_REASON,
    PERP,
    SPOT,
    TARGET,
    TIMEOUT,
    UNWOUND,
    Order,
    entry_edge,
    exit_cost,
    exit_price,
    tradable,
)
from delta_arb.strategy.sizing import affordable, entry_qty, exit_qty, limited, mending, orderable, unbalanced, usable
from delta_arb.strategy.state import (
    DIRECT,
    ENTERING,
    EXITING,
    FLAT,
    HALTED,
    HEDGING,
    NO_ORDERS,
    OPEN,
    OUTSIDE,
    REPORT,
    REVERSE,
    Event,
    MachineRule,
    State,
)


def decide(state: State, event: Event, rule: MachineRule) -> tuple[Order, Order]:
    """Change the state as the event demands, and return the orders that it calls for."""
    told = event.kind == REPORT or event.kind == OUTSIDE
    if told and not booked(state, event):
        return NO_ORDERS
    if state.legs[SPOT].working != 0.0 or state.legs[PERP].working != 0.0:
        return _waiting(state, event, rule)
    if state.phase == HALTED:
        return NO_ORDERS
    if told or state.phase == HEDGING:  # a late fill is hedged like any other
        return _settled(state, event, rule)
    if state.phase == FLAT:
        return _flat(state, event, rule)
    return _open(state, event, rule)


# --- Reports ---------------------------------------------------------------------------------------------------------


def booked(state: State, event: Event) -> bool:
    """Put a report into its leg: the fill is in the position, the order works only for what remains; False: it says nothing.

    What a fill that nobody waited for unbalances is only ever reduced, never completed: a pair would else be opened by a
    late fill at prices that nobody chose, or a liquidated leg sold again. After a fill from outside the other leg is reduced
    to match, and then the machine halts: a person must look.
    """
    if event.kind == OUTSIDE:
        state.reason, state.exiting = HALT, True
    elif state.phase == FLAT or state.phase == OPEN:  # no order of ours works: it is late
        if event.filled == 0.0:
            return False
        state.reason, state.exiting = UNWOUND, True
    leg = state.legs[event.leg]
    position = leg.position + event.filled
    if event.filled * position > 0.0 and abs(position) > abs(leg.position):  # the position grew
        leg.average = (leg.average * abs(leg.position) + event.price * abs(event.filled)) / abs(position)
    leg.position, leg.working = position, event.remaining
    return True


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


def opening_pays(side: int, event: Event) -> float:
    """The edge at which a direction could be opened now, as the signal sees it; a fraction.

    Leaving the other direction costs just as much.
    """
    if side == DIRECT:
        return entry_edge(event.spot.ask, event.perp.bid) + event.shift
    return -(exit_cost(event.spot.bid, event.perp.ask) + event.shift)


def entry_level(side: int, rule: MachineRule) -> float:
    return rule.entry if side == DIRECT else rule.reverse_entry


def exit_level(side: int, rule: MachineRule) -> float:
    return rule.exit if side == DIRECT else rule.reverse_exit


def _ready(event: Event, rule: MachineRule) -> bool:
    """Whether both books can be decided on."""
    return usable(event.spot, event.ts_ns, rule) and usable(event.perp, event.ts_ns, rule)


def _flat(state: State, event: Event, rule: MachineRule) -> tuple[Order, Order]:
    """Enter where it pays; a direction left without profit is armed again once its edge has been below entry - rearm."""
    if not _ready(event, rule):
        return NO_ORDERS
    pays, reverse_pays = opening_pays(DIRECT, event), opening_pays(REVERSE, event)
    state.armed = state.armed or pays < rule.entry - rule.rearm
    state.reverse_armed = state.reverse_armed or reverse_pays < rule.reverse_entry - rule.rearm
    if not rule.may_enter or rule.flatten:
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
    return _sent(state, side * qty, -side * qty, event, rule)


def _sent(state: State, spot_qty: float, perp_qty: float, event: Event, rule: MachineRule) -> tuple[Order, Order]:
    """Orders of signed quantities, which work from now on.

    Every purchase of the perpetual is reduce-only: of the pair's own short, or of the core one behind inventory.
    """
    state.legs[SPOT].working, state.legs[PERP].working = spot_qty, perp_qty
    return (
        limited(spot_qty, event.spot, rule.spot, rule.price_bound, False),
        limited(perp_qty, event.perp, rule.perp, rule.price_bound, perp_qty > 0.0),
    )


# --- Open and leaving ------------------------------------------------------------------------------------------------


def _open(state: State, event: Event, rule: MachineRule) -> tuple[Order, Order]:
    reason = _exit_reason(state, event, rule)
    if reason == NO_REASON:
        return _staying(state, event, rule)
    spot_qty, perp_qty = exit_qty(state, event, rule, reason != TARGET)
    if spot_qty == 0.0 and perp_qty == 0.0:
        state.wake_ns = _exit_wake(state, event, rule)
        return NO_ORDERS
    state.phase, state.reason, state.exiting = EXITING, reason, True
    state.hedging_ns, state.wake_ns = 0, event.ts_ns + rule.leg_deadline_ns
    state.legs[SPOT].decided = exit_price(state.side, event.spot)
    state.legs[PERP].decided = exit_price(-state.side, event.perp)
    return _sent(state, spot_qty, perp_qty, event, rule)


def _staying(state: State, event: Event, rule: MachineRule) -> tuple[Order, Order]:
    """Another clip while the edge holds at entry level, on books newer than the clip before; else the pair is kept."""
    if _adds(state, event, rule):
        orders = _enter(state.side, state, event, rule)
        if state.phase == ENTERING:
            return orders
    else:
        state.refusing = False
    state.wake_ns = _exit_wake(state, event, rule)
    return NO_ORDERS


def _adds(state: State, event: Event, rule: MachineRule) -> bool:
    """Whether the open pair wants another clip; what it can be is for `_enter`."""
    if rule.max_position_usdt <= rule.clip_usdt or not rule.may_enter or rule.flatten:
        return False
    newer = event.spot.fresh_ns > state.clip_ns and event.perp.fresh_ns > state.clip_ns
    return newer and _ready(event, rule) and opening_pays(state.side, event) >= entry_level(state.side, rule)


def _exit_reason(state: State, event: Event, rule: MachineRule) -> int:
    """Why an open pair should be left now, or NO_REASON.

    A time-out on stale books waits for fresh ones until the leg deadline, then acts within the price bound; it is
    skipped while the same books would pass entry, because leaving to re-enter pays four fees. While a venue shows no
    tradable book nothing is sent: a hedged pair with one venue gone is safe, a single leg is not.
    """
    ready = _ready(event, rule)
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


# --- All orders are back ---------------------------------------------------------------------------------------------


def _settled(state: State, event: Event, rule: MachineRule) -> tuple[Order, Order]:
    """No order works any more: hedge what differs, else the pair is closed (only dust is left) or open."""
    if unbalanced(state, event, rule):
        return _hedge(state, event, rule)
    spot, perp = state.legs[SPOT].position, state.legs[PERP].position
    if state.reason == HALT:
        _halt(state, event.ts_ns)
    elif (
        orderable(abs(spot), exit_price(spot, event.spot), rule.spot) == 0.0
        and orderable(abs(perp), exit_price(perp, event.perp), rule.perp) == 0.0
    ):
        _close(state)
    else:
        state.phase, state.exiting, state.hedging_ns = OPEN, False, 0
        state.wake_ns = state.opened_ns + rule.max_hold_ns
    return NO_ORDERS


def pair_lives(state: State) -> bool:
    """Whether there is a pair that has not ended: until it is flat, or halted and nothing left of it (any more)."""
    if state.phase == HALTED:
        return state.legs[SPOT].position != 0.0 or state.legs[PERP].position != 0.0
    return state.phase != FLAT


def _close(state: State) -> None:
    """Flat again; the direction stays armed after a target, and after an entry that no venue filled."""
    reason = state.reason if state.exiting else UNWOUND
    again = reason == TARGET or (state.legs[SPOT].average == 0.0 and state.legs[PERP].average == 0.0)
    if state.side == DIRECT:
        state.armed = again
    else:
        state.reverse_armed = again
    state.phase, state.reason, state.exiting, state.refusing = FLAT, reason, False, False
    state.pair_qty, state.opened_ns, state.hedging_ns, state.wake_ns = 0.0, 0, 0, NEVER
    state.clip_ns, state.retry_ns = 0, 0
    for k in range(2):
        leg = state.legs[k]
        leg.position, leg.working, leg.decided, leg.average = 0.0, 0.0, 0.0, 0.0


def _hedge(state: State, event: Event, rule: MachineRule) -> tuple[Order, Order]:
    """Mend what differs; past the leg deadline only by unwinding, past twice the deadline the machine halts.

    After an order that filled nothing the next one waits: as long as the legs have been unequal, at least a hundredth
    of the deadline and at most a tenth, and not past the deadline; a venue that refuses is not asked with every quote.
    """
    again = state.phase == HEDGING
    started_ns = state.hedging_ns if again else event.ts_ns
    waited_ns = event.ts_ns - started_ns
    if waited_ns >= 2 * rule.leg_deadline_ns:
        _halt(state, started_ns)
        return NO_ORDERS
    late = waited_ns >= rule.leg_deadline_ns
    wake_ns = started_ns + (2 if late else 1) * rule.leg_deadline_ns
    retry_ns = state.retry_ns if again else 0
    if event.kind == REPORT and again:
        pause_ns = min(max(waited_ns, rule.leg_deadline_ns // 100), rule.leg_deadline_ns // 10)
        retry_ns = min(event.ts_ns + pause_ns, wake_ns) if event.filled == 0.0 else 0
    state.phase, state.hedging_ns, state.retry_ns = HEDGING, started_ns, retry_ns
    if event.ts_ns < retry_ns:
        state.wake_ns = retry_ns
        return NO_ORDERS
    state.wake_ns = wake_ns
    spot_qty, perp_qty = mending(state, event, rule, late)
    return _sent(state, spot_qty, perp_qty, event, rule)


def _halt(state: State, started_ns: int) -> None:
    state.phase, state.reason, state.armed, state.reverse_armed = HALTED, HALT, False, False
    state.hedging_ns, state.wake_ns, state.refusing, state.retry_ns = started_ns, NEVER, False, 0
