"""An end of a pair of which one leg rests: its quote, and beside it the hedges of what was filled.

    decide -> begin_resting (an end begins) -> resting, event by event -> settled, once the end is over

Fills are hedged, never orders. At most one quote and one hedge are out; parts below the hedge's step add up. The next quote
follows when the end of the last one is known, its fills are hedged, and the budget allows it. Past its longest rest, on a stop,
and when a fill could not be hedged within the leg deadline, the quote is withdrawn; what cannot be hedged is then unwound
like any legs that differ (`settling`).
"""

from delta_arb.market import HALT, NEVER, NO_REASON, PERP, SPOT, TARGET, TIMEOUT, Order, exit_price, floor_to, tradable
from delta_arb.strategy.quoting import (
    BUY,
    KEEP,
    TOO_NEAR,
    due,
    hedge_ratio,
    misplaced,
    quote_side,
    wanted_price,
)
from delta_arb.strategy.settling import decidable, opening_pays, sent, settled
from delta_arb.strategy.sizing import affordable, entry_qty, limited, orderable, shown_qty, usable
from delta_arb.strategy.state import (
    DIRECT,
    ENTERING,
    EXITING,
    FLAT,
    HEDGING,
    NO_ORDER,
    NO_ORDERS,
    OPEN,
    REPORT,
    Event,
    MachineRule,
    State,
)

WITHDRAW = Order(0.0, 0.0, False, True, False)


# --- An end begins ----------------------------------------------------------------------------------------------------


def begin_resting(state: State, event: Event, rule: MachineRule) -> None:
    """Begin an end that rests, where the machine is idle and the rule and both books allow it."""
    idle = not state.rests and state.legs[SPOT].working == 0.0 and state.legs[PERP].working == 0.0
    if not idle or rule.flatten or not decidable(event, rule):
        return
    if state.phase == FLAT and rule.quoting.entry and rule.may_enter:
        state.armed = state.armed or opening_pays(DIRECT, event) < rule.entry - rule.rearm
        if state.armed:
            _begin_entry(state, event, rule)
    elif (
        state.phase == OPEN
        and rule.quoting.exit
        and event.ts_ns < _ends_ns(state, rule)
        and _left(state, event, rule) > 0.0
    ):
        state.phase, state.exiting, state.reason = EXITING, True, TARGET
        _begin(state, event)


def _begin_entry(state: State, event: Event, rule: MachineRule) -> None:
    """An entry begins where a clip can be quoted, hedged and paid for."""
    qty = floor_to(rule.clip_usdt / event.spot.ask, rule.step)
    if _quotable(qty, event, rule) == 0.0:
        return
    if not affordable(DIRECT, qty, event, rule):
        state.refused += 0 if state.refusing else 1
        state.refusing = True
        return
    state.pair += 1
    state.phase, state.side, state.reason, state.exiting = ENTERING, DIRECT, NO_REASON, False
    state.pair_qty, state.opened_ns, state.refusing = qty, 0, False
    _begin(state, event)


def _begin(state: State, event: Event) -> None:
    state.rests, state.rest_ns, state.naked_ns, state.retry_ns, state.hedging_ns = True, event.ts_ns, 0, 0, 0


# --- While it rests ---------------------------------------------------------------------------------------------------


def resting(state: State, event: Event, rule: MachineRule) -> tuple[Order, Order]:
    """What follows from an event while an end rests."""
    leg = rule.quoting.leg
    if event.kind == REPORT and event.leg == leg:
        _heard(state, event)
    if state.opened_ns == 0 and state.legs[leg].position != 0.0:
        state.opened_ns = event.ts_ns
    over = _over(state, event, rule)
    hedge = _hedge(state, event, rule)
    quote = NO_ORDER
    if state.quote != 0.0:
        if _withdraws(state, event, rule, over):
            state.withdrawn, state.quote_ns, quote = True, event.ts_ns, WITHDRAW
    elif not over:
        quote = _quote(state, event, rule)
    elif state.legs[1 - leg].working == 0.0 and (state.naked_ns == 0 or _late(state, event, rule)):
        return _ended(state, event, rule)
    state.wake_ns = _wake_ns(state, event, rule)
    return (quote, hedge) if leg == SPOT else (hedge, quote)


def _heard(state: State, event: Event) -> None:
    """A report of the quote: it rests, or its end is known."""
    if event.remaining == 0.0:
        state.quote, state.quote_ns, state.withdrawn = 0.0, NEVER, False
    elif state.quote_ns == NEVER:
        state.quote_ns = event.ts_ns


def _ends_ns(state: State, rule: MachineRule) -> int:
    """When the end has rested for as long as it may."""
    longest_ns = rule.quoting.longest_rest_ns
    if state.phase == ENTERING:
        return state.rest_ns + longest_ns
    return state.opened_ns + rule.max_hold_ns + longest_ns


def _over(state: State, event: Event, rule: MachineRule) -> bool:
    """Whether nothing may rest any more."""
    if rule.flatten or state.reason == HALT or event.ts_ns >= _ends_ns(state, rule) or _late(state, event, rule):
        return True
    if state.phase == ENTERING and not rule.may_enter:
        return True
    return state.quote == 0.0 and _left(state, event, rule) == 0.0


def _late(state: State, event: Event, rule: MachineRule) -> bool:
    """Whether a fill could not be hedged in time."""
    return state.naked_ns > 0 and event.ts_ns >= state.naked_ns + rule.leg_deadline_ns


def _left(state: State, event: Event, rule: MachineRule) -> float:
    """What is still to be quoted, as the venue would take it."""
    leg = rule.quoting.leg
    held, of = abs(state.legs[leg].position), (rule.spot, rule.perp)[leg]
    qty = state.pair_qty - held if state.phase == ENTERING else held
    return orderable(max(qty, 0.0), (event.spot, event.perp)[leg].bid, of)


def _withdraws(state: State, event: Event, rule: MachineRule, over: bool) -> bool:
    """Whether the quote is cancelled now; a cancel whose end is not known within the leg deadline is sent again."""
    if state.withdrawn:
        return event.ts_ns >= state.quote_ns + rule.leg_deadline_ns
    if over or not usable((event.spot, event.perp)[1 - rule.quoting.leg], event.ts_ns, rule):
        return True
    side, tolerance = quote_side(state, rule), rule.quoting.tolerance
    off = misplaced(side, state.quote, _wanted(side, state, event, rule), tolerance)
    old = state.quote_ns != NEVER and event.ts_ns - state.quote_ns >= rule.quoting.least_life_ns
    return off == TOO_NEAR or (off != KEEP and old)


def _wanted(side: int, state: State, event: Event, rule: MachineRule) -> float:
    leg = rule.quoting.leg
    own, other = (event.spot, event.perp)[leg], (event.spot, event.perp)[1 - leg]
    ratio, tick = hedge_ratio(state, event.shift, event.ts_ns, rule), (rule.spot, rule.perp)[leg].tick
    return wanted_price(side, own.bid, own.ask, exit_price(side, other), ratio, tick)


def _quotable(qty: float, event: Event, rule: MachineRule) -> float:
    """The part of a quantity that both venues take, at most what the hedge's best level shows times the participation."""
    leg = 1 - rule.quoting.leg
    selling = 1.0 if leg == PERP else -1.0  # an entry hedges by selling the perpetual, or by buying spot
    shown = shown_qty(selling, (event.spot, event.perp)[leg], (rule.spot, rule.perp)[leg], rule.participation)
    qty = floor_to(min(qty, shown), rule.step)
    if orderable(qty, event.spot.bid, rule.spot) == 0.0 or orderable(qty, event.perp.bid, rule.perp) == 0.0:
        return 0.0
    return qty


def _quote(state: State, event: Event, rule: MachineRule) -> Order:
    """The next quote, where the budget, both books and what is hedged allow it."""
    leg = rule.quoting.leg
    if (
        event.ts_ns < state.next_quote_ns
        or state.naked_ns > 0
        or state.legs[1 - leg].working != 0.0
        or not decidable(event, rule)
    ):
        return NO_ORDER
    qty = _left(state, event, rule)
    if state.phase == ENTERING and abs(state.legs[leg].position) == 0.0:
        qty = _quotable(qty, event, rule)
    if qty == 0.0:
        return NO_ORDER
    side = quote_side(state, rule)
    price = _wanted(side, state, event, rule)
    if state.phase == EXITING and due(state, event.ts_ns, rule):
        state.reason = TIMEOUT
    state.quote, state.quote_ns, state.withdrawn = price, NEVER, False
    state.next_quote_ns = event.ts_ns + rule.quoting.spacing_ns
    state.legs[leg].working, state.legs[leg].decided = side * qty, price
    state.legs[1 - leg].decided = exit_price(side, (event.spot, event.perp)[1 - leg])
    return Order(side * qty, price, leg == PERP and side == BUY, False, True)


def _hedge(state: State, event: Event, rule: MachineRule) -> Order:
    """The hedge of what was filled and is in no hedge yet, whatever the age of its book; what did not fill is sent again.

    After one that filled nothing the next one waits, as in `settling`.
    """
    leg = 1 - rule.quoting.leg
    book, of, hedge = (event.spot, event.perp)[leg], (rule.spot, rule.perp)[leg], state.legs[leg]
    if hedge.working != 0.0:
        if event.ts_ns < state.hedging_ns + rule.leg_deadline_ns:
            return NO_ORDER
        state.hedging_ns = event.ts_ns
        return WITHDRAW
    if state.reason == HALT:  # a leg was taken away: the other one is reduced to match, once nothing rests
        return NO_ORDER
    excess = state.legs[SPOT].position + state.legs[PERP].position
    qty = orderable(abs(excess), exit_price(excess, book), of)
    if qty == 0.0:
        state.naked_ns, state.retry_ns = 0, 0
        return NO_ORDER
    state.naked_ns = state.naked_ns if state.naked_ns > 0 else event.ts_ns
    waited_ns = event.ts_ns - state.naked_ns
    if event.kind == REPORT and event.leg == leg:
        pause_ns = min(max(waited_ns, rule.leg_deadline_ns // 100), rule.leg_deadline_ns // 50)
        state.retry_ns = event.ts_ns + pause_ns if event.filled == 0.0 else 0
    if event.ts_ns < state.retry_ns or waited_ns >= rule.leg_deadline_ns or not tradable(book):
        return NO_ORDER
    signed = -qty if excess > 0.0 else qty
    hedge.working, state.hedging_ns = signed, event.ts_ns
    return limited(signed, book, of, rule.price_bound, leg == PERP and signed > 0.0)


def _wake_ns(state: State, event: Event, rule: MachineRule) -> int:
    """The next moment at which something may have to be done although nothing is heard; always later than now."""
    now_ns, leg = event.ts_ns, rule.quoting.leg
    wake_ns = _later(_ends_ns(state, rule), NEVER, now_ns)
    if state.legs[1 - leg].working != 0.0:
        wake_ns = _later(state.hedging_ns + rule.leg_deadline_ns, wake_ns, now_ns)
    elif state.naked_ns > 0:
        wake_ns = _later(state.retry_ns, _later(state.naked_ns + rule.leg_deadline_ns, wake_ns, now_ns), now_ns)
    if state.quote == 0.0:
        return _later(state.next_quote_ns, wake_ns, now_ns)
    if state.withdrawn:
        return _later(state.quote_ns + rule.leg_deadline_ns, wake_ns, now_ns)
    if state.phase == EXITING:
        wake_ns = _later(state.opened_ns + rule.max_hold_ns, wake_ns, now_ns)
    if state.quote_ns != NEVER:
        wake_ns = _later(state.quote_ns + rule.quoting.least_life_ns, wake_ns, now_ns)
    return _later((event.spot, event.perp)[1 - leg].fresh_ns + rule.max_quote_age_ns + 1, wake_ns, now_ns)


def _later(at_ns: int, wake_ns: int, now_ns: int) -> int:
    """The earlier of two moments, of which the first counts only where it is to come."""
    return min(at_ns, wake_ns) if at_ns > now_ns else wake_ns


# --- It is over -------------------------------------------------------------------------------------------------------


def _ended(state: State, event: Event, rule: MachineRule) -> tuple[Order, Order]:
    """Nothing of it works any more: take the rest of an entry that is to be taken; else mend, close or keep what is there."""
    state.rests = False
    given_up = state.phase == ENTERING and event.ts_ns >= _ends_ns(state, rule)
    if given_up:
        orders = _taken(state, event, rule)
        if orders[SPOT].qty != 0.0:
            return orders
    if state.naked_ns > 0:
        state.phase, state.hedging_ns, state.naked_ns = HEDGING, state.naked_ns, 0
    entering = state.phase == ENTERING
    orders = settled(state, event, rule)
    if given_up and state.phase == FLAT:
        state.armed = False
    if state.phase == OPEN and not entering:  # what did not leave by resting is looked at again at once
        state.wake_ns = event.ts_ns
    return orders


def _taken(state: State, event: Event, rule: MachineRule) -> tuple[Order, Order]:
    """Both orders for what was not filled of an entry, where the rule takes it and the books pay a taker."""
    left = max(state.pair_qty - abs(state.legs[rule.quoting.leg].position), 0.0)
    enters = rule.quoting.takes and rule.may_enter and not rule.flatten and state.reason != HALT and state.naked_ns == 0
    pays_taken = rule.entry + rule.spot.fee + rule.perp.fee  # leaves the level, net of fees, with both legs taken now
    if not enters or not decidable(event, rule) or not opening_pays(DIRECT, event) >= pays_taken:
        return NO_ORDERS
    qty = entry_qty(DIRECT, left * event.spot.ask, event, rule)
    if qty == 0.0 or not affordable(DIRECT, qty, event, rule):
        return NO_ORDERS
    state.opened_ns = state.opened_ns if state.opened_ns > 0 else event.ts_ns
    state.hedging_ns, state.wake_ns = 0, event.ts_ns + rule.leg_deadline_ns
    state.legs[SPOT].decided, state.legs[PERP].decided = event.spot.ask, event.perp.bid
    return sent(state, qty, -qty, event, rule)
