"""The basis of a tape, in bps and in time: what notebook 01 asks of a recording before anybody trades it.

Two masks, because two questions. `known`: both books are two-sided and were confirmed within a minute, so their mids
say where the basis is. `fresh`: both are young enough (max_quote_age_s) that a decision could have been made on them.

Quotes come irregularly: a value is in force from its own time stamp until the next event, and counts for as long as it
was in force, not once per row. Nobody knows how long the last value held, so its weight is zero.
"""

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

import numpy as np

from delta_arb.errors import SeriesError
from delta_arb.market import NS, PERP, SPOT, basis, entry_edge, exit_cost, mid, to_bps
from delta_arb.quotes.tape import Tape
from delta_arb.tables import share

if TYPE_CHECKING:
    import pandas as pd

# An edge seen on fresh books counts until the next fresh ones, at most this long (or while they are fresh).
SEEN_S = 10.0
KNOWN_S = 60.0  # a leg silent for longer says nothing about the basis
PERCENTS = (1, 5, 10, 25, 50, 75, 90, 95, 99)


# --- A column in time ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False)
class Distribution:
    """Time-weighted distribution of a column, in the column's own unit.

    `n` counts the rows used and `span_s` the seconds during which they were in force. A percentile p is the smallest
    value v such that the column was at or below v for at least p percent of that time; it is always a value that
    occurred, nothing is interpolated.
    """

    n: int
    span_s: float
    mean: float
    sd: float
    p1: float
    p5: float
    p10: float
    p25: float
    p50: float
    p75: float
    p90: float
    p95: float
    p99: float

    def to_frame(self) -> "pd.DataFrame":
        """One column `value`, one row per field."""
        import pandas as pd

        names = [f.name for f in fields(self)]
        return pd.DataFrame({"value": [float(getattr(self, name)) for name in names]}, index=names)

    def __repr__(self) -> str:
        return (
            f"Distribution(n={self.n}, span_s={self.span_s:.6g}, mean={self.mean:.6g}, sd={self.sd:.6g}, "
            f"p5={self.p5:.6g}, p50={self.p50:.6g}, p95={self.p95:.6g})"
        )

    def _repr_html_(self) -> str:
        return self.to_frame().to_html(float_format=lambda x: f"{x:.6g}")


@dataclass(frozen=True, slots=True, repr=False)
class Episodes:
    """The stretches during which a column was at or above a level, each half-open `[start, end)`.

    An episode that is still running at the last event is flagged by `open_at_end`, one that was already running at the
    first event by `open_at_start`: its duration is what was seen of it, a lower bound, and it is counted with that.
    `median_s`, `p90_s` and `longest_s` are None when there was no episode.
    """

    level: float
    count: int
    median_s: float | None
    p90_s: float | None
    longest_s: float | None
    open_at_start: bool
    open_at_end: bool
    starts_ns: np.ndarray = field(compare=False)
    durations_s: np.ndarray = field(compare=False)

    def to_frame(self) -> "pd.DataFrame":
        """One row per episode: `start_ns`, `duration_s`."""
        import pandas as pd

        return pd.DataFrame({"start_ns": self.starts_ns, "duration_s": self.durations_s})

    def __repr__(self) -> str:
        if not self.count:
            return f"Episodes(level={self.level:.6g}, count=0)"
        flags = "".join(f", {name}" for name in ("open_at_start", "open_at_end") if getattr(self, name))
        return (
            f"Episodes(level={self.level:.6g}, count={self.count}, median_s={self.median_s:.6g}, "
            f"p90_s={self.p90_s:.6g}, longest_s={self.longest_s:.6g}{flags})"
        )


def distribution(values, ts_ns, valid=None, max_hold_s: float | None = None) -> Distribution:
    """Time-weighted mean, standard deviation and percentiles of a column.

    Args:
        values: shape (n,), any unit; NaN only where `valid` is false.
        ts_ns: shape (n,), UTC ns, not falling. Of several rows with one time stamp the last is in force.
        valid: shape (n,), true where the row counts; a stale or crossed row is masked out here. A false row still ends
            the value before it. All rows when left out.
        max_hold_s: a value is in force for at most this long, so that a gap in the recording does not count as one
            very long quote; no bound when left out.

    Raises:
        SeriesError: shapes differ, time runs backwards, a valid value is not finite, or no valid value was in force
            for any time.
    """
    values, starts, ends, used = _in_force(values, ts_ns, valid, max_hold_s)
    held = np.where(used, (ends - starts) / NS, 0.0)
    span_s = _covered(held)
    kept, weight = values[used], held[used] / span_s
    mean = float(weight @ kept)
    sd = float(np.sqrt(weight @ (kept - mean) ** 2))
    quantiles = _weighted_percentiles(kept, weight)
    return Distribution(int(used.sum()), span_s, mean, sd, *quantiles)


def episodes(values, ts_ns, level: float, valid=None, max_hold_s: float | None = None) -> Episodes:
    """The stretches at or above `level`: how many, how long, since when.

    An episode begins at the first row at or above the level and ends at the first row below it, at the first row that
    is not valid, or `max_hold_s` after its last row when no other row comes. Rows overwritten at their own time stamp
    were never in force and are passed over. Arguments and errors are those of `distribution`.
    """
    values, starts, ends, used = _in_force(values, ts_ns, valid, max_hold_s)
    _covered(np.where(used, (ends - starts) / NS, 0.0))
    in_force = ends > starts
    in_force[-1] = True
    values, starts, ends, used = values[in_force], starts[in_force], ends[in_force], used[in_force]
    above = used & (values >= level)
    goes_on = above[:-1] & above[1:] & (ends[:-1] == starts[1:])
    first = above & ~np.concatenate(([False], goes_on))
    last = above & ~np.concatenate((goes_on, [False]))
    durations_s = (ends[last] - starts[first]) / NS
    count = int(first.sum())
    median_s, p90_s, longest_s = (
        (float(np.quantile(durations_s, q)) for q in (0.5, 0.9, 1.0)) if count else (None, None, None)
    )
    return Episodes(
        float(level),
        count,
        median_s,
        p90_s,
        longest_s,
        open_at_start=bool(above[0]),
        open_at_end=bool(above[-1]),
        starts_ns=starts[first],
        durations_s=durations_s,
    )


def _in_force(values, ts_ns, valid, max_hold_s):
    """Values with the interval `[starts, ends)` in which each was in force, and which of them count."""
    values = np.asarray(values, dtype=np.float64)
    starts = np.asarray(ts_ns)
    if values.ndim != 1 or values.shape != starts.shape:
        raise SeriesError(
            f"values and ts_ns must be two columns of one length, were {values.shape} and {starts.shape}; "
            "take both from the same table"
        )
    if not np.issubdtype(starts.dtype, np.integer):
        raise SeriesError(f"ts_ns must be whole nanoseconds, was {starts.dtype}; convert with astype('int64')")
    starts = starts.astype(np.int64, copy=False)
    used = np.ones(values.shape, dtype=bool) if valid is None else np.asarray(valid, dtype=bool)
    if used.shape != values.shape:
        raise SeriesError(f"valid must have the {values.size} rows of values, had shape {used.shape}")
    if max_hold_s is not None and not max_hold_s > 0:
        raise SeriesError(f"max_hold_s must be above 0, was {max_hold_s}; leave it out for no bound")
    back = np.flatnonzero(np.diff(starts) < 0)
    if back.size:
        raise SeriesError(f"ts_ns falls after row {back[0]} of {starts.size}; sort the rows by time first")
    bad = np.flatnonzero(used & ~np.isfinite(values))
    if bad.size:
        raise SeriesError(
            f"{bad.size} of {values.size} values are not finite, the first in row {bad[0]}; mask them with valid"
        )
    ends = np.append(starts[1:], starts[-1:])
    if max_hold_s is not None:
        ends = np.minimum(ends, starts + round(max_hold_s * NS))
    return values, starts, ends, used


def _covered(held: np.ndarray) -> float:
    span_s = float(held.sum())
    if not span_s > 0:
        raise SeriesError(
            f"no valid value was in force for any time among {held.size} rows; "
            "need at least two rows at different times, the first of them valid"
        )
    return span_s


def _weighted_percentiles(values: np.ndarray, weight: np.ndarray) -> list[float]:
    order = np.argsort(values, kind="stable")
    order = order[weight[order] > 0]
    share = np.cumsum(weight[order])
    # A share that should be exactly 0.25 may come out of the sum as 0.24999...; a trillionth of the time is nothing.
    at = np.searchsorted(share, np.array(PERCENTS) / 100 - 1e-12)
    return values[order][np.minimum(at, order.size - 1)].tolist()


# --- The basis of a tape ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Basis:
    """Basis of the mids, edge of opening and cost of closing in bps at every event of a tape; arrays of shape (n,).

    Of several events with one stamp only the last is `known` or `fresh`: what lies between has one leg's new price
    beside the other's old one (the whole move of a minute, where candles were turned into quotes) and lasts no time.
    """

    ts_ns: np.ndarray
    spot_mid: np.ndarray
    perp_mid: np.ndarray
    basis_bps: np.ndarray
    entry_bps: np.ndarray
    exit_bps: np.ndarray
    known: np.ndarray
    fresh: np.ndarray
    max_quote_age_s: float
    fees_bps: float
    rows: tuple[int, int]  # of the spot leg and of the perpetual
    bar_s: float = 0.0  # length of the candles it comes from, 0 for quotes

    @property
    def known_s(self) -> float:
        """How long a value says where the basis is: a minute, or the bar that it closes."""
        return max(KNOWN_S, self.bar_s)

    def __repr__(self) -> str:
        known, fresh = float(self.known.mean()), float(self.fresh.mean())
        masks = f"known at {share(known, 1)}, fresh at {share(fresh, 1)} of them"
        return f"Basis({self.ts_ns.size:,} events, {masks}, four fees {self.fees_bps:g} bps)"

    def distributions(self) -> dict[str, Distribution]:
        """Time-weighted distributions; those of the two edges count only moments at which a decision was possible."""
        return {
            "basis of the mids": distribution(self.basis_bps, self.ts_ns, self.known, KNOWN_S),
            "entry_edge": distribution(self.entry_bps, self.ts_ns, self.fresh, self.max_quote_age_s),
            "exit_cost": _exits(self),
        }


def basis_of(tape: Tape, fees_bps: float, max_quote_age_s: float) -> Basis:
    """The basis at every event of a tape (of candles, at the ends of bars); `fees_bps`: the four fees of a round trip."""
    tape = tape.looks()
    spot_bid, spot_ask = tape.spot_bid, tape.spot_ask  # each is made anew when it is asked for
    perp_bid, perp_ask = tape.perp_bid, tape.perp_ask
    two_sided = (spot_bid < spot_ask) & (perp_bid < perp_ask)
    for bid_qty, ask_qty in ((tape.spot_bid_qty, tape.spot_ask_qty), (tape.perp_bid_qty, tape.perp_ask_qty)):
        two_sided &= np.minimum(bid_qty, ask_qty) > 0
    two_sided &= np.append(np.diff(tape.ts_ns) > 0, True)  # between two rows of one stamp no time passes
    age_ns = np.maximum(tape.spot_age_ns, tape.perp_age_ns)
    spot_mid, perp_mid = mid(spot_bid, spot_ask), mid(perp_bid, perp_ask)
    return Basis(
        ts_ns=tape.ts_ns,
        spot_mid=spot_mid,
        perp_mid=perp_mid,
        basis_bps=to_bps(basis(spot_mid, perp_mid)),
        entry_bps=to_bps(entry_edge(spot_ask, perp_bid)),
        exit_bps=to_bps(exit_cost(spot_bid, perp_ask)),
        known=two_sided & (age_ns <= KNOWN_S * NS),
        fresh=two_sided & (age_ns <= max_quote_age_s * NS),
        max_quote_age_s=max_quote_age_s,
        fees_bps=fees_bps,
        rows=(int(np.count_nonzero(tape.leg == SPOT)), int(np.count_nonzero(tape.leg == PERP))),
        bar_s=tape.bar_s,
    )


@dataclass(frozen=True, slots=True)
class Reach:
    """What a round trip gains between a good entry (95th percentile) and a good exit (5th), against the fees."""

    entry_bps: float
    exit_bps: float
    fees_bps: float

    @property
    def left_bps(self) -> float:
        return self.entry_bps - self.exit_bps - self.fees_bps

    def __str__(self) -> str:
        verdict = "more than" if self.left_bps > 0 else "not more than"
        return (
            f"Opening at the 95th percentile ({self.entry_bps:.1f} bps) and closing at the 5th ({self.exit_bps:.1f} "
            f"bps) gains {self.entry_bps - self.exit_bps:.1f} bps, {verdict} the four fees of {self.fees_bps:g} bps."
        )


def reach(basis: Basis) -> Reach | None:
    """None where no book pair was ever fresh."""
    try:
        found = basis.distributions()
    except SeriesError:
        return None
    return Reach(found["entry_edge"].p95, found["exit_cost"].p5, basis.fees_bps)


def seen_s(basis: Basis) -> float:
    """How long an edge that was seen counts without another look."""
    return max(SEEN_S, basis.max_quote_age_s, basis.bar_s)


AT_MEDIAN = "closing at its median"


def above_costs(basis: Basis) -> dict[str, Episodes]:
    """Stretches in which opening would have paid the four fees, for three assumptions about the closing, bps."""
    try:
        exits = _exits(basis)
    except SeriesError:
        return {}
    levels = {"closing at its best 5 %": exits.p5, AT_MEDIAN: exits.p50, "closing at no cost": 0.0}
    return {name: _above(basis, level) for name, level in levels.items()}


def above_median(basis: Basis) -> Episodes | None:
    """The same for a median closing alone; None where no book pair was ever fresh."""
    try:
        return _above(basis, _exits(basis).p50)
    except SeriesError:
        return None


def _exits(basis: Basis) -> Distribution:
    return distribution(basis.exit_bps, basis.ts_ns, basis.fresh, basis.max_quote_age_s)


def _above(basis: Basis, level: float) -> Episodes:
    seen = basis.entry_bps[basis.fresh], basis.ts_ns[basis.fresh]
    return episodes(*seen, basis.fees_bps + level, max_hold_s=seen_s(basis))
