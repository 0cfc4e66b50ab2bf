"""Cheap questions that exclude a pair before anything is searched, and never one that the search would find.

    reversion    no look-back of that length, wherever it begins, has a gain between the 99.5 percentile of entry_edge
                 and the 0.5 percentile of exit_cost that pays the four fees: then the grid of every fold is empty
    carry        no hold at all, from any moment to any later one, earned more in basis and funding than its fees: then
                 no rule earned anything on any look-back. Of all data: the best holds of all, one after the other and
                 known only afterwards, earned less out of sample than cash, which the export must beat; or there is no
                 rule for the time to come, without which none is exported

All bounds err on the side of the pair by `MARGIN_BPS`, which is more than the grid's rounding of both levels.
"""

from operator import itemgetter

import numpy as np

from delta_arb.backtest.replay import capital_of
from delta_arb.market import DAY_S, NS, from_bps, to_bps
from delta_arb.numba_cache import compiled
from delta_arb.optimize.carry_roles import WAYS
from delta_arb.optimize.carry_search import NO_RULE
from delta_arb.optimize.carry_walk_forward import HELD_THROUGHOUT, rule_to_come
from delta_arb.optimize.carry_ways import LOOK_BACK_S, STEP_S, known_to_walk, most_in_turn, worst_bps
from delta_arb.optimize.gates import YEAR_DAYS
from delta_arb.optimize.offers import offers, usable
from delta_arb.optimize.roles import conducts
from delta_arb.optimize.search import ENTRY_QUANTILES, EXIT_QUANTILES, ROUND_BPS
from delta_arb.optimize.study import MIN_FOLDS, Constraints, Market
from delta_arb.quotes.tape import Tape

MARGIN_BPS = 1.0
assert MARGIN_BPS >= ROUND_BPS  # half of it on each of two levels
PARTS = 4  # of a look-back, the steps in which windows are moved


def cannot_revert(tape: Tape, market: Market, constraints: Constraints) -> str:
    """Why no fold of any walk over these quotes has a threshold set that pays; empty where one might have."""
    enough_bps = market.fees_bps - MARGIN_BPS
    best = best_gain_bps(tape, market, look_back_s(tape, constraints), enough_bps)
    if best is None:
        return "no moment has fresh books on both legs"
    if best > enough_bps:
        return ""
    return (
        f"no edge after costs: in no look-back do the best half percent of entries and of exits gain more than {best:.1f} bps, "
        f"the four fees are {market.fees_bps:g} bps"
    )


def look_back_s(tape: Tape, constraints: Constraints) -> float:
    """Length of what a choice is fitted on (see `verdict.frame` and `window.window`)."""
    span_s = (tape.end_ns - tape.start_ns) / NS
    return min(constraints.look_back_h * 3600.0 * constraints.fit_share, span_s / 2)


def best_gain_bps(tape: Tape, market: Market, length_s: float, enough_bps: float = np.inf) -> float | None:
    """An upper bound of the gain at the grid's outermost levels in any window of so many seconds, bps.

    Every such window lies in one of those of 5/4 of its length that begin at every quarter of it, and covers all of it
    but parts of the first and the last quarter. With n events in between, its own quantiles are no further out than the
    wider one's events of the rank that they have among n. The search ends where `enough_bps` is exceeded. None where no
    event is usable.
    """
    seen = usable(tape, market.settings)
    if not seen.any():
        return None
    offered, ts_ns = offers(tape, market.settings, None), tape.ts_ns[seen]
    step_ns = max(round(length_s / PARTS * NS), 1)
    edges = np.arange(tape.start_ns, tape.end_ns + step_ns, step_ns)
    rows = np.searchsorted(ts_ns, np.append(edges, tape.end_ns + 1)).tolist()
    windows = []
    for k in range(max(len(edges) - PARTS, 1)):
        last = min(k + PARTS + 1, len(rows) - 1)
        wide, inner = slice(rows[k], rows[last]), rows[last - 1] - rows[k + 1]
        if rows[k] < rows[last]:
            windows.append((float(offered.entry_bps[wide].max() - offered.exit_bps[wide].min()), wide, inner))
    best = -np.inf
    for most, wide, inner in sorted(windows, key=itemgetter(0), reverse=True):
        if most <= best or best > enough_bps:
            break
        high = -_ranked(-offered.entry_bps[wide], inner, 1.0 - ENTRY_QUANTILES[1])
        best = max(best, high - _ranked(offered.exit_bps[wide], inner, EXIT_QUANTILES[0]))
    return best


def _ranked(values: np.ndarray, n: int, share: float) -> float:
    """The value of the rank that a low quantile has among n."""
    at = max(int((n - 1) * share), 0)
    return float(np.partition(values, at)[at])


def cannot_carry(tape: Tape, market: Market) -> str:
    """Why no carry rule can have earned on any look-back of these quotes; empty where one might have."""
    if len(conducts(tape, market, WAYS)) > 1 or best_holds_bps(tape, market) > 0:  # a leg that rests pays less
        return ""
    return "no hold from any moment to any later one earned its four fees"


def cannot_beat_cash(tape: Tape, market: Market, constraints: Constraints) -> str:
    """Why no walk of carry over these quotes can be exported, whatever it chooses; empty where one might be.

    Out of sample, which are whole folds at least, it must earn more than cash and than one more exit at its worst.
    """
    known = known_to_walk(tape, market)
    part = known.between(known.start_ns + round(LOOK_BACK_S * NS), known.end_ns + 1)
    days = (part.end_ns - part.start_ns) / NS // STEP_S * STEP_S / DAY_S if len(part) else 0.0
    if days * DAY_S < MIN_FOLDS * STEP_S or len(conducts(part, market, WAYS)) > 1:
        return ""  # too short to be walked, which the walk says itself; or a leg may rest, which pays less
    capital = capital_of(market.rule(HELD_THROUGHOUT), market.funds) / market.position_usdt
    cash_bps = to_bps(constraints.cash_percent / 100 * days / YEAR_DAYS) * capital
    best, last_bps = best_holds_bps(part, market), worst_bps(known, market)
    if best > max(cash_bps, last_bps):
        return ""
    return (
        f"the best holds of all, known only afterwards, earned {best:.1f} bps of a full position out of sample; in {days:g} days "
        f"cash earns {cash_bps:.1f} bps, and it must outlast one more exit at its worst, {last_bps:.1f} bps"
    )


def no_rule(tape: Tape, market: Market) -> str:
    """Why a walk of carry chooses no rule for the time to come, without which none is exported; empty where it may.

    Raises:
        DataError: what can be known is too short to be walked.
    """
    if len(conducts(tape, market, WAYS)) > 1:
        return ""  # the conduct is chosen first, which the walk does
    found = rule_to_come(tape, market)
    return "" if found.thresholds else f"{NO_RULE}: {found.reason}"


def best_holds_bps(tape: Tape, market: Market, more_bps: float = MARGIN_BPS) -> float:
    """What the best holds, one after the other and known only afterwards, earned together: basis, funding, fees; bps of
    the lowest price paid. Each earned `more_bps` besides; 0.0 where none earned anything.

    One coin bought at the spot ask and sold short at the perpetual's bid at some moment, and both undone at a later one.
    """
    seen = tape.take(tape.settled)
    spot_fee, perp_fee = market.spot.taker_fee, market.perp.taker_fee
    stamps = np.array([p.ts_ns for p in market.payments], np.int64)
    paid = np.concatenate(([0.0], np.cumsum([p.rate * p.mark for p in market.payments])))
    until = paid[np.searchsorted(stamps, seen.ts_ns, "left")]  # a stamp at the opening is not earned
    opened = seen.perp_bid * (1 - perp_fee) - seen.spot_ask * (1 + spot_fee) - until
    closed = seen.spot_bid * (1 - spot_fee) - seen.perp_ask * (1 + perp_fee) + until
    least = seen.spot_ask.min()
    return float(to_bps(compiled(most_in_turn)(opened, closed + from_bps(more_bps) * least) / least))
