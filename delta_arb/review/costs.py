"""What the fills of a run cost: against the quotes they were decided on and met, and against the fees and funding assumed.

Slippage is in bps of the price, positive where it cost: the price paid against the touch at the decision, and against
the touch of the book that the order met; of one that rested, that of its last fill, and its times are those of its rest.
Fees are what the venues say they took; per day and venue they may differ by 0.1 bps of the notional from the rates that the
research assumed of takers and makers, more is an alarm.
"""

from collections import defaultdict
from typing import NamedTuple

from delta_arb.funding_stamps import HeldStamp, held_stamps
from delta_arb.live.journal import AT_END
from delta_arb.market import NS, PERP, Book, Fill, to_bps, utc
from delta_arb.review.bridge import assumed_fee
from delta_arb.review.replays import MeasuredVenue, roads
from delta_arb.review.session_log import PAPER, REPLAY, Recorded
from delta_arb.strategy.ledger import Trade

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
    known, venue = roads(run), MeasuredVenue(run, run.events[0].rule)
    decided = {d.event.ts_ns: d.event for d in run.decisions}
    found = []
    for order in run.orders:
        end = run.ends.get(order.order_id)
        if end is None or end.filled == 0.0:
            continue
        event, road = decided[order.ts_ns], known[order.order_id]
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
                road.there_ns / NS,
                road.back_ns / NS,
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
