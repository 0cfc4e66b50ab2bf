"""What it costs to get into a carry and out of it: both legs taken, or spot rested for hours and taken when that is over.

A resting buy saves the spread and the taker's fee and pays by waiting: it fills as the price falls to it and misses what runs
away. So each try is priced to its end: a quote at the best bid, unchanged for the patience, hedged when it fills, taken when it
does not, less the funding that was missed meanwhile. With recorded trades it fills under `front`, `back` and `through`, at its
price, hedged at the book of that moment. Without them two assumptions frame it: `reached`, an ask at or below our price, which is
all that is proven, and `through`, a bid below it, which leaves none before us. When within a bar of candles it filled is not known:
there the hedge is priced at the basis of that bar, so what prices go against a fill in its first seconds is not in it, and is told
as days a bp.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from delta_arb.backtest.resting_orders import fills_while
from delta_arb.market import (
    ASSUMPTIONS,
    DAY_S,
    FRONT,
    NEVER,
    NS,
    PERP,
    SPOT,
    FundingPayment,
    entry_edge,
    exit_cost,
    to_bps,
)
from delta_arb.optimize.carry_search import BreakEven, break_even
from delta_arb.optimize.gates import WORST
from delta_arb.optimize.study import Market
from delta_arb.quotes.depth_and_trades import Prints
from delta_arb.quotes.tape import Tape
from delta_arb.strategy.ledger import Trade
from delta_arb.strategy.quoting import Queued
from delta_arb.tables import NOTHING, Table, number, share

LOOK_BACK_S, STEP_S = 120 * DAY_S, 30 * DAY_S  # of the walk, where nothing else is said
PATIENCE_S = 4 * 3600.0
EVERY_NS = 7 * 3600 * NS  # between two tries, so that they begin at every hour between two funding stamps
REACHED, BY_THROUGH = "reached", "through"


def crossing_bps(tape: Tape) -> float:
    """Median of what crossing both books costs on the way in and out, bps: four half-spreads."""
    seen = tape.looks()
    return float(to_bps(np.median(exit_cost(seen.spot_bid, seen.perp_ask) - entry_edge(seen.spot_ask, seen.perp_bid))))


def worst_bps(tape: Tape, market: Market) -> float:
    """A round trip that is left where leaving is dearest, and what a venue keeps of the margin of a short it takes."""
    seen = tape.looks()
    costs = to_bps(exit_cost(seen.spot_bid, seen.perp_ask))
    late = float(np.quantile(costs, WORST) - np.median(costs))
    return market.taking().fees_bps + crossing_bps(tape) + late + to_bps(market.perp.maintenance_rate)


class Walked(NamedTuple):
    """Pairs of a walk in which both legs take, its days, and its net, bps a day of a full position."""

    trades: Sequence[Trade]
    days: int
    net_bps_day: float


class Try(NamedTuple):
    """One end that rested: gain over taking at once, bps before fees, the funding missed (bps) in it; seconds waited."""

    gain_bps: float
    missed_bps: float
    filled: bool
    waited_s: float


class Waiting(NamedTuple):
    """Means of tries that rested, and the share of them that nothing filled."""

    tries: int
    gain_bps: float
    missed_bps: float
    unfilled: float
    waited_s: float


class Seen(NamedTuple):
    """What a try sees: settled books, trades of others on spot, funding stamps and the sum of what was paid until each."""

    books: Tape
    prints: Prints
    stamps: np.ndarray
    paid: np.ndarray

    @property
    def ways(self) -> tuple[str, ...]:
        """What may be assumed of fills: by trades where any was recorded."""
        return ASSUMPTIONS if len(self.prints.ts_ns) else (REACHED, BY_THROUGH)


def shown(tape: Tape, payments: Sequence[FundingPayment]) -> Seen:
    books = tape.looks()
    paid = np.concatenate(([0.0], np.cumsum([p.rate for p in payments])))
    return Seen(books.take(books.settled), tape.queues.spot, np.array([p.ts_ns for p in payments], np.int64), paid)


def tried(seen: Seen, start_ns: int, way: str, *, leaves: bool = False, patience_s: float = PATIENCE_S) -> Try:
    """Spot rested from a moment on; `leaves` sells at the ask, the mirror image.

    The gain is of (edge obtained less edge of taking at the first moment), funding missed taken off an entry and added to an
    exit, which goes on being paid while it waits.
    """
    books, sign = seen.books, -1.0 if leaves else 1.0
    until_ns = start_ns + round(patience_s * NS)
    begin, end = (int(np.searchsorted(books.ts_ns, ns, "right")) - 1 for ns in (start_ns, until_ns))
    filled_ns = _filled_ns(seen, begin, end, (start_ns, until_ns), way, leaves)
    filled = filled_ns <= until_ns
    at_ns = min(filled_ns, until_ns)
    at = int(np.searchsorted(books.ts_ns, at_ns, "right")) - 1
    taken = _edge(_sides(books, begin, leaves)[1], books, begin, leaves)
    obtained = _edge(_price(books, begin, at, filled, leaves), books, at, leaves)
    between = np.searchsorted(seen.stamps, [start_ns, at_ns], "right")
    funding = float(seen.paid[between[1]] - seen.paid[between[0]])
    gain = to_bps(obtained - taken - sign * funding)
    return Try(float(gain), to_bps(funding), filled, (at_ns - start_ns) / NS)


def _filled_ns(seen: Seen, begin: int, end: int, out_ns: tuple[int, int], way: str, leaves: bool) -> int:
    """When the order that joined the best price of row `begin` had its first fill; `out_ns`: from when until when it is out,
    books of that time are the rows to `end`; NEVER: none."""
    books, rows, side = seen.books, np.arange(begin + 1, end + 1), -1 if leaves else 1
    joined = books.book(SPOT, begin)
    best, size = (joined.ask, joined.ask_qty) if leaves else (joined.bid, joined.bid_qty)
    if way == BY_THROUGH and not len(
        seen.prints.ts_ns
    ):  # of candles: only a best price beyond ours leaves none before us
        then = books.take(rows)
        beyond = rows[side * (then.spot_ask if leaves else then.spot_bid) < side * best]
        return int(books.ts_ns[beyond[0]]) if len(beyond) else NEVER
    order = Queued(side, best, np.inf, size)
    assumed = ASSUMPTIONS.index(way) if way in ASSUMPTIONS else FRONT  # without trades no assumption says anything
    return next((ts_ns for ts_ns, _ in fills_while(books, SPOT, rows, seen.prints, order, out_ns, assumed)), NEVER)


def _price(books: Tape, begin: int, at: int, filled: bool, leaves: bool) -> float:
    """What spot traded at: our quote where it filled, of candles the quote's side of the bar in which it did; else taken."""
    if filled:
        return _sides(books, at if books.bar_s else begin, leaves)[0]
    return _sides(books, at, leaves)[1]


def _sides(books: Tape, at: int, leaves: bool) -> tuple[float, float]:
    """Where an order that buys spot (`leaves` sells) rests at a row, and where it takes."""
    book = books.book(SPOT, at)
    return (book.ask, book.bid) if leaves else (book.bid, book.ask)


def _edge(spot: float, books: Tape, at: int, leaves: bool) -> float:
    """What a pair gains opened (or left, negated cost) with the perpetual taken at a row."""
    perp = books.book(PERP, at)
    return -exit_cost(spot, perp.ask) if leaves else entry_edge(spot, perp.bid)


def waiting(seen: Seen, way: str, *, leaves: bool = False, patience_s: float = PATIENCE_S) -> Waiting:
    """What resting spot came to at tries every seven hours."""
    starts = range(seen.books.start_ns, seen.books.end_ns - round(patience_s * NS), EVERY_NS)
    tries = [tried(seen, ns, way, leaves=leaves, patience_s=patience_s) for ns in starts]
    if not tries:
        return Waiting(0, 0.0, 0.0, 0.0, 0.0)
    gain, missed, filled, waited = np.mean(tries, axis=0)
    return Waiting(len(tries), float(gain), float(missed), 1.0 - float(filled), float(waited))


class Way(NamedTuple):
    """A way in and out: its break-even, what waiting came to at both ends (None: both legs are taken), and what the pairs of
    a walk would have earned so, bps a day (None: nothing was walked)."""

    name: str
    even: BreakEven
    enter: Waiting | None = None
    leave: Waiting | None = None
    walked_bps_day: float | None = None


def ways(tape: Tape, market: Market, payments: Sequence[FundingPayment], walked: Walked | None = None) -> list[Way]:
    """Both legs taken, and spot rested under each assumption where the account's fee for makers is known."""
    taken_bps, seen = market.taking().fees_bps + crossing_bps(tape), shown(tape, market.payments)
    found = [Way("both legs taken", break_even(payments, taken_bps), walked_bps_day=walked and walked.net_bps_day)]
    for way in seen.ways if market.spot.maker_fee_bps is not None else ():
        enter, leave = (waiting(seen, way, leaves=leaves) for leaves in (False, True))
        if enter.tries:
            saved = sum(w.gain_bps + (1.0 - w.unfilled) * _saved_bps(market) for w in (enter, leave))
            more = walked and walked.net_bps_day + _pairs_bps(seen, market, walked.trades, way) / walked.days
            found.append(Way(way, break_even(payments, taken_bps - saved), enter, leave, more))
    return found


def _saved_bps(market: Market) -> float:
    """The fees that a fill of spot saves by resting, bps."""
    return market.spot.taker_fee_bps - market.spot.maker_fee_bps


def _pairs_bps(seen: Seen, market: Market, trades: Sequence[Trade], way: str) -> float:
    """What pairs that took both legs would have gained more, had spot rested at each of their ends, bps of a full position.

    What was still open when the quotes ended is left as it was.
    """
    full_usdt, last_ns = market.position_usdt, seen.books.end_ns - round(PATIENCE_S * NS)
    ends = [(t, t.opened_ns, False) for t in trades] + [(t, t.closed_ns, True) for t in trades if not t.censored]
    tries = [(t, tried(seen, at_ns, way, leaves=leaves)) for t, at_ns, leaves in ends if at_ns < last_ns]
    return sum((a.gain_bps + a.filled * _saved_bps(market)) * t.notional_usdt / full_usdt for t, a in tries)


HEADS = (
    "spot", "round trip, bps", "break-even, days", "unfilled in / out", "waits, h", "funding missed, bps", "resting gains in / out, bps",
    "a bp against both fills, days", "the walk's pairs, bps/day",
)  # fmt: skip


def table(found: Sequence[Way]) -> Table:
    """The ways in and out with what each costs, and what is proven of them."""
    if len(found) == 1:
        note = "How long it takes if spot rests is not known: state its fee for makers (--spot-maker-fee-bps)."
    elif found[1].name == REACHED:
        note = (
            "No trades of others are recorded, so only a quote that reaches ours is proven to fill us (reached); through asks for "
            "a bid below ours. Nothing is chosen or exported on that: with trades (--spot-trades) the walk chooses which leg rests."
        )
    else:
        note = "Filled by the recorded trades, under each assumption of our place in the queue."
    rests = f" Resting: up to {PATIENCE_S / 3600:g} h at the best price, then taken; before fees, with funding missed in it."
    return Table.of("The ways in and out", HEADS, [_row(way) for way in found], note + rests * (len(found) > 1))


def _row(way: Way) -> tuple[str, ...]:
    costs = number(way.even.costs_bps, 1), number(way.even.days, 1), *[NOTHING] * 5
    if way.enter is not None:
        i, o = way.enter, way.leave
        costs = (
            *costs[:2], f"{share(i.unfilled)} / {share(o.unfilled)} of {i.tries}", number(i.waited_s / 3600, 1), number(i.missed_bps),
            f"{i.gain_bps:+.1f} / {o.gain_bps:+.1f}", number(_days_a_bp(way.even.funding_bps_day), 1),
        )  # fmt: skip
    return way.name, *costs, number(way.walked_bps_day)


def _days_a_bp(paid_bps_day: float) -> float | None:
    return 2.0 / paid_bps_day if paid_bps_day > 0 else None


def known_to_walk(tape: Tape, market: Market, look_back_s: float = LOOK_BACK_S) -> Tape:
    """What funding covers, from a look-back before the rules in force on: choices may know it, no fold is judged on it."""
    tape = tape.between(tape.start_ns, min(tape.end_ns, market.payments[-1].ts_ns) + 1)
    since_ns = market.in_force(tape).start_ns
    return tape.between(since_ns - round(look_back_s * NS), tape.end_ns + 1) if since_ns > tape.start_ns else tape


def most_in_turn(opened, closed):
    """The most that holds one after the other earn: `opened` is taken at their beginning, `closed` at their end. Compiled."""
    flat, held = 0.0, -np.inf
    for k in range(len(opened)):
        held = max(held, flat + opened[k])
        flat = max(flat, held + closed[k])
    return flat
