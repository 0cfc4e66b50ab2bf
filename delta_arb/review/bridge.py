"""From the backtest of what a run saw to what it earned: one step at a time, each with its cause, to the cent.

    backtest        parameters, latencies and fees as they were assumed, on the quotes that the run saw
    + start         the state that the run began with, and what it took up before it could enter
    + parameters    the rules that were in force at each moment (a new file)
    + guard         entries that guards or wallets forbade, exits that they ordered
    + latency       orders meet the books of the moments at which they did arrive; "price bound" where the price had
                    gone beyond an order's limit by then
    + size taken    less was filled than the book showed: somebody was there before us
    + fault         refused, never arrived, filled after its end, asked for by its id: the venue, or the way there
    + unexplained   whatever else the fills differ by
    + fees          charged, against those assumed
    + other run     a pair that one run left open and another closed: all of its money is the closing run's
    = the run

Each step replays the same quotes through the same runner and changes one thing (`replays`). What it changes of a pair is
a `Difference`: its cause, its USDT. They add up to the run's net less the backtest's, always: what nothing explains
stands as unexplained, it is not spread over the others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from delta_arb.backtest import replay
from delta_arb.funding_stamps import expected
from delta_arb.live.venues.base import OUTSIDE
from delta_arb.market import LEGS, NS, SPOT, Fill
from delta_arb.review import replays
from delta_arb.review.replays import Met, Pair
from delta_arb.review.session_log import PAPER, REPLAY, Recorded
from delta_arb.strategy.ledger import Trade, close_out, close_pair
from delta_arb.strategy.sizing import fee_usdt
from delta_arb.strategy.state import FLAT
from delta_arb.wallets import BOUNDLESS

START, PARAMETERS, GUARD, LATENCY, BOUND, TAKEN, FAULT, UNEXPLAINED, FEES, OTHER = CAUSES = (
    "start", "parameters", "guard", "latency", "price bound", "size taken", "fault", "unexplained", "fees", "other run",
)  # fmt: skip
OVERDUE_NS = NS // 2  # from the venue's last word to ours; the executor asks for what it has not heard of for so long
NOISE_USDT = 1e-9  # the last digits of long sums


class Difference(NamedTuple):
    """What one step changed of one pair: `before` and `after` it, None where there was no such pair."""

    decided_ns: int
    cause: str
    what: str
    before: Trade | None
    after: Trade | None

    @property
    def usdt(self) -> float:
        return (self.after.net_usdt if self.after else 0.0) - (self.before.net_usdt if self.before else 0.0)


@dataclass(frozen=True, slots=True)
class Bridge:
    """Both ends and what lies between; `pairs` are those that the run closed, and one that is open still."""

    backtest: tuple[Pair, ...]
    pairs: tuple[Pair, ...]
    differences: tuple[Difference, ...]

    @property
    def backtest_net_usdt(self) -> float:
        return sum((p.net_usdt for p in self.backtest), 0.0)

    @property
    def net_usdt(self) -> float:
        """Of the run: its trades, and what is open still marked at the exit side of its last books."""
        return sum((p.net_usdt for p in self.pairs), 0.0)

    def usdt(self, cause: str) -> float:
        return sum((d.usdt for d in self.differences if d.cause == cause), 0.0)

    @property
    def gap_usdt(self) -> float:
        """What the bridge lacks; zero but for the last digits of floating point."""
        return self.net_usdt - self.backtest_net_usdt - sum((d.usdt for d in self.differences), 0.0)


def bridge(run: Recorded) -> Bridge:
    """All steps of a run.

    Raises:
        DataError: the run saw no quote while it was flat, and closed nothing.
    """
    taken_up = _taken_up(run)
    if taken_up and not run.seen_flat:
        return Bridge((), taken_up, tuple(map(_closed_here, taken_up)))
    tape = run.tape()
    known = replays.forces(run)
    base = replays.base_rule(known)
    seen = replay.looks(tape, base.filter, expected(run.payments, base.funding_horizon_s))
    coins = known[0].wallet.spot_coin
    funds = replace(BOUNDLESS, inventory=coins) if coins else BOUNDLESS
    result = replay.run(tape, base, run.latency, funds=funds, seen=seen)
    tested = replays.of_backtest(result, run.payments)
    plain = replays.unguarded(known, base, run.begun_ns)
    unchanged = replays.unchanged(plain, base)
    begun = replays.step(run, tape, unchanged, replays.paper(run, base))
    ruled = begun if plain == unchanged else replays.step(run, tape, plain, replays.paper(run, base))
    guarded = ruled if plain == known else replays.step(run, tape, known, replays.paper(run, base))
    measured = guarded if run.mode == REPLAY else replays.step(run, tape, known, replays.MeasuredVenue(run, base))
    pairs = pairs_of(run)
    on_assumed_fees = tuple(p._replace(trade=p.trade and at_fees(p.trade, run)) for p in pairs)
    faults = _Faults(run, pairs)
    kept = tuple(p for p in pairs if not (p.trade and run.closed_in(p.trade.pair)))
    differences = [
        *between(tested, begun, lambda *_: (START, "another start: what the run found, and when it could enter")),
        *between(begun, ruled, lambda *_: (PARAMETERS, "other parameters")),
        *between(ruled, guarded, lambda was, now, _: (GUARD, _who(run, was, now))),
        *between(guarded, measured, faults.late),
        *between(measured, on_assumed_fees, faults.filled),
        *between(on_assumed_fees, pairs, lambda *_: (FEES, "fees charged")),
        *between(
            pairs, kept, lambda was, *_: (OTHER, f"open at its end, closed in run {run.closed_in(was.trade.pair)}")
        ),
        *map(_closed_here, taken_up),
    ]
    whole = tuple(sorted(differences, key=lambda d: (d.decided_ns, CAUSES.index(d.cause))))
    return Bridge(tested, (*taken_up, *kept), whole)


def _taken_up(run: Recorded) -> tuple[Pair, ...]:
    """The pair that an earlier run left open, if this one closed it."""
    return tuple(Pair(t.opened_ns, (), t) for t in run.trades if t.pair == run.found)


def _closed_here(pair: Pair) -> Difference:
    return Difference(pair.decided_ns, OTHER, "open when the run began, closed in it", None, pair.trade)


def _who(run: Recorded, was: Pair | None, now: Pair | None) -> str:
    """Who held an entry back, or left a pair early: a person, where one had spoken by then, else a guard or a wallet."""
    since_ns, until_ns = (now.decided_ns, now.end_ns) if now else (0, was.decided_ns)
    spoken = [text for at_ns, text in run.ordered if since_ns <= at_ns <= until_ns]
    return f"{spoken[-1]}, ordered by a person" if spoken else "a guard or a wallet was in the way"


# --- the run's own pairs ------------------------------------------------------------------------------------------------


def pairs_of(run: Recorded) -> tuple[Pair, ...]:
    """The pairs that were decided in this run; one that is open at its end is marked at the exit side and flagged."""
    of_pair: dict[int, list[Met]] = {}
    for o in run.orders:
        end = run.ends.get(o.order_id)
        filled, price = (end.filled, end.price) if end else (0.0, 0.0)
        of_pair.setdefault(o.pair, []).append(Met(o.ts_ns, o.leg, o.qty, o.limit, filled, price, None, o.order_id))
    by_pair = {trade.pair: trade for trade in (*run.trades, *_marked(run))}
    found = (Pair(orders[0].ts_ns, tuple(orders), by_pair.get(pair)) for pair, orders in of_pair.items())
    return tuple(p for p in found if p.decided_ns >= run.start_ns)


def _marked(run: Recorded) -> tuple[Trade, ...]:
    """The pair that the run left open, at the exit side of its last books."""
    state = run.decisions[-1].state if run.decisions else run.start
    if state.phase == FLAT or any(t.pair == state.pair for t in run.trades):
        return ()
    last, closings = close_out(state, run.last.spot, run.last.perp, run.last.ts_ns, run.events[-1].rule)
    fills = [f for _, f in run.fills if f.pair == state.pair]
    if not fills or not closings:
        return ()
    return (close_pair([*fills, *last], closings[0], run.payments, ()),)


def assumed_fee(run: Recorded, order_id: str, fill: Fill) -> float:
    """What the research assumed that this fill of an order costs: a maker's fee where the order rested; its own where nobody
    knows whether it did."""
    if order_id in run.recovered:
        return fill.fee_usdt
    rule = replays.assumed(run.events[0].rule, run.params)
    return fee_usdt(fill.qty, fill.price, rule.spot if fill.leg == SPOT else rule.perp, order_id in run.rested)


def at_fees(trade: Trade, run: Recorded) -> Trade:
    """The same trade, had its fills cost what was assumed; a marked end costs the rule's fee either way."""
    more = sum((f.fee_usdt - assumed_fee(run, i, f) for i, f in run.fills if f.pair == trade.pair), 0.0)
    return replace(trade, fees_usdt=trade.fees_usdt - more, net_usdt=trade.net_usdt + more) if more else trade


# --- what differs between two steps --------------------------------------------------------------------------------------

Why = Callable[[Pair | None, Pair | None, str], tuple[str, str]]  # before, after, the cause before this one


def between(before: Sequence[Pair], after: Sequence[Pair], why: Why) -> list[Difference]:
    """The pairs that a step changed. Pairs belong together that were decided at one moment, or else overlap."""
    found: list[Difference] = []
    cause = ""
    for was, now in together(before, after):
        usdt = (now.net_usdt if now else 0.0) - (was.net_usdt if was else 0.0)
        if abs(usdt) < NOISE_USDT:
            continue
        cause, what = why(was, now, cause)
        decided_ns = min(p.decided_ns for p in (was, now) if p)
        found.append(Difference(decided_ns, cause, what, was and was.trade, now and now.trade))
    return found


def together(before: Sequence[Pair], after: Sequence[Pair]) -> list[tuple[Pair | None, Pair | None]]:
    """Matched pairs in order of time, None where one of them has no match."""
    now_by_ns = {p.decided_ns: p for p in after}
    matched = [(p, now_by_ns[p.decided_ns]) for p in before if p.decided_ns in now_by_ns]
    taken = {p.decided_ns for p, _ in matched}
    rest = [p for p in after if p.decided_ns not in taken]
    for was in (p for p in before if p.decided_ns not in taken):
        now = next((p for p in rest if p.decided_ns <= was.end_ns and was.decided_ns <= p.end_ns), None)
        if now:
            rest.remove(now)
        matched.append((was, now))
    matched += [(None, p) for p in rest]
    return sorted(matched, key=lambda both: min(p.decided_ns for p in both if p))


class _Faults:
    """Why fills differ, order by order, by what the run's journal says of each."""

    def __init__(self, run: Recorded, pairs: Sequence[Pair]) -> None:
        self._run = run
        self._ours = {(o.ts_ns, o.leg): o for p in pairs for o in p.orders}
        self._late = {end.order_id for end in run.late}
        self._outside = {f.pair for order_id, f in run.fills if order_id == OUTSIDE}

    def fault(self, order: Met) -> str:
        """What went wrong with an order of the run, in words; "" where nothing did."""
        end = self._run.ends.get(order.order_id)
        side = f"{LEGS[order.leg]} order"
        if end is None:
            return f"{side}: how it ended is not known"
        if end.refused:
            return f"{side}: {end.refused}"
        if order.order_id in self._late:
            return f"{side}: filled after its end"
        silent_ns = end.reported_ns - (end.venue_ns or order.ts_ns)
        if self._run.mode not in (PAPER, REPLAY) and silent_ns > OVERDUE_NS:
            return f"{side}: its end was reported {silent_ns / NS:.2f} s late"
        return ""

    def late(self, was: Pair | None, now: Pair | None, before: str) -> tuple[str, str]:
        """Between the assumed and the measured times of arrival."""
        order = first_unlike(was, now)
        if order is None:
            return before or LATENCY, "entered at another time" if was and now else _alone(was)
        ours = self._ours.get((order.ts_ns, order.leg))
        if ours and (said := self.fault(ours)):
            return FAULT, said
        if order.book and beyond(order):
            return BOUND, f"{LEGS[order.leg]} order: the price was beyond its limit when it arrived"
        return LATENCY, f"{LEGS[order.leg]} order: another book when it arrived"

    def filled(self, was: Pair | None, now: Pair | None, before: str) -> tuple[str, str]:
        """Between what the books that were met gave and what was filled."""
        if now and now.trade and now.trade.pair in self._outside:
            return FAULT, "the position was changed from outside"
        for order in now.orders if now else ():
            if said := self.fault(order):
                return FAULT, said
        order = first_unlike(now, was)
        if order is None:
            return before or UNEXPLAINED, "follows from what came before" if before else _alone(was)
        ours = self._ours.get((order.ts_ns, order.leg))
        if ours and order.book and not beyond(order) and abs(ours.filled) < abs(order.filled):
            return TAKEN, f"{LEGS[order.leg]} order: {abs(ours.filled):g} filled where {abs(order.filled):g} were shown"
        if ours and ours.filled == 0.0:
            return BOUND, f"{LEGS[order.leg]} order: nothing at its limit"
        if ours and ours.filled == order.filled and order.around[0] <= ours.price <= order.around[1]:
            return LATENCY, f"{LEGS[order.leg]} order: at a price between two books that were received"
        return UNEXPLAINED, f"{LEGS[order.leg]} order: no received book explains this fill"


def _alone(was: Pair | None) -> str:
    return "not entered" if was else "entered only here"


def first_unlike(was: Pair | None, now: Pair | None) -> Met | None:
    """The first order of `now` that ended otherwise than its counterpart in `was`, if both sent it."""
    if was is None or now is None:
        return None
    for a, b in zip(was.orders, now.orders, strict=False):
        if (a.ts_ns, a.leg, a.qty) != (b.ts_ns, b.leg, b.qty) or (a.filled, a.price) != (b.filled, b.price):
            return b
    return None


def beyond(order: Met) -> bool:
    """Whether the book that an order met had nothing for it within its limit."""
    price = order.book.ask if order.qty > 0 else order.book.bid
    return price > order.limit if order.qty > 0 else price < order.limit
