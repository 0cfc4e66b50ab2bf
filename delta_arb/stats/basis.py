"""The basis of a tape, in bps and in time: what notebook 01 asks of a recording before anybody trades it.

Two masks, because two questions. `known`: both books are two-sided and were confirmed within a minute, so their mids
say where the basis is. `fresh`: both are young enough (max_quote_age_s) that a decision could have been made on them.
"""

from dataclasses import dataclass

import numpy as np

from delta_arb import spread
from delta_arb.errors import SeriesError
from delta_arb.market import NS, PERP, SPOT
from delta_arb.quotes.tape import Tape
from delta_arb.spread import Distribution, Episodes, to_bps
from delta_arb.tables import NOTHING, Table, number, seconds, share

SEEN_S = (
    10.0  # an edge seen on fresh books counts until the next fresh ones, at most this long (or while they are fresh)
)
KNOWN_S = 60.0  # a leg silent for longer says nothing about the basis
SHOWN = ("p1", "p5", "p25", "p50", "p75", "p95", "p99")


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
        masks = f"known at {known:.1%}, fresh at {fresh:.1%} of them"
        return f"Basis({self.ts_ns.size:,} events, {masks}, four fees {self.fees_bps:g} bps)"

    def plot(self, inputs):
        """Both legs and the basis over time."""
        from delta_arb.report import plots

        return plots.legs(self, inputs)

    def distributions(self) -> dict[str, Distribution]:
        """Time-weighted distributions; those of the two edges count only moments at which a decision was possible."""
        return {
            "basis of the mids": spread.distribution(self.basis_bps, self.ts_ns, self.known, KNOWN_S),
            "entry_edge": spread.distribution(self.entry_bps, self.ts_ns, self.fresh, self.max_quote_age_s),
            "exit_cost": spread.distribution(self.exit_bps, self.ts_ns, self.fresh, self.max_quote_age_s),
        }


def of(tape: Tape, inputs, max_quote_age_s: float) -> Basis:
    """The basis of a tape; `inputs` gives the fees."""
    spot, perp = inputs.instruments()
    return measured(tape, to_bps(spread.round_trip_fees(spot.taker_fee, perp.taker_fee)), max_quote_age_s)


def measured(tape: Tape, fees_bps: float, max_quote_age_s: float) -> Basis:
    """The same with the four fees given. Of candles, the ends of bars."""
    tape = tape.looks()
    two_sided = (tape.spot_bid < tape.spot_ask) & (tape.perp_bid < tape.perp_ask)
    for bid_qty, ask_qty in ((tape.spot_bid_qty, tape.spot_ask_qty), (tape.perp_bid_qty, tape.perp_ask_qty)):
        two_sided &= np.minimum(bid_qty, ask_qty) > 0
    two_sided &= np.append(np.diff(tape.ts_ns) > 0, True)  # between two rows of one stamp no time passes
    age_ns = np.maximum(tape.spot_age_ns, tape.perp_age_ns)
    spot_mid, perp_mid = spread.mid(tape.spot_bid, tape.spot_ask), spread.mid(tape.perp_bid, tape.perp_ask)
    return Basis(
        ts_ns=tape.ts_ns,
        spot_mid=spot_mid,
        perp_mid=perp_mid,
        basis_bps=to_bps(spread.basis(spot_mid, perp_mid)),
        entry_bps=to_bps(spread.entry_edge(tape.spot_ask, tape.perp_bid)),
        exit_bps=to_bps(spread.exit_cost(tape.spot_bid, tape.perp_ask)),
        known=two_sided & (age_ns <= KNOWN_S * NS),
        fresh=two_sided & (age_ns <= max_quote_age_s * NS),
        max_quote_age_s=max_quote_age_s,
        fees_bps=fees_bps,
        rows=(int(np.count_nonzero(tape.leg == SPOT)), int(np.count_nonzero(tape.leg == PERP))),
        bar_s=tape.bar_s,
    )


# --- distribution and episodes ---------------------------------------------------------------------------------------


def percentiles(basis: Basis) -> Table:
    """Mean, standard deviation and percentiles of the three columns, bps."""
    try:
        rows = [
            (name, number(d.mean, 1), number(d.sd, 1), *(number(getattr(d, p), 1) for p in SHOWN))
            for name, d in basis.distributions().items()
        ]
    except SeriesError as error:
        return Table.of("Distribution in time, bps", ("", "no answer"), [("all", str(error))])
    note = (
        "Each value counts for the time it was in force. The edges count only while both books were at most "
        f"{basis.max_quote_age_s:g} s old; "
        f"the basis while both were confirmed within {KNOWN_S:g} s."
    )
    return Table.of("Distribution in time, bps", ("", "mean", "sd", *SHOWN), rows, note)


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


def above_costs(basis: Basis) -> dict[str, Episodes]:
    """Stretches in which opening would have paid the four fees, for three assumptions about the closing, bps."""
    try:
        exits = basis.distributions()["exit_cost"]
    except SeriesError:
        return {}
    levels = {
        "closing at its best 5 %": exits.p5,
        "closing at its median": exits.p50,
        "closing at no cost": 0.0,
    }
    seen = basis.entry_bps[basis.fresh], basis.ts_ns[basis.fresh]
    held_s = seen_s(basis)
    return {name: spread.episodes(*seen, basis.fees_bps + level, max_hold_s=held_s) for name, level in levels.items()}


def episodes(basis: Basis, latency_s: float) -> Table:
    """Episodes above costs: how many, how long, how many outlast the way of an order."""
    found = above_costs(basis)
    span_s = (basis.ts_ns[-1] - basis.ts_ns[0]) / NS
    rows = [
        (
            name,
            number(e.level, 1),
            f"{e.count:,}",
            share(e.durations_s.sum() / span_s, 1),
            seconds(e.median_s),
            seconds(e.p90_s),
            seconds(e.longest_s),
            share(float(np.mean(e.durations_s > latency_s)) if e.count else None),
        )
        for name, e in found.items()
    ] or [("no event has fresh books on both legs", *[NOTHING] * 7)]
    columns = (
        "opening pays the fees and",
        "entry_edge from, bps",
        "episodes",
        "of the time",
        "median",
        "90 %",
        "longest",
        f"outlast {latency_s:g} s",
    )
    note = (
        f"Seen at the events with both books at most {basis.max_quote_age_s:g} s old. An episode ends with the first "
        f"one below the level, or when {seen_s(basis):g} s bring none."
    )
    return Table.of("Episodes above costs", columns, rows, note)
