"""What a tape offered to a direction at the events on which one can trade, and a set of thresholds as a search tries it."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from delta_arb.backtest.replay import shifts
from delta_arb.errors import DataError
from delta_arb.evidence import FilterParams
from delta_arb.market import NS, entry_edge, exit_cost, from_bps, reverse_cost, reverse_edge, to_bps
from delta_arb.params import Rule
from delta_arb.quotes.tape import Tape
from delta_arb.strategy.rule import as_filter
from delta_arb.strategy.state import DIRECT, REVERSE
from delta_arb.venue_terms import VenueTerms

AT_ONCE = 1 << 20  # events
BINS = 4096  # by which a column is told apart, of two bytes


@dataclass(frozen=True, slots=True, eq=False)
class Offers:
    """What a tape offered while both legs were fresh and tradable, as the signal sees it: bps, shape (n,)."""

    entry_bps: np.ndarray
    exit_bps: np.ndarray

    @property
    def width_bps(self) -> float:
        """Median of exit_cost - entry_edge: the half-spreads that a round trip crosses."""
        return median(self.exit_bps - self.entry_bps)


def ordered(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """`np.sort(values)[places]`, in a tenth of the time where places are few: only what shares a bin with one is sorted."""
    low, high = values.min(), values.max()
    if low == high:
        return values[places]
    with np.errstate(over="ignore"):
        scale = (BINS - 1) / (high - low)
    if not 0 < scale < np.inf:  # too far apart to be told, or too near
        return np.sort(values)[places]
    of = ((values - low) * scale).astype(np.int16)
    counts = np.bincount(of, minlength=BINS)
    until, kept = np.cumsum(counts), np.zeros(BINS, bool)
    bins = np.searchsorted(until, places, side="right")
    kept[bins] = True
    left_out = until - np.cumsum(np.where(kept, counts, 0))
    return np.sort(values[kept[of]])[places - left_out[bins]]


def median(values: np.ndarray) -> float:
    return float(ordered(values, np.array(((len(values) - 1) // 2, len(values) // 2))).mean())


def usable(tape: Tape, settings: Rule, side: int = DIRECT) -> np.ndarray:
    """The events at which both legs are fresh and can be traded, shape (n,)."""
    fresh_ns = settings.max_quote_age_s * NS
    can = tape.settled & (tape.spot_age_ns <= fresh_ns) & (tape.perp_age_ns <= fresh_ns)
    sizes = (tape.spot_ask_qty, tape.perp_bid_qty) if side == DIRECT else (tape.spot_bid_qty, tape.perp_ask_qty)
    return can & (tape.spot_bid < tape.spot_ask) & (tape.perp_bid < tape.perp_ask) & (np.minimum(*sizes) > 0)


def offers(tape: Tape, settings: Rule, process: FilterParams | None, side: int = DIRECT) -> Offers:
    """What opening a direction pays and leaving it costs at the usable events, shifted by the filter where there is one."""
    can = usable(tape, settings, side)
    if not can.any():
        raise DataError(
            "no event has fresh books on both legs; is one leg frozen? See the quality summary in notebook 01"
        )
    shift = shifts(tape, as_filter(process, settings.max_quote_age_s)) if process else None
    enter, leave = (np.empty(np.count_nonzero(can)) for _ in range(2))
    done = 0
    for begin in range(0, len(tape), AT_ONCE):  # a month of quotes at once would take five times its own columns
        part = slice(begin, begin + AT_ONCE)
        here = can[part]
        to = slice(done, done := done + np.count_nonzero(here))
        by = shift[part][here] if process else 0.0
        # where direct pairs are opened and reverse ones left, and the other way round
        inner, outer = ([getattr(tape, name)[part][here] for name in names] for names in _sides(settings))
        if side == DIRECT:
            enter[to], leave[to] = to_bps(entry_edge(*inner) + by), to_bps(exit_cost(*outer) + by)
        else:
            enter[to], leave[to] = to_bps(reverse_edge(*outer) - by), to_bps(reverse_cost(*inner) - by)
    return Offers(enter, leave)


def _sides(settings: Rule) -> tuple[tuple[str, str], tuple[str, str]]:
    """The prices of (spot, perpetual) at which a pair is opened, and at which it is left; a leg that rests joins its own side."""
    inner, outer = ("spot_ask", "perp_bid"), ("spot_bid", "perp_ask")
    if settings.resting is None:
        return inner, outer
    spot, entry, leave = settings.maker_leg == "spot", settings.resting.entry, settings.resting.exit
    return (
        (("spot_bid", "perp_bid") if spot else ("spot_ask", "perp_ask")) if entry else inner,
        (("spot_ask", "perp_ask") if spot else ("spot_bid", "perp_bid")) if leave else outer,
    )


def quoted_bps(rule: Rule, spot: VenueTerms, perp: VenueTerms) -> tuple[float, float]:
    """By how much the quote of an entry, and of an exit, asks for more than its level: costs of an end that rests, bps."""
    if rule.resting is None:
        return 0.0, 0.0
    rests, hedges = (spot, perp) if rule.maker_leg == "spot" else (perp, spot)
    costs = (rests.maker_fee_bps or 0.0) + hedges.taker_fee_bps + rule.resting.adverse_bps + rule.resting.distance_bps
    return costs * rule.resting.entry, costs * rule.resting.exit


class EntryExit(NamedTuple):
    """Entry and exit of one direction, bps."""

    entry_bps: float
    exit_bps: float


class Thresholds(NamedTuple):
    """One set: levels, longest hold, the filter behind the signal (None decides on raw quotes), and the horizon whose
    expected funding counts as edge (0: none; carry has one).

    The levels are those of `side`: of the direct pair, or of the reverse one alone (`REVERSE`). A direct set that trades
    both directions has the reverse pair's levels in `reverse`; hold, filter and horizon belong to the machine.
    """

    entry_bps: float
    exit_bps: float
    max_hold_s: float
    filter: FilterParams | None = None
    funding_horizon_s: float = 0.0
    side: int = DIRECT
    reverse: EntryExit | None = None

    def levels(self, side: int) -> EntryExit | None:
        """Entry and exit of a direction; None where it is not traded."""
        return EntryExit(self.entry_bps, self.exit_bps) if side == self.side else self.reverse

    def alone(self, side: int) -> "Thresholds | None":
        """The same with one direction only; None where that one is not traded."""
        levels = self.levels(side)
        return levels and self._replace(**levels._asdict(), side=side, reverse=None)

    def values(self) -> dict:
        """The fields of `Rule` that a set decides."""
        (enter, leave), (reverse_enter, reverse_leave) = (
            self.levels(side) or (None, None) for side in (DIRECT, REVERSE)
        )
        return {
            "entry_bps": enter, "exit_bps": leave, "reverse_entry_bps": reverse_enter, "reverse_exit_bps": reverse_leave,
            "max_hold_s": self.max_hold_s, "funding_horizon_s": self.funding_horizon_s, "filter": self.filter,
            "signal": "filtered" if self.filter else "raw",
        }  # fmt: skip


def both(direct: Thresholds | None, reverse: Thresholds | None) -> Thresholds | None:
    """One set of a direct and a reverse one, for the one machine that trades both: it holds as long as the longer."""
    if direct is None or reverse is None:
        return direct or reverse
    hold_s = max(direct.max_hold_s, reverse.max_hold_s)
    return direct._replace(max_hold_s=hold_s, reverse=reverse.levels(REVERSE))


def rule_levels(s: Thresholds) -> dict[str, float]:
    """The levels of a set as `MachineRule` has them."""
    (enter, leave), (reverse_enter, reverse_leave) = (s.levels(side) or OFF for side in (DIRECT, REVERSE))
    return {
        "entry": from_bps(enter), "exit": from_bps(leave),
        "reverse_entry": from_bps(reverse_enter), "reverse_exit": from_bps(reverse_leave),
    }  # fmt: skip


OFF = EntryExit(math.inf, -math.inf)
