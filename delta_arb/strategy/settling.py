"""What every decision about a pair shares: reports put into the legs, what the books pay, what is sent, and what follows when
no order works any more (hedge what differs, else the pair is closed or open)."""

from delta_arb.market import HALT, NEVER, PERP, SPOT, TARGET, UNWOUND, Order, entry_edge, exit_cost, exit_price
from delta_arb.strategy.sizing import limited, mending, orderable, unbalanced, usable
from delta_arb.strategy.state import (
    DIRECT,
    FLAT,
    HALTED,
    HEDGING,
    NO_ORDERS,
    OPEN,
    OUTSIDE,
    REPORT,
    Event,
    MachineRule,
    State,
)

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
    leg.position = position
    if event.kind == REPORT or not state.rests:  # what nobody of us ordered leaves the quote where it is
        leg.working = event.remaining
    return True


# --- What the books pay -----------------------------------------------------------------------------------------------


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


def decidable(event: Event, rule: MachineRule) -> bool:
    """Whether both books can be decided on."""
    return usable(event.spot, event.ts_ns, rule) and usable(event.perp, event.ts_ns, rule)


def sent(state: State, spot_qty: float, perp_qty: float, event: Event, rule: MachineRule) -> tuple[Order, Order]:
    """Orders of signed quantities, which work from now on.

    Every purchase of the perpetual is reduce-only: of the pair's own short, or of the core one behind inventory.
    """
    state.legs[SPOT].working, state.legs[PERP].working = spot_qty, perp_qty
    return (
        limited(spot_qty, event.spot, rule.spot, rule.price_bound, False),
        limited(perp_qty, event.perp, rule.perp, rule.price_bound, perp_qty > 0.0),
    )


# --- All orders are back ---------------------------------------------------------------------------------------------


def settled(state: State, event: Event, rule: MachineRule) -> tuple[Order, Order]:
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
    of the deadline and at most a fiftieth, and not past the deadline; a venue that refuses is not asked with every quote.
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
        pause_ns = min(max(waited_ns, rule.leg_deadline_ns // 100), rule.leg_deadline_ns // 50)
        retry_ns = min(event.ts_ns + pause_ns, wake_ns) if event.filled == 0.0 else 0
    state.phase, state.hedging_ns, state.retry_ns = HEDGING, started_ns, retry_ns
    if event.ts_ns < retry_ns:
        state.wake_ns = retry_ns
        return NO_ORDERS
    state.wake_ns = wake_ns
    spot_qty, perp_qty = mending(state, event, rule, late)
    return sent(state, spot_qty, perp_qty, event, rule)


def _halt(state: State, started_ns: int) -> None:
    state.phase, state.reason, state.armed, state.reverse_armed = HALTED, HALT, False, False
    state.hedging_ns, state.wake_ns, state.refusing, state.retry_ns = started_ns, NEVER, False, 0
