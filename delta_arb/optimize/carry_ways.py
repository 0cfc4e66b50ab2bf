"""What it costs to get into a carry and out of it: both legs taken, or spot rested for hours and taken when that is over.

A resting buy saves the spread and the taker's fee and pays by waiting: it fills as the price falls to it and misses what runs
away. So each try is priced to its end: a quote at the best bid, unchanged for the patience, hedged when it fills, taken when it
does not, less the funding that was missed meanwhile. Without recorded trades two assumptions frame it: `reached`, an ask at or
below our price, which proves a fill, and `through`, a bid below it, which leaves none before us. When within a bar it filled is
not known: the hedge is priced at the basis of that bar, so what prices go against a fill in its first seconds is not in it, and
is told as days a bp.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from delta_arb.market import NS, entry_edge, exit_cost, to_bps
from delta_arb.optimize.carry_search import break_even
from delta_arb.optimize.study import Market
from delta_arb.quotes.tape import Tape

PATIENCE_S = 4 * 3600.0
EVERY_NS = 7 * 3600 * NS  # between two tries, so that they begin at every hour between two funding stamps
REACHED, BY_THROUGH = WAYS = ("reached", "through")


class Waiting(NamedTuple):
    """Tries that rested: mean gain over taking at once, bps before fees, with the funding missed (bps) in it; shares; seconds."""

    tries: int
    gain_bps: float
    missed_bps: float
    unfilled: float
    waited_s: float


def waiting(tape: Tape, market: Market, way: str, *, leaves: bool = False, patience_s: float = PATIENCE_S) -> Waiting:
    """What resting spot came to at tries every seven hours; `leaves` sells at the ask, the mirror image.

    The gain is of (edge obtained less edge of taking at the first moment), funding missed taken off an entry and added to an
    exit, which goes on being paid while it waits.
    """
    seen = tape.looks()
    seen = seen.take(seen.settled)
    patience_ns, sign = round(patience_s * NS), -1.0 if leaves else 1.0
    starts = np.arange(seen.start_ns, seen.end_ns - patience_ns, EVERY_NS)
    stamps = np.array([p.ts_ns for p in market.payments], np.int64)
    paid = np.concatenate(([0.0], np.cumsum([p.rate for p in market.payments])))
    gains, missed, unfilled, waited = [], [], 0, []
    for begin, end in zip(
        *(np.searchsorted(seen.ts_ns, starts + ns, "right") - 1 for ns in (0, patience_ns)), strict=True
    ):
        price = (seen.spot_ask if leaves else seen.spot_bid)[begin]
        inside = slice(begin + 1, end + 1)
        reach = _reached(seen, inside, price, way, leaves)
        at = begin + 1 + int(reach.argmax()) if reach.any() else int(end)
        obtained = _edge(seen, at, bool(reach.any()), leaves)
        between = np.searchsorted(stamps, [seen.ts_ns[begin], seen.ts_ns[at]], "right")
        funding = float(paid[between[1]] - paid[between[0]])
        missed.append(to_bps(funding))
        gains.append(to_bps(obtained - _edge(seen, int(begin), False, leaves) - sign * funding))
        unfilled += not reach.any()
        waited.append((seen.ts_ns[at] - seen.ts_ns[begin]) / NS)
    if not gains:
        return Waiting(0, 0.0, 0.0, 0.0, 0.0)
    return Waiting(
        len(gains), *(float(np.mean(x)) for x in (gains, missed)), unfilled / len(gains), float(np.mean(waited))
    )


def _reached(seen: Tape, inside: slice, price: float, way: str, leaves: bool) -> np.ndarray:
    """The events at which an order at a price would have been filled."""
    if leaves:
        return seen.spot_bid[inside] >= price if way == REACHED else seen.spot_ask[inside] > price
    return seen.spot_ask[inside] <= price if way == REACHED else seen.spot_bid[inside] < price


def _edge(seen: Tape, at: int, rested: bool, leaves: bool) -> float:
    """What a pair gains opened (or left, negated cost) at an event: spot on the side that a quote joins, or taken."""
    spot = (seen.spot_bid if rested != leaves else seen.spot_ask)[at]
    return -float(exit_cost(spot, seen.perp_ask[at])) if leaves else float(entry_edge(spot, seen.perp_bid[at]))


def rows(tape: Tape, market: Market, payments: Sequence, crossing_bps: float) -> list[tuple[str, str]]:
    """The ways in and out with their break-even days; none where the spot account's fee for makers is not known."""
    maker_bps = market.spot.maker_fee_bps
    if maker_bps is None:
        return []
    found = [("both legs taken", f"{break_even(payments, market.fees_bps + crossing_bps)}")]
    for way in WAYS:
        ways = [waiting(tape, market, way, leaves=leaves) for leaves in (False, True)]
        if not all(w.tries for w in ways):
            return found
        saved = sum(w.gain_bps + (1.0 - w.unfilled) * (market.spot.taker_fee_bps - maker_bps) for w in ways)
        even = break_even(payments, market.fees_bps + crossing_bps - saved)
        enter, leave = ways
        found.append(
            (
                f"spot rests up to {PATIENCE_S / 3600:g} h, then taken, {way}",
                f"{even}; unfilled {enter.unfilled:.0%} of {enter.tries} entries and {leave.unfilled:.0%} of exits, waiting "
                f"{enter.waited_s / 3600:.1f} h costs {enter.missed_bps:.2f} bps of funding an entry, resting gains "
                f"{enter.gain_bps:+.1f} and {leave.gain_bps:+.1f} bps before fees; a bp that prices go against both fills is "
                f"{_days_a_bp(even.funding_bps_day)} longer",
            )
        )
    return found


def _days_a_bp(paid_bps_day: float) -> str:
    return f"{2.0 / paid_bps_day:.1f} days" if paid_bps_day > 0 else "never paid, and"
