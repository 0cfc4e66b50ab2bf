"""What the fills of a run cost: against the quotes they were decided on and met, and against the fees and funding assumed.

Slippage is in bps of the price, positive where it cost: the price paid against the touch at the decision, and against
the touch of the book that the order met; of one that rested, that of its last fill, and its times are those of its rest.
Fees are what the venues say they took; per day and venue they may differ by 0.1 bps of the notional from the rates that the
research assumed of takers and makers, more is an alarm.

Of what rested besides: prices against it, quotes and cancels an hour, and which assumption of the queue its own fills bear out.
An assumption says of each quote whether anything of it fills in the first 5 s, or until its cancel where that came before; its
Brier score is the mean squared miss, here the share of quotes of which it was wrong. Where nobody recorded the trades of
others, only the quotes that the run saw can say so: one that reaches ours.
"""

from collections import defaultdict
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

import numpy as np

from delta_arb.backtest.fast_forward import book_at
from delta_arb.backtest.resting_orders import fills_while
from delta_arb.funding_stamps import HeldStamp, held_stamps
from delta_arb.live.journal import AT_END
from delta_arb.market import ASSUMPTIONS, LEGS, NS, PERP, Book, Fill, to_bps, utc
from delta_arb.quotes.depth_and_trades import NO_PRINTS, Prints
from delta_arb.quotes.tape import Tape
from delta_arb.report.resting import AFTER_S, FEWEST, against, spoken_against
from delta_arb.review.bridge import assumed_fee
from delta_arb.review.replays import MeasuredVenue, round_trips
from delta_arb.review.session_log import PAPER, REPLAY, Recorded, SentOrder
from delta_arb.stats.sharpe import Interval
from delta_arb.strategy.ledger import Trade
from delta_arb.strategy.quoting import crosses, joined
from delta_arb.tables import Table, share
from delta_arb.venue_terms import FILL_RATIOS

ALARM_BPS = 0.1


class Slipped(NamedTuple):
    """One filled order: price paid, slippage in bps against both touches, and seconds to the venue and back."""

    ts_ns: int
    leg: int
    phase: str
    qty: float
    price: float
    decided_bps: float
    met_bps: float
    there_s: float
    back_s: float


class Charged(NamedTuple):
    """Fees of one venue on one UTC day: what it took and what was assumed of the same fills, USDT."""

    day: str
    leg: int
    fills: int
    notional_usdt: float
    fees_usdt: float
    assumed_usdt: float

    @property
    def off_bps(self) -> float:
        return to_bps(self.fees_usdt - self.assumed_usdt) / self.notional_usdt

    @property
    def alarm(self) -> bool:
        return abs(self.off_bps) > ALARM_BPS + 1e-9


def slippage(run: Recorded) -> tuple[Slipped, ...]:
    """Every filled order of the run, oldest first."""
    known, venue = round_trips(run), MeasuredVenue(run, run.events[0].rule)
    decided = {d.event.ts_ns: d.event for d in run.decisions}
    found = []
    for order in run.orders:
        end = run.ends.get(order.order_id)
        if end is None or end.filled == 0.0:
            continue
        event, trip = decided[order.ts_ns], known[order.order_id]
        if run.mode in (REPLAY, PAPER):
            met = (end.event.spot, end.event.perp)[order.leg]
        else:
            met = venue.book_met(order)
        prices = (touch(order.qty, (event.spot, event.perp)[order.leg]), touch(order.qty, met))
        costs = (slip_bps(order.qty, end.price, price) for price in prices)
        found.append(
            Slipped(
                order.ts_ns,
                order.leg,
                f"{order.phase}, rested" if order.post_only else order.phase,
                end.filled,
                end.price,
                *costs,
                trip.there_ns / NS,
                trip.back_ns / NS,
            )
        )
    return tuple(found)


def touch(qty: float, book: Book) -> float:
    """The price that an order of this sign meets."""
    return book.ask if qty > 0 else book.bid


def slip_bps(qty: float, paid: float, quoted: float) -> float:
    """Positive where more was paid, or less received, than was quoted."""
    return to_bps(paid - quoted) / quoted * (1 if qty > 0 else -1)


def fees(run: Recorded) -> tuple[Charged, ...]:
    """Per day and venue; the fills that close a replay where its quotes end are no venue's."""
    of_day: dict[tuple[str, int], list[tuple[str, Fill]]] = defaultdict(list)
    for order_id, fill in run.fills:
        if order_id != AT_END:
            of_day[utc(fill.ts_ns)[:10], fill.leg].append((order_id, fill))
    return tuple(
        Charged(
            day,
            leg,
            len(fills),
            sum(abs(f.qty) * f.price for _, f in fills),
            sum(f.fee_usdt for _, f in fills),
            sum(assumed_fee(run, order_id, f) for order_id, f in fills),
        )
        for (day, leg), fills in sorted(of_day.items())
    )


def funding(run: Recorded) -> tuple[HeldStamp, ...]:
    """The stamps that met a position, of one running position of the whole run."""
    first = run.events[0].state
    within = (p for p in run.payments if run.events[0].event.ts_ns <= p.ts_ns <= run.end_ns)
    moves = ((f.ts_ns, f.qty) for _, f in run.fills if f.leg == PERP)
    found = held_stamps(moves, within, first.legs[PERP].position if first else 0.0)
    return tuple(s for s in found if s.position != 0.0)


def booked_funding_usdt(trades: tuple[Trade, ...]) -> float:
    return sum((t.funding_usdt for t in trades), 0.0)


WITHIN_S = 5.0
REACHED = "a quote that reaches ours"
TITLE = "What rested, and how it filled"


@dataclass(frozen=True, slots=True)
class OwnQuotes:
    """Quotes of a run: how many were sent, filled (any part) and ended unfilled, over so many hours; the run's budget of them an
    hour; how far the mid went against their fills after each of `AFTER_S`, bps; of how many the first `WITHIN_S` seconds can
    be judged, the share of them that filled then (None of none), and (share said to fill, Brier) of each assumption. `could`: how many
    an order of unlimited size would have filled while they rested, and the median of what it got of these, USDT. `asked`: per leg its
    venue, requests about orders in the last day, and orders filled."""

    leg: int
    sent: int
    filled: int
    unfilled: int
    hours: float
    budget_hour: float
    against_bps: tuple[float | Interval | None, ...]
    judged: int
    own: float | None
    said: dict[str, tuple[float, float]]
    could: dict[str, tuple[int, float]]
    asked: tuple[tuple[str, int, int], ...]


def own_quotes(run: Recorded, trades: Prints = NO_PRINTS) -> OwnQuotes | None:
    """The quotes that a run sent; None where nothing rested. `trades`: of others at the venue of the leg that rests.

    Raises:
        DataError: the run saw no quote while it was flat.
    """
    quotes = [order for order in run.orders if order.post_only]
    if not quotes:
        return None
    tape, leg = run.tape(), quotes[0].leg
    fills = {order.order_id: [f for id_, f in run.fills if id_ == order.order_id] for order in quotes}
    ended = [order for order in quotes if order.order_id in run.ends]
    lives = [life for order in ended if (life := _life(run, order, tape)) is not None]
    own = np.array([any(f.ts_ns <= until_ns for f in fills[order.order_id]) for order, _, until_ns in lives], bool)
    ways = range(len(ASSUMPTIONS)) if len(trades.ts_ns) else ()
    said = {ASSUMPTIONS[way]: np.array([_fills(life, tape, trades, way) for life in lives], bool) for way in ways}
    said |= {} if said else {REACHED: np.array([_fills(life, tape, NO_PRINTS, 0) for life in lives], bool)}
    rested = [whole for order in ended if (whole := _whole(run, order, tape)) is not None]
    could = {
        ASSUMPTIONS[way]: _could([_filled_usdt(life, tape, trades, way, np.inf) for life in rested])
        for way in ways
        if way
    }
    venues = run.params.spot.venue, run.params.perp.venue
    resting = run.params.rule.resting
    return OwnQuotes(
        leg, len(quotes), sum(map(bool, fills.values())), sum(not fills[o.order_id] for o in ended), run.hours,
        60.0 * resting.quotes_per_minute if resting else 0.0,
        against(tape, [f for of in fills.values() for f in of]), len(lives), float(own.mean()) if len(lives) else None,
        {name: (float(x.mean()), float((x != own).mean())) for name, x in said.items()} if len(lives) else {},
        could, tuple((venue, *asked) for venue, asked in zip(venues, run.asked, strict=True)),
    )  # fmt: skip


Life = tuple[SentOrder, int, int]  # an order, its arrival, and until when it is judged (ns)


def _life(run: Recorded, order: SentOrder, tape: Tape) -> Life | None:
    """Its first seconds, from the arrival assumed on; None where it was refused, or the quotes do not cover it."""
    arrival_ns = order.ts_ns + run.latency.median_ns(order.leg)
    end = run.ends[order.order_id]
    whole = abs(end.filled) >= abs(order.qty) * (1 - 1e-9)
    until_ns = arrival_ns + round(WITHIN_S * NS)
    until_ns = until_ns if whole else min(until_ns, end.reported_ns)
    covered = tape.start_ns <= arrival_ns < until_ns <= tape.end_ns
    return (order, arrival_ns, until_ns) if covered and not end.refused else None


def _whole(run: Recorded, order: SentOrder, tape: Tape) -> Life | None:
    """All of its rest, from the arrival assumed to its end as the run knew it."""
    arrival_ns, end = order.ts_ns + run.latency.median_ns(order.leg), run.ends[order.order_id]
    until_ns = min(end.reported_ns, tape.end_ns)
    return (order, arrival_ns, until_ns) if tape.start_ns <= arrival_ns < until_ns and not end.refused else None


def _could(usdt: list[float]) -> tuple[int, float]:
    some = [got for got in usdt if got > 0.0]
    return len(some), median(some) if some else 0.0


def _fills(life: Life, tape: Tape, trades: Prints, way: int) -> bool:
    """Whether an assumption says that any of it fills."""
    return _filled_usdt(life, tape, trades, way, abs(life[0].qty)) > 0.0


def _filled_usdt(life: Life, tape: Tape, trades: Prints, way: int, qty: float) -> float:
    """What an assumption says is filled of so much at its price."""
    order, arrival_ns, until_ns = life
    side, (row, last) = (1 if order.qty > 0 else -1), np.searchsorted(tape.ts_ns, (arrival_ns, until_ns), "right") - 1
    book = book_at(tape, order.leg, row)
    if crosses(side, order.limit, book.bid, book.ask):
        return 0.0
    queued = joined(side, order.limit, qty, *((book.bid, book.bid_qty) if side > 0 else (book.ask, book.ask_qty)))
    rows = row + 1 + np.flatnonzero(tape.leg[row + 1 : last + 1] == order.leg)
    filled = fills_while(tape, order.leg, rows, trades, queued, (arrival_ns, until_ns), way)
    return order.limit * sum(qty for _, qty in filled)


def table(found: OwnQuotes | None) -> Table:
    """The quotes of a run as figures."""
    if found is None:
        return Table.nothing(TITLE, "both legs took: no order rested")
    hour = lambda n: f"{n / found.hours:,.0f} an hour" if found.hours else "in no time"  # noqa: E731
    rows = [
        (f"quotes of the {LEGS[found.leg]} leg", f"{found.sent:,}, {hour(found.sent)}; the rule's budget is {found.budget_hour:,.0f}"),
        ("filled, any part of it", f"{found.filled:,} ({share(found.filled / found.sent)})"),
        ("cancelled or refused, nothing filled", f"{found.unfilled:,}, {hour(found.unfilled)}"),
        *zip((f"mid against a fill after {s:g} s" for s in AFTER_S), map(spoken_against, found.against_bps), strict=True),
        (f"filled within {WITHIN_S:g} s", f"{share(found.own)} of {found.judged:,}"),
        *((f"so said by {name}", f"{share(says)}, Brier {score:.2f}") for name, (says, score) in found.said.items()),
        *((f"an order of unlimited size, {name}", f"{n:,} filled, half of them {usdt:,.2f} USDT or more")
          for name, (n, usdt) in found.could.items()),
        *map(_ratio, found.asked),
    ]  # fmt: skip
    why = (
        ""
        if REACHED not in found.said
        else " No trades of others were given (--trades): front, back and through say nothing."
    )
    note = f"Intervals of 95 % from {FEWEST} fills on. Brier: the share of quotes of which an assumption was wrong; 0 is best.{why}"
    return Table.of(TITLE, ("", "found"), rows, note)


def _ratio(asked: tuple[str, int, int]) -> tuple[str, str]:
    """Fills to requests of the last day against the venue's rule, where it has one."""
    venue, requests, filled = asked
    most, least = FILL_RATIOS.get(venue, (0, 0.0))
    rule = f"slowed down above {most:,} with less than {share(least)} filled" if most else "no rule of the venue"
    part = f" ({share(filled / requests)})" if requests else ""
    return f"requests about orders at {venue}, last day", f"{requests:,}, {filled:,} filled{part}; {rule}"
