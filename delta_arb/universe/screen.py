"""Cheap questions that exclude a pair before anything is searched, and never one that the search would find.

    reversion    no look-back of that length, wherever it begins, has a gain between the 99.5 percentile of entry_edge
                 and the 0.5 percentile of exit_cost that pays the four fees: then the grid of every fold is empty
    carry        no hold at all, from any moment to any later one, earned more in basis and funding than its fees: then
                 no rule earned anything on any look-back

Both bounds err on the side of the pair by `MARGIN_BPS`, which is more than the grid's rounding of both levels.
"""

import numpy as np

from delta_arb.errors import DataError
from delta_arb.market import NS, to_bps
from delta_arb.optimize.offers import offers
from delta_arb.optimize.search import ENTRY_QUANTILES, EXIT_QUANTILES, ROUND_BPS
from delta_arb.optimize.study import Constraints, Market
from delta_arb.quotes.tape import Tape

MARGIN_BPS = 1.0
assert MARGIN_BPS >= ROUND_BPS  # half of it on each of two levels
PARTS = 4  # of a look-back, the steps in which windows are moved


def cannot_revert(tape: Tape, market: Market, constraints: Constraints) -> str:
    """Why no fold of any walk over these quotes has a threshold set that pays; empty where one might have."""
    best = best_gain_bps(tape, market, look_back_s(tape, constraints))
    if best is None:
        return "no moment has fresh books on both legs"
    if best + MARGIN_BPS > market.fees_bps:
        return ""
    return (
        f"no edge after costs: in no look-back do the best half percent of entries and of exits gain more than {best:.1f} bps, "
        f"the four fees are {market.fees_bps:g} bps"
    )


def look_back_s(tape: Tape, constraints: Constraints) -> float:
    """Length of what a choice is fitted on (see `verdict.frame` and `study.window`)."""
    span_s = (tape.end_ns - tape.start_ns) / NS
    return min(constraints.look_back_h * 3600.0 * constraints.fit_share, span_s / 2)


def best_gain_bps(tape: Tape, market: Market, length_s: float) -> float | None:
    """An upper bound of the gain at the grid's outermost levels in any window of so many seconds, bps.

    Every such window lies in one of those of 5/4 of its length that begin at every quarter of it, and covers all of it
    but parts of the first and the last quarter. If it holds a share w of the events, the best 0.5 % of its own are at
    least the best w * 0.5 % of the wider one. None where no event is usable.
    """
    step_ns = max(round(length_s / PARTS * NS), 1)
    edges = np.arange(tape.start_ns, tape.end_ns + step_ns, step_ns)
    rows = np.searchsorted(tape.ts_ns, np.append(edges, tape.end_ns + 1))
    found = []
    for k in range(max(len(edges) - PARTS, 1)):
        last = min(k + PARTS + 1, len(rows) - 1)
        part = tape.take(slice(int(rows[k]), int(rows[last])))
        inner = int(rows[last - 1] - rows[k + 1])
        try:
            offered = offers(part, market.settings, None)
        except DataError:
            continue
        share = max(inner / len(part), 1.0 / len(part))
        high = np.quantile(offered.entry_bps, 1.0 - (1.0 - ENTRY_QUANTILES[1]) * share)
        found.append(float(high - np.quantile(offered.exit_bps, EXIT_QUANTILES[0] * share)))
    return max(found, default=None)


def cannot_carry(tape: Tape, market: Market) -> str:
    """Why no carry rule can have earned on any look-back of these quotes; empty where one might have."""
    best = best_hold_bps(tape, market)
    if best > -MARGIN_BPS:
        return ""
    return f"no hold from any moment to any later one earned its four fees: the best of all is {best:.1f} bps"


def best_hold_bps(tape: Tape, market: Market) -> float:
    """What the best of all holds earned, known only afterwards: basis, funding and fees, bps of the spot price paid.

    One coin bought at the spot ask and sold short at the perpetual's bid at some moment, and both undone at a later one.
    """
    seen = tape.take(tape.settled)
    spot_fee, perp_fee = market.spot.taker_fee, market.perp.taker_fee
    stamps = np.array([p.ts_ns for p in market.payments], np.int64)
    paid = np.concatenate(([0.0], np.cumsum([p.rate * p.mark for p in market.payments])))
    until = paid[np.searchsorted(stamps, seen.ts_ns, "left")]  # a stamp at the opening is not earned
    opened = seen.perp_bid * (1 - perp_fee) - seen.spot_ask * (1 + spot_fee) - until
    closed = seen.spot_bid * (1 - spot_fee) - seen.perp_ask * (1 + perp_fee) + until
    return float(to_bps(np.max((np.maximum.accumulate(opened) + closed) / seen.spot_ask.min())))
