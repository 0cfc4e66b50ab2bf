"""What a round trip costs before anything is earned: four fees and four crossings, against how far the basis swings."""

from dataclasses import dataclass

import numpy as np

from delta_arb.errors import SeriesError
from delta_arb.market import FundingPayment, mid, to_bps
from delta_arb.quotes.tape import Tape
from delta_arb.stats.basis import Basis, distribution
from delta_arb.tables import NOTHING, Table, number


@dataclass(frozen=True, slots=True, repr=False)
class CostStack:
    """Costs of a round trip in bps of notional, per leg for both fills; None where no book was ever fresh.

    `*_crossing_bps` is the venue's own quoted spread (median over time): half is lost on the way in and half out.
    `swing_bps` is how far the basis of the mids moves, 5th to 95th percentile. `funding_bps` is the mean of the
    recorded rates per stamp, received by the short; None without a history.
    """

    spot_fee_bps: float
    perp_fee_bps: float
    spot_crossing_bps: float | None
    perp_crossing_bps: float | None
    swing_bps: float | None
    funding_bps: float | None

    @property
    def parts(self) -> dict[str, float | None]:
        return {
            "spot fees": 2 * self.spot_fee_bps,
            "perpetual fees": 2 * self.perp_fee_bps,
            "crossing the spot book": self.spot_crossing_bps,
            "crossing the perpetual's book": self.perp_crossing_bps,
        }

    @property
    def total_bps(self) -> float | None:
        return None if None in self.parts.values() else sum(self.parts.values())

    def __repr__(self) -> str:
        return repr(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def table(self) -> Table:
        """Opening, closing, and both."""
        rows = [(name, *_halves(value)) for name, value in (*self.parts.items(), ("all", self.total_bps))]
        swing = (
            "no event has fresh books on both legs."
            if self.swing_bps is None
            else f"The basis of the mids swings by {self.swing_bps:.1f} bps (5th to 95th percentile)."
        )
        paid = (
            ""
            if self.funding_bps is None
            else f" Funding paid the short {self.funding_bps:.2f} bps per stamp on average."
        )
        return Table.of(
            "Cost of a round trip, bps of notional", ("", "opening", "closing", "round trip"), rows, swing + paid
        )

    def plot(self, inputs):
        """The stack against the swing of the basis."""
        from delta_arb.report import plots

        return plots.costs(self, inputs)


def _halves(value: float | None) -> tuple[str, str, str]:
    return (NOTHING,) * 3 if value is None else (number(value / 2), number(value / 2), number(value))


def stack(tape: Tape, basis: Basis, inputs, payments: tuple[FundingPayment, ...] = ()) -> CostStack:
    """The stack over a tape, from moments at which a decision was possible."""
    looks = tape.looks()
    within = [p.rate for p in payments if tape.start_ns <= p.ts_ns <= tape.end_ns]
    return CostStack(
        spot_fee_bps=inputs.spot_fee_bps,
        perp_fee_bps=inputs.perp_fee_bps,
        spot_crossing_bps=_median_spread_bps(looks.spot_bid, looks.spot_ask, basis),
        perp_crossing_bps=_median_spread_bps(looks.perp_bid, looks.perp_ask, basis),
        swing_bps=_swing_bps(basis),
        funding_bps=float(to_bps(np.mean(within))) if within else None,
    )


def _median_spread_bps(bid: np.ndarray, ask: np.ndarray, basis: Basis) -> float | None:
    quoted = to_bps((ask - bid) / mid(bid, ask))
    try:
        return distribution(quoted, basis.ts_ns, basis.fresh, basis.max_quote_age_s).p50
    except SeriesError:
        return None


def _swing_bps(basis: Basis) -> float | None:
    try:
        found = basis.distributions()["basis of the mids"]
    except SeriesError:
        return None
    return found.p95 - found.p5
