"""Carry: hold for days because funding pays for the round trip, as long as it is expected to.

    shift = expected funding per second * horizon          known at the time, from stamps of the past alone (`expected`)
    enter when  entry_edge + shift >= entry,   leave when  exit_cost + shift <= exit

which is the pair machine's rule with the funding of `horizon` seconds added to both prices. Between a crossing in and a
crossing out lie four fees and four half-spreads, and funding pays a basis point or so a day: what decides is how long
the expectation lasts. So the break-even hold comes first, and thresholds and horizon are judged by walking forward.

The rules worth trying are swept on a look-back like any others: with both wallets, the margin of the short and legs
that fill in part. What is open at its end is closed at the exit side there, so no choice uses a later price or stamp.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from delta_arb.backtest.replay import Backtest, promised_at
from delta_arb.errors import DataError, SeriesError
from delta_arb.funding_stamps import expected
from delta_arb.market import DAY_S, NS, FundingPayment, to_bps
from delta_arb.optimize.offers import Offers, offers
from delta_arb.optimize.search import sweep
from delta_arb.optimize.study import Market, Thresholds
from delta_arb.optimize.walk_forward import Fit, LookBack
from delta_arb.quotes.tape import Tape
from delta_arb.stats import multiple_testing
from delta_arb.stats.multiple_testing import Deflated
from delta_arb.tables import share
from delta_arb.venue_terms import common_step

HORIZONS_S = tuple(days * DAY_S for days in (3, 7, 14, 30, 60))
MARGINS_BPS = (-10.0, -5.0, 0.0, 5.0, 10.0)  # of the entry, above what the round trip costs; below: let it pay later
SLACKS_BPS = (-20.0, -10.0, -5.0, 0.0, 5.0)  # of the exit, above the median cost of leaving
HOLD_S = 365 * DAY_S
NO_RULE = "there is no rule for the time to come"


# --- what funding pays, and how long that takes to pay a round trip --------------------------------------------------


def expected_bps_day(payments: Sequence[FundingPayment], ts_ns: np.ndarray) -> np.ndarray:
    """What a short is expected to be paid a day, bps of notional, as the machine expects it; shape of `ts_ns`."""
    return to_bps(promised_at(expected(payments, DAY_S if payments else 0.0), ts_ns))


class BreakEven(NamedTuple):
    """How long a hold must last until funding has paid for its round trip; `days` is None where it pays nothing."""

    costs_bps: float
    funding_bps_day: float
    negative_share: float

    @property
    def days(self) -> float | None:
        return max(self.costs_bps, 0.0) / self.funding_bps_day if self.funding_bps_day > 0 else None

    def __str__(self) -> str:
        pays = f"funding paid a short {self.funding_bps_day:.2f} bps a day ({share(self.negative_share)} of the payments went against it)"
        if self.days is None:
            return f"{pays}: no hold, however long, pays a round trip of {self.costs_bps:.1f} bps"
        return f"{pays}: a round trip of {self.costs_bps:.1f} bps is paid after {self.days:.1f} days"


def break_even(payments: Sequence[FundingPayment], costs_bps: float) -> BreakEven:
    """From all stamps given; `costs_bps`: four fees and four half-spreads.

    Raises:
        DataError: fewer than two stamps.
    """
    if len(payments) < 2:
        raise DataError(f"{len(payments)} funding stamps say nothing about a day; give the history of weeks")
    rates = np.array([p.rate for p in payments])
    days = (payments[-1].ts_ns - payments[0].ts_ns) / NS / DAY_S
    return BreakEven(costs_bps, float(to_bps(rates[1:].sum())) / days, float((rates < 0).mean()))


# --- the rule of a look-back -----------------------------------------------------------------------------------------


def spoken_rule(rule: Thresholds) -> str:
    """Horizon and levels of a carry rule in words."""
    days = rule.funding_horizon_s / DAY_S
    return f"horizon {days:g} days, entry {rule.entry_bps:.1f} bps, exit {rule.exit_bps:.1f} bps"


def candidates(offered: Offers, fees_bps: float) -> list[Thresholds]:
    """The rules worth trying on a look-back: levels around its median cost of leaving, four fees above it to enter."""
    leave_bps = float(np.median(offered.exit_bps))
    return [
        Thresholds(leave_bps + fees_bps + margin, leave_bps + slack, HOLD_S, None, horizon_s)
        for horizon_s in HORIZONS_S
        for margin in MARGINS_BPS
        for slack in SLACKS_BPS
        if margin > slack  # the levels alone pay the four fees, as the parameter file demands
    ]


def choose_carry(look_back: LookBack) -> Fit:
    """The rule that earned most on a look-back, or why none did; its `nets` are of each period, what is open marked.

    Its horizon's and levels' neighbours count as much as itself: the mean of a rule and those one step away decides.
    """
    tape, here = look_back.tape, look_back.market
    seen_bps = expected_bps_day(here.payments, tape.looks().ts_ns)
    if not seen_bps.any():
        return Fit(None, "no funding was expected at any moment of the look-back")
    sets = candidates(offers(tape, here.settings, None), here.fees_bps)
    tried = sweep(tape, here, sets)
    nets = np.array([p.net_usdt for p in tried.results])
    best = int(np.argmax(_smoothed(sets, nets)))
    result = here.replay(tape, sets[best])
    if tried.results[best].halted:
        return Fit(None, "the machine halted with the best carry rule of the look-back", tried=len(sets))
    if not nets[best] > 0:
        paid = f"funding was expected to pay {seen_bps.mean():.2f} bps a day, four fees are {here.fees_bps:g} bps"
        why = "; ".join(filter(None, (paid, _hindered(tape, here, result))))
        return Fit(None, f"no carry rule earned anything on the look-back ({why})", tried=len(sets))
    return Fit(sets[best], "earned on its look-back", look_back.nets(result), len(sets))


def deflated(look_back: LookBack, chosen: Thresholds | None, looks: float) -> Deflated:
    """The Sharpe ratio of the rule chosen on a look-back, deflated by all that were tried on it and `looks` times as many.

    Raises:
        SeriesError: nothing was chosen, or what its days hold is no track record.
    """
    if chosen is None:
        raise SeriesError(NO_RULE)
    here = look_back.market
    sets = candidates(offers(look_back.tape, here.settings, None), here.fees_bps)
    nets = np.diff(look_back.sweep(sets).nets, prepend=0.0).T
    return multiple_testing.deflated(nets, sets.index(chosen), upstream=looks)


def _smoothed(rules: Sequence[Thresholds], nets: np.ndarray) -> np.ndarray:
    """Mean of each rule and its direct neighbours on all three axes."""
    axes = ([r.funding_horizon_s for r in rules], [r.entry_bps for r in rules], [r.exit_bps for r in rules])
    places = np.column_stack([np.unique(axis, return_inverse=True)[1] for axis in axes])
    near = (np.abs(places[:, None] - places[None]) <= 1).all(axis=2)
    return near @ nets / near.sum(axis=1)


def _hindered(tape: Tape, market: Market, result: Backtest) -> str:
    """What kept a rule from entering besides its levels: a wallet, or books that show less than the smallest order."""
    if result.refusals:
        return f"entries that a wallet could not pay for: {len(result.refusals)}"
    spot, perp, looks = market.spot, market.perp, tape.looks()
    shown = float(np.minimum(looks.spot_ask_qty, looks.perp_bid_qty).max()) * market.settings.participation
    ask = float(np.median(looks.spot_ask))
    least = max(common_step(spot, perp), spot.min_qty, perp.min_qty, spot.min_notional_usdt / ask)
    if shown < least:
        return f"the books never showed more than {shown * ask:.2f} USDT, the smallest order is {least * ask:.2f} USDT"
    return ""
