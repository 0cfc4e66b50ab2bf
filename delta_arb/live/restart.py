"""Where an earlier run stopped, by the journal; the venues are asked what became of its orders (executor.adopt).

And where the machine goes on that had halted, once a person says so.
"""

from delta_arb.market import GUARD
from delta_arb.pair import FLAT, HALTED, HEDGING, OPEN, START, State

from .journal import Journal
from .runner import Resumed


def taken_up(journal: Journal, now_ns: int) -> tuple[Resumed, dict[str, int]]:
    """The machine's state with the open pair's rule and fills, a fresh deadline for a hedge, and when each order
    without an end was decided (ns), by its id."""
    state = journal.last_state() or START
    if state.phase == HEDGING:
        state = state._replace(hedging_ns=now_ns)
    working = journal.working()
    is_open = state.phase != FLAT
    fills = journal.unsettled_fills() if is_open else ()
    rule = journal.rule_of(state.pair) if is_open else None
    return Resumed(state, rule, fills, tuple(p for p, _ in working)), {p.order_id: ns for p, ns in working}


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
    return halted._replace(phase=HEDGING, reason=GUARD, exiting=True, hedging_ns=now_ns, wake_ns=now_ns)


def to_resume(halted: State, now_ns: int) -> State:
    """The state that goes on from a halt with equal legs: the pair is managed on, or, with nothing held, all is new."""
    if halted.spot.position == halted.perp.position == 0.0:
        return START._replace(pair=halted.pair)
    return halted._replace(phase=OPEN, exiting=False, wake_ns=now_ns)
