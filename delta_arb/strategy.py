"""The pair machine: `decide` is the only place that decides.

    decide(state, event, rule) -> (state, (spot order, perp order))

It is pure: no clock, no network, no randomness. An event is a quote of either leg, a report about an order, or the
timer that the state asked for (`state.wake_ns`); each event carries the latest book of both legs. The backtest
replays this function, the live runner is driven by it. It is plain Python over named tuples of scalars, so numba
compiles the very same code for the backtest; live runs it as it is.

    FLAT -> ENTERING -> OPEN -> EXITING -> FLAT      HEDGING whenever filled legs differ by more than the tolerance
                                                     HALTED when that could not be mended; only a person leaves it

Quantities are base units, signed (bought positive); edges and fees are fractions; times are int64 ns UTC.
"""

from typing import NamedTuple

from .kalman import OFF, Filter
from .market import GUARD, HALT, NO_REASON, SPOT, TARGET, TIMEOUT, UNWOUND, Book, Order, floor_to, tradable
from .spread import entry_edge, exit_cost

FLAT, ENTERING, OPEN, EXITING, HEDGING, HALTED = range(6)
PHASES = ("flat", "entering", "open", "exiting", "hedging", "halted")
REPORT, QUOTE, TIMER = range(3)  # also their order at equal times: reports first, then quotes, then timers
NEVER = 2**62


class LegRule(NamedTuple):
    """What one venue demands and charges: quantity step and minima in base units and USDT, fee as a fraction."""

    step: float
    min_qty: float
    min_notional_usdt: float
    fee: float


class Rule(NamedTuple):
    """Every input of `decide` besides quotes and reports (params.py says where each one comes from)."""

    may_enter: bool
    flatten: bool
    entry: float
    exit: float
    rearm: float
    max_hold_ns: int
    clip_usdt: float
    participation: float
    step: float
    max_quote_age_ns: int
    price_bound: float
    leg_tolerance: float
    leg_deadline_ns: int
    spot: LegRule
    perp: LegRule
    filter: Filter = OFF


class Event(NamedTuple):
    """What happened at `ts_ns`, with the latest book of both legs; `leg` to `remaining` belong to a report.

    `shift` is what the filter adds to a raw edge or cost (kalman.step at the last quote); 0.0 decides on the raw ones.
    """

    kind: int
    ts_ns: int
    spot: Book
    perp: Book
    leg: int
    filled: float
    price: float
    remaining: float
    shift: float = 0.0


class Leg(NamedTuple):
    """One leg of the pair: signed position, signed quantity still working, price it was decided on, mean entry price."""

    position: float
    working: float
    decided: float
    average: float


class State(NamedTuple):
    """All that the machine remembers. `pair` counts entries; `wake_ns` is the timer it asks for."""

    phase: int
    pair: int
    reason: int
    exiting: bool
    armed: bool
    pair_qty: float
    opened_ns: int
    hedging_ns: int
    wake_ns: int
    spot: Leg
    perp: Leg


NO_LEG = Leg(0.0, 0.0, 0.0, 0.0)
NO_ORDER = Order(0.0, 0.0, False, False)
NO_ORDERS = (NO_ORDER, NO_ORDER)
START = State(FLAT, 0, NO_REASON, False, True, 0.0, 0, 0, NEVER, NO_LEG, NO_LEG)


def decide(state: State, event: Event, rule: Rule) -> tuple[State, tuple[Order, Order]]:
    """The next state and the orders it calls for."""
    if event.kind == REPORT:
        if state.phase == FLAT or state.phase == OPEN:  # no order of ours works: it is late, or from outside
            if event.filled == 0.0:
                return state, NO_ORDERS
            state = _surprised(state)
        state = _booked(state, event)
    if state.spot.working != 0.0 or state.perp.working != 0.0:
        return _waiting(state, event, rule)
    if state.phase == HALTED:
        return state, NO_ORDERS
    if event.kind == REPORT or state.phase == HEDGING:  # a late fill in any phase is hedged like any other
        return _settled(state, event, rule)
    if state.phase == FLAT:
        return _flat(state, event, rule)
    return _open(state, event, rule)


def _surprised(state: State) -> State:
    """The state before a fill that nobody waited for: what it unbalances is only ever reduced, never completed.

    A pair would else be opened by a late fill at prices that nobody chose, or a liquidated leg sold again.
    """
    return State(
        state.phase, state.pair, UNWOUND, True, state.armed, state.pair_qty, state.opened_ns, state.hedging_ns, state.wake_ns,
        state.spot, state.perp,
    )  # fmt: skip


def _booked(state: State, event: Event) -> State:
    """The state after a report: the fill is in the position, the order works only for what remains."""
    if event.leg == SPOT:
        return _with_legs(state, _filled(state.spot, event), state.perp)
    return _with_legs(state, state.spot, _filled(state.perp, event))


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


def _flat(state: State, event: Event, rule: Rule) -> tuple[State, tuple[Order, Order]]:
    if not (usable(event.spot, event.ts_ns, rule) and usable(event.perp, event.ts_ns, rule)):
        return state, NO_ORDERS
    edge = entry_edge(event.spot.ask, event.perp.bid) + event.shift
    if not state.armed and edge < rule.entry - rule.rearm:
        return _with_armed(state), NO_ORDERS
    wanted = state.armed and edge >= rule.entry and rule.may_enter and not rule.flatten
    qty = entry_qty(event, rule) if wanted else 0.0
    if qty == 0.0:
        return state, NO_ORDERS
    entering = State(
        ENTERING, state.pair + 1, NO_REASON, False, True, qty, event.ts_ns, 0, event.ts_ns + rule.leg_deadline_ns,
        Leg(0.0, qty, event.spot.ask, 0.0), Leg(0.0, -qty, event.perp.bid, 0.0),
    )  # fmt: skip
    return entering, (_order(qty, event.spot, rule, False), _order(-qty, event.perp, rule, False))


def _open(state: State, event: Event, rule: Rule) -> tuple[State, tuple[Order, Order]]:
    reason = exit_reason(state, event, rule)
    if reason == NO_REASON:
        return _with_wake(state, _exit_wake(state, event, rule)), NO_ORDERS
    spot_qty, perp_qty = exit_qty(state, event, rule, reason != TARGET)
    if spot_qty == 0.0 and perp_qty == 0.0:
        return _with_wake(state, _exit_wake(state, event, rule)), NO_ORDERS
    exiting = State(
        EXITING, state.pair, reason, True, state.armed, state.pair_qty, state.opened_ns, 0, event.ts_ns + rule.leg_deadline_ns,
        Leg(state.spot.position, spot_qty, event.spot.bid, state.spot.average),
        Leg(state.perp.position, perp_qty, event.perp.ask, state.perp.average),
    )  # fmt: skip
    return exiting, (_order(spot_qty, event.spot, rule, False), _order(perp_qty, event.perp, rule, True))


def exit_reason(state: State, event: Event, rule: Rule) -> int:
    """Why an open pair should be left now, or NO_REASON.

    A time-out on stale books waits for fresh ones until the leg deadline, then acts within the price bound; it is
    skipped while the same books would pass entry, because leaving to re-enter pays four fees. While a venue shows no
    tradable book nothing is sent: a hedged pair with one venue gone is safe, a single leg is not.
    """
    ready = usable(event.spot, event.ts_ns, rule) and usable(event.perp, event.ts_ns, rule)
    if ready and exit_cost(event.spot.bid, event.perp.ask) + event.shift <= rule.exit:
        return TARGET
    due_ns = state.opened_ns + rule.max_hold_ns
    late = event.ts_ns >= due_ns + rule.leg_deadline_ns and tradable(event.spot) and tradable(event.perp)
    if rule.flatten:
        return GUARD if ready or late else NO_REASON
    if event.ts_ns < due_ns:
        return NO_REASON
    if ready:
        stays = rule.may_enter and entry_edge(event.spot.ask, event.perp.bid) + event.shift >= rule.entry
        return NO_REASON if stays else TIMEOUT
    return TIMEOUT if late else NO_REASON


def _exit_wake(state: State, event: Event, rule: Rule) -> int:
    """The next moment at which an open pair must be looked at although no quote comes."""
    due_ns = state.opened_ns + rule.max_hold_ns
    if event.ts_ns < due_ns:
        return due_ns
    return due_ns + rule.leg_deadline_ns if event.ts_ns < due_ns + rule.leg_deadline_ns else NEVER


def _settled(state: State, event: Event, rule: Rule) -> tuple[State, tuple[Order, Order]]:
    """No order works any more: hedge what differs, else the pair is closed (only dust is left) or open."""
    if unbalanced(state, event, rule):
        return _hedge(state, event, rule)
    spot_left = orderable(abs(state.spot.position), event.spot.bid, rule.spot)
    perp_left = orderable(abs(state.perp.position), event.perp.bid, rule.perp)
    if spot_left == 0.0 and perp_left == 0.0:
        reason = state.reason if state.exiting else UNWOUND
        armed = reason == TARGET or (state.spot.average == 0.0 and state.perp.average == 0.0)  # nothing filled: try again
        return State(FLAT, state.pair, reason, False, armed, 0.0, 0, 0, NEVER, NO_LEG, NO_LEG), NO_ORDERS
    return State(
        OPEN, state.pair, state.reason, False, state.armed, state.pair_qty, state.opened_ns, 0, state.opened_ns + rule.max_hold_ns,
        state.spot, state.perp,
    ), NO_ORDERS  # fmt: skip


def unbalanced(state: State, event: Event, rule: Rule) -> bool:
    """Whether the legs differ by more than the tolerance, and by enough that a venue would take an order for it.

    An exit leaves nothing behind that can still be ordered, so there the tolerance is zero.
    """
    excess = state.spot.position + state.perp.position
    if not state.exiting and abs(excess) <= rule.leg_tolerance * state.pair_qty:
        return False
    return _cut_qty(excess, event, rule) > 0.0 or (not state.exiting and _grow_qty(excess, event, rule) > 0.0)


def _hedge(state: State, event: Event, rule: Rule) -> tuple[State, tuple[Order, Order]]:
    """Complete the missing leg while that is cheaper than unwinding the filled one, else unwind.

    Both need a fresh book of the leg they trade. Past the leg deadline only unwinding is tried, on the last book
    and within the price bound; past twice the deadline the machine halts. What no venue takes as an unwinding
    order (less than one contract too many) is completed whatever it costs, but never on a stale book.
    """
    started_ns = state.hedging_ns if state.phase == HEDGING else event.ts_ns
    waited_ns = event.ts_ns - started_ns
    if waited_ns >= 2 * rule.leg_deadline_ns:
        return State(
            HALTED, state.pair, HALT, state.exiting, False, state.pair_qty, state.opened_ns, started_ns, NEVER, state.spot, state.perp
        ), NO_ORDERS
    late = waited_ns >= rule.leg_deadline_ns
    excess = state.spot.position + state.perp.position
    wake_ns = started_ns + (2 if late else 1) * rule.leg_deadline_ns
    cut = _cut_qty(excess, event, rule)
    grow = 0.0 if state.exiting else _grow_qty(excess, event, rule)
    if cut == 0.0 or (grow > 0.0 and not late and completing_is_cheaper(state, event, rule)):
        cut = 0.0
        if not usable(event.perp if excess > 0.0 else event.spot, event.ts_ns, rule):
            grow = 0.0  # wait for a fresh book
    else:
        grow = 0.0
        if not late and not usable(event.spot if excess > 0.0 else event.perp, event.ts_ns, rule):
            cut = 0.0  # wait for a fresh book
    # Too much spot (excess > 0): sell perp to complete, sell spot to cut. Too little: buy spot, or buy perp back.
    side = -1.0 if excess > 0.0 else 1.0
    spot_qty = side * (cut if excess > 0.0 else grow)
    perp_qty = side * (grow if excess > 0.0 else cut)
    hedging = State(
        HEDGING, state.pair, state.reason, state.exiting, state.armed, state.pair_qty, state.opened_ns, started_ns, wake_ns,
        Leg(state.spot.position, spot_qty, state.spot.decided, state.spot.average),
        Leg(state.perp.position, perp_qty, state.perp.decided, state.perp.average),
    )  # fmt: skip
    return hedging, (_order(spot_qty, event.spot, rule, False), _order(perp_qty, event.perp, rule, perp_qty > 0.0))


def completing_is_cheaper(state: State, event: Event, rule: Rule) -> bool:
    """Extra cost of the missing leg against the price it was decided on, below spread and both fees of the filled one."""
    if state.spot.position + state.perp.position > 0.0:  # the perpetual is missing
        if not usable(event.perp, event.ts_ns, rule):
            return False
        extra = (state.perp.decided - event.perp.bid) / event.perp.bid
        unwinding = (state.spot.average - event.spot.bid) / event.spot.bid + 2.0 * rule.spot.fee
        return extra < unwinding
    if not usable(event.spot, event.ts_ns, rule):
        return False
    extra = (event.spot.ask - state.spot.decided) / event.spot.ask
    unwinding = (event.perp.ask - state.perp.average) / event.perp.ask + 2.0 * rule.perp.fee
    return extra < unwinding


def _cut_qty(excess: float, event: Event, rule: Rule) -> float:
    if excess > 0.0:
        return orderable(excess, event.spot.bid, rule.spot)
    return orderable(-excess, event.perp.ask, rule.perp)


def _grow_qty(excess: float, event: Event, rule: Rule) -> float:
    if excess > 0.0:
        return orderable(excess, event.perp.bid, rule.perp)
    return orderable(-excess, event.spot.ask, rule.spot)


def usable(book: Book, ts_ns: int, rule: Rule) -> bool:
    """Fresh and tradable."""
    return ts_ns - book.fresh_ns <= rule.max_quote_age_ns and tradable(book)


def orderable(qty: float, price: float, leg: LegRule) -> float:
    """The part of `qty` (>= 0) that the venue would take as an order, 0.0 when it is below a minimum."""
    qty = floor_to(qty, leg.step)
    if qty < leg.min_qty or qty * price < leg.min_notional_usdt or qty * price < 1e-9:
        return 0.0
    return qty


def entry_qty(event: Event, rule: Rule) -> float:
    """One clip on both venues' grids, at most what both best levels show times the participation; 0.0 if too small."""
    shown = min(event.spot.ask_qty, event.perp.bid_qty) * rule.participation
    qty = floor_to(min(rule.clip_usdt / event.spot.ask, shown), rule.step)
    if orderable(qty, event.spot.ask, rule.spot) == 0.0 or orderable(qty, event.perp.bid, rule.perp) == 0.0:
        return 0.0
    return qty


def exit_qty(state: State, event: Event, rule: Rule, force: bool) -> tuple[float, float]:
    """Signed quantities that close the pair, or the slice of it that both best levels show.

    With less shown than one tradable slice, a target exit waits; a forced one sends the whole position.
    """
    spot_all = orderable(state.spot.position, event.spot.bid, rule.spot)
    perp_all = orderable(-state.perp.position, event.perp.ask, rule.perp)
    shown = min(event.spot.bid_qty, event.perp.ask_qty) * rule.participation
    if shown >= max(spot_all, perp_all):
        return -spot_all, perp_all
    part = floor_to(shown, rule.step)
    rest = max(spot_all, perp_all) - part
    if orderable(part, event.spot.bid, rule.spot) == 0.0 or orderable(part, event.perp.ask, rule.perp) == 0.0:
        return (-spot_all, perp_all) if force else (0.0, 0.0)
    if orderable(rest, event.spot.bid, rule.spot) == 0.0 or orderable(rest, event.perp.ask, rule.perp) == 0.0:
        return -spot_all, perp_all  # the rest could not be sold later
    return -min(part, spot_all), min(part, perp_all)


def _order(qty: float, book: Book, rule: Rule, reduce_only: bool) -> Order:
    """An IOC order at the touch, allowed to be worse by the price bound."""
    if qty > 0.0:
        return Order(qty, book.ask * (1.0 + rule.price_bound), reduce_only, False)
    if qty < 0.0:
        return Order(qty, book.bid * (1.0 - rule.price_bound), reduce_only, False)
    return NO_ORDER


def _with_legs(state: State, spot: Leg, perp: Leg) -> State:
    return State(
        state.phase, state.pair, state.reason, state.exiting, state.armed, state.pair_qty, state.opened_ns, state.hedging_ns,
        state.wake_ns, spot, perp,
    )  # fmt: skip


def _with_wake(state: State, wake_ns: int) -> State:
    if wake_ns == state.wake_ns:
        return state
    return State(
        state.phase, state.pair, state.reason, state.exiting, state.armed, state.pair_qty, state.opened_ns, state.hedging_ns,
        wake_ns, state.spot, state.perp,
    )  # fmt: skip


def _with_armed(state: State) -> State:
    return State(
        state.phase, state.pair, state.reason, state.exiting, True, state.pair_qty, state.opened_ns, state.hedging_ns,
        state.wake_ns, state.spot, state.perp,
    )  # fmt: skip
