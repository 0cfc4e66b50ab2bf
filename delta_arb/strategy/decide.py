"""The pair machine: `decide` is the only place that decides.

    decide(state, event, rule) -> (state, (spot order, perp order))

It is pure: no clock, no network, no randomness. An event is a quote of either leg, a report about an order, or the
timer that the state asked for (`state.wake_ns`); each event carries the latest book of both legs. The backtest
replays this function, the live runner is driven by it. It is plain Python over named tuples of scalars, so numba
compiles the very same code for the backtest; live runs it as it is.

    FLAT -> ENTERING -> OPEN -> EXITING -> FLAT      HEDGING whenever filled legs differ by more than the tolerance
                                                     HALTED when that could not be mended; only a person leaves it

A direct pair buys spot and sells the perpetual. A reverse pair sells spot out of inventory, which is itself held
hedged by a core short, and buys the perpetual, which unwinds that core; its legs are what it changes of both. The
values are in `pair`, quantities and prices of orders in `sizes`, what mends unequal legs in `hedge`.
"""

from delta_arb.market import (
    GUARD,
    HALT,
    NEVER,
    NO_REASON,
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
from delta_arb.strategy.sizing import (
    affordable,
    entry_qty,
    exit_qty,
    mending,
    orderable,
    perp_order,
    spot_order,
    unbalanced,
    usable,
)
from delta_arb.strategy.state import (
    DIRECT,
    ENTERING,
    EXITING,
    FLAT,
    HALTED,
    HEDGING,
    NO_LEG,
    NO_ORDERS,
    OPEN,
    OUTSIDE,
    REPORT,
    REVERSE,
    Event,
    Leg,
    Rule,
    State,
)


def decide(state: State, event: Event, rule: Rule) -> tuple[State, tuple[Order, Order]]:
    """The next state and the orders it calls for."""
    if event.kind == OUTSIDE:
        state = _booked(_surprised(state, HALT), event)
    elif event.kind == REPORT:
        if state.phase == FLAT or state.phase == OPEN:  # no order of ours works: it is late
            if event.filled == 0.0:
                return state, NO_ORDERS
            state = _surprised(state, UNWOUND)
        state = _booked(state, event)
    if state.spot.working != 0.0 or state.perp.working != 0.0:
        return _waiting(state, event, rule)
    if state.phase == HALTED:
        return state, NO_ORDERS
    if (
        event.kind == REPORT or event.kind == OUTSIDE or state.phase == HEDGING
    ):  # a late fill in any phase is hedged like any other
        return _settled(state, event, rule)
    if state.phase == FLAT:
        return _flat(state, event, rule)
    return _open(state, event, rule)


# --- Reports ---------------------------------------------------------------------------------------------------------


def _surprised(state: State, reason: int) -> State:
    """The state before a fill that nobody waited for: what it unbalances is only ever reduced, never completed.

    A pair would else be opened by a late fill at prices that nobody chose, or a liquidated leg sold again. After a fill
    from outside the other leg is reduced to match, and then the machine halts: a person must look.
    """
    return _moved(state, state.phase, reason, True, state.hedging_ns, state.wake_ns, state.spot, state.perp)


def _booked(state: State, event: Event) -> State:
    """The state after a report: the fill is in the position, the order works only for what remains."""
    spot = _filled(state.spot, event) if event.leg == SPOT else state.spot
    perp = state.perp if event.leg == SPOT else _filled(state.perp, event)
    return _moved(state, state.phase, state.reason, state.exiting, state.hedging_ns, state.wake_ns, spot, perp)


def _filled(leg: Leg, event: Event) -> Leg:
    position = leg.position + event.filled
    average = leg.average
    if event.filled * position > 0.0 and abs(position) > abs(leg.position):  # the position grew
        average = (leg.average * abs(leg.position) + event.price * abs(event.filled)) / abs(position)
    return Leg(position, event.remaining, leg.decided, average)


def _waiting(state: State, event: Event, rule: Rule) -> tuple[State, tuple[Order, Order]]:
    """Orders are out: nothing is decided but, past the deadline, that what still works must end."""
    if event.ts_ns < state.wake_ns:
        return state, NO_ORDERS
    later = _with_wake(state, event.ts_ns + rule.leg_deadline_ns)
    return later, (_cancel(state.spot), _cancel(state.perp))


def _cancel(leg: Leg) -> Order:
    return Order(0.0, 0.0, False, leg.working != 0.0)


# --- Entering --------------------------------------------------------------------------------------------------------


def opening_pays(side: int, event: Event) -> float:
    """The edge at which a direction could be opened now, as the signal sees it; a fraction."""
    if side == DIRECT:
        return entry_edge(event.spot.ask, event.perp.bid) + event.shift
    return -(exit_cost(event.spot.bid, event.perp.ask) + event.shift)


def closing_costs(side: int, event: Event) -> float:
    """What leaving a direction would cost now, as the signal sees it; a fraction."""
    return -opening_pays(-side, event)


def entry_level(side: int, rule: Rule) -> float:
    return rule.entry if side == DIRECT else rule.reverse_entry


def exit_level(side: int, rule: Rule) -> float:
    return rule.exit if side == DIRECT else rule.reverse_exit


def _flat(state: State, event: Event, rule: Rule) -> tuple[State, tuple[Order, Order]]:
    if not (usable(event.spot, event.ts_ns, rule) and usable(event.perp, event.ts_ns, rule)):
        return state, NO_ORDERS
    state = _rearmed(state, event, rule)
    if not rule.may_enter or rule.flatten:
        return state, NO_ORDERS
    if state.armed and opening_pays(DIRECT, event) >= rule.entry:
        return _enter(DIRECT, state, event, rule)
    if state.reverse_armed and opening_pays(REVERSE, event) >= rule.reverse_entry:
        return _enter(REVERSE, state, event, rule)
    return _with_refusal(state, state.refused, False), NO_ORDERS


def _rearmed(state: State, event: Event, rule: Rule) -> State:
    """A direction that was left without profit may be entered again once its edge has been below entry - rearm."""
    if state.armed and state.reverse_armed:
        return state
    armed = state.armed or opening_pays(DIRECT, event) < rule.entry - rule.rearm
    reverse_armed = state.reverse_armed or opening_pays(REVERSE, event) < rule.reverse_entry - rule.rearm
    if armed == state.armed and reverse_armed == state.reverse_armed:
        return state
    return State(
        state.phase, state.pair, state.side, state.reason, state.exiting, armed, reverse_armed, state.pair_qty, state.opened_ns,
        state.hedging_ns, state.wake_ns, state.spot, state.perp, state.refused, state.refusing, state.clip_ns, state.retry_ns,
    )  # fmt: skip


def _enter(side: int, state: State, event: Event, rule: Rule) -> tuple[State, tuple[Order, Order]]:
    """A clip of a new pair, or one more of the open pair."""
    opens = state.phase == FLAT
    held, spot_price = abs(state.spot.position), exit_price(-side, event.spot)
    room_usdt = rule.clip_usdt if opens else min(rule.clip_usdt, rule.max_position_usdt - held * spot_price)
    qty = entry_qty(side, room_usdt, event, rule) if room_usdt > 0.0 else 0.0
    if qty == 0.0:
        return state, NO_ORDERS
    if not affordable(side, qty, event, rule):
        return _with_refusal(state, state.refused + (0 if state.refusing else 1), True), NO_ORDERS
    spot_qty, perp_qty = side * qty, -side * qty
    entering = State(
        ENTERING, state.pair + 1 if opens else state.pair, side, NO_REASON, False, state.armed, state.reverse_armed, held + qty,
        event.ts_ns if opens else state.opened_ns, 0, event.ts_ns + rule.leg_deadline_ns,
        Leg(state.spot.position, spot_qty, spot_price, state.spot.average),
        Leg(state.perp.position, perp_qty, exit_price(side, event.perp), state.perp.average),
        state.refused, False, event.ts_ns, 0,
    )  # fmt: skip
    return entering, (spot_order(spot_qty, event, rule), perp_order(perp_qty, event, rule))


# --- Open and leaving ------------------------------------------------------------------------------------------------


def _open(state: State, event: Event, rule: Rule) -> tuple[State, tuple[Order, Order]]:
    reason = exit_reason(state, event, rule)
    if reason == NO_REASON:
        return _staying(state, event, rule)
    spot_qty, perp_qty = exit_qty(state, event, rule, reason != TARGET)
    if spot_qty == 0.0 and perp_qty == 0.0:
        return _with_wake(state, _exit_wake(state, event, rule)), NO_ORDERS
    spot = Leg(state.spot.position, spot_qty, exit_price(state.side, event.spot), state.spot.average)
    perp = Leg(state.perp.position, perp_qty, exit_price(-state.side, event.perp), state.perp.average)
    exiting = _moved(state, EXITING, reason, True, 0, event.ts_ns + rule.leg_deadline_ns, spot, perp)
    return exiting, (spot_order(spot_qty, event, rule), perp_order(perp_qty, event, rule))


def _staying(state: State, event: Event, rule: Rule) -> tuple[State, tuple[Order, Order]]:
    """Another clip while the edge holds at entry level, on books newer than the clip before; else the pair is kept."""
    if adds(state, event, rule):
        state, orders = _enter(state.side, state, event, rule)
        if state.phase == ENTERING:
            return state, orders
    else:
        state = _with_refusal(state, state.refused, False)
    return _with_wake(state, _exit_wake(state, event, rule)), NO_ORDERS


def adds(state: State, event: Event, rule: Rule) -> bool:
    """Whether the open pair wants another clip; what it can be is for `_enter`."""
    if rule.max_position_usdt <= rule.clip_usdt or not rule.may_enter or rule.flatten:
        return False
    newer = event.spot.fresh_ns > state.clip_ns and event.perp.fresh_ns > state.clip_ns
    ready = newer and usable(event.spot, event.ts_ns, rule) and usable(event.perp, event.ts_ns, rule)
    return ready and opening_pays(state.side, event) >= entry_level(state.side, rule)


def exit_reason(state: State, event: Event, rule: Rule) -> int:
    """Why an open pair should be left now, or NO_REASON.

    A time-out on stale books waits for fresh ones until the leg deadline, then acts within the price bound; it is
    skipped while the same books would pass entry, because leaving to re-enter pays four fees. While a venue shows no
    tradable book nothing is sent: a hedged pair with one venue gone is safe, a single leg is not.
    """
    ready = usable(event.spot, event.ts_ns, rule) and usable(event.perp, event.ts_ns, rule)
    if ready and closing_costs(state.side, event) <= exit_level(state.side, rule):
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


def _exit_wake(state: State, event: Event, rule: Rule) -> int:
    """The next moment at which an open pair must be looked at although no quote comes."""
    due_ns = state.opened_ns + rule.max_hold_ns
    if event.ts_ns < due_ns:
        return due_ns
    return due_ns + rule.leg_deadline_ns if event.ts_ns < due_ns + rule.leg_deadline_ns else NEVER


# --- All orders are back ---------------------------------------------------------------------------------------------


def _settled(state: State, event: Event, rule: Rule) -> tuple[State, tuple[Order, Order]]:
    """No order works any more: hedge what differs, else the pair is closed (only dust is left) or open."""
    if unbalanced(state, event, rule):
        return _hedge(state, event, rule)
    spot_left = orderable(abs(state.spot.position), exit_price(state.spot.position, event.spot), rule.spot)
    perp_left = orderable(abs(state.perp.position), exit_price(state.perp.position, event.perp), rule.perp)
    if state.reason == HALT:
        return _halted(state, event.ts_ns), NO_ORDERS
    if spot_left == 0.0 and perp_left == 0.0:
        return _closed(state), NO_ORDERS
    wake_ns = state.opened_ns + rule.max_hold_ns
    return _moved(state, OPEN, state.reason, False, 0, wake_ns, state.spot, state.perp), NO_ORDERS


def ended(before: State, state: State) -> bool:
    """Whether the newest pair has just been closed: flat again, or halted and nothing left of it (any more)."""
    nothing_left = state.spot.position == 0.0 and state.perp.position == 0.0
    if before.phase == HALTED and before.spot.position == 0.0 and before.perp.position == 0.0:
        return False
    if before.phase == FLAT:
        return False
    return state.phase == FLAT or (state.phase == HALTED and nothing_left)


def _closed(state: State) -> State:
    """Flat again; the direction stays armed after a target, and after an entry that no venue filled."""
    reason = state.reason if state.exiting else UNWOUND
    again = reason == TARGET or (state.spot.average == 0.0 and state.perp.average == 0.0)
    armed = again if state.side == DIRECT else state.armed
    reverse_armed = again if state.side == REVERSE else state.reverse_armed
    return State(
        FLAT,
        state.pair,
        state.side,
        reason,
        False,
        armed,
        reverse_armed,
        0.0,
        0,
        0,
        NEVER,
        NO_LEG,
        NO_LEG,
        state.refused,
        False,
        0,
        0,
    )


def _hedge(state: State, event: Event, rule: Rule) -> tuple[State, tuple[Order, Order]]:
    """Mend what differs; past the leg deadline only by unwinding, past twice the deadline the machine halts.

    After an order that filled nothing the next one waits: as long as the legs have been unequal, at least a hundredth
    of the deadline and at most a tenth, and not past the deadline; a venue that refuses is not asked with every quote.
    """
    started_ns = state.hedging_ns if state.phase == HEDGING else event.ts_ns
    waited_ns = event.ts_ns - started_ns
    if waited_ns >= 2 * rule.leg_deadline_ns:
        return _halted(state, started_ns), NO_ORDERS
    late = waited_ns >= rule.leg_deadline_ns
    wake_ns = started_ns + (2 if late else 1) * rule.leg_deadline_ns
    retry_ns = state.retry_ns if state.phase == HEDGING else 0
    if event.kind == REPORT and state.phase == HEDGING:
        pause_ns = min(max(waited_ns, rule.leg_deadline_ns // 100), rule.leg_deadline_ns // 10)
        retry_ns = min(event.ts_ns + pause_ns, wake_ns) if event.filled == 0.0 else 0
    if event.ts_ns < retry_ns:
        return _hedging(state, started_ns, retry_ns, retry_ns, 0.0, 0.0), NO_ORDERS
    spot_qty, perp_qty = mending(state, event, rule, late)
    hedging = _hedging(state, started_ns, wake_ns, retry_ns, spot_qty, perp_qty)
    return hedging, (spot_order(spot_qty, event, rule), perp_order(perp_qty, event, rule))


def _hedging(state: State, started_ns: int, wake_ns: int, retry_ns: int, spot_qty: float, perp_qty: float) -> State:
    spot, perp = state.spot, state.perp
    return State(
        HEDGING, state.pair, state.side, state.reason, state.exiting, state.armed, state.reverse_armed, state.pair_qty,
        state.opened_ns, started_ns, wake_ns, Leg(spot.position, spot_qty, spot.decided, spot.average),
        Leg(perp.position, perp_qty, perp.decided, perp.average), state.refused, state.refusing, state.clip_ns, retry_ns,
    )  # fmt: skip


def _halted(state: State, started_ns: int) -> State:
    return State(
        HALTED, state.pair, state.side, HALT, state.exiting, False, False, state.pair_qty, state.opened_ns, started_ns, NEVER,
        state.spot, state.perp, state.refused, False, state.clip_ns, 0,
    )  # fmt: skip


# --- States (numba has no _replace) ----------------------------------------------------------------------------------


def _moved(
    state: State, phase: int, reason: int, exiting: bool, hedging_ns: int, wake_ns: int, spot: Leg, perp: Leg
) -> State:
    """The same pair in another phase."""
    return State(
        phase, state.pair, state.side, reason, exiting, state.armed, state.reverse_armed, state.pair_qty, state.opened_ns, hedging_ns,
        wake_ns, spot, perp, state.refused, state.refusing, state.clip_ns, state.retry_ns,
    )  # fmt: skip


def _with_wake(state: State, wake_ns: int) -> State:
    if wake_ns == state.wake_ns:
        return state
    return _moved(state, state.phase, state.reason, state.exiting, state.hedging_ns, wake_ns, state.spot, state.perp)


def _with_refusal(state: State, refused: int, refusing: bool) -> State:
    if refused == state.refused and refusing == state.refusing:
        return state
    return State(
        state.phase, state.pair, state.side, state.reason, state.exiting, state.armed, state.reverse_armed, state.pair_qty,
        state.opened_ns, state.hedging_ns, state.wake_ns, state.spot, state.perp, refused, refusing, state.clip_ns,
        state.retry_ns,
    )  # fmt: skip
