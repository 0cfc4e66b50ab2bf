"""Where an earlier run stopped: by the journal, and by what the venues know of its orders.

Orders without an end are asked about (executor.adopt). A power cut may take the last rows of the journal, never one
before them, so it tells truly how things stood a moment earlier; what our orders did since, the accounts' fills tell.

And where the machine goes on that had halted, once a person says so.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from delta_arb.errors import RunError
from delta_arb.live.executor import DUST
from delta_arb.live.journal import Journal
from delta_arb.live.runner import Resumed
from delta_arb.live.venues.base import Execution, OrderOutcome, Placed, Report, Venue, filled_by, within
from delta_arb.market import GUARD, LEGS, NEVER, NS, PERP, SPOT, UNWOUND, Order
from delta_arb.strategy.state import DIRECT, ENTERING, EXITING, FLAT, HALTED, HEDGING, OPEN, REVERSE, MachineRule, State

BEFORE_NS = 120 * NS  # the last row: by so much its clock may have been ahead of the venues'
WINDOW_NS = 86_400 * NS  # of one question about fills
LONGEST_NS = 7 * WINDOW_NS  # without a row: what is older is a difference like any other
ANSWER_S = 60.0  # a venue tells a hundred fills at a time, and not more than a few times a second


class UnbookedFills(NamedTuple):
    """What orders of ours filled that is not in the journal, oldest first. Of the `lost` ones the rows are gone; the
    others had ended, and filled more."""

    reports: tuple[Report, ...] = ()
    lost: tuple[Report, ...] = ()


NOTHING = UnbookedFills()
TERMS, MEASURED = "terms", "measured"  # kinds of notes


def taken_up(journal: Journal, now_ns: int, found: UnbookedFills = NOTHING) -> tuple[Resumed, dict[str, int]]:
    """The machine's state with the open pair's rule and fills, a fresh deadline for a hedge, and when each order
    without an end was decided (ns), by its id. What was `found` is yet to be told: those orders are out, the newest of
    each leg."""
    state = journal.last_state() or State()
    working = journal.working()
    placed = [p for p, _ in working]
    several = (
        state.phase == FLAT and len(found.reports) > 1
    )  # they may cancel out: none is mended before the last is told
    untold = (
        found.reports if several or state.phase == HEDGING else found.lost
    )  # else late fills come as they always do
    if untold and (meant := awaiting(state, untold)) is not state:
        state = meant
        newest = {r.leg: r for r in untold}.values()
        placed = [Placed(r.order_id, r.leg, Order(r.filled, r.price, False, False)) for r in newest]
    if state.phase == HEDGING or state.naked_ns > 0:
        state = replace(state, hedging_ns=now_ns, naked_ns=now_ns if state.naked_ns > 0 else 0)
    is_open = state.phase != FLAT
    fills = journal.unsettled_fills() if is_open else ()
    rule = journal.rule_of(state.pair) if is_open else None
    return Resumed(state, rule, fills, tuple(placed)), {p.order_id: ns for p, ns in working}


async def found_at(venues: Sequence[Venue], journal: Journal, now_ns: int, say: Callable[[str], None]) -> UnbookedFills:
    """What our orders without a row and those that had ended filled since; one that works without a row is cancelled.

    Raises:
        VenueError: a venue does not tell, so nobody knows what is open.
    """
    for venue in venues:
        await _cancelled(journal, venue, say)
    awaited = {placed.order_id for placed, _ in journal.working()}
    reports = [r for r in await unbooked(venues, journal, now_ns) if r.order_id not in awaited]
    for r in reports:
        say(f"{LEGS[r.leg]}: order {r.order_id} filled {r.filled:+g} at {r.price:g}, which the journal does not have")
    return UnbookedFills(tuple(reports), tuple(r for r in reports if not journal.knows(r.order_id)))


def book(journal: Journal, now_ns: int, found: UnbookedFills, resumed: Resumed, rule: MachineRule) -> None:
    """Write again the rows that the journal had lost, before their reports are given to the machine."""
    if found.lost:
        journal.recovered(now_ns, resumed.state, found.lost, rule)


async def unbooked(venues: Sequence[Venue], journal: Journal, now_ns: int) -> list[Report]:
    """What this journal's orders filled since its last row and is not booked, by both accounts, oldest first."""
    until_ns = journal.until_ns()
    if until_ns is None:
        return []
    since_ns = max(min(until_ns, now_ns) - BEFORE_NS, now_ns - LONGEST_NS)
    reports: list[Report] = []
    for venue in venues:
        ahead_ns = venue.clock_offset_ns
        deals = await _executions(venue, since_ns + ahead_ns, now_ns + ahead_ns + NS)
        reports += unbooked_of(journal, venue.leg, deals, now_ns)
    return sorted(reports, key=lambda report: report.venue_ns)


def unbooked_of(journal: Journal, leg: int, deals: Sequence[Execution], now_ns: int) -> list[Report]:
    """What these fills are of this journal's orders and is not booked, a report for each order."""
    ours: dict[str, list[Execution]] = {}
    for deal in deals:
        if journal.named(deal.order_id):
            ours.setdefault(deal.order_id, []).append(deal)
    found = (_more(journal, leg, filled_by(order_id, fills), now_ns) for order_id, fills in ours.items())
    return [report for report in found if report]


async def _cancelled(journal: Journal, venue: Venue, say: Callable[[str], None]) -> None:
    """End what still works of orders whose rows are gone."""
    for order_id in await within(venue.working(), f"orders of {venue.name}", ANSWER_S):
        if journal.named(order_id) and not journal.knows(order_id):
            say(f"{LEGS[venue.leg]}: order {order_id} still works, and its row is lost; cancelling it")
            await within(venue.cancel(order_id), f"the end of {order_id}", ANSWER_S)


async def _executions(venue: Venue, since_ns: int, until_ns: int) -> list[Execution]:
    """Fills of the account in [since, until), a day at a time."""
    found: list[Execution] = []
    for start_ns in range(since_ns, until_ns, WINDOW_NS):
        end_ns = min(start_ns + WINDOW_NS, until_ns)
        found += await within(venue.deals(start_ns, end_ns), f"fills of {venue.name}", ANSWER_S)
    return found


def _more(journal: Journal, leg: int, end: OrderOutcome, now_ns: int) -> Report | None:
    """What an order filled beyond what is booked of it."""
    qty, value, fee_usdt = journal.booked(end.order_id)
    more = end.filled - qty
    if more * end.filled <= 0.0 or abs(more) <= DUST * abs(end.filled):
        return None
    price = (end.filled * end.price - value) / more
    return Report(now_ns, leg, end.order_id, more, price, end.fee_usdt - fee_usdt, "", end.ts_ns)


def so_far(journal: Journal, placed: Placed) -> OrderOutcome | None:
    """What is booked of an order that rested when its run ended; None where nothing is."""
    qty, value, fee_usdt = journal.booked(placed.order_id)
    return OrderOutcome(placed.order_id, 0, qty, value / qty, fee_usdt, False) if qty else None


def require_open(venues: Sequence[Venue]) -> None:
    """Where nothing is open: refuse to start on a market that takes no new orders."""
    if closed := next((venue.closed for venue in venues if venue.closed), ""):
        raise RunError(f"{closed}; choose another market")


def terms_changed(journal: Journal) -> bool:
    """Whether a venue changed its terms, and what is open was not measured by them yet."""
    note = journal.last_note(TERMS, MEASURED)
    return note is not None and note[0] == TERMS


def awaiting(state: State, untold: Sequence[Report]) -> State:
    """The state in which these orders are out, so that nothing is decided before the last of them is told.

    While others are out as well, or the machine has halted, it is the state itself: there they are late fills. A leg
    that stands alone is only ever unwound: at what price the other one was wanted is lost.
    """
    if state.phase == HALTED or state.legs[SPOT].working != 0.0 or state.legs[PERP].working != 0.0:
        return state
    alone = len({r.leg for r in untold}) == 1
    if state.phase == FLAT:
        state = replace(_entered(state, untold[0]), exiting=alone)
    elif state.phase == OPEN and _reduce(state, untold):
        state = replace(state, phase=EXITING, reason=UNWOUND, exiting=True)
    elif state.phase == OPEN:
        state = replace(state, phase=ENTERING, exiting=alone)
    state = state.copy()
    for r in untold:
        state.legs[r.leg].working, state.legs[r.leg].decided = r.filled, r.price
    pair_qty = max(state.pair_qty, *(abs(r.filled) for r in untold))
    return replace(state, pair_qty=pair_qty, wake_ns=NEVER)


def _entered(flat: State, first: Report) -> State:
    side = DIRECT if (first.filled > 0.0) == (first.leg == SPOT) else REVERSE
    return replace(flat, phase=ENTERING, pair=flat.pair + 1, side=side, opened_ns=first.venue_ns)


def _reduce(state: State, lost: Sequence[Report]) -> bool:
    """Whether these fills leave less of the open pair: an exit, and not another clip."""
    held = state.legs[SPOT].position, state.legs[PERP].position
    left = (qty + sum(r.filled for r in lost if r.leg == leg) for leg, qty in enumerate(held))
    return sum(map(abs, left)) < sum(map(abs, held))


def greeting(before: State, now: State, leaving: bool, line: str, parameters: str) -> str:
    """What a start says it has done with what it found."""
    if before.phase == FLAT:
        return f"started flat; {parameters}"
    if now.phase == FLAT:
        return f"pair {before.pair} of an earlier run is settled and flat; {parameters}"
    if now.phase == HALTED:
        return f"pair {now.pair} of an earlier run is halted: {line}; `flatten` tries to mend it"
    if leaving:
        return f"flattening pair {now.pair} of an earlier run: {line}"
    return f"resumed pair {now.pair} of an earlier run under the parameters it was opened with: {line}"


def to_flatten(halted: State, now_ns: int) -> State:
    """The state that leaves what a halted machine holds, with a fresh deadline."""
    return replace(halted, phase=HEDGING, reason=GUARD, exiting=True, hedging_ns=now_ns, wake_ns=now_ns)


def to_resume(halted: State, now_ns: int) -> State:
    """The state that goes on from a halt with equal legs: the pair is managed on, or, with nothing held, all is new."""
    if halted.legs[SPOT].position == halted.legs[PERP].position == 0.0:
        return State(pair=halted.pair)
    return replace(halted, phase=OPEN, exiting=False, wake_ns=now_ns)
